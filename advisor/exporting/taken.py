"""What is exported: runs with their curves, some at a time, and what was suggested and not started."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from storage.records import Curve, Experiment, Run

if TYPE_CHECKING:
    from advisor.app import Advisor

RUNS_AT_ONCE: Final = 200
"""Runs whose curves are in memory together."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote."""

    path: str
    _: KW_ONLY
    n_runs: int
    n_curves: int
    n_points: int = 0
    n_suggestions: int = 0
    """Suggestions that nobody has started and that the format holds."""
    notes: tuple[str, ...] = ()
    """What the format cannot hold and these runs have, in plain sentences."""


@dataclass
class Tally:
    """Counts what was written, and what was not."""

    n_runs: int = 0
    n_curves: int = 0
    n_points: int = 0
    n_suggestions: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    """Sentence with ``{n}`` → how often."""

    def saw(self, curves: Mapping[str, Curve]) -> None:
        """Count a run and its curves."""
        self.n_runs += 1
        self.n_curves += len(curves)
        self.n_points += sum(map(len, curves.values()))

    def exported(self, path: object) -> Exported:
        """Return the result."""
        notes = tuple(sentence.format(n=n) for sentence, n in self.left_out.items() if n)
        counts = {"n_runs": self.n_runs, "n_curves": self.n_curves, "n_points": self.n_points}
        return Exported(str(path), **counts, n_suggestions=self.n_suggestions, notes=notes)


def records(adv: Advisor, experiment: str | None) -> list[Experiment]:
    """Return the experiments to export.

    Raises
    ------
    ExperimentNotFoundError
        If there is none of that name.
    """
    return adv.store.experiments() if experiment is None else [adv.store.experiment(experiment)]


def runs_of(adv: Advisor, record: Experiment) -> Iterator[tuple[Run, Mapping[str, Curve]]]:
    """Yield an experiment's runs by number, each with its curves."""
    runs = adv.store.runs(record.name)
    for start in range(0, len(runs), RUNS_AT_ONCE):
        some = runs[start : start + RUNS_AT_ONCE]
        curves = adv.store.curves([run.id for run in some])
        for run in some:
            yield run, curves.get(run.id, {})


def open_suggestions(adv: Advisor, record: Experiment, runs: Sequence[Run]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return ids and parameters of the suggestions that somebody may start yet."""
    from advisor.asking import open_suggestions as still_open

    return still_open(adv.store.state(), record.name, runs, adv.clock())


def said_of(run: Run) -> dict[str, Any]:
    """Return what was said of a run beside its parameters: attributes, what another tracker said, tags by name."""
    out = {**run.meta, **run.user_attrs}
    for tag in run.tags:
        name, divider, value = re.fullmatch(r"([^=:]+)([=:]?)(.*)", tag, re.DOTALL).groups() if tag else ("", "", "")  # type: ignore[union-attr]
        out.setdefault(name if divider and value else tag, value if divider and value else "true")
    return out


def plain_id(run_id: str) -> str:
    """Return a run's id as any program takes it for a name of a file; ids of other programs may hold anything."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", run_id):
        return run_id
    return hashlib.sha256(run_id.encode(errors="replace")).hexdigest()[:32]


def folder_name(text: str, taken: set[str]) -> str:
    """Return a text as the name of a folder, another one for each call with the same ``taken``."""
    stem = re.sub(r"[^\w.\- ]+", "_", text).strip(" .")[:100] or "_"
    name, n = stem, 1
    while name.lower() in taken:  # some file systems take no notice of capitals
        n += 1
        name = f"{stem}~{n}"
    taken.add(name.lower())
    return name
