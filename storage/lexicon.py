"""What people call what happens to trainings: the words by which a finding, a state or an error is asked for.

A finding says "train_loss is not finite from step 12 on"; who looks for it says "blew up", "exploded", "went to NaN".
So each finding code carries such phrases into the index, where they are searched as words and, one by one, as
vectors; and a question that uses one phrase of a concept also finds the others, which is all that can be done about
paraphrase where there is no text encoder.

Left out: names of models, data and optimizers, which are no synonyms of each other, and numbers, which filters find.

Invariant: phrases are reviewed by hand and few; each is one that people say of a training, and none is taken from the
held-out questions of ``evals/search``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Concept:
    """One thing that happens to trainings, in the words of people."""

    name: str
    _: KW_ONLY
    codes: tuple[str, ...] = ()
    """Finding codes that mean it."""
    says: tuple[str, ...]
    """Phrases; each is enough to be understood."""


CONCEPTS: Final[tuple[Concept, ...]] = (
    Concept(
        "not finite",
        codes=("ADV101",),
        says=(
            "loss became NaN",
            "blew up",
            "exploded",
            "numerical overflow",
            "not a number",
            "infinite loss",
            "diverged to infinity",
            "loss is undefined",
            "went to nan",
        ),
    ),
    Concept(
        "diverged",
        codes=("ADV102",),
        says=(
            "diverged",
            "blew up",
            "exploded",
            "unstable training",
            "loss went up instead of down",
            "got worse and worse",
            "loss keeps growing",
            "ran away",
            "fell apart",
        ),
    ),
    Concept(
        "spike",
        codes=("ADV103",),
        says=(
            "loss spike",
            "sudden jump in the loss",
            "unstable for a moment",
            "bump in the curve",
            "brief peak that recovered",
            "one bad batch",
        ),
    ),
    Concept(
        "never learned",
        codes=("ADV104",),
        says=(
            "never learned anything",
            "did not train at all",
            "stuck from the start",
            "flat loss curve",
            "no better than guessing",
            "does not converge",
            "loss does not go down",
            "nothing happens during training",
        ),
    ),
    Concept(
        "stopped learning",
        codes=("ADV105",),
        says=(
            "plateau",
            "stopped learning",
            "stagnated",
            "converged early",
            "no more progress",
            "loss levelled off",
            "does not improve any more",
            "wasted the rest of the budget",
        ),
    ),
    Concept(
        "overfitting",
        codes=("ADV106",),
        says=(
            "overfitting",
            "memorised the training data",
            "generalises badly",
            "validation loss goes up while training loss goes down",
            "gap between training and validation",
            "learned by heart",
            "best checkpoint was early",
        ),
    ),
    Concept(
        "stalled",
        codes=("ADV107",),
        says=("stalled", "hung", "frozen", "stuck without output", "went silent", "deadlock"),
    ),
    Concept(
        "slow",
        codes=("ADV108",),
        says=(
            "slow steps",
            "slowed down",
            "low throughput",
            "takes too long",
            "long wall-clock time",
            "data loading is the bottleneck",
        ),
    ),
    Concept(
        "unusual",
        codes=("ADV109",),
        says=("anomaly", "outlier among its siblings", "strange curve", "looks odd", "unexpected behaviour"),
    ),
    Concept(
        "crashed",
        codes=("ADV110",),
        says=(
            "crashed",
            "process was killed",
            "died without a trace",
            "preempted",
            "was interrupted",
            "did not finish",
        ),
    ),
    Concept("failed", codes=("ADV111",), says=("failed with an error", "exception", "aborted", "raised an error")),
    Concept(
        "oscillating",
        codes=("ADV112",),
        says=(
            "oscillates",
            "noisy loss",
            "jumps up and down",
            "zigzag",
            "bounces around",
            "fluctuates",
            "jittery curve",
        ),
    ),
    Concept(
        "too good",
        codes=("ADV113",),
        says=("too good to be true", "suspiciously good", "data leak", "test data in the training set"),
    ),
    Concept(
        "exploding gradient",
        codes=("ADV114",),
        says=("exploding gradients", "huge gradient norm", "gradients blow up", "needs gradient clipping"),
    ),
    Concept(
        "vanishing gradient",
        codes=("ADV115",),
        says=("vanishing gradients", "gradient norm near zero", "dead units", "no gradient signal"),
    ),
    Concept(
        "optimizer reset",
        codes=("ADV116",),
        says=("optimizer state lost on resume", "momentum was reset", "checkpoint resumed wrongly"),
    ),
    Concept(
        "wrong mode",
        codes=("ADV117",),
        says=("forgot model.eval()", "dropout active during evaluation", "batch norm in training mode"),
    ),
    Concept(
        "not trained",
        codes=("ADV118",),
        says=("frozen layers", "weights are not updated", "parameters without gradient"),
    ),
    Concept("not shuffled", codes=("ADV119",), says=("data not shuffled", "batches in sorted order")),
    Concept("label drift", codes=("ADV120",), says=("label distribution shifted", "class balance changed")),
    Concept("constant labels", codes=("ADV121",), says=("all labels are the same", "only one class", "broken labels")),
    Concept("repeated batches", codes=("ADV122",), says=("duplicate batches", "the same data again and again")),
    Concept("out of memory", says=("out of memory", "OOM", "does not fit on the GPU", "memory error")),
    Concept(
        "underfitting",
        says=(
            "underfits",
            "too little capacity",
            "still improving at the end",
            "undertrained",
            "needs more epochs",
            "stopped too soon",
            "not converged yet",
        ),
    ),
    Concept(
        "best", says=("best run", "strong result", "new record", "state of the art", "winner", "better than all others")
    ),
    Concept(
        "poor",
        says=("poor result", "bad accuracy", "much worse than the others", "disappointing", "below the baseline"),
    ),
    Concept("fast", says=("fast", "quick to train", "converged quickly", "reached the target early", "cheap")),
    Concept(
        "learning rate too high",
        says=("learning rate too high", "steps too large", "too aggressive", "lower the learning rate", "overshoots"),
    ),
    Concept(
        "learning rate too low",
        says=("learning rate too low", "steps too small", "crawls", "raise the learning rate", "progress is very slow"),
    ),
    Concept(
        "seeds",
        says=(
            "depends on the seed",
            "not reproducible",
            "large variance between repeats",
            "random initialisation matters",
        ),
    ),
)

PHRASES: Final[Mapping[str, tuple[str, ...]]] = {code: concept.says for concept in CONCEPTS for code in concept.codes}
"""What people say of each finding code."""
