"""The registry of finding codes: what each one is, how it is detected, why it matters, what to do.

The page docs/findings.md documents the same codes with their thresholds, and a test compares the two.
Invariant: a code, once released, keeps its meaning; a new meaning takes a new code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal

from storage.records import Finding, Severity

Detector = Literal["rules", "isolation-forest", "state"]


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of trouble."""

    code: str
    """Stable name, ``ADV`` and three digits."""
    _: KW_ONLY
    slug: str
    """The same in words, for addresses and filters."""
    title: str
    """Template of the one-line title, filled by ``str.format`` with the evidence, ``metric`` and ``step``."""
    severity: Severity
    """Its usual severity; a finding may be milder or graver where the documentation says so."""
    how_detected: str
    why_it_matters: str
    what_to_do: str
    may_be_configuration: bool = False
    """Whether parameters alone can bring it about, see ``advisor.findings.configuration``."""

    @property
    def anchor(self) -> str:
        """Where it is documented."""
        return f"docs/findings.md#{self.code.lower()}"


NON_FINITE = Code(
    "ADV101",
    slug="non-finite",
    title="{metric} is not finite from step {step} on ({n_nonfinite} of {n} values)",
    severity=Severity.ERROR,
    how_detected="A value is NaN or infinite, or a loss is exactly 0 while the gradient norm is not finite.",
    why_it_matters="Weights that have become NaN do not recover; everything after is wasted computation.",
    what_to_do="Lower the learning rate, clip gradients, look for a division or logarithm of zero in the loss, "
    "and for broken inputs just before the step.",
)
DIVERGED = Code(
    "ADV102",
    slug="diverged",
    title="{metric} diverged: {end:.4g} {outcome}, {start:.4g} at the start, {best:.4g} at best",
    severity=Severity.ERROR,
    how_detected="It stays well above the start, or most of the way back from the best value to the start.",
    why_it_matters="The training has undone what it had learned; its last checkpoint is worse than an early one.",
    what_to_do="Lower the learning rate or add warm-up; go back to the checkpoint of the best step.",
    may_be_configuration=True,
)
SPIKE = Code(
    "ADV103",
    slug="spike",
    title="{metric} jumped from {before:.4g} to {peak:.4g} at step {step} {outcome}",
    severity=Severity.WARNING,
    how_detected="One upward jump is many times the usual noise, and large on a log scale; whether it passed is said.",
    why_it_matters="A spike is often one bad batch or an exploding gradient; repeated ones end in divergence.",
    what_to_do="Look at the batch of that step, clip gradients, or go back before the step and skip the data.",
)
NEVER_LEARNED = Code(
    "ADV104",
    slug="never-learned",
    title="{metric} {extent} got better than at the start ({start:.4g}, at best {best:.4g})",
    severity=Severity.WARNING,
    how_detected="Over the whole run the best value is no real improvement on the first.",
    why_it_matters="A flat curve from the first step means dead units, frozen weights, a learning rate "
    "that is far off, or labels that do not belong to their inputs.",
    what_to_do="Check that the optimizer gets the parameters, that gradients are not zero, the learning rate "
    "and the labels; try to overfit one batch.",
    may_be_configuration=True,
)
STOPPED_LEARNING = Code(
    "ADV105",
    slug="stopped-learning",
    title="{metric} has not improved since step {step}",
    severity=Severity.INFO,
    how_detected="No new best value for most of the run, after it had improved.",
    why_it_matters="The rest of the run bought nothing: time to stop, or to lower the learning rate.",
    what_to_do="Stop earlier, or decay the learning rate when the curve flattens.",
)
OVERFITTING = Code(
    "ADV106",
    slug="overfitting",
    title="{metric} rose from {best:.4g} at step {step} to {end:.4g} while {train} kept falling",
    severity=Severity.INFO,
    how_detected="The validation loss ends clearly above its best value while the training loss still falls.",
    why_it_matters="The last model is worse on new data than an earlier one.",
    what_to_do="Keep the checkpoint of the best step, stop early, or regularise (weight decay, dropout, data).",
)
STALLED = Code(
    "ADV107",
    slug="stalled",
    title="no new value for {silent_s:.0f} s, usually one every {rhythm_s:.3g} s",
    severity=Severity.ERROR,
    how_detected="A running run has been silent for many times its own usual pause.",
    why_it_matters="A hung data loader or a lost worker keeps its hardware without training.",
    what_to_do="Look at the process (py-spy dump), its data loader and the other workers; restart from a checkpoint.",
)
SLOW = Code(
    "ADV108",
    slug="slow",
    title="steps {verb} {seconds:.3g} s, {ratio:.1f} times {reference}",
    severity=Severity.WARNING,
    how_detected="The time between steps has grown against the run's own beginning, or is far above its siblings'.",
    why_it_matters="A slow run costs money and holds up the sweep; it usually points at hardware or data loading.",
    what_to_do="Look at other load on the machine, data loading, temperature throttling, logging or evaluation.",
)
UNUSUAL = Code(
    "ADV109",
    slug="unusual-curve",
    title="unlike {n_siblings} sibling runs (p = {p:.3f}): {top}",
    severity=Severity.INFO,
    how_detected="Isolation forests on what hyperparameters and siblings leave unexplained of its curves set it apart.",
    why_it_matters="It may be a fault that no rule knows, or just an extreme configuration: worth a look.",
    what_to_do="Compare its curves with the nearest sibling's; check data, labels, seed and code.",
)
CRASHED = Code(
    "ADV110",
    slug="crashed",
    title="{how}; {n} values were kept",
    severity=Severity.ERROR,
    how_detected="The run's process is gone and left no result, or was recorded as killed.",
    why_it_matters="Killed by the system (often out of memory), by a scheduler or a power cut; it has no result.",
    what_to_do="Look at the kernel log (dmesg) and the scheduler's; lower the batch size; resume from a checkpoint.",
)
FAILED = Code(
    "ADV111",
    slug="failed",
    title="it failed: {error}",
    severity=Severity.ERROR,
    how_detected="The run ended by an exception, or was recorded as failed.",
    why_it_matters="It has no result, and the next runs of a sweep may fail for the same reason.",
    what_to_do="Read the traceback (advisor show RUN); mend it, or keep its parameters out of the search space.",
)
OSCILLATING = Code(
    "ADV112",
    slug="oscillating",
    title="{metric} goes up and down between {low:.4g} and {high:.4g} and gets nowhere",
    severity=Severity.INFO,
    how_detected="Over the second half, neighbours differ by much, mostly turn back, and the level does not fall.",
    why_it_matters="Steps are too large for where the training is; the value at the end is luck.",
    what_to_do="Lower or decay the learning rate, use larger batches, or average the weights.",
)
TOO_GOOD = Code(
    "ADV113",
    slug="too-good",
    title="{metric} of {value:.4g} is far better than all {n_siblings} siblings (best {best_sibling:.4g})",
    severity=Severity.WARNING,
    how_detected="The objective is ahead of the best sibling by far more than good siblings differ.",
    why_it_matters="A result that is too good is more often a leak of labels or a faulty evaluation than a discovery.",
    what_to_do="Look for labels among the inputs, overlap of training and evaluation data, and a changed metric.",
)
EXPLODED = Code(
    "ADV114",
    slug="exploding-gradient",
    title="{metric} stays at {value:.3g}, at first {start:.3g}",
    severity=Severity.WARNING,
    how_detected="The gradient norm stays many times above its first values.",
    why_it_matters="Exploding gradients end in spikes, divergence or values that are not finite.",
    what_to_do="Clip gradients, lower the learning rate, check initialisation and normalisation.",
)
VANISHED = Code(
    "ADV115",
    slug="vanishing-gradient",
    title="{metric} stays at {value:.3g}, at first {start:.3g}",
    severity=Severity.WARNING,
    how_detected="The gradient norm stays far below its first values, or below the precision of 32-bit floats.",
    why_it_matters="Without gradients nothing is learned any more: dead units, saturation, a frozen or detached part.",
    what_to_do="Check activations and initialisation, what is frozen or detached, and loss scaling.",
)
OPTIMIZER_RESET = Code(
    "ADV116",
    slug="optimizer-reset",
    title="the optimizer does not go on where it was: {how}",
    severity=Severity.ERROR,
    how_detected="A state check finds its state empty, its counter smaller, or its learning rate changed at a resume.",
    why_it_matters="Moments and step counts are part of the training: without them the first steps are wild or "
    "wrongly warmed up, which the loss often does not show.",
    what_to_do="Load the optimizer's and the scheduler's state with the model's; make the optimizer before loading it.",
)
WRONG_MODE = Code(
    "ADV117",
    slug="wrong-mode",
    title="{phase} with {n_wrong} of {n} dropout and normalisation layers in {mode} mode",
    severity=Severity.WARNING,
    how_detected="A state check finds the model's `training` flag, or that of layers it matters to, against its use.",
    why_it_matters="With dropout on, or with statistics of the batch, the figures of an evaluation are wrong.",
    what_to_do="Call model.eval() before evaluating and model.train() after; information where no layer cares.",
)
NOT_TRAINED = Code(
    "ADV118",
    slug="not-trained",
    title="{trained:,} of {total:,} parameters are trained: {how}",
    severity=Severity.WARNING,
    how_detected="A state check finds nothing trainable, parameters that the optimizer lacks, or another share.",
    why_it_matters="What is frozen by accident does not learn, and the rest often hides it.",
    what_to_do="Check requires_grad, what was given to the optimizer, and whether layers were replaced after that.",
)
NOT_SHUFFLED = Code(
    "ADV119",
    slug="not-shuffled",
    title="the training data is not shuffled: {how}",
    severity=Severity.WARNING,
    how_detected="A state check sees two epochs with the same batches in the same order, or batches of a single label.",
    why_it_matters="The order of the data becomes part of what is learned, and normalisation sees biased batches.",
    what_to_do="Shuffle each epoch; in distributed training, call the sampler's set_epoch.",
)
LABEL_DRIFT = Code(
    "ADV120",
    slug="label-drift",
    title="the mix of labels changed: {label} had {share_first:.1%} in the first epoch and has {share_now:.1%}",
    severity=Severity.WARNING,
    how_detected="A state check sees a histogram of labels that chance does not explain from the first epoch's.",
    why_it_matters="The later part of the training learns another task than the first: lost or changed data.",
    what_to_do="Look at the data loader, its shards and filters, and at what was changed while the run went on.",
)
CONSTANT_LABELS = Code(
    "ADV121",
    slug="constant-labels",
    title="all {n} labels of the epoch are {label}",
    severity=Severity.ERROR,
    how_detected="A state check sees one single label only.",
    why_it_matters="A model of one answer has a fine loss and has learned nothing.",
    what_to_do="Check how labels are read and joined to their inputs, and the filter or sort before.",
)
REPEATED_BATCHES = Code(
    "ADV122",
    slug="repeated-batches",
    title="{n_repeated} of {n} batches of an epoch came before in the same epoch",
    severity=Severity.WARNING,
    how_detected="A state check sees batches whose content has been there within the epoch.",
    why_it_matters="A stuck data loader trains on a fraction of the data, and the loss looks better for it.",
    what_to_do="Look at the loader's index, its workers' seeds and shards, and caching.",
)

CODES: Mapping[str, Code] = MappingProxyType(
    {
        code.code: code
        for code in (
            NON_FINITE,
            DIVERGED,
            SPIKE,
            NEVER_LEARNED,
            STOPPED_LEARNING,
            OVERFITTING,
            STALLED,
            SLOW,
            UNUSUAL,
            CRASHED,
            FAILED,
            OSCILLATING,
            TOO_GOOD,
            EXPLODED,
            VANISHED,
            OPTIMIZER_RESET,
            WRONG_MODE,
            NOT_TRAINED,
            NOT_SHUFFLED,
            LABEL_DRIFT,
            CONSTANT_LABELS,
            REPEATED_BATCHES,
        )
    }
)
"""All codes by name."""


@dataclass(frozen=True, slots=True)
class Symptom:
    """What a rule saw, before it is told which run it was."""

    code: Code
    metric: str | None
    step: int | None
    evidence: Mapping[str, Any]
    severity: Severity | None = None

    def finding(self, run_id: str, experiment: str, time: datetime) -> Finding:
        """Return it as a finding of a run."""
        return finding(
            self.code,
            run_id=run_id,
            experiment=experiment,
            time=time,
            evidence=self.evidence,
            metric=self.metric,
            step=self.step,
            severity=self.severity,
        )


def finding_id(run_id: str, code: str, metric: str | None) -> str:
    """Return the id of a finding: the same trouble has the same id at every check.

    >>> finding_id("r", "ADV101", "loss") == finding_id("r", "ADV101", "loss")
    True
    """
    return hashlib.sha256(f"{run_id}\0{code}\0{metric or ''}".encode()).hexdigest()[:32]


def finding(
    code: Code,
    *,
    run_id: str,
    experiment: str,
    time: datetime,
    evidence: Mapping[str, Any],
    metric: str | None = None,
    step: int | None = None,
    severity: Severity | None = None,
    detector: Detector = "rules",
    p_value: float | None = None,
    score: float | None = None,
) -> Finding:
    """Return a finding of this code, its title filled in from the evidence."""
    return Finding(
        finding_id(run_id, code.code, metric),
        run_id=run_id,
        experiment=experiment,
        code=code.code,
        title=code.title.format(**{**evidence, "metric": metric, "step": step}),
        severity=severity or code.severity,
        detector=detector,
        metric=metric,
        step=step,
        p_value=p_value,
        score=score,
        evidence=dict(evidence),
        time=time,
    )
