"""What is worked out of a run once: where it lies in a space, what makes it equal to another, whether it went wrong.

An ask looks at every run of an experiment, and most of them are those of the last ask. Runs are frozen, so what was
worked out of one holds as long as the record is the same object.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.suggest.dimensions import Choice, plain
from advisor.suggest.geometry import coordinates
from advisor.suggest.keyed import Keyed
from advisor.suggest.space import Space
from storage.records import Experiment, Run

CLIP_MARGIN: Final = 0.1
"""How far outside today's range, as a share of it on its scale, a value may be to count as its border."""
MAX_KEPT: Final = 50_000
"""Runs of one space that are remembered, some 300 bytes each."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One run in one space."""

    run: Run
    params: Mapping[str, Any] | None
    """What the space knows of its parameters, brought inside; None where one is too far outside to be the border."""
    clipped: bool
    """Whether any had to be moved."""
    complete: bool
    """Whether no parameter that has a meaning is missing."""
    over: bool
    """Whether it has ended."""
    wrong: bool
    """Whether it failed, crashed or diverged."""
    key: str
    """What makes two points the same (``Space.key``)."""
    coordinates: NDArray[np.float64]
    """Shape (d,), of ``params``."""
    ended: float
    """When it ended, or was made, in seconds."""


class Remembered:
    """The runs of an experiment in one space."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._kept: dict[str, Place] = {}

    def places(self, experiment: Experiment, runs: Sequence[Run]) -> list[Place]:
        """Return what is known of runs, in their order."""
        kept = self._kept
        found = [kept.get(run.id) for run in runs]
        new = [run for run, place in zip(runs, found, strict=True) if place is None or place.run is not run]
        if len(kept) + len(new) > MAX_KEPT:
            kept.clear()
        placed = _placed(self._space, experiment, new)
        kept.update((place.run.id, place) for place in placed)
        following = iter(placed)
        return [
            next(following) if place is None or place.run is not run else place
            for run, place in zip(runs, found, strict=True)
        ]


def remembered(experiment: Experiment, space: Space) -> Remembered:
    """Return what is remembered of an experiment's runs in a space, which is the same object for equal ones."""
    return _remembered(Keyed((experiment.objectives, repr(space)), space))


@functools.lru_cache(maxsize=16)
def _remembered(space: Keyed[Space]) -> Remembered:
    return Remembered(space.value)


def _placed(space: Space, experiment: Experiment, runs: Sequence[Run]) -> list[Place]:
    inside = [place(space, run.params) for run in runs]
    points = coordinates(space, [placed or {} for placed, _ in inside])
    return [
        Place(
            run,
            placed,
            clipped,
            placed is not None and not space.missing(placed),
            run.state.is_over,
            experiment.went_wrong(run),
            space.key(run.params),
            point,
            (run.ended or run.created).timestamp(),
        )
        for run, (placed, clipped), point in zip(runs, inside, points, strict=True)
    ]


def place(space: Space, params: Mapping[str, Any]) -> tuple[dict[str, Any] | None, bool]:
    """Return the parameters that the space knows, brought inside it, and whether any had to be moved.

    None where a value is too far outside to stand for the border.
    """
    placed: dict[str, Any] = {}
    clipped = False
    params = space.active(params, fill=True)
    for name, dimension in space.items():
        value = params.get(name)
        if isinstance(dimension, Choice):
            if name not in params:
                continue
            if dimension.index(value) is None:
                return None, False
            placed[name] = dimension.nearest(value)
            continue
        position = dimension.unit(value)
        if position is None:  # absent, null, NaN or text
            continue
        if not -CLIP_MARGIN <= position <= 1 + CLIP_MARGIN or (dimension.low == dimension.high != value):
            return None, False
        clipped |= dimension.problem(value) is not None
        placed[name] = plain(dimension, dimension.nearest(value))
    return placed, clipped
