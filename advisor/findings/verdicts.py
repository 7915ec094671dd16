"""What people said of findings, as labels to learn from; and which runs detectors could compare at all.

Pure. What verdicts say of detectors is in ``advisor.suggest.judged``. Invariant: what nobody judged has no label; a run
without findings is not thereby sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from advisor.findings.check import ALPHA_SINGLE, MIN_SHAPE_POINTS
from storage.records import Experiment, Run, RunState, Verdict


class Label(NamedTuple):
    """What a person said of a run's findings of one code by one detector."""

    run_id: str
    code: str
    detector: str
    label: Verdict
    """``ok``: the run was sound; ``real``: there was trouble."""


def labels(experiment: Experiment, runs: Sequence[Run]) -> list[Label]:
    """Return the verdicts on an experiment's runs as labels, in the order of the runs.

    One a run, code and detector: where curves of the same run were judged differently, ``real`` wins, as there was
    trouble in the run. Only flagged runs are ever judged: whoever learns from these labels learns to rank what is
    flagged, and nothing of what is missed.

    Parameters
    ----------
    runs
        Runs of another experiment are left out.

    Examples
    --------
    >>> import advisor, tempfile
    >>> exp = advisor.open(tempfile.mkdtemp()).experiment("demo", objective="loss")
    >>> failed = exp.tell({"lr": 9.0}, state="failed")
    >>> _ = exp.check()
    >>> _ = exp.verdict(f"{failed.id}:ADV111", "real")
    >>> [(one.code, one.detector, one.label) for one in labels(exp.record, exp.runs())]
    [('ADV111', 'rules', 'real')]
    """
    out: dict[tuple[str, str, str], Verdict] = {}
    for run in runs:
        if run.experiment != experiment.name:
            continue
        for finding in run.findings:
            key = (run.id, finding.code, finding.detector)
            if finding.verdict is not None and out.get(key) != "real":
                out[key] = finding.verdict
    return [Label(*key, label) for key, label in out.items()]


def compared(experiment: Experiment, runs: Sequence[Run]) -> frozenset[str]:
    """Return the ids of the runs that a check can flag by comparison with siblings, as far as the journal tells.

    They finished, did not diverge, and have a curve of enough values: the objective's where it was logged. None where
    there are so few that no p-value reaches the level at which a run is flagged.
    """
    objective = experiment.objective
    able = [
        run.id
        for run in runs
        if run.state is RunState.FINISHED
        and not experiment.went_wrong(run)
        and _n_values(run, None if objective is None else objective.metric) >= MIN_SHAPE_POINTS
    ]
    return frozenset(able) if len(able) * ALPHA_SINGLE >= 1 else frozenset()


def _n_values(run: Run, metric: str | None) -> int:
    figures = list(run.summary.values()) if metric is None or metric not in run.summary else [run.summary[metric]]
    return max((int(each.get("n") or 0) for each in figures), default=0)
