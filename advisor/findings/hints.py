"""What to look at first, given how a run's curves differ from its siblings': one sentence of advice.

Leaves out certainty: a hint names the usual cause of a deviation; the evaluation on injected faults tells how often
it is the true one. Invariant: a deviation without an entry here gives no hint rather than a vague one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

LEAST_SIGMAS: Final = 2.0
"""A smaller deviation is no lead."""

LEAK: Final = (
    "it does better than its parameters let expect: look for the answer among the inputs, or test rows in training"
)
LOADER: Final = (
    "validation falls behind training: check that the loader still gives new examples, then that labels are right"
)
START: Final = "it begins unlike its siblings: check initialisation, input normalisation and what it was resumed from"
FROZEN: Final = (
    "its gradients are smaller from the start: check that all layers are trainable and the loss is not scaled"
)
STEEP: Final = "its gradients are larger: check the learning rate in use, gradient accumulation and input normalisation"
MIDWAY: Final = "something changed in the middle: check the data from there on, and whether the run was resumed there"
LEARNS_LESS: Final = "it learns less than its parameters let expect: check labels, inputs and the learning rate in use"
UNSTEADY: Final = "it is less steady than its parameters let expect: check the learning rate in use and the batches"
EVALUATION: Final = "validation is noisier than training: check that the model is in evaluation mode there"
SLOWER: Final = (
    "steps take longer than they did or than its siblings': check data loading and what else the machine does"
)
BROKEN: Final = "values are not finite: find the first such step, and the batch and the learning rate there"

HINTS: Final[Mapping[tuple[str, int], str]] = {
    ("loss_nonfinite", 1): BROKEN,
    ("validation_nonfinite", 1): BROKEN,
    ("validation_end", -1): LEAK,
    ("validation_score_end", -1): LEAK,
    ("validation_score_best", -1): LEAK,
    ("validation_gap_end", 1): LOADER,
    ("validation_gap_trend", 1): LOADER,
    ("validation_gap_step", 1): LOADER,
    ("validation_above_best", 1): LOADER,
    ("loss_start", 1): START,
    ("validation_start", 1): START,
    ("gradient_start", -1): FROZEN,
    ("gradient_start", 1): STEEP,
    ("gradient_end", 1): STEEP,
    ("loss_step_up", 1): MIDWAY,
    ("loss_draw_up", 1): MIDWAY,
    ("loss_jump", 1): MIDWAY,
    ("validation_step_up", 1): MIDWAY,
    ("validation_draw_up", 1): MIDWAY,
    ("gradient_step_up", 1): MIDWAY,
    ("gradient_step_down", 1): MIDWAY,
    ("gradient_jump", 1): MIDWAY,
    ("loss_end", 1): LEARNS_LESS,
    ("loss_drop", -1): LEARNS_LESS,
    ("validation_end", 1): LEARNS_LESS,
    ("validation_drop", -1): LEARNS_LESS,
    ("validation_score_end", 1): LEARNS_LESS,
    ("loss_slope_early", 1): LEARNS_LESS,
    ("loss_roughness", 1): UNSTEADY,
    ("gradient_roughness", 1): UNSTEADY,
    ("gradient_tail", 1): UNSTEADY,
    ("validation_roughness", 1): EVALUATION,
    ("validation_score_roughness", 1): EVALUATION,
    ("time_level", 1): SLOWER,
    ("time_trend", 1): SLOWER,
    ("time_step_up", 1): SLOWER,
    ("time_spread", 1): SLOWER,
}
SENTENCES: Final = frozenset(HINTS.values())
"""All that ``hint`` may say."""


def hint(names: Sequence[str], sigmas: Sequence[float]) -> str | None:
    """Return what to look at first: what the largest deviation that has an entry usually comes from.

    >>> hint(["loss_end", "time_trend"], [1.0, 7.5]) == SLOWER
    True
    """
    known = [
        (abs(sigma), HINTS[name, 1 if sigma > 0 else -1])
        for name, sigma in zip(names, sigmas, strict=True)
        if abs(sigma) >= LEAST_SIGMAS and (name, 1 if sigma > 0 else -1) in HINTS
    ]
    return max(known, key=lambda pair: pair[0])[1] if known else None
