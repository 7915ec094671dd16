"""Whether verdicts on some runs help to find trouble in later ones, in sweeps that a person looks at twice.

A sweep of half of an experiment's healthy runs, one run in eight faulty, is checked; of what is flagged a person says
whether there was trouble (the truth, for once). Then as many runs come in, and all are checked again. The later ones
are ranked with the verdicts and without, and their false alarms counted. Once with faults of all classes, and once with
two classes in a sweep: trouble that comes again has the same cause more often than not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from casts import SHARE
from findings_deepobs import auc
from learning import Material
from numpy.typing import NDArray

from advisor.findings.check import ALPHA_SINGLE, MIN_SIGMAS
from advisor.findings.forest import Scores, isolate
from advisor.findings.learned import Learned

N_DRAWS: Final = 8
"""Of early and late runs, an experiment."""
FEW_CLASSES: Final = 2
N_BOOTSTRAP: Final = 2000
FIGURES: Final = ("ROC-AUC", "average precision", "recall at 5 %", "sound runs flagged")


def flagged(scored: Scores) -> NDArray[np.bool_]:
    """Return which runs somebody would be told of, shape (n,); none where there are too few siblings."""
    if scored.p_value is None:
        return np.zeros(len(scored.score), dtype=bool)
    return np.asarray((scored.p_value <= ALPHA_SINGLE) & (np.abs(scored.z).max(axis=1) >= MIN_SIGMAS))


def of_late(scored: Scores, faulty: NDArray[np.bool_], late: NDArray[np.bool_]) -> tuple[float, ...]:
    from sklearn.metrics import average_precision_score

    score, faulty, alarm = scored.score[late], faulty[late], flagged(scored)[late]
    recall = float((score[faulty] > np.quantile(score[~faulty], 0.95)).mean())
    return (
        auc(score[~faulty], score[faulty]),
        float(average_precision_score(faulty, score)),
        recall,
        float(alarm[~faulty].mean()),
    )


def taught(material: Material, learned: Mapping[str, Learned]) -> dict[str, Any]:
    """Print and return what verdicts change, by how many classes of faults a sweep holds."""
    return {f"{n or 'all'} classes": _taught(material, learned, n) for n in (None, FEW_CLASSES)}


def _taught(material: Material, learned: Mapping[str, Learned], n_classes: int | None) -> dict[str, Any]:
    """Print and return what verdicts change, the mean over experiments with an interval over them."""
    rng = np.random.default_rng(0)
    plain, with_verdicts, n_verdicts = [], [], []
    for task in material.measured:
        ours: list[list[tuple[float, ...]]] = [[], []]
        view = learned[task].views[1.0]
        for _ in range(N_DRAWS):
            healthy = rng.permutation(np.flatnonzero((material.task == task) & (material.fault == "")))
            faulty = rng.permutation(np.flatnonzero((material.task == task) & (material.fault != "")))
            if n_classes is not None:
                among = rng.choice(sorted(set(material.fault[faulty])), n_classes, replace=False)
                faulty = faulty[np.isin(material.fault[faulty], among)]
            half = len(healthy) // 2
            n = min(max(1, round(half * SHARE / (1 - SHARE))), len(faulty) // 2)
            early = np.concatenate([healthy[:half], faulty[:n]])
            rows = np.concatenate([early, healthy[half:], faulty[n : 2 * n]])
            late = np.arange(len(rows)) >= len(early)
            first = isolate(material.population(1.0, early), view)
            truth = material.fault[rows] != ""
            verdicts = np.full(len(rows), np.nan)
            verdicts[: len(early)][flagged(first)] = truth[: len(early)][flagged(first)]
            n_verdicts.append(int((~np.isnan(verdicts)).sum()))
            again = material.population(1.0, rows)
            ours[0].append(of_late(isolate(again, view), truth, late))
            told = replace(again, sound=again.sound & (verdicts != 1), verdicts=verdicts)
            ours[1].append(of_late(isolate(told, view), truth, late))
        plain.append(np.mean(ours[0], axis=0))
        with_verdicts.append(np.mean(ours[1], axis=0))
    before, after = np.array(plain), np.array(with_verdicts)
    drawn = rng.integers(len(before), size=(N_BOOTSTRAP, len(before)))
    low, high = np.quantile((after - before)[drawn].mean(axis=1), [0.025, 0.975], axis=0)
    which = (
        f"faults of {n_classes or 'all'} classes; later runs, after {np.mean(n_verdicts):.1f} verdicts on earlier ones"
    )
    print(f"\n{which}: without, with, difference")
    out = {}
    for i, name in enumerate(FIGURES):
        values = float(before[:, i].mean()), float(after[:, i].mean())
        print(
            f"{name:20s}{values[0]:8.3f}{values[1]:8.3f}   {values[1] - values[0]:+.3f} [{low[i]:+.3f}, {high[i]:+.3f}]"
        )
        out[name] = {"without": values[0], "with": values[1], "interval": [float(low[i]), float(high[i])]}
    return out
