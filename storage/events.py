"""Events: which kinds there are, how a body is written down, and what is refused before it is appended.

Pure. What an event does to the state is the business of ``storage.journal``.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, Final

from storage.errors import RecordError, did_you_mean
from storage.records import DIRECTIONS, VERDICTS, Event, Finding, Objective, RunState, Severity

BODY_MAX_BYTES: Final = 16 * 2**20
"""An event is read whole by everybody who folds; what is larger belongs into an artifact."""

KINDS: Final = frozenset(
    {
        "experiment.created",
        "experiment.updated",
        "experiment.renamed",
        "experiment.deleted",
        "experiment.restored",
        "experiment.attr",
        "run.created",
        "run.param",
        "run.reported",
        "run.attr",
        "run.state",
        "run.deleted",
        "run.restored",
        "run.moved",
        "run.captured",
        "run.summarized",
        "run.noted",
        "run.tagged",
        "run.untagged",
        "run.data",
        "run.artifact",
        "finding.opened",
        "finding.state",
        "finding.judged",
        "finding.notified",
        "alert.queued",
        "alert.delivery",
        "alert.muted",
        "alert.unmuted",
        "suggestion.made",
        "suggestion.closed",
        "forecast.made",
        "stop.advised",
        "document.written",
        "writer.joined",
        "journal.checkpoint",
        "store.purged",
        "store.merged",
    }
)
"""Kinds of events that this version writes; a reader passes over kinds that it does not know."""


def encode_body(body: Mapping[str, Any]) -> str:
    """Return an event's body as one line of ASCII JSON; NaN and ±inf are written as Python writes them.

    Raises
    ------
    RecordError
        If a value is not JSON, or all of it is larger than ``BODY_MAX_BYTES``.
    """
    try:
        text = json.dumps(dict(body), default=_plain, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise RecordError(f"cannot keep this value: {error}; numbers, text, lists and mappings can be kept") from error
    if len(text) > BODY_MAX_BYTES:
        raise RecordError(
            f"an event of {len(text):,} bytes is too large (at most {BODY_MAX_BYTES:,}); save it as an artifact"
        )
    return text


def decode_body(text: str) -> dict[str, Any]:
    """Return the body that ``encode_body`` wrote."""
    body = json.loads(text)
    return body if isinstance(body, dict) else {}


def _plain(value: object) -> object:
    """Turn what numpy, pathlib and datetime give into JSON values."""
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def check_event(event: Event) -> None:
    """Refuse an event that could not be folded, whoever would fold it.

    Raises
    ------
    RecordError
        If its kind is unknown, or a part of it is missing or not what it should be.
    """
    if event.kind not in KINDS:
        raise RecordError(f"unknown kind of event {event.kind!r}; {did_you_mean(event.kind, KINDS)}")
    for what, text in (("experiment", event.experiment), ("run id", event.run_id)):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise RecordError(f"the {what} {text!r} is not valid Unicode; leave lone surrogates out") from error
    missing = [name for name in _REQUIRED.get(event.kind, ()) if name not in event.body]
    if missing:
        raise RecordError(f"an event of kind {event.kind!r} needs {missing[0]!r} in its body")
    if event.kind == "finding.judged" and event.body["verdict"] not in VERDICTS:
        raise RecordError(
            f"no verdict {event.body['verdict']!r:.80}; {did_you_mean(str(event.body['verdict']), VERDICTS)}"
        )
    for name, check in _CHECKED.items():
        value = event.body.get(name)
        if value is not None and event.kind.split(".")[0] in ("experiment", "run"):
            try:
                check(value)
            except (TypeError, ValueError, KeyError, AttributeError) as error:
                raise RecordError(
                    f"{name} = {value!r:.80} in an event of kind {event.kind!r} is not understood"
                ) from error


def finding_opened(finding: Finding) -> Event:
    """Return the event that puts a finding into the journal, or says anew what is known of it."""
    names = ("code", "title", "detector", "metric", "step", "p_value", "score")
    body = {name: getattr(finding, name) for name in names}
    body |= {"finding_id": finding.id, "severity": str(finding.severity), "evidence": dict(finding.evidence)}
    return Event.new(
        "finding.opened", finding.experiment, finding.run_id, time=finding.time, actor=finding.detector, **body
    )


def finding_in(event: Event) -> Finding:
    """Return the finding that ``finding_opened`` put into an event, as open as it was then.

    Raises
    ------
    KeyError, ValueError
        If the event says of no finding.
    """
    body = event.body
    return Finding(
        str(body["finding_id"]),
        run_id=event.run_id,
        experiment=event.experiment,
        code=str(body["code"]),
        title=str(body["title"]),
        severity=Severity(body["severity"]),
        detector=str(body.get("detector", "rules")),
        metric=body.get("metric"),
        step=body.get("step"),
        p_value=body.get("p_value"),
        score=body.get("score"),
        evidence=dict(body.get("evidence") or {}),
        time=event.time,
    )


def read_objectives(items: Iterable[Mapping[str, Any]]) -> tuple[Objective, ...]:
    """Return objectives from their JSON."""
    return tuple(Objective(str(item["metric"]), item.get("direction", "minimize")) for item in items)


def read_time(text: str | None) -> datetime | None:
    """Read an ISO time; one without a zone is taken as UTC."""
    if not text:
        return None
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _known_direction(objectives: Iterable[Mapping[str, Any]]) -> None:
    for objective in read_objectives(objectives):
        if objective.direction not in DIRECTIONS:
            raise ValueError(objective.direction)


_REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "experiment.renamed": ("to",),
    "run.moved": ("to",),
    "journal.checkpoint": ("through", "n", "hash"),
    "store.purged": ("links",),
    "experiment.attr": ("key",),
    "run.attr": ("key",),
    "run.param": ("name",),
    "run.reported": ("step", "value"),
    "run.state": ("state",),
    "run.summarized": ("summary",),
    "run.noted": ("text",),
    "run.tagged": ("tags",),
    "run.untagged": ("tags",),
    "finding.opened": ("finding_id", "code", "title", "severity"),
    "finding.state": ("finding_id", "state"),
    "finding.judged": ("finding_id", "verdict"),
    "finding.notified": ("finding_id", "channel"),
    "alert.queued": ("channel", "kind", "alerts", "message"),
    "alert.delivery": ("message_id", "channel", "state"),
    "alert.muted": ("scope", "target"),
    "alert.unmuted": ("scope", "target"),
    "suggestion.made": ("suggestion_id",),
    "suggestion.closed": ("suggestion_id", "reason"),
    "forecast.made": ("mean", "low", "high"),
    "stop.advised": ("reason",),
}


_CHECKED: Final[Mapping[str, Callable[[Any], object]]] = {
    "state": RunState,
    "values": lambda values: [float(value) for value in values],
    "objectives": _known_direction,
    "seed": operator.index,
    "started": read_time,
    "ended": read_time,
    "tags": list,
    "reports": lambda reports: {int(step): float(value) for step, value in reports.items()},
    "summary": lambda summary: {metric: figures.get("n") for metric, figures in summary.items()},
}
"""Fields of experiments' and runs' events that the fold reads as more than JSON."""
