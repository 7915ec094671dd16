"""Checks of what curves cannot show: the state of optimizer, model and data loader, at the places where it matters.

Plain calls for a training loop or a framework's callbacks; nothing is hooked or patched, each call costs a
fraction of a millisecond, and no framework is imported. Leaves out curves. Invariant: each trouble is raised once a
run, and what cannot be told from what was given raises nothing.

Where frameworks call: ``batch`` after the loader gave a batch (Lightning ``on_train_batch_start``), ``epoch_end`` at
``on_train_epoch_end`` (transformers ``on_epoch_end``), ``before_eval`` at ``on_validation_start`` or before
``evaluate``, ``before_train`` at ``on_train_epoch_start``, ``optimizer`` after a checkpoint was loaded and at each
epoch's end, ``model`` once the optimizer is made.

Why: of 20 silent training errors, checks of state found 18 where signals such as the loss found 2 (TrainCheck, OSDI
2025).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from advisor.findings import codes
from advisor.findings.duck import (
    class_labels,
    content_hash,
    held_parameters,
    modes,
    optimizer_state,
    parameter_counts,
)
from storage.records import Finding, Severity

REPEATED_BATCHES = 3
"""Batches that came again within an epoch before it is said: one may be a coincidence of tiny data …"""
REPEATED_SHARE = 0.05
"""… and they are at least 5 % of the epoch so far."""
MIN_LABELS = 50
"""Fewer labels than this say nothing of their distribution or order."""
MAX_CLASSES = 1000
"""More different labels than this are tokens or identifiers, not classes."""
DRIFT_SHARE = 0.1
"""A tenth of the labels would have to change to get from one epoch's histogram to the other's …"""
DRIFT_SIGMAS = 4.0
"""… and it lies 4 standard deviations beyond what chance does to samples of that size."""
SORTED_SHARE = 0.9
"""Nine batches in ten that hold a single label each, where the epoch holds several: sorted by label."""
MIN_SORTED_BATCH = 8
"""A batch of fewer labels may hold a single one by chance."""
LR_RATIO = 2.0
"""A learning rate that changed by this factor over a resume was not restored."""
MAX_HASHES = 100_000
"""Batches of an epoch that are remembered."""


class Checks:
    """State checks of one run; made by ``LiveRun.checks``.

    Parameters
    ----------
    run_id, experiment
        The run, and the name of its experiment.
    clock
        Returns the time now, UTC.
    raised
        Takes what was found.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> found = []
    >>> checks = Checks("r", "e", clock=lambda: datetime.now(UTC), raised=found.extend)
    >>> for _ in range(5):
    ...     _ = checks.batch([1.0, 2.0, 3.0])
    >>> [finding.code for finding in found]
    ['ADV122']
    """

    def __init__(
        self,
        run_id: str,
        experiment: str,
        *,
        clock: Callable[[], datetime],
        raised: Callable[[Sequence[Finding]], None],
    ) -> None:
        self._run_id, self._experiment, self._clock, self._raised = run_id, experiment, clock, raised
        self._said: set[tuple[str, str]] = set()
        self._epoch = 0
        self._now = _Epoch()
        self._before: _Epoch | None = None
        self._first_labels: Counter[Any] | None = None
        self._optimizer: Mapping[str, Any] | None = None
        self._trained: tuple[int, int] | None = None

    # -- data

    def batch(self, inputs: Any, labels: Any = None) -> list[Finding]:
        """Look at one batch of training data, as the loader gave it.

        Parameters
        ----------
        inputs
            An array or tensor, or a mapping or sequence of them; a bounded sample of it is hashed.
        labels
            Shape (n,) or one-hot (n, classes); None where there are none.

        Returns
        -------
        list of Finding
            What this batch showed for the first time: repeated batches (ADV122), constant labels (ADV121). They are
            the run's already.

        Raises
        ------
        RecordError
            If the batch cannot be read as arrays.
        """
        now = self._now
        now.add(content_hash(inputs), None if labels is None else content_hash(labels))
        if labels is not None and now.labels is not None:
            now.count(class_labels(labels))
        found = []
        if now.n_repeated >= REPEATED_BATCHES and now.n_repeated >= REPEATED_SHARE * now.n:
            evidence = {"n_repeated": now.n_repeated, "n": now.n, "epoch": self._epoch}
            found += self._say(codes.REPEATED_BATCHES, "batches", evidence)
        return found + self._constant()

    def epoch_end(self, model: Any = None) -> list[Finding]:
        """Compare the epoch that ends with the one before; with a model, also what of it is trained.

        Returns
        -------
        list of Finding
            The same order in two epochs or batches sorted by label (ADV119), another mix of labels (ADV120),
            and what ``model`` finds.
        """
        now, before = self._now, self._before
        found = self._constant()
        if before is not None and now.n > 1 and now.same_order(before):
            evidence = {"how": "two epochs had the same batches in the same order", "n": now.n, "epoch": self._epoch}
            found += self._say(codes.NOT_SHUFFLED, "order", evidence)
        elif now.is_sorted:
            evidence = {"how": "nearly every batch holds a single label", "n": now.n, "epoch": self._epoch}
            found += self._say(codes.NOT_SHUFFLED, "order", evidence)
        if now.labels and now.n_labels >= MIN_LABELS:
            if self._first_labels is None:
                self._first_labels = now.labels
            else:
                found += self._drift(self._first_labels, now.labels)
        if model is not None:
            found += self.model(model)
        if now.n:
            self._before, self._now = now, _Epoch()
        self._epoch += 1
        return found

    def _constant(self) -> list[Finding]:
        now = self._now
        if not now.labels or len(now.labels) > 1 or now.n_labels < 2 * MIN_LABELS:
            return []
        evidence = {"label": str(next(iter(now.labels))), "n": now.n_labels, "epoch": self._epoch}
        return self._say(codes.CONSTANT_LABELS, "labels", evidence)

    def _drift(self, first: Counter[Any], now: Counter[Any]) -> list[Finding]:
        n_first, n_now = first.total(), now.total()
        names = sorted({*first, *now}, key=str)
        moved = {name: now[name] / n_now - first[name] / n_first for name in names}
        distance = 0.5 * sum(map(abs, moved.values()))
        # Two samples of K classes lie sqrt(K / (2 pi)) s apart on average, s = sqrt(1 / n1 + 1 / n2), and vary by less
        # than s / 2 around that.
        spread = float(np.sqrt(1 / n_first + 1 / n_now))
        threshold = max(DRIFT_SHARE, spread * (float(np.sqrt(len(names) / (2 * np.pi))) + DRIFT_SIGMAS / 2))
        if distance <= threshold:
            return []
        most = max(names, key=lambda name: abs(moved[name]))
        evidence = {
            "distance": distance,
            "label": str(most),
            "share_first": first[most] / n_first,
            "share_now": now[most] / n_now,
            "epoch": self._epoch,
            "threshold": threshold,
        }
        return self._say(codes.LABEL_DRIFT, "labels", evidence)

    # -- model

    def before_eval(self, model: Any) -> list[Finding]:
        """Look whether a model that is about to be evaluated is in evaluation mode (ADV117).

        Raises
        ------
        RecordError
            If it has no flag ``training``.
        """
        on, training, evaluating = modes(model)
        if not on and not training:
            return []
        evidence = self._mode("evaluation", "training", training, evaluating)
        return self._say(codes.WRONG_MODE, "evaluation", evidence, None if training else Severity.INFO)

    def before_train(self, model: Any) -> list[Finding]:
        """Look whether a model that is about to be trained is in training mode (ADV117).

        Raises
        ------
        RecordError
            If it has no flag ``training``.
        """
        on, training, evaluating = modes(model)
        if on or training or not evaluating:
            return []  # single layers are often frozen on purpose
        return self._say(
            codes.WRONG_MODE, "training", self._mode("training", "evaluation", evaluating, training), Severity.WARNING
        )

    def _mode(self, phase: str, mode: str, wrong: Sequence[str], right: Sequence[str]) -> dict[str, Any]:
        evidence = {"phase": phase, "mode": mode, "n_wrong": len(wrong), "n": len(wrong) + len(right)}
        return evidence | {"layers": list(wrong[:5]), "epoch": self._epoch}

    def model(self, model: Any, optimizer: Any = None) -> list[Finding]:
        """Look at how much of a model is trained, now and since the last call (ADV118).

        Parameters
        ----------
        optimizer
            With it, trainable parameters that it does not hold are found too.

        Raises
        ------
        RecordError
            If the model has no parameters that can be listed.
        """
        trained, total = parameter_counts(model)
        before, self._trained = self._trained, (trained, total)
        evidence: dict[str, Any] = {"trained": trained, "total": total, "epoch": self._epoch}
        if total and not trained:
            return self._say(codes.NOT_TRAINED, "frozen", evidence | {"how": "none is trained"}, Severity.ERROR)
        found: list[Finding] = []
        held = None if optimizer is None else held_parameters(optimizer)
        if held is not None and callable(getattr(model, "parameters", None)):
            missing = [p for p in model.parameters() if getattr(p, "requires_grad", True) and id(p) not in held]
            if missing:
                words = f"{len(missing)} trainable tensors are not in the optimizer"
                found += self._say(codes.NOT_TRAINED, "optimizer", evidence | {"how": words, "n_missing": len(missing)})
        if before is not None and before[1] == total and before[0] != trained:
            words = f"it was {before[0]:,} before"
            severity = Severity.WARNING if trained < before[0] else Severity.INFO
            found += self._say(codes.NOT_TRAINED, "changed", evidence | {"how": words, "before": before[0]}, severity)
        return found

    # -- optimizer

    def optimizer(self, optimizer: Any, *, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Look whether an optimizer goes on where it was (ADV116), and return what to compare with next time.

        Call it at each epoch's end, and after a checkpoint was loaded. Put what it returns into the checkpoint, and
        give it as ``before`` when another process resumes from there.

        Parameters
        ----------
        optimizer
            A torch optimizer, its ``state_dict()``, or a Keras optimizer.
        before
            What an earlier call returned, of this or another process; the last call's when None.

        Returns
        -------
        dict
            ``step`` (updates counted, or None), ``n_states`` (parameters with state), ``lr``; plain numbers.

        Raises
        ------
        RecordError
            If it is no optimizer whose state can be read.
        """
        now, resumed = optimizer_state(optimizer), before is not None
        before = before if before is not None else self._optimizer
        self._optimizer = now
        how = None if before is None else _discontinuity(before, now, resumed=resumed)
        if how is not None and before is not None:
            evidence = {"how": how, "before": dict(before), "now": now, "resumed": resumed, "epoch": self._epoch}
            self._say(codes.OPTIMIZER_RESET, "optimizer", evidence)
        return now

    # -- inner workings

    def _say(
        self, code: codes.Code, subject: str, evidence: Mapping[str, Any], severity: Severity | None = None
    ) -> list[Finding]:
        key = (code.code, subject)
        if key in self._said:
            return []
        self._said.add(key)
        finding = codes.finding(
            code,
            run_id=self._run_id,
            experiment=self._experiment,
            time=self._clock(),
            evidence=evidence,
            severity=severity,
            detector="state",
        )
        self._raised([finding])
        return [finding]


def _discontinuity(before: Mapping[str, Any], now: Mapping[str, Any], *, resumed: bool) -> str | None:
    """Return in words how an optimizer does not go on where it was, None where it does."""
    if before["n_states"] and not now["n_states"]:
        return f"it had state of {before['n_states']} parameters and has none"
    if before["step"] is not None and now["step"] is not None and now["step"] < before["step"]:
        return f"its step counter went from {before['step']} back to {now['step']}"
    if resumed and before["lr"] and now["lr"]:  # while a run goes on, schedules may do as they like
        ratio = max(before["lr"] / now["lr"], now["lr"] / before["lr"])
        if ratio >= LR_RATIO:
            return f"its learning rate was {before['lr']:.3g} and is {now['lr']:.3g}"
    return None


class _Epoch:
    """What was seen of the batches of one epoch."""

    def __init__(self) -> None:
        self.n = self.n_repeated = self.n_labels = 0
        self.labels: Counter[Any] | None = Counter()
        """How often each label came; None where the labels are no classes."""
        self._seen: set[int] = set()
        self._inputs_order = self._labels_order = 0
        self._n_single = self._n_counted = 0

    def add(self, inputs: int, labels: int | None) -> None:
        self.n += 1
        self.n_repeated += inputs in self._seen
        if len(self._seen) < MAX_HASHES:
            self._seen.add(inputs)
        self._inputs_order = hash((self._inputs_order, inputs))
        self._labels_order = hash((self._labels_order, labels))

    def count(self, labels: Any) -> None:
        if labels is None or self.labels is None:
            self.labels = None
            return
        values, counts = np.unique(labels, return_counts=True)
        self.labels.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        self.n_labels += int(counts.sum())
        if counts.sum() >= MIN_SORTED_BATCH:
            self._n_counted += 1
            self._n_single += values.size == 1
        if len(self.labels) > MAX_CLASSES:
            self.labels = None

    def same_order(self, other: _Epoch) -> bool:
        """Return whether inputs, or labels where these say enough, came in the same order."""
        if self.n != other.n or self.n_repeated:
            return False
        if self._inputs_order == other._inputs_order:
            return True
        telling = bool(self.labels) and len(self.labels or ()) > 1 and self.n_labels >= MIN_LABELS
        return telling and not self.is_sorted and self._labels_order == other._labels_order

    @property
    def is_sorted(self) -> bool:
        """Whether nearly every batch holds a single label, where the epoch holds several."""
        several = bool(self.labels) and len(self.labels or ()) > 1
        return several and self._n_counted > 2 and self._n_single >= SORTED_SHARE * self._n_counted
