"""What another tool says of a run beside its curves, as our events: redacted, bounded, compared with what is known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from advisor.redact import redact, scrub
from advisor.sources.port import SourceExperiment, SourceRun
from advisor.sources.reading import PARAMS_AT_MOST, plain
from storage.records import UNRECORDED_END, Event, Run, RunState, valid_text

NAME_AT_MOST: Final = 200
"""Characters of an experiment's or a run's name."""
WORDS_AT_MOST: Final = 256
"""Tags or notes of one run."""
NOTE_AT_MOST: Final = 100_000
ARTIFACTS_AT_MOST: Final = 200
"""Links of one run."""
NEWS_WITHIN: Final = timedelta(days=1)
"""A run that ended longer ago is no news when it is seen for the first time."""
_GIT: Final = {"git_commit": "commit", "git_branch": "branch", "git_remote": "remote", "git_dirty": "dirty"}


@dataclass(frozen=True, slots=True)
class Head:
    """A run's own fields, ready to be kept."""

    run_id: str
    experiment: str
    state: RunState
    body: Mapping[str, Any]
    """Of the event ``run.created``, without summary and values."""
    environment: Mapping[str, Any]
    values: Sequence[float] | None
    error: str | None
    ended: str | None
    about: SourceExperiment
    """Of its experiment; counts only where that is new."""

    def is_recent(self, now: datetime) -> bool:
        """Return whether the run goes on, or ended within a day."""
        if not self.state.is_over:
            return True
        return self.ended is not None and now - datetime.fromisoformat(self.ended) < NEWS_WITHIN

    def followed(self) -> Head:
        """Return the same of a run that somebody watches."""
        return replace(self, body={**self.body, "source": "followed"})

    def hash(self) -> str:
        """Return what changes when anything here does."""
        content = [self.experiment, str(self.state), self.body, self.environment, self.values, self.error, self.ended]
        return hashlib.sha256(json.dumps(content, default=str, sort_keys=True).encode()).hexdigest()[:16]


def id_of(tool: str, key: str, generation: int = 1) -> str:
    """Return the id that a run has here: its own where that is 32 hexadecimal digits, else made from tool and key.

    Parameters
    ----------
    generation
        Counts trainings that another one's files were replaced by, from 1.
    """
    if generation == 1 and len(key) == 32 and all(c in "0123456789abcdef" for c in key):
        return key
    again = f"\n{generation}" if generation > 1 else ""
    return hashlib.sha256(f"{tool}\n{key}{again}".encode(errors="replace")).hexdigest()[:32]


def state_of(run: SourceRun, *, now: datetime, quiet_s: float) -> RunState:
    """Return a run's state: as its tool says, else running until nothing has been written for a while."""
    if run.state is not None:
        return run.state
    is_active = run.active is not None and now - run.active < timedelta(seconds=quiet_s)
    return RunState.RUNNING if is_active else RunState.FINISHED


def head_of(
    run: SourceRun,
    *,
    tool: str,
    run_id: str,
    experiment: str | None,
    state: RunState,
    path: str,
    secrets: Sequence[str],
) -> Head:
    """Return what is kept of a run beside its curves.

    Parameters
    ----------
    experiment
        The name that a person gave; the tool's own where None.
    path
        Where it was read from.
    secrets
        See ``advisor.redact.redact``.
    """
    meta = {
        "tool": tool,
        "name": None if run.name is None else scrub(_line(run.name)),
        "source": path,
        "source_key": _line(run.key, 1_000),
        **_plain_values(run.meta),
    }
    if run.state is None:
        meta[UNRECORDED_END] = True
    if run.artifacts:
        meta["artifacts"] = [_plain_values(link) for link in list(run.artifacts)[:ARTIFACTS_AT_MOST]]
    ended = run.ended or (run.active if state.is_over else None)
    if ended is not None and run.started is not None:
        ended = max(ended, run.started)  # tools keep the two by different clocks, one of them often in whole seconds
    return Head(
        run_id,
        experiment=_line(experiment or run.experiment) or "imported",
        state=state,
        body={
            "state": str(state),
            "params": redact(_plain_values(run.params), secrets=secrets),
            "seed": run.seed if run.seed is not None and -(2**63) <= run.seed < 2**63 else None,
            "tags": [scrub(_line(tag)) for tag in list(run.tags)[:WORDS_AT_MOST] if str(tag).strip()],
            "notes": [
                scrub(valid_text(note)[:NOTE_AT_MOST]) for note in list(run.notes)[:WORDS_AT_MOST] if note.strip()
            ],
            "meta": redact({name: value for name, value in meta.items() if value is not None}, secrets=secrets),
            "user_attrs": redact(_plain_values(run.attributes), secrets=secrets),
            "distributions": {str(name): str(text) for name, text in run.distributions.items()},
            "started": None if run.started is None else run.started.isoformat(),
            "ended": None if ended is None else ended.isoformat(),
            "source": "import",
        },
        environment=redact(_environment(run.environment), secrets=secrets),
        values=None if run.values is None else [float(value) for value in run.values],
        error=None if run.error is None else scrub(valid_text(run.error)[:NOTE_AT_MOST]),
        ended=None if ended is None else ended.isoformat(),
        about=run.about,
    )


def created(head: Head, summary: Mapping[str, Any], *, time: datetime) -> list[Event]:
    """Return the events that bring a run into the store."""
    body = {**head.body, "summary": summary}
    if head.values is not None:
        body["values"] = head.values
    if head.error is not None:
        body["error"] = head.error
    events = [Event.new("run.created", head.experiment, head.run_id, time=time, actor="import", **body)]
    if head.environment:
        events.append(_event(head, "run.captured", time, **head.environment))
    return events


def changed(head: Head, known: Run, *, time: datetime) -> list[Event]:
    """Return the events that make a known run what the tool says now, but for its state.

    Of a run that is over in the store only tags, notes and the environment can still change.
    """
    events = []
    tags = [tag for tag in head.body["tags"] if tag not in known.tags]
    if tags:
        events.append(_event(head, "run.tagged", time, tags=tags))
    notes = [note for note in head.body["notes"] if note not in known.notes]
    events += [_event(head, "run.noted", time, text=note) for note in notes]
    if any(known.environment.get(name) != value for name, value in head.environment.items()):
        events.append(_event(head, "run.captured", time, **head.environment))
    if known.state.is_over:
        return events
    for kind, field, new, old in (
        ("run.param", "name", head.body["params"], known.params),
        ("run.attr", "key", head.body["user_attrs"], known.user_attrs),
    ):
        differing = [name for name, value in new.items() if name not in old or not _same(old[name], value)]
        events += [_event(head, kind, time, **{field: name, "value": new[name]}) for name in differing]
    return events


def ending(head: Head, known: Run, summary: Mapping[str, Any], *, time: datetime) -> list[Event]:
    """Return the event that ends a known run, where the tool says that it ended or began."""
    if head.state is known.state or known.state.is_over or head.state is RunState.WAITING:
        return []
    body: dict[str, Any] = {"state": str(head.state)}
    if head.state.is_over:
        body |= {"ended": head.ended, "error": head.error, "summary": summary}
        if head.values is not None:
            body["values"] = head.values
    return [_event(head, "run.state", time, **body)]


def summarized(head: Head, summary: Mapping[str, Any], *, time: datetime) -> Event:
    """Return the event that says what a run's curves are now."""
    return _event(head, "run.summarized", time, summary=summary)


def _event(head: Head, kind: str, time: datetime, **body: Any) -> Event:
    return Event.new(kind, head.experiment, head.run_id, time=time, actor="import", **body)


def _environment(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return code and machine as a run of our own has them, see ``advisor.tracking.capture``."""
    git = {ours: plain(flat[name]) for name, ours in _GIT.items() if flat.get(name) is not None}
    out = {str(name): plain(value) for name, value in flat.items() if name not in _GIT and value is not None}
    if "hostname" in out:
        out["host"] = out.pop("hostname")
    if "python" in out and not isinstance(out["python"], dict):
        out["python"] = {"version": str(out["python"])}
    if isinstance(out.get("command"), str):
        out["command"] = str(out["command"]).split()
    return out | ({"git": git} if git else {})


def _plain_values(values: Mapping[str, Any]) -> dict[str, Any]:
    some = list(values.items())[:PARAMS_AT_MOST]
    return {valid_text(str(name))[:500]: _valid(plain(value)) for name, value in some}


def _valid(value: Any) -> Any:
    if isinstance(value, str):
        return valid_text(value)
    return [_valid(one) for one in value] if isinstance(value, list) else value


def _line(text: str, most: int = NAME_AT_MOST) -> str:
    return " ".join(valid_text(str(text)).split())[:most]


def _same(old: Any, new: Any) -> bool:
    old = list(old) if isinstance(old, tuple) else old
    return bool(old == new) or (old != old and new != new)  # NaN is the same as NaN
