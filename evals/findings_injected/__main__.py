"""What findings catch of faults whose cause is known, on small real trainings, each faulty one beside its sound twin.

    python evals/findings_injected [--quick] [--out PATH]

Twelve experiments, fifteen classes of faults (``faults``); a fault is harmful where the twin without it ends elsewhere.
Each experiment is checked as a user's would be: its healthy runs with one faulty run in eight, drawn anew until all
faults have had their turn. Nothing is fitted to these labels, and nothing was chosen on them. Detectors see one
experiment at a time. Intervals are a bootstrap over whole experiments.

The trainings are made once and kept under build/evals (some 15 minutes on two cores, --quick 3); PATH gets the figures.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from faults import CLASSES
from findings_deepobs import auc, local_outliers, plain_forest, sibling_z
from numpy.typing import NDArray
from population import KEPT, Row, make, read, write

from advisor.findings import check_experiment
from advisor.findings.features import features
from storage.records import Curve, Experiment, Objective, Run, RunState

NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
OBJECTIVE: Final = Objective("val_loss", "minimize")
SHARE: Final = 0.125
QUICK: Final = (24, 12)
"""Healthy runs an experiment and faulty ones a class of the quick mode."""
N_BOOTSTRAP: Final = 500
LEVELS: Final = (0.05, 0.01)
P_LEVELS: Final = (0.05, 0.10)
COLUMNS: Final = {"loss": "train_loss", "grad_norm": "grad_norm", "val_loss": "val_loss", "val_score": "val_accuracy"}

Scores = dict[str, NDArray[np.float64]]


def as_run(row: Row) -> tuple[Run, dict[str, Curve]]:
    """Return a training as the store would give it."""
    seconds = np.cumsum(row.curves["seconds"], dtype=np.float64)
    n = seconds.size
    curves = {}
    for kept, metric in COLUMNS.items():
        values = row.curves[kept].astype(np.float64)
        steps = np.arange(n // values.size - 1, n, n // values.size)
        curves[metric] = Curve.of(metric, steps, values, seconds[steps])
    run = Run(
        f"{row.task}-{row.number}",
        number=row.number,
        experiment=row.task,
        state=RunState.FINISHED,
        params=row.params,
        values=(float(curves[OBJECTIVE.metric].values[-1]),),
        created=NOW,
        started=NOW,
        ended=NOW + timedelta(seconds=float(seconds[-1])),
    )
    return run, curves


def sweeps(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Yield the healthy runs of each experiment with one faulty run in eight, until each fault was in one."""
    for task in sorted({row.task for row in rows}):
        healthy = [row for row in rows if row.task == task and row.fault is None]
        faulty = [row for row in rows if row.task == task and row.fault is not None]
        order = np.random.default_rng(0).permutation(len(faulty))
        size = max(1, round(len(healthy) * SHARE / (1 - SHARE)))
        for first in range(0, len(faulty), size):
            yield healthy + [faulty[i] for i in order[first : first + size]]


def judged(rows: Sequence[Row]) -> tuple[Scores, list[bool], list[float]]:
    """Return each detector's scores of one sweep, whether rules warn of each run, and the forest's p-values."""
    pairs = [as_run(row) for row in rows]
    runs, curves = [run for run, _ in pairs], {run.id: mine for run, mine in pairs}
    experiment = Experiment(rows[0].task, number=0, objectives=(OBJECTIVE,), created=NOW)
    checked = check_experiment(experiment, runs, curves, now=NOW)
    by_run = {entry.run_id: entry for entry in checked.scores}
    ruled = {f.run_id for f in checked.findings if f.detector == "rules" and f.severity.rank > 0}
    score = np.array([by_run[run.id].score for run in runs])
    z = sibling_z(np.array([features(curves[run.id], objective=OBJECTIVE) for run in runs]), runs)
    scores = {
        "check --scores": score,
        "forest part alone": score % 1.0,
        "rules: warn or not": np.array([float(run.id in ruled) for run in runs]),
        "plain forest on sibling z": plain_forest(z),
        "max |z|": np.abs(z).max(axis=1),
        "LOF on sibling z": local_outliers(z),
        "final objective": np.nan_to_num([run.values[0] for run in runs], nan=np.inf, posinf=np.inf),
    }
    p_values = [by_run[run.id].p_value for run in runs]
    return scores, [run.id in ruled for run in runs], [np.nan if p is None else p for p in p_values]


class Table:
    """All sweeps, row by row."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows: list[Row] = []
        self.ruled: list[bool] = []
        self.p_values: list[float] = []
        parts: list[Scores] = []
        found = list(sweeps(rows))
        for done, sweep in enumerate(found, 1):
            scores, ruled, p_values = judged(sweep)
            parts.append(scores)
            self.rows += sweep
            self.ruled += ruled
            self.p_values += p_values
            print(f"\r{done}/{len(found)} sweeps", end="", file=sys.stderr)
        print(file=sys.stderr)
        self.scores = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        self.faulty = np.array([row.fault is not None for row in self.rows])
        self.harmful = np.array([row.harmful for row in self.rows])
        self.tasks = np.array([row.task for row in self.rows])

    def caught(self, name: str, level: float) -> NDArray[np.bool_]:
        """Return which runs score above all but a share ``level`` of the healthy ones."""
        scores = self.scores[name]
        return scores > np.quantile(scores[~self.faulty], 1 - level)

    def figures(self, name: str, keep: NDArray[np.bool_]) -> dict[str, Any]:
        """Return AUC and recall over the runs to keep, with intervals over experiments."""

        def of(chosen: NDArray[np.intp]) -> tuple[float, ...]:
            score, faulty = self.scores[name][chosen], self.faulty[chosen]
            limits = [np.quantile(score[~faulty], 1 - level) for level in LEVELS]
            return auc(score[~faulty], score[faulty]), *(float((score[faulty] > limit).mean()) for limit in limits)

        names = sorted(set(self.tasks))
        places = {task: np.flatnonzero(keep & (self.tasks == task)) for task in names}
        rng = np.random.default_rng(0)
        drawn = [
            of(np.concatenate([places[task] for task in rng.choice(names, len(names))])) for _ in range(N_BOOTSTRAP)
        ]
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        labels = ("auc", *(f"recall at {level:.0%}" for level in LEVELS))
        return {
            label: {"value": value, "interval": [float(a), float(b)]}
            for label, value, a, b in zip(labels, of(np.flatnonzero(keep)), low, high, strict=True)
        }


def show(table: Table) -> dict[str, Any]:
    """Print the tables, misses included, and return the figures."""
    n_healthy = len({(row.task, row.number) for row in table.rows if row.fault is None})
    print(f"{n_healthy} healthy runs, {table.faulty.sum()} faulty, {table.harmful.sum()} of them harmful")
    out: dict[str, Any] = {"n_healthy": n_healthy, "n_faulty": int(table.faulty.sum()), "detectors": {}}
    kinds: Mapping[str, Callable[[], NDArray[np.bool_]]] = {
        "all faults": lambda: np.ones(len(table.rows), dtype=bool),
        "harmful faults": lambda: ~table.faulty | table.harmful,
    }
    for kind, keep in kinds.items():
        print(f"\n{kind:28s}{'ROC-AUC':>24s}{'recall at 5 %':>24s}{'recall at 1 %':>24s}   of false alarms")
        for name in table.scores:
            figures = table.figures(name, keep())
            out["detectors"].setdefault(name, {})[kind] = figures
            cells = [
                f"{each['value']:.3f} [{each['interval'][0]:.2f}, {each['interval'][1]:.2f}]"
                for each in figures.values()
            ]
            print(f"{name:28s}" + "".join(f"{cell:>24s}" for cell in cells))
    out["classes"] = _classes(table)
    healthy = ~table.faulty
    ruled, p_values = np.array(table.ruled), np.array(table.p_values)
    out["rules_false_alarms"] = float(ruled[healthy].mean())
    print(f"\nrules warn of {ruled[healthy].mean():.1%} of the healthy runs")
    for level in P_LEVELS:
        realised = float((p_values[healthy] <= level).mean())
        out[f"realised at {level}"] = realised
        print(f"the forest's p-values are at most {level:.2f} for {realised:.3f} of the healthy runs")
    return out


def _classes(table: Table) -> dict[str, Any]:
    caught, ruled = table.caught("check --scores", LEVELS[0]), np.array(table.ruled)
    print(f"\n{'class':18s}{'n':>5s}{'harmful':>9s}{'rules':>8s}{'at 5 %':>8s}   of the harmful: rules, at 5 %")
    out = {}
    for kind in CLASSES:
        of_kind = np.array([row.fault == kind for row in table.rows])
        harmed = of_kind & table.harmful
        row = {
            "n": int(of_kind.sum()),
            "harmful": float(table.harmful[of_kind].mean()),
            "rules": float(ruled[of_kind].mean()),
            "at 5 %": float(caught[of_kind].mean()),
            "rules, harmful": float(ruled[harmed].mean()) if harmed.any() else None,
            "at 5 %, harmful": float(caught[harmed].mean()) if harmed.any() else None,
        }
        out[kind] = row
        of_harmful = "-" if not harmed.any() else f"{row['rules, harmful']:.2f}  {row['at 5 %, harmful']:.2f}"
        print(
            f"{kind:18s}{row['n']:5d}{row['harmful']:9.0%}{row['rules']:8.2f}{row['at 5 %']:8.2f}   {of_harmful:>15s}"
        )
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few trainings; tells whether something broke")
    parser.add_argument("--jobs", type=int, default=2, help="processes that train; 2 by default")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    given = parser.parse_args()
    kept = KEPT.with_stem("injected_quick") if given.quick else KEPT
    if not kept.is_file():
        write(list(make(*QUICK, given.jobs) if given.quick else make(jobs=given.jobs)), kept)
    figures = show(Table(read(kept)))
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        print(f"written to {given.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
