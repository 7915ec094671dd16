"""What a log call shows at the very call: values that are not finite, and losses of 0 that hide them.

Runs inside ``log()``, in the training's own thread: a look costs a fraction of a microsecond while all is well.
Leaves out everything that needs more than one call; ``Monitor`` sees that in the background. Invariant: a metric is
said once, and the values are never changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from advisor.findings import codes
from advisor.findings.roles import role_of
from storage.records import Finding, Objective, Severity


def not_all_finite(metrics: Mapping[str, float]) -> bool:
    """Return whether the values may hold one that is not finite: their sum is not.

    >>> not_all_finite({"a": 1.0, "b": float("nan")}), not_all_finite({"a": 1.0})
    (True, False)
    """
    total = sum(metrics.values())
    return total - total != 0.0


class Guard:
    """Looks at the log calls of one run whose values are not all finite.

    Parameters
    ----------
    run_id, experiment
        The run, and the name of its experiment.
    objective
        The metric that counts most; None where none is set.
    """

    def __init__(self, run_id: str, experiment: str, objective: Objective | None) -> None:
        self._run_id, self._experiment, self._objective = run_id, experiment, objective
        self._said: set[str] = set()

    def look(self, step: int, metrics: Mapping[str, float], n_calls: int, time: datetime) -> list[Finding]:
        """Return what one call shows for the first time.

        Parameters
        ----------
        n_calls
            Log calls so far, this one included.
        """
        bad = [name for name, value in metrics.items() if value - value != 0.0]
        fresh = [name for name in bad if name not in self._said]
        found = [self._finding(name, metrics[name], step, n_calls, time) for name in fresh]
        gradient = next((name for name in bad if role_of(name).role == "grad"), None)
        if gradient is not None:
            for name, value in metrics.items():
                if value == 0.0 and name not in self._said and role_of(name, self._objective).role == "loss":
                    found.append(self._finding(name, value, step, n_calls, time, masked_by=gradient))
        self._said.update(finding.metric for finding in found if finding.metric is not None)
        return found

    def _finding(
        self, metric: str, value: float, step: int, n_calls: int, time: datetime, *, masked_by: str | None = None
    ) -> Finding:
        role = role_of(metric, self._objective).role
        # A gradient norm alone overflows now and then by design (mixed precision); three in a row are seen later.
        severity = {"loss": Severity.ERROR, "score": Severity.ERROR, "grad": Severity.INFO}.get(role, Severity.WARNING)
        evidence: dict[str, Any] = {"n_nonfinite": 1, "n": n_calls, "value": value, "recovered": False}
        if masked_by is not None:
            evidence["masked_by"] = masked_by
        return codes.finding(
            codes.NON_FINITE,
            run_id=self._run_id,
            experiment=self._experiment,
            time=time,
            evidence=evidence,
            metric=metric,
            step=step,
            severity=severity,
        )
