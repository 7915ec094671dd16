"""In what a run goes beyond the finished ones it is compared with: its value so far, and words among its parameters.

Pure. Leaves out numbers among the parameters: with ten of them every second run lies outside in one, and is foretold as
well as others.

Invariant: a finished run is judged against the others alone, by the same rule as a run that is still to end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from advisor.references import SEED_NAMES
from advisor.suggest.curve_features import Floats
from advisor.suggest.infer import MAX_CHOICES
from storage.records import Run

BEHIND: Final = 2.5
"""Spread expected of a run whose value is worse than all others', as a multiple of that of a run among them. Chosen, as
the next two, so that intervals hold such runs about as often as others."""
AHEAD: Final = 1.5
"""The same for a run whose value is better than all others'."""
OTHER_WORD: Final = 1.5
"""The same for a word that no other run has, such as another optimizer."""
WORDS_TOLD: Final = 3
"""Most that a sentence names …"""
MAX_TOLD: Final = 60
"""… each with at most so many characters of the name and of the word."""


@dataclass(frozen=True, slots=True)
class Departure:
    """In what one run goes beyond others."""

    by_value: int
    """-1 where its last value is worse than all others' at the same progress, 1 where it is better, otherwise 0."""
    words: tuple[str, ...]
    """``name=value`` of each parameter with a word that no other run has."""

    @property
    def is_behind(self) -> bool:
        """Whether its last value is worse than all others'."""
        return self.by_value < 0

    @property
    def spread(self) -> float:
        """What the expected spread of the run's forecast is multiplied with, at least 1."""
        return {-1: BEHIND, 0: 1.0, 1: AHEAD}[self.by_value] * (OTHER_WORD if self.words else 1.0)

    def told(self) -> str:
        """Return in words what is beyond, empty where nothing is."""
        parts = []
        if self.by_value:
            parts.append(f"it was {'worse' if self.by_value < 0 else 'better'} than all of them by then")
        if self.words:
            more = f" and {len(self.words) - WORDS_TOLD} more" if len(self.words) > WORDS_TOLD else ""
            parts.append(f"none of them had {', '.join(self.words[:WORDS_TOLD])}{more}")
        return " and ".join(parts)


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """What finished runs span."""

    lasts: Floats
    """Shape (n,): last values at one progress; higher is better."""
    words: Mapping[str, Counter[str]]
    """How many runs have each word, by parameter. Free text, of which each run has its own, is left out."""

    @classmethod
    def of(cls, runs: Sequence[Run], lasts: Floats) -> Bounds:
        """Return what ``runs`` span; ``lasts`` has shape (runs,)."""
        counts: dict[str, Counter[str]] = {}
        for run in runs:
            for name, value in run.params.items():
                if _is_word(name, value):
                    counts.setdefault(name, Counter())[str(value)] += 1
        choices = {
            name: found for name, found in counts.items() if len(found) <= MAX_CHOICES and max(found.values()) > 1
        }
        return cls(lasts, choices)

    def departure(self, params: Mapping[str, Any], last: float, *, is_one_of_them: bool = False) -> Departure:
        """Return in what a run goes beyond the others.

        Parameters
        ----------
        params
            The run's parameters.
        last
            Its last value, on the scale of ``lasts``.
        is_one_of_them
            Whether the run is one of those that the bounds were made of; it is then compared with the rest.
        """
        itself = int(is_one_of_them)
        by_value = 0
        if int(np.count_nonzero(self.lasts <= last)) == itself:
            by_value = -1
        elif int(np.count_nonzero(self.lasts >= last)) == itself:
            by_value = 1
        words = tuple(
            f"{name[:MAX_TOLD]}={str(value)[:MAX_TOLD]}"
            for name, value in sorted(params.items())
            if _is_word(name, value) and name in self.words and self.words[name][str(value)] == itself
        )
        return Departure(by_value, words)


def _is_word(name: str, value: object) -> bool:
    return isinstance(value, (str, bool)) and name.lower() not in SEED_NAMES
