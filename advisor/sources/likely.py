"""Guesses what an imported experiment is about: the metric that people would most likely name its objective."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from advisor.findings.roles import role_of
from storage.records import Run

SHARE: Final = 0.5
"""Of the runs that must have a metric for it to be guessed."""
SPLITS: Final = {"validation": 0, "unknown": 1, "train": 2}


def likely_objective(runs: Sequence[Run]) -> tuple[str, str] | None:
    """Return (metric, direction), None where no name says what it is.

    A validation loss comes before a validation score, what is not of a test set before what is, training last.
    """
    counts = Counter(metric for run in runs for metric in run.metrics)
    ranked = []
    for metric, n in counts.items():
        role = role_of(metric)
        if role.direction is not None and n >= SHARE * len(runs):
            rank = (SPLITS[role.split], "test" in metric.lower(), role.role != "loss", len(metric), metric)
            ranked.append((rank, metric, str(role.direction)))
    if not ranked:
        return None
    _, metric, direction = min(ranked)
    return metric, direction
