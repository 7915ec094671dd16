"""What findings catch of faults whose cause is known, on small real trainings, each faulty one beside its sound twin.

    python evals/findings_injected [--quick] [--out PATH]

Twelve experiments, fifteen classes of faults (``faults``); a fault is harmful where the twin without it ends elsewhere.
Each experiment is checked as a user's would be: its healthy runs with one faulty run in eight, drawn anew until all
faults have had their turn, by what was learned from the other eleven and from eleven further ones on other data (the
lessons, of which --quick has none). Choices of method (which runs define what is usual, how forests and head are
weighed, the head's size) were made while looking at all twelve. Intervals are a bootstrap over experiments.

The trainings are made once and kept under build/evals (20 minutes on two quiet cores, --quick 4 minutes).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from casts import NOW, OBJECTIVE, as_run
from faults import CLASSES
from findings_deepobs import auc, empirical_tails, local_outliers, plain_forest, sibling_z
from learning import Material, learn
from numpy.typing import NDArray
from population import KEPT, kept, make, read, write
from verdicts import taught

from advisor.findings import check_experiment
from advisor.findings.forest import isolate
from advisor.findings.learned import Learned
from storage.records import Experiment

QUICK: Final = (24, 12)
"""Healthy runs an experiment and faulty ones a class of the quick mode."""
N_BOOTSTRAP: Final = 500
LEVELS: Final = (0.05, 0.01)
PREFIXES: Final = (0.1, 0.25, 0.5)
FEW: Final = 20
"""Siblings of the small sweeps in which false alarms are counted."""
N_SMALL: Final = 4
"""Small sweeps drawn of each experiment."""
N_GROUPS: Final = 3
"""Of experiments, each judged by what the others taught, where a class of faults is left out."""

Array = NDArray[Any]
Scores = dict[str, NDArray[np.float64]]


def judged(material: Material, rows: NDArray[np.intp], learned: Learned) -> tuple[Scores, list[bool], list[float]]:
    """Return each detector's scores of one sweep, whether rules warn of each run, and the p-values."""
    pairs = [as_run(material.rows[i]) for i in rows]
    runs, curves = [run for run, _ in pairs], {run.id: mine for run, mine in pairs}
    experiment = Experiment(runs[0].experiment, number=0, objectives=(OBJECTIVE,), created=NOW)
    checked = check_experiment(experiment, runs, curves, now=NOW, learned=learned)
    entries = [next(e for e in checked.scores if e.run_id == run.id) for run in runs]
    ruled = {f.run_id for f in checked.findings if f.detector == "rules" and f.severity.rank > 0}
    z = sibling_z(material.figures[1.0][rows], runs)
    scores = {
        "full stack (rules, forests, head)": np.array([e.score for e in entries]),
        "isolation forests alone": np.array([e.forest or 0.0 for e in entries]),
        "learned head alone": np.array([e.head or 0.0 for e in entries]),
        "rules: warn or not": np.array([float(run.id in ruled) for run in runs]),
        "plain forest on raw features": plain_forest(np.nan_to_num(material.figures[1.0][rows])),
        "plain forest on sibling z": plain_forest(z),
        "max |z| among siblings": np.abs(z).max(axis=1),
        "LOF on sibling z": local_outliers(z),
        "ECOD on sibling z": empirical_tails(z),
        "final objective": np.nan_to_num([run.values[0] for run in runs], nan=np.inf, posinf=np.inf),
    }
    return scores, [run.id in ruled for run in runs], [np.nan if e.p_value is None else e.p_value for e in entries]


class Table:
    """Sweeps, row by row."""

    def __init__(self, material: Material, parts: Sequence[tuple[NDArray[np.intp], Scores]]) -> None:
        rows = np.concatenate([rows for rows, _ in parts])
        self.scores = {name: np.concatenate([one[name] for _, one in parts]) for name in parts[0][1]}
        self.kind, self.task = material.fault[rows], material.task[rows]
        self.faulty, self.harmful = self.kind != "", material.harmful[rows]
        self.onset = np.array([material.rows[i].onset for i in rows])

    def caught(self, name: str, level: float) -> NDArray[np.bool_]:
        """Return which runs score above all but a share ``level`` of the healthy ones."""
        scores = self.scores[name]
        return np.asarray(scores > np.quantile(scores[~self.faulty], 1 - level))

    def figures(self, name: str, keep: NDArray[np.bool_]) -> dict[str, Any]:
        """Return AUC, average precision and recall over the runs to keep, with intervals over experiments."""
        from sklearn.metrics import average_precision_score

        def of(chosen: NDArray[np.intp]) -> tuple[float, ...]:
            score, faulty = self.scores[name][chosen], self.faulty[chosen]
            limits = [np.quantile(score[~faulty], 1 - level) for level in LEVELS]
            ranked = np.unique(score, return_inverse=True)[1]
            recalls = (float((score[faulty] > limit).mean()) for limit in limits)
            return auc(score[~faulty], score[faulty]), float(average_precision_score(faulty, ranked)), *recalls

        names = sorted(set(self.task.tolist()))
        places = {task: np.flatnonzero(keep & (self.task == task)) for task in names}
        rng = np.random.default_rng(0)
        drawn = [
            of(np.concatenate([places[task] for task in rng.choice(names, len(names))])) for _ in range(N_BOOTSTRAP)
        ]
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        labels = ("auc", "average precision", *(f"recall at {level:.0%}" for level in LEVELS))
        return {
            label: {"value": value, "interval": [float(a), float(b)]}
            for label, value, a, b in zip(labels, of(np.flatnonzero(keep)), low, high, strict=True)
        }


def show(title: str, table: Table, names: Sequence[str], out: dict[str, Any]) -> None:
    """Print a row a detector over all faults and over the harmful ones."""
    kinds: Mapping[str, Callable[[], NDArray[np.bool_]]] = {
        "all faults": lambda: np.ones(len(table.faulty), dtype=bool),
        "harmful faults": lambda: ~table.faulty | table.harmful,
    }
    for kind, keep in kinds.items():
        heads = ("ROC-AUC", "average precision", "recall at 5 %", "recall at 1 %")
        n = int((keep() & table.faulty).sum())
        print(f"\n{f'{title}, {n} {kind}':48s}" + "".join(f"{head:>20s}" for head in heads))
        for name in names:
            figures = table.figures(name, keep())
            out.setdefault(name, {})[kind] = figures
            cells = [f"{e['value']:.3f} [{e['interval'][0]:.2f}, {e['interval'][1]:.2f}]" for e in figures.values()]
            print(f"{name:48s}" + "".join(f"{cell:>20s}" for cell in cells), flush=True)


def by_class(table: Table, ruled: Array) -> dict[str, Any]:
    """Print and return what each class of faults leaves for rules and for the full stack to see."""
    full, alone = "full stack (rules, forests, head)", "isolation forests alone"
    caught = {level: table.caught(full, level) for level in LEVELS}
    forest = table.caught(alone, LEVELS[0])
    print(
        f"\n{'class':18s}{'n':>5s}{'harmful':>9s}{'rules':>7s}{'forest 5 %':>12s}{'full 5 %':>10s}{'full 1 %':>10s}",
        end="",
    )
    print("   of the harmful: rules, full 5 %, 1 %")
    out = {}
    for kind in CLASSES:
        of_kind = table.kind == kind
        harmed = of_kind & table.harmful
        parts = {"rules": ruled, "forest at 5 %": forest, "at 5 %": caught[0.05], "at 1 %": caught[0.01]}
        row: dict[str, Any] = {"n": int(of_kind.sum()), "harmful": float(table.harmful[of_kind].mean())}
        row |= {name: float(hits[of_kind].mean()) for name, hits in parts.items()}
        row |= {f"{name}, harmful": float(hits[harmed].mean()) for name, hits in parts.items() if harmed.any()}
        out[kind] = row
        print(
            f"{kind:18s}{row['n']:5d}{row['harmful']:9.0%}{row['rules']:7.2f}{row['forest at 5 %']:12.2f}"
            f"{row['at 5 %']:10.2f}{row['at 1 %']:10.2f}",
            end="",
        )
        cells = [f"{row[f'{name}, harmful']:.2f}" for name in ("rules", "at 5 %", "at 1 %") if harmed.any()]
        print("   " + "  ".join(cells))
    return out


def alarms(material: Material, learned: Mapping[str, Learned]) -> dict[str, float]:
    """Print and return how often sound runs get small p-values, in large sweeps and in those of ``FEW`` siblings."""
    out = {}
    rng = np.random.default_rng(0)
    for n in (None, FEW):
        p_values = []
        for task in material.measured:
            sweeps = list(material.sweeps(task))
            if n is not None:
                healthy = np.flatnonzero((material.task == task) & (material.fault == ""))
                faulty = np.flatnonzero((material.task == task) & (material.fault != ""))
                sweeps = [np.concatenate([rng.choice(healthy, n), rng.choice(faulty, 3)]) for _ in range(N_SMALL)]
            for rows in sweeps:
                scored = isolate(material.population(1.0, rows), learned[task].views[1.0])
                if scored.p_value is not None:
                    p_values += list(scored.p_value[material.fault[rows] == ""])
        for level in (0.01, 0.05, 0.10):
            realised = float(np.mean(np.array(p_values) <= level))
            out[f"{n or 'all'} siblings, {level}"] = realised
            print(f"{n or 'all'} sound siblings: p <= {level:.2f} for {realised:.3f} of {len(p_values)} sound runs")
    return out


def beginnings(material: Material, learned: Mapping[str, Learned], out: dict[str, Any]) -> None:
    """Print and return what is seen of a run's beginning, of faults that had begun by then."""
    for share in PREFIXES:
        parts = []
        for task in material.measured:
            for rows in material.sweeps(task):
                scored = isolate(material.population(share, rows), learned[task].views[share])
                assert scored.head is not None
                begun = (material.fault[rows] == "") | np.array([material.rows[i].onset < share for i in rows])
                named = {"forests and head": scored.score, "isolation forests alone": scored.forest}
                parts.append((rows[begun], {name: score[begun] for name, score in named.items()}))
        show(f"at {share:.0%} of the run", Table(material, parts), list(named), out.setdefault(f"{share}", {}))


def unseen_classes(material: Material, ruled: Mapping[int, bool]) -> dict[str, dict[str, float]]:
    """Print and return recall at 5 % of classes that the head has never seen, on experiments that it has not seen.

    Once by forests and head alone, and once where what rules warn of counts as found, too: they were written with some
    of these classes in mind.
    """
    groups = [material.measured[k::N_GROUPS] for k in range(N_GROUPS)]
    print(f"\nclasses that the head never saw, in experiments that it never saw: recall at {LEVELS[0]:.0%}")
    kinds = ("all faults", "harmful ones", "all, with rules", "harmful, with rules")
    print(f"{'':18s}" + "".join(f"{kind:>22s}" for kind in kinds))
    out: dict[str, dict[str, float]] = {}
    for kind in CLASSES:
        parts = []
        for group in groups:
            others = [task for task in material.tasks if task not in group]
            view = learn(material, others, (1.0,), without=kind).views[1.0]
            for task in group:
                for rows in material.sweeps(task):
                    scored = isolate(material.population(1.0, rows), view)
                    keep = (material.fault[rows] == "") | (material.fault[rows] == kind)
                    parts.append((rows[keep], {"full": scored.score[keep]}))
        table = Table(material, parts)
        caught = table.caught("full", LEVELS[0])
        of_kind = table.kind == kind
        harmed = of_kind & table.harmful
        warned = caught | np.array([ruled[row] for rows, _ in parts for row in rows.tolist()])
        cells = [caught[of_kind], caught[harmed], warned[of_kind], warned[harmed]]
        out[kind] = {name: float(np.mean(cell)) for name, cell in zip(kinds, cells, strict=True)}
        print(f"{kind:18s}" + "".join(f"{value:22.2f}" for value in out[kind].values()), flush=True)
    out["mean"] = {name: float(np.mean([row[name] for row in out.values()])) for name in kinds}
    print(f"{'mean':18s}" + "".join(f"{value:22.2f}" for value in out["mean"].values()))
    return out


def measure(material: Material, *, quick: bool) -> dict[str, Any]:
    out: dict[str, Any] = {}
    began = time.monotonic()
    learned = {
        task: learn(material, [other for other in material.tasks if other != task]) for task in material.measured
    }
    print(f"learned twelve times in {time.monotonic() - began:.0f} s", file=sys.stderr)
    parts, ruled = [], []
    p_all: list[float] = []
    for task in material.measured:
        for rows in material.sweeps(task):
            scores, warned, p_values = judged(material, rows, learned[task])
            parts.append((rows, scores))
            ruled += warned
            p_all += p_values
            print(f"\r{len(parts)} sweeps, {time.monotonic() - began:.0f} s", end="", file=sys.stderr)
    print(file=sys.stderr)
    table = Table(material, parts)
    n_healthy = int(((material.fault == "") & np.isin(material.task, material.measured)).sum())
    print(
        f"{n_healthy} healthy runs, {table.faulty.sum()} faulty, {(table.faulty & table.harmful).sum()} of them harmful"
    )
    show("whole runs", table, list(table.scores), out.setdefault("whole", {}))
    out["classes"] = by_class(table, np.array(ruled))
    out["rules_false_alarms"] = float(np.array(ruled)[~table.faulty].mean())
    print(f"\nrules warn of {out['rules_false_alarms']:.1%} of the healthy runs")
    out["realised"] = alarms(material, learned)
    beginnings(material, learned, out.setdefault("beginnings", {}))
    if not quick:
        out["verdicts"] = taught(material, learned)
        by_row = dict(zip(np.concatenate([rows for rows, _ in parts]).tolist(), ruled, strict=True))
        out["unseen_classes"] = unseen_classes(material, by_row)
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few trainings; tells whether something broke")
    parser.add_argument("--jobs", type=int, default=2, help="processes that train in the quick mode; 2 by default")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    given = parser.parse_args()
    if given.quick:
        path = KEPT.with_stem("injected_quick")
        if not path.is_file():
            write(list(make(*QUICK, given.jobs)), path)
        material = Material.of(read(path))
    else:
        material = Material.of(kept(lessons=False), kept(lessons=True))
    figures = measure(material, quick=given.quick)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        print(f"written to {given.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
