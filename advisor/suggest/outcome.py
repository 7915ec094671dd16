"""What a past run says about its parameters: objective values that can be ranked, or that it went wrong.

Which runs may be ranked is decided by ``Experiment.ranks``; here is what is learned from them and from others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from storage.records import Experiment, Objective, Run, RunState

INTERRUPTED: Final = "interrupted"
"""Tag of a run that was ended by hand, with the program that had started it; it says nothing of its parameters."""
SWEEP: Final = "sweep:"
"""What the tag begins with that the runs of one ``advisor optimize`` share."""
KILLED: Final = "killed"
"""Tag of a run whose command a signal ended while its sweep went on."""


def says_nothing(run: Run) -> bool:
    """Return whether how a run ended says nothing of its parameters: a person ended it, or its sweep died with it."""
    orphaned = run.state is RunState.CRASHED and KILLED not in run.tags
    return INTERRUPTED in run.tags or (orphaned and any(tag.startswith(SWEEP) for tag in run.tags))


def measured(experiment: Experiment, runs: Iterable[Run]) -> list[Run]:
    """Return the runs that came out with finite values, in their order; they may break constraints."""
    return [run for run in runs if experiment.came_out(run)]


def best_of(objective: Objective, values: Iterable[float]) -> float | None:
    """Return the best finite value, None where there is none."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    return min(finite) if objective.direction == "minimize" else max(finite)


def worse_than_all(objective: Objective, values: Sequence[float]) -> float:
    """Return a finite value a little worse than every finite one: what a run that went wrong counts as.

    The worst value plus a tenth of the distance between best and worst (at least one thousandth of the
    worst one's size, 1 where there is nothing to compare with). Samplers that rank see it last; those that
    regress are not blinded by an outlier.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return 1.0 if objective.direction == "minimize" else -1.0
    worst = max(finite) if objective.direction == "minimize" else min(finite)
    gap = 0.1 * (max(finite) / 2 - min(finite) / 2) * 2  # halved first: two huge floats must not overflow
    gap = max(gap, 1e-3 * abs(worst)) or 1.0
    beyond = worst + gap if objective.direction == "minimize" else worst - gap
    return beyond if math.isfinite(beyond) else worst
