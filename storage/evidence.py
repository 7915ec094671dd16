"""The evidence of a finding in words: what each figure is, with its unit, for messages and pages.

Below the records, so that one shows itself with the same words as a document and a message. Leaves out how values are
written. Invariant: a name not known here is shown without its underscores, so no figure of a detector is ever hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

WORDS: Final[Mapping[str, str]] = {
    "above_best_nats": "above the best so far, in nats",
    "above_start_nats": "above the start, in nats",
    "ahead_nats": "ahead of the best sibling, in nats",
    "before": "value before",
    "best": "best value",
    "best_sibling": "best sibling run's value",
    "best_step": "step of the best value",
    "cost_s": "time lost, in seconds",
    "end": "value at the end",
    "epoch": "epoch",
    "flips": "changes of direction",
    "high_since_step": "high since step",
    "last_finite": "last finite value",
    "masked_by": "hidden behind",
    "median_sibling": "median of sibling runs",
    "n": "values looked at",
    "n_high": "high values",
    "n_missing": "missing values",
    "n_nonfinite": "values that are not finite",
    "n_repeated": "repeated batches",
    "n_siblings": "sibling runs",
    "n_spikes": "spikes",
    "nats": "size, in nats",
    "nearest_sibling_number": "nearest healthy sibling run",
    "outcome": "how it ended",
    "p": "p-value",
    "peak": "highest value",
    "ratio": "times the usual",
    "recovered": "recovered",
    "recovered_after": "steps until it recovered",
    "reference_s": "usual time a step, in seconds",
    "rhythm_s": "usual pause between log calls, in seconds",
    "seconds": "time a step, in seconds",
    "share": "share of the run",
    "share_first": "share at first",
    "share_now": "share now",
    "sigmas": "size, in robust standard deviations",
    "silent_s": "silent for, in seconds",
    "since_timed_step": "slow since step",
    "start": "value at the start",
    "train": "training value",
    "trained": "trainable parameters",
    "total": "parameters in all",
    "validation": "validation value",
    "value": "value",
}
"""What people read in place of a detector's own name for a figure."""
INNER: Final = frozenset(
    {"forest", "head", "hint", "how", "hyperparameters_regressed_out", "maximize", "nearest_sibling", "verb"}
)
"""What serves the program, or stands elsewhere in a message: ids, switches, scores of parts, advice."""
LIMIT: Final = "threshold_"
"""Names of thresholds begin with it."""


def worded(evidence: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return ``(what it is, value)`` of each figure that is worth showing, in the detector's order.

    >>> worded({"peak": 9.0, "threshold_nats": 2.0, "odd_name": 1, "verb": "take"})
    [('highest value', 9.0), ('threshold, in nats', 2.0), ('odd name', 1)]
    """
    return [(word_of(str(name)), value) for name, value in evidence.items() if name not in INNER]


def word_of(name: str) -> str:
    """Return what a figure of that name is."""
    if name in WORDS:
        return WORDS[name]
    if name.startswith(LIMIT):
        unit = {"nats": ", in nats", "sigmas": ", in standard deviations", "s": ", in seconds"}
        rest = name.removeprefix(LIMIT)
        return "threshold" + unit.get(rest, f": {rest.replace('_', ' ')}")
    return name.replace("_", " ")
