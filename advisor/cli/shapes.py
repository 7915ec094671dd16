"""Experiments as the command line shows them: their JSON form; and ids short enough to type.

That of a run is in ``advisor.shapes``. A contract with other programs: fields are added, never renamed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from advisor.experiment import Experiment

SHORT_ID: Final = 8
"""Fewest characters of an id that are shown."""


def experiment_json(experiment: Experiment) -> dict[str, Any]:
    """Return the JSON form of an experiment, as ``advisor experiment`` prints it."""
    record, runs = experiment.record, experiment.runs()
    best = experiment.best()
    return {
        "experiment": record.name,
        "number": record.number,
        "objectives": [{"metric": each.metric, "direction": each.direction} for each in record.objectives],
        "reduce": record.reduce,
        "space": record.space,
        "problem": dict(record.problem),
        "description": record.description,
        "n_runs": len(runs),
        "best_run_id": None if best is None else best.id,
        "best_objective": None if best is None else best.objective,
        "created": record.created,
    }


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """Return for each id a beginning that no other one shares.

    An id that another one begins with stands for itself, since ids are looked up whole first.

    >>> short_ids(["0123456789", "0123456780", "abcdefghij"])
    {'0123456780': '0123456780', '0123456789': '0123456789', 'abcdefghij': 'abcdefgh'}
    """
    ordered = sorted(set(ids))
    out = {}
    for i, one in enumerate(ordered):
        neighbours = ordered[max(i - 1, 0) : i] + ordered[i + 1 : i + 2]
        shared = max((_n_shared(one, other) for other in neighbours), default=0)
        out[one] = one[: max(SHORT_ID, shared + 1)]
    return out


def _n_shared(one: str, other: str) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
