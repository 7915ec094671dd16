"""What is shipped as learned, made from the trainings: hyperparameter effects, the reference, the head.

    python evals/findings_injected/learning.py [--out PATH]        (make train-head)

An experiment is never judged by what was learned from itself: what hyperparameters explain in the runs that the head
learns from comes from the other experiments.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from casts import OBJECTIVE, SHARE, as_run
from numpy.typing import NDArray
from population import ROOT, Row, kept

from advisor.findings.check import beginning
from advisor.findings.context import Effects, deviations
from advisor.findings.features import FEATURE_NAMES, features
from advisor.findings.forest import LEARNED, USUAL, Population, usual_runs
from advisor.findings.learned import SHIPPED, VIEWS, Learned, View, save
from advisor.findings.medians import SIGMA
from advisor.findings.trees import Trees

OUT: Final = ROOT / "advisor" / "findings" / "data" / SHIPPED
N_TREES: Final = 150
MAX_LEAVES: Final = 200
"""Of a tree of the head: more leaves make the file larger and the head no better."""
MAX_FEATURES: Final = 0.5
"""Share of the figures that a split may choose from."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """Trainings with their figures."""

    rows: Sequence[Row]
    figures: Mapping[float, Floats]
    """Share of the run to figures of its curves up to there, shape (n, n_features)."""
    task: NDArray[np.str_]
    fault: NDArray[np.str_]
    """Empty for healthy runs."""
    harmful: NDArray[np.bool_]
    lessons: frozenset[str] = frozenset()
    """Experiments that are learned from and not measured on."""

    @classmethod
    def of(cls, measured: Sequence[Row], lessons: Sequence[Row] = ()) -> Material:
        rows = [*measured, *lessons]
        curves = [as_run(row)[1] for row in rows]
        n = max(float(curve.steps[-1]) + 1 for curve in curves[0].values())
        figures = {
            view: np.array(
                [features(c if view == 1 else beginning(c, view * n, OBJECTIVE), objective=OBJECTIVE) for c in curves]
            )
            for view in VIEWS
        }
        return cls(
            rows,
            figures,
            np.array([row.task for row in rows]),
            np.array([row.fault or "" for row in rows]),
            np.array([row.harmful for row in rows]),
            frozenset(row.task for row in lessons),
        )

    @property
    def tasks(self) -> list[str]:
        """All experiments."""
        return sorted(set(self.task.tolist()))

    @property
    def measured(self) -> list[str]:
        """The experiments that are measured on."""
        return [task for task in self.tasks if task not in self.lessons]

    def sweeps(self, task: str, seed: int = 0) -> Iterator[NDArray[np.intp]]:
        """Yield rows of the healthy runs of an experiment with one faulty in eight, until each fault was in one."""
        healthy = np.flatnonzero((self.task == task) & (self.fault == ""))
        faulty = np.flatnonzero((self.task == task) & (self.fault != ""))
        faulty = np.random.default_rng(seed).permutation(faulty)
        size = max(1, round(len(healthy) * SHARE / (1 - SHARE)))
        for first in range(0, len(faulty), size):
            yield np.concatenate([healthy, faulty[first : first + size]])

    def params(self, rows: NDArray[np.intp]) -> list[Mapping[str, Any]]:
        return [self.rows[i].params for i in rows]

    def population(self, view: float, rows: NDArray[np.intp]) -> Population:
        """Return these runs as a sweep in which rules have found those that are not finite."""
        figures = self.figures[view][rows]
        broken = np.zeros(len(rows), dtype=bool)
        for name in ("loss_nonfinite", "validation_nonfinite"):
            broken |= np.nan_to_num(figures[:, FEATURE_NAMES.index(name)]) > 0
        return Population(figures, params=self.params(rows), sound=~broken)


def effects(material: Material, view: float, tasks: Sequence[str]) -> Effects:
    """Return what hyperparameters explain in the healthy runs of these experiments."""
    groups = [np.flatnonzero((material.task == task) & (material.fault == "")) for task in tasks]
    return Effects.learn([(material.figures[view][rows], material.params(rows)) for rows in groups])


def sigmas(material: Material, view: float, tasks: Sequence[str], share: float) -> tuple[NDArray[np.intp], Floats]:
    """Return rows of sweeps and their deviations; healthy runs come twice an experiment at most."""
    all_rows, all_z = [], []
    for task in tasks:
        known = effects(material, view, [other for other in tasks if other != task])
        for number, rows in enumerate(material.sweeps(task)):
            population = material.population(view, rows)
            usual = usual_runs(population, share)
            z = deviations(population.features, population.params, usual, effects=known)
            keep = (material.fault[rows] != "") | (number < 2)
            all_rows.append(rows[keep])
            all_z.append(z[keep])
    return np.concatenate(all_rows), np.concatenate(all_z)


def head(z: Floats, faulty: NDArray[np.bool_], seed: int = 0) -> Trees:
    """Return a forest whose mean is the probability of a fault."""
    from sklearn.ensemble import ExtraTreesClassifier

    model = ExtraTreesClassifier(
        n_estimators=N_TREES,
        max_leaf_nodes=MAX_LEAVES,
        min_samples_leaf=3,
        max_features=MAX_FEATURES,
        random_state=seed,
        n_jobs=1,
    ).fit(z, faulty)
    values = [tree.tree_.value[:, 0, 1] / tree.tree_.value[:, 0].sum(axis=1) for tree in model.estimators_]
    return Trees.of(model.estimators_, values)


def learn(material: Material, tasks: Sequence[str], views: Sequence[float] = VIEWS, *, without: str = "") -> Learned:
    """Return what these experiments teach; ``without`` a class of faults where one is named."""
    out = {}
    for view in views:
        rows, z = sigmas(material, view, tasks, LEARNED)
        _, strict = sigmas(material, view, tasks, USUAL)
        fault = material.fault[rows]
        used = fault != (without or "none")
        # A fault that had not begun by then is a healthy run.
        onset = np.array([material.rows[i].onset for i in rows])
        faulty = (fault != "") & (onset < view)
        _, first = np.unique(rows, return_index=True)
        sound = first[fault[first] == ""]
        figures = material.figures[view][rows[sound]]
        centre = np.nanmedian(figures, axis=0)
        out[view] = View(
            effects(material, view, tasks),
            reference=strict[sound],
            centre=centre,
            wide=SIGMA * np.nanmedian(np.abs(figures - centre), axis=0),
            head=head(z[used], faulty[used]),
        )
    return Learned(out)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    material = Material.of(kept(lessons=False), kept(lessons=True))
    save(learn(material, material.tasks), given.out)
    print(f"{given.out}: {given.out.stat().st_size / 1e6:.2f} MB, from {len(material.rows)} trainings", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
