"""A fact and a sheet of facts: every figure and name that a document may contain.

A fact has an id, a value, its unit, the words that say what it is, and where it comes from. Leaves out which
facts there are (see ``facts``, ``run_facts``). Invariant: a sheet has one spelling and one hash.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, Literal

from advisor.documents import numbers
from advisor.documents.untrusted import one_line
from storage.records import Direction, Objective, Run

FactKind = Literal[
    "count", "value", "delta", "share", "rank", "name", "duration", "importance", "setting", "absence", "account"
]
"""``account`` is for figures of the advisor's own record: its own sentences state them, a model's may not."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One number or name computed from the store."""

    id: str
    """Unique in its sheet; a sentence refers to it as ``{{id}}``."""
    _: KW_ONLY
    value: float | int | str | None
    """The value itself; None for an absence."""
    unit: str = ""
    """``s``, ``runs``, ``findings``, ``share``; empty for a metric's own scale."""
    label: str
    """What it is, in words, the metric's name included. A sentence that names it must agree with this."""
    text: str
    """How it is written; untrusted where it is a name."""
    kind: FactKind
    direction: Direction | None = None
    """Which way is better; None where there is no better."""
    source: str
    """Where it comes from: the run, or the field of the record."""
    about: str = ""
    """The metric or parameter that it measures; only facts about the same thing are compared."""

    @property
    def number(self) -> float | None:
        """The value as a number, None for names and absences."""
        return None if self.value is None or isinstance(self.value, str) else float(self.value)

    @property
    def precision(self) -> float | None:
        """What the last digit of its text stands for, on the scale of the value; None where it has no digits."""
        return None if self.number is None else numbers.precision(self.text)

    def as_json(self) -> dict[str, Any]:
        """Return the fact as JSON values; NaN and ±inf as strings."""
        value = self.value
        if isinstance(value, float) and not math.isfinite(value):
            value = "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
        return {
            "id": self.id,
            "value": value,
            "unit": self.unit,
            "precision": self.precision,
            "label": self.label,
            "text": self.text,
            "kind": self.kind,
            "direction": self.direction,
            "source": self.source,
            "about": self.about,
        }


@dataclass(frozen=True)
class FactSheet:
    """Facts in the order of their importance."""

    facts: tuple[Fact, ...]

    def __post_init__(self) -> None:
        if len(self._by_id) != len(self.facts):
            raise ValueError("two facts have the same id; ids of a sheet must be unique")

    def __iter__(self) -> Iterator[Fact]:
        return iter(self.facts)

    def __len__(self) -> int:
        return len(self.facts)

    def __contains__(self, fact_id: object) -> bool:
        return fact_id in self._by_id

    def __getitem__(self, fact_id: str) -> Fact:
        return self._by_id[fact_id]

    def get(self, fact_id: str) -> Fact | None:
        """Return a fact, None where there is none of that id."""
        return self._by_id.get(fact_id)

    def absent(self) -> tuple[Fact, ...]:
        """Return the facts that say what was not recorded."""
        return tuple(fact for fact in self.facts if fact.kind == "absence")

    @cached_property
    def _by_id(self) -> dict[str, Fact]:
        return {fact.id: fact for fact in self.facts}

    @cached_property
    def canonical(self) -> str:
        """The sheet as canonical JSON: one spelling for one content."""
        rows = [fact.as_json() for fact in self.facts]
        return json.dumps(rows, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON, hexadecimal."""
        return hashlib.sha256(self.canonical.encode("utf-8", "surrogatepass")).hexdigest()


def run_name(run: Run) -> str:
    """Return the short name of a run in its experiment."""
    return f"#{run.number}"


def metric_of(objective: Objective) -> str:
    """Return the objective's metric, fit to be shown."""
    return one_line(objective.metric, limit=60)


def measured(
    fact_id: str, value: float, label: str, objective: Objective, source: str, *, kind: FactKind = "value"
) -> Fact:
    """Return a fact on the objective's scale."""
    text = numbers.figure(value)
    metric = metric_of(objective)
    direction = objective.direction if kind == "value" else None
    return Fact(
        fact_id, value=value, label=label, text=text, kind=kind, direction=direction, source=source, about=metric
    )


def counted(fact_id: str, value: int, label: str, unit: str, source: str) -> Fact:
    """Return a number of things."""
    return Fact(
        fact_id, value=value, unit=unit, label=label, text=numbers.count(value), kind="count", source=source, about=unit
    )


def named(fact_id: str, run: Run, label: str) -> Fact:
    """Return a fact that names a run."""
    return Fact(fact_id, value=run.id, label=label, text=run_name(run), kind="name", source=f"run {run.id}")


def share_of(fact_id: str, value: float, label: str, source: str) -> Fact:
    """Return a share of one."""
    return Fact(
        fact_id, value=value, unit="share", label=label, text=numbers.percent(value), kind="share", source=source
    )


def timed(fact_id: str, seconds: float, label: str, source: str) -> Fact:
    """Return a length of time."""
    text = numbers.duration(seconds)
    return Fact(
        fact_id, value=seconds, unit="s", label=label, text=text, kind="duration", source=source, about="duration"
    )


MAX_SHARE = 10.0
"""A difference is given as a share of what it is against up to this; beyond, that was almost nothing."""


def relative(difference: float, against: float, *, other: float) -> float | None:
    """Return a difference as a share of one value; None where the two differ in sign, or it would tell nothing."""
    if not against * other > 0:
        return None
    share = difference / abs(against)
    return share if math.isfinite(share) and abs(share) < MAX_SHARE else None


def differing(fact_id: str, before: float, after: float, label: str, about: str, source: str) -> Iterator[Fact]:
    """Return a difference with its sign, and the same as a share of the value before where that tells something."""
    change = after - before
    text = numbers.signed(change)
    yield Fact(fact_id, value=change, label=label, text=text, kind="delta", source=source, about=about)
    share = relative(change, before, other=after)
    if share is not None:
        text = numbers.signed_percent(share)
        yield Fact(
            f"{fact_id}_share", value=share, unit="share", label=f"{label}, relative to it", text=text, kind="share",
            source=source,
        )  # fmt: skip


def setting(fact_id: str, value: Any, label: str, text: str, source: str, about: str) -> Fact:
    """Return the value of a parameter."""
    plain = value if isinstance(value, (int, float)) and not isinstance(value, bool) else text
    return Fact(fact_id, value=plain, label=label, text=text, kind="setting", source=source, about=about)
