"""What an event says, in one sentence with its figures. Pure.

Which events there are to tell of, and in whose words runs are named, is the business of ``advisor.chronicle``.
Text from runs is not trusted: what comes out is one line of bounded length that holds no control character.
Invariant: every kind of event has words, one that is not known or cannot be read included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from types import MappingProxyType
from typing import Any, Final

from advisor.documents.untrusted import one_line
from advisor.redact import scrub
from storage.records import EMPTY, Event

LINE_MAX: Final = 300
"""Most characters of a sentence."""
VALUE_MAX: Final = 80
"""Most characters of one value in it; a note may take more."""
SHOWN: Final = 6
"""Parameters, tags and the like that are named; of more the number is said."""
PIECEMEAL: Final = frozenset({"run.param", "run.reported", "run.attr", "experiment.attr"})
"""What Optuna writes value by value, and is told of together."""
UNSAID: Final = frozenset({"writer.joined", "journal.checkpoint"})
"""The store's own book-keeping, which a folded history leaves out."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the sentence about an event needs beside the event."""

    run: str = "the run"
    """What its run is called."""
    _: KW_ONLY
    objective: str | None = None
    """The first objective of its experiment."""
    by: str = ""
    """``user@host`` of whoever wrote it."""
    number: int | None = None
    """Number that its run has now."""
    experiment: str = ""
    """Name that its run's experiment has now."""
    codes: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    """Codes of its run's findings, by finding id."""
    refused: bool = False
    """Whether it had no effect."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a history."""

    event: Event
    """The event that it tells of; of several, the last."""
    _: KW_ONLY
    text: str
    writer: Mapping[str, Any]
    """User, host, pid, program and python of whoever wrote it; empty where that is not recorded."""
    n_events: int = 1
    """Events that it tells of."""

    @property
    def who(self) -> str:
        """``user@host``, or the part of the program where that is not recorded."""
        return name_of(self.writer) or one_line(self.event.actor, limit=VALUE_MAX)

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        event = self.event
        return {
            "id": event.id,
            "time": event.time,
            "kind": event.kind,
            "experiment": event.experiment,
            "run_id": event.run_id or None,
            "actor": event.actor,
            "who": {name: self.writer.get(name) for name in ("user", "host", "program")},
            "text": self.text,
            "seq": event.seq,
            "hash": event.hash.hex(),
        }


def name_of(writer: Mapping[str, Any]) -> str:
    """Return ``user@host`` of a writer, "" where it is not known."""
    host = writer.get("host")
    return one_line(f"{writer.get('user')}@{host}", limit=VALUE_MAX) if host else ""


def words(event: Event, context: Context = Context()) -> str:
    """Return what an event says.

    >>> words(Event.new("run.tagged", "digits", "r", tags=["baseline"]), Context("run #3"))
    'run #3 tagged baseline'
    """
    say = _WORDS.get(event.kind)
    try:
        text = f"{event.kind}: not known to this version" if say is None else say(event.body, event, context)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        text = f"{event.kind}: what it says cannot be read"
    return one_line(text + (" (it had no effect)" if context.refused else ""), limit=LINE_MAX)


def lines(
    events: Iterable[Event],
    context_of: Callable[[Event], Context],
    writers: Mapping[str, Mapping[str, Any]],
    *,
    folded: bool = True,
) -> list[Line]:
    """Return the history that events in their order make up.

    Parameters
    ----------
    context_of
        Called for each event that is told of.
    writers
        Who wrote, by ``Event.writer``.
    folded
        Whether what Optuna wrote of a run piece by piece is told of in one line, and book-keeping not at all.
    """
    out: list[tuple[int, Line]] = []
    waiting: dict[tuple[str, str], list[tuple[int, Event]]] = {}

    def tell(group: Sequence[tuple[int, Event]]) -> None:
        at, last = group[-1]
        context = context_of(last)
        text = words(last, context) if len(group) == 1 else _together([event for _, event in group], context)
        out.append((at, Line(last, text=text, writer=writers.get(last.writer, EMPTY), n_events=len(group))))

    for at, event in enumerate(events):
        about = (event.experiment, event.run_id)
        if folded and event.kind in UNSAID:
            continue
        if folded and event.kind in PIECEMEAL and event.actor == "optuna":
            waiting.setdefault(about, []).append((at, event))
            continue
        if about in waiting:
            tell(waiting.pop(about))
        tell([(at, event)])
    for group in waiting.values():
        tell(group)
    return [line for _, line in sorted(out, key=lambda pair: pair[0])]


def _together(events: Sequence[Event], context: Context) -> str:
    names = {"run.param": "parameter", "run.reported": "value", "run.attr": "attribute", "experiment.attr": "attribute"}
    kinds = [event.kind for event in events for _ in event.body.get("reports") or (None,)]  # one event, several values
    parts = [_count(kinds.count(kind), name) for kind, name in names.items() if kind in kinds]
    said = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
    about = f"{context.run}: " if events[0].run_id else "experiment: "
    return one_line(f"{about}{said} reported through Optuna", limit=LINE_MAX)


# -- values


def _text(value: Any, limit: int = VALUE_MAX) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower() if value is not None else "none"
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else f"{value:.4g}"
    return one_line(str(value), limit=limit) or "''"


def _count(n: int, one: str) -> str:
    return f"{n:,} {one}{'' if n == 1 else 's'}"


def _listed(items: Iterable[str]) -> str:
    known = list(items)
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return ", ".join(known[:SHOWN]) + more


def _pairs(mapping: Mapping[str, Any] | None) -> str:
    return _listed(f"{_text(name, 40)}={_text(value, 40)}" for name, value in (mapping or {}).items())


def _size(n_bytes: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} GB"


def _objectives(items: Iterable[Mapping[str, Any]] | None) -> str:
    return ", ".join(f"{_text(each.get('direction', 'minimize'))} {_text(each['metric'])}" for each in items or ())


def _space(space: Mapping[str, Mapping[str, Any]] | None) -> str:
    return _listed(f"{_text(name, 40)} {_range(dimension)}" for name, dimension in (space or {}).items()) or "none"


def _range(dimension: Mapping[str, Any]) -> str:
    if "choices" in dimension:
        return " | ".join(_text(choice, 20) for choice in dimension["choices"][:SHOWN])
    log = " (log)" if dimension.get("log") else ""
    return f"{_text(dimension.get('low'))}…{_text(dimension.get('high'))}{log}"


def _result(body: Mapping[str, Any], context: Context) -> str:
    """Return what a run that ended came to: ``: val_loss 0.173 after 25 steps``."""
    summary = body.get("summary") or {}
    metric = context.objective if context.objective in summary else next(iter(summary), None)
    figures = summary.get(metric) or {}
    values = body.get("values")
    parts = []
    if values:
        parts.append(f"{_text(context.objective or 'value')} {', '.join(_text(float(value)) for value in values)}")
    elif metric is not None and figures.get("n"):
        last = figures.get("last_finite") if figures.get("last_finite") is not None else figures.get("last")
        parts.append(f"{_text(metric)} {_text(math.nan if last is None else float(last))}")
    if figures.get("n"):
        parts.append(f"after {_count(figures['n'], 'step')}")
    return ": " + " ".join(parts) if parts else ""


def _last_line(error: Any) -> str:
    written = [line for line in str(error or "").splitlines() if line.strip()]
    return f": {_text(scrub(written[-1]), 160)}" if written else ""


# -- kinds


def _updated(body: Mapping[str, Any], _event: Event, _context: Context) -> str:
    parts = []
    if "objectives" in body:
        parts.append(f"objective changed: {_objectives(body['objectives']) or 'none'}")
    if "space" in body:
        changes = _listed(_text(change, 120) for change in body.get("space_changes") or ())
        parts.append(f"search space changed: {changes or _space(body['space'])}")
    if "reduce" in body:
        parts.append(f"the value of a run is now its {_text(body['reduce'])}")
    if "description" in body:
        parts.append(f"description changed: {_text(body['description'], 120)}")
    if "problem" in body:
        parts.append(f"{', '.join(_text(name, 40) for name in body['problem']) or 'nothing'} said of the problem")
    return "; ".join(parts) or "experiment updated"


def _experiment_created(body: Mapping[str, Any], event: Event, _context: Context) -> str:
    objectives = _objectives(body.get("objectives"))
    space = f", {_count(len(body['space']), 'parameter')} to search" if body.get("space") else ""
    return f"experiment {_text(event.experiment)} created{': ' if objectives else ''}{objectives}{space}"


def _run_created(body: Mapping[str, Any], event: Event, context: Context) -> str:
    state, source = body.get("state", "running"), body.get("source")
    params = f" with {_pairs(body['params'])}" if body.get("params") else ""
    if state == "running":
        return f"{context.run} started{params}"
    if state == "waiting":
        return f"{context.run} queued{params}"
    how = "imported" if source == "import" else "recorded"
    return f"{context.run} {how} as {_text(state)}{_result(body, context)}{params}"


def _run_state(body: Mapping[str, Any], event: Event, context: Context) -> str:
    state = str(body["state"])
    not_kept = f"; not kept: {_text(body['not_kept'])}" if body.get("not_kept") else ""
    if state == "running":
        return f"{context.run} started"
    if state == "crashed":
        by = f" (recovered by {context.by})" if event.actor == "recovery" and context.by else ""
        return f"{context.run} crashed{by}{_result(body, context)}{not_kept}"
    if state == "failed":
        return f"{context.run} failed{_last_line(body.get('error')) or _result(body, context)}{not_kept}"
    ended = "stopped early" if state == "pruned" else _text(state)
    return f"{context.run} {ended}{_result(body, context)}{not_kept}"


def _run_reported(body: Mapping[str, Any], _event: Event, context: Context) -> str:
    last = f"{_text(body['value'])} at step {_text(body['step'])}"
    several = body.get("reports")
    return f"{context.run} reported {_count(len(several), 'value') + ', last ' if several else ''}{last}"


def _run_moved(body: Mapping[str, Any], _event: Event, context: Context) -> str:
    to = str(body["to"])
    number = f" as #{context.number}" if context.number is not None and to == context.experiment else ""
    return f"{context.run} moved to {_text(to)}{number}"


def _captured(body: Mapping[str, Any], _event: Event, context: Context) -> str:
    parts = []
    git = body.get("git") or {}
    if git.get("commit"):
        diff = len(git.get("diff") or "")
        dirty = f" with uncommitted changes ({_size(diff)})" if git.get("dirty") else ""
        parts.append(f"commit {_text(git['commit'], 10).rstrip('…')[:9]}{dirty}")
    if (body.get("python") or {}).get("version"):
        parts.append(f"Python {_text(body['python']['version'], 20)}")
    if body.get("libraries"):
        n = len(body["libraries"])
        parts.append("1 library" if n == 1 else f"{n:,} libraries")
    if body.get("host"):
        parts.append(f"on {_text(body['host'], 40)}")
    return f"environment of {context.run} captured{': ' if parts else ''}{', '.join(parts)}"


def _artifact(body: Mapping[str, Any], _event: Event, context: Context) -> str:
    size = f" ({_size(float(body['size']))})" if body.get("size") is not None else ""
    return f"{context.run} saved {_text(body.get('name'))}{size}"


def _data(body: Mapping[str, Any], _event: Event, context: Context) -> str:
    shape = body.get("shape")
    return f"{context.run} uses data {_text(body.get('name'))}{f', shape {_text(shape, 40)}' if shape else ''}"


def _code(body: Mapping[str, Any], context: Context) -> str:
    return f"finding {_text(context.codes.get(str(body['finding_id']), body['finding_id']), 40)}"


def _judged(body: Mapping[str, Any], _event: Event, context: Context) -> str:
    meaning = {"ok": "ok, a false alarm", "real": "real"}.get(str(body["verdict"]), _text(body["verdict"]))
    note = f": {_text(body['note'], 200)}" if body.get("note") else ""
    return f"{_code(body, context)} on {context.run} judged {meaning}{note}"


def _tags(tags: Sequence[Any]) -> str:
    return _listed(_text(tag, 40) for tag in tags)


def _document(body: Mapping[str, Any], _event: Event, _context: Context) -> str:
    path = f" to {_text(body['path'], 120)}" if body.get("path") else ""
    return f"{_text(body.get('kind') or 'document')} written{path}: {_text(body.get('title') or 'no title', 120)}"


def _joined(body: Mapping[str, Any], _event: Event, _context: Context) -> str:
    return (
        f"{name_of(body) or 'somebody'} began to write: {_text(body.get('program'))}, process {_text(body.get('pid'))}"
    )


def _purged(body: Mapping[str, Any], _event: Event, _context: Context) -> str:
    n_runs = f" of {_count(len(body['runs']), 'run')}" if body.get("runs") else ""
    return f"{_count(len(body['links']), 'event')}{n_runs} deleted long ago removed for good"


def _merged(body: Mapping[str, Any], _event: Event, _context: Context) -> str:
    taken = [
        f"{_count(int(body[key]), noun)}" for key, noun in (("n_runs", "run"), ("n_events", "event")) if key in body
    ]
    source = f" from {_text(scrub(str(body['source'])), 120)}" if body.get("source") else ""
    return f"another store merged into this one{source}{': ' if taken else ''}{', '.join(taken)}"


Say = Callable[[Mapping[str, Any], Event, Context], str]

_WORDS: Final[Mapping[str, Say]] = MappingProxyType(
    {
        "experiment.created": _experiment_created,
        "experiment.updated": _updated,
        "experiment.renamed": lambda body, event, _: f"{_text(event.experiment)} renamed to {_text(body['to'])}",
        "experiment.deleted": lambda _, event, __: f"experiment {_text(event.experiment)} deleted",
        "experiment.restored": lambda _, event, __: f"experiment {_text(event.experiment)} restored",
        "experiment.attr": lambda body, _, __: f"attribute {_text(body['key'])} = {_text(body.get('value'))}",
        "run.created": _run_created,
        "run.param": lambda body, _, c: f"{c.run}: parameter {_text(body['name'])} = {_text(body.get('value'))}",
        "run.reported": _run_reported,
        "run.attr": lambda body, _, c: f"{c.run}: attribute {_text(body['key'])} = {_text(body.get('value'))}",
        "run.state": _run_state,
        "run.deleted": lambda _, __, c: f"{c.run} deleted",
        "run.restored": lambda _, __, c: f"{c.run} restored",
        "run.moved": _run_moved,
        "run.captured": _captured,
        "run.summarized": lambda body, _, c: f"figures of {c.run} worked out anew: {_tags(list(body['summary']))}",
        "run.noted": lambda body, _, c: f"note on {c.run}: {_text(body['text'], 200)}",
        "run.tagged": lambda body, _, c: f"{c.run} tagged {_tags(body['tags'])}",
        "run.untagged": lambda body, _, c: f"tag {_tags(body['tags'])} taken off {c.run}",
        "run.data": _data,
        "run.artifact": _artifact,
        "finding.opened": lambda body, _, c: (
            f"finding {_text(body['code'])} opened on {c.run}: {_text(body['title'], 200)}"
        ),
        "finding.state": lambda body, _, c: f"{_code(body, c)} on {c.run} {_text(body['state'])}",
        "finding.judged": _judged,
        "finding.notified": lambda body, _, c: (
            f"{_code(body, c)} on {c.run} sent to {_text(scrub(str(body['channel'])))}"
        ),
        "alert.queued": lambda body, _, __: (
            f"message for {_text(scrub(str(body['channel'])))} written: {_text(body.get('title') or body['kind'], 160)}"
        ),
        "alert.delivery": lambda body, _, __: (
            f"message {_text(str(body['message_id'])[:8])} for {_text(scrub(str(body['channel'])))} "
            f"{_text(body['state'])}{': ' + _text(body['why'], 160) if body.get('why') else ''}"
        ),
        "alert.muted": lambda body, _, __: (
            f"{_text(body['scope'])} {_text(body['target'])} muted"
            f"{' until ' + _text(body['until']) if body.get('until') else ''}"
        ),
        "alert.unmuted": lambda body, _, __: f"{_text(body['scope'])} {_text(body['target'])} no longer muted",
        "suggestion.closed": lambda body, _, __: f"suggestion taken back: {_text(body['reason'], 160)}",
        "forecast.made": lambda body, _, context: (
            f"{context.run} forecast to end at {_text(body['mean'])} ({_text(body['low'])} to {_text(body['high'])})"
        ),
        "stop.advised": lambda body, _, context: f"{context.run} advised to stop: {_text(body['reason'], 160)}",
        "suggestion.made": lambda body, _, __: f"suggestion made: {_pairs(body.get('params')) or 'no parameters'}",
        "document.written": _document,
        "writer.joined": _joined,
        "journal.checkpoint": lambda body, _, __: (
            f"checkpoint over {_count(int(body['n']), 'event')}: {_text(body['hash'], 65)}"
        ),
        "store.purged": _purged,
        "store.merged": _merged,
    }
)


def told_kinds() -> frozenset[str]:
    """Return the kinds of events that have words of their own."""
    return frozenset(_WORDS)
