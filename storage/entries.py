"""A run and an experiment within a fold: the record, what the fold must remember beside it, how both are kept. Pure.

Invariant: what is read back is equal to what was written, NaN, integers of any size and torn Unicode included.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import msgspec

from storage.events import read_objectives, read_time
from storage.records import (
    EMPTY,
    CurveLoader,
    Experiment,
    Finding,
    FindingState,
    Objective,
    Run,
    RunState,
    Severity,
    no_curves,
)


@dataclass(slots=True)
class Entry:
    """A run as a fold holds it. The record is frozen and replaced at each change; the entry is the fold's own."""

    run: Run
    exp: int
    """Number of the experiment that it belongs to."""
    seen: set[str] = field(default_factory=set)
    """Ids of the events that it has taken: a second arrival changes nothing, however late."""
    told: tuple[float, ...] | None = None
    """Objective values that were told, not read off a curve."""
    deleted: datetime | None = None
    """When the run itself was deleted; None where it was not, or was restored."""
    hidden: bool = False
    """Whether readers do not see it: it is deleted, or its experiment is."""
    dirty: bool = True
    """Whether the kept fold does not have its latest state yet."""


@dataclass(slots=True)
class Book:
    """An experiment as a fold holds it."""

    record: Experiment
    next_number: int = 0
    """Number of the next run; numbers are never used twice."""
    deleted: datetime | None = None
    seen: set[str] = field(default_factory=set)
    """Ids of the experiment's own events."""


_MAPPINGS: Final = ("params", "summary", "environment", "meta", "distributions", "user_attrs", "system_attrs")
_PLAIN: Final = ("number", "ordinal", "experiment", "seed", "error", "source", "suggestion_id")
_TUPLES: Final = ("values", "tags", "notes")
_TIMES: Final = ("created", "started", "ended")
_FINDING: Final = ("id", "code", "title", "detector", "metric", "step", "p_value", "score", "verdict")

_SEAL: Final = struct.Struct("<cI")

_NO_OBJECTIVES: Final[Mapping[int, Sequence[Objective]]] = MappingProxyType({})

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def sealed(content: bytes) -> bytes:
    """Return content behind its checksum: the tables of the database have none."""
    return _SEAL.pack(b"c", zlib.crc32(content)) + content


def unsealed(data: bytes) -> bytes:
    """Return what ``sealed`` was given; content of earlier versions, which has no checksum, as it is.

    Raises
    ------
    ValueError
        If the checksum does not hold.
    """
    if data[:1] != b"c":
        return data
    content = data[_SEAL.size :]
    if len(data) < _SEAL.size or _SEAL.unpack_from(data)[1] != zlib.crc32(content):
        raise ValueError("its checksum does not hold")
    return content


def encode(entry: Entry) -> bytes:
    """Return an entry as bytes: msgpack, or JSON where a value needs it (huge integers, lone surrogates)."""
    run = entry.run
    out: dict[str, Any] = {"id": run.id, "state": str(run.state), "exp": entry.exp, "hidden": entry.hidden}
    out |= {name: value for name in _PLAIN if (value := getattr(run, name)) is not None}
    out |= {name: _plain(value) for name in _MAPPINGS if (value := getattr(run, name))}
    out |= {name: list(value) for name in _TUPLES if (value := getattr(run, name))}
    out |= {name: value.isoformat() for name in _TIMES if (value := getattr(run, name)) is not None}
    if run.data:
        out["data"] = [_plain(each) for each in run.data]
    if run.artifacts:
        out["artifacts"] = [_plain(each) for each in run.artifacts]
    if run.reports:
        out["reports"] = [list(run.reports), list(run.reports.values())]
    if run.findings:
        out["findings"] = [_finding_out(finding) for finding in run.findings]
    if entry.told is not None:
        out["told"] = list(entry.told)
    if entry.deleted is not None:
        out["deleted"] = entry.deleted.isoformat()
    seen = sorted(entry.seen)
    out["seen"] = "".join(seen) if all(map(_is_plain_id, seen)) else seen
    try:
        return sealed(b"m" + _encode(out))
    except (OverflowError, UnicodeEncodeError, TypeError):
        return sealed(b"j" + json.dumps(out).encode())


def decode(
    data: bytes,
    *,
    load_curves: CurveLoader = no_curves,
    objectives: Mapping[int, Sequence[Objective]] = _NO_OBJECTIVES,
) -> Entry:
    """Return the entry that ``encode`` wrote; it is clean.

    Parameters
    ----------
    objectives
        Those of each experiment, by its number: what was told of a run has their names among its metrics.

    Raises
    ------
    ValueError
        If it is not what was written.
    """
    data = unsealed(data)
    raw: dict[str, Any] = _decode(data[1:]) if data[:1] == b"m" else json.loads(data[1:])
    summary = raw.get("summary", {})
    told = tuple(raw["told"]) if "told" in raw else None
    reports = raw.get("reports")
    fields: dict[str, Any] = {name: raw[name] for name in _PLAIN if name in raw}
    fields |= {name: MappingProxyType(raw[name]) if name in raw else EMPTY for name in _MAPPINGS}
    fields |= {name: tuple(raw.get(name, ())) for name in _TUPLES}
    fields |= {name: datetime.fromisoformat(raw[name]) for name in _TIMES if name in raw}
    fields |= {
        "metrics": last_values(summary, objectives.get(raw["exp"], ()), told),
        "data": tuple(MappingProxyType(each) for each in raw.get("data", ())),
        "artifacts": tuple(MappingProxyType(each) for each in raw.get("artifacts", ())),
        "reports": MappingProxyType(dict(zip(*reports, strict=True))) if reports else EMPTY,
        "findings": tuple(_finding_in(each, raw) for each in raw.get("findings", ())),
    }
    run = Run(raw["id"], state=RunState(raw["state"]), _load_curves=load_curves, **fields)
    seen = raw["seen"]
    return Entry(
        run,
        exp=raw["exp"],
        seen={seen[i : i + _ID] for i in range(0, len(seen), _ID)} if isinstance(seen, str) else set(seen),
        told=told,
        deleted=datetime.fromisoformat(raw["deleted"]) if "deleted" in raw else None,
        hidden=raw["hidden"],
        dirty=False,
    )


def last_values(
    summary: Mapping[str, Mapping[str, Any]],
    objectives: Sequence[Objective] = (),
    told: Sequence[float] | None = None,
) -> Mapping[str, float]:
    """Return the last value of each curve that has any, NaN where it is not known.

    An objective that was told and has no curve stands among them with what was told: there is no later value of it.
    """
    logged = {
        name: float("nan") if figures.get("last") is None else float(figures["last"])
        for name, figures in summary.items()
        if figures.get("n")
    }
    named = {} if told is None else {each.metric: value for each, value in zip(objectives, told, strict=False)}
    return MappingProxyType(named | logged)


_ID: Final = 32


def _is_plain_id(event_id: str) -> bool:
    return len(event_id) == _ID


def _plain(value: Any) -> Any:
    """Return nested mappings as dicts."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _finding_out(finding: Finding) -> dict[str, Any]:
    out = {name: value for name in _FINDING if (value := getattr(finding, name)) is not None}
    out |= {"severity": str(finding.severity), "state": str(finding.state), "evidence": _plain(finding.evidence)}
    if finding.time is not None:
        out["time"] = finding.time.isoformat()
    return out


def _finding_in(raw: Mapping[str, Any], run: Mapping[str, Any]) -> Finding:
    return Finding(
        raw["id"],
        run_id=run["id"],
        experiment=run["experiment"],
        severity=Severity(raw["severity"]),
        state=FindingState(raw["state"]),
        evidence=MappingProxyType(raw["evidence"]) if raw["evidence"] else EMPTY,
        time=datetime.fromisoformat(raw["time"]) if "time" in raw else None,
        **{name: raw[name] for name in _FINDING[1:] if name in raw},
    )


def book_out(book: Book) -> dict[str, Any]:
    """Return an experiment as JSON values."""
    record = book.record
    return {
        "name": record.name,
        "number": record.number,
        "objectives": [[each.metric, each.direction] for each in record.objectives],
        "reduce": record.reduce,
        "space": record.space,
        "description": record.description,
        "problem": _plain(record.problem),
        "created": record.created.isoformat(),
        "user_attrs": dict(record.user_attrs),
        "system_attrs": dict(record.system_attrs),
        "next_number": book.next_number,
        "deleted": None if book.deleted is None else book.deleted.isoformat(),
        "seen": sorted(book.seen),
    }


def book_in(raw: Mapping[str, Any]) -> Book:
    """Return the experiment that ``book_out`` wrote."""
    record = Experiment(
        raw["name"],
        number=raw["number"],
        objectives=read_objectives({"metric": metric, "direction": way} for metric, way in raw["objectives"]),
        reduce=raw["reduce"],
        space=raw["space"],
        description=raw["description"],
        problem=frozen(raw.get("problem")),
        created=datetime.fromisoformat(raw["created"]),
        user_attrs=frozen(raw["user_attrs"]),
        system_attrs=frozen(raw["system_attrs"]),
    )
    return Book(record, next_number=raw["next_number"], deleted=read_time(raw["deleted"]), seen=set(raw["seen"]))


def frozen(mapping: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return a read-only copy; of nothing the one empty mapping."""
    return MappingProxyType(dict(mapping)) if mapping else EMPTY
