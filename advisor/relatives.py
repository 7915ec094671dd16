"""The runs that one run is held against: the best, the one it was made from, the nearest that is sound.

Leaves out what differs between them. Invariant: of an experiment of any size only a bounded number of runs is read, so
"nearest" means nearest of those that were run around the same time. A run that came out worse than half of them is
never called sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from advisor.documents.facts_beside import closest_earlier, recorded_parent
from advisor.findings.healthy import healthy, median_of
from storage import likeness
from storage.errors import RunNotFoundError
from storage.records import Run

if TYPE_CHECKING:
    from advisor.app import Advisor

AROUND: Final = 400
"""Runs that are looked at, half of them before the run and half behind it."""
MANY: Final = 5_000
"""Runs from which on constraints are left out of who is best: to keep them, all runs have to be read."""


@dataclass(frozen=True, slots=True)
class Relatives:
    """The runs that a run is held against; None where there is no such run."""

    best: Run | None
    """The best other run."""
    parent: Run | None
    """The run that it says it was made from, or else the earlier run from which the fewest parameters were changed."""
    parent_is_recorded: bool
    """Whether the run says so itself."""
    sibling: Run | None
    """The sound run with the most similar parameters."""


def relatives(adv: Advisor, run: Run, beside: Sequence[Run] | None = None) -> Relatives:
    """Return the runs that a run is held against.

    Parameters
    ----------
    beside
        What ``around`` returned just now; read where None.
    """
    near = around(adv, run) if beside is None else beside
    recorded = recorded_parent(run, near)
    return Relatives(
        best=best_other(adv, run),
        parent=recorded or closest_earlier(run, near),
        parent_is_recorded=recorded is not None,
        sibling=_sibling(adv, run, near),
    )


def best_other(adv: Advisor, run: Run) -> Run | None:
    """Return the best run of a run's experiment, None where that is the run itself or none can be called so."""
    experiment = adv.experiment(run.experiment, create=False)
    few = adv.store.count(run.experiment) <= MANY
    best = experiment.best() if few else adv.store.best(experiment.name)
    return None if best is None or best.id == run.id else best


def nearest_healthy(adv: Advisor, run: Run) -> Run | None:
    """Return the sound run with the most similar parameters: what the run's findings name, or else one around it."""
    return _sibling(adv, run, None)


def _sibling(adv: Advisor, run: Run, near: Sequence[Run] | None) -> Run | None:
    near = around(adv, run) if near is None else near
    record, median = adv.store.experiment(run.experiment), median_of([*near, run])
    named = next((f.evidence["nearest_sibling"] for f in run.findings if "nearest_sibling" in f.evidence), None)
    if isinstance(named, str):
        try:
            found = healthy(record, [adv.store.run(named)], median=median)
        except RunNotFoundError:  # it was deleted since
            found = []
        if found:
            return found[0]
    if not run.params:
        return None
    sound = [one for one in healthy(record, near, median=median) if one.params]
    ranges = likeness.scales([run.params, *(one.params for one in sound)])
    likest = max(
        ((likeness.of_parameters(run.params, one.params, scales=ranges), -one.number, one) for one in sound),
        default=None,
        key=lambda found: found[:2],
    )
    return None if likest is None else likest[2]


def around(adv: Advisor, run: Run) -> list[Run]:
    """Return the other runs of a run's experiment that were started around the same time, in their order."""
    first = max(run.number - AROUND // 2, 0)
    found = adv.store.runs(run.experiment, limit=AROUND + 1, offset=first)
    return [one for one in found if one.id != run.id]
