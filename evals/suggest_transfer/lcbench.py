"""LCBench: a multilayer perceptron with seven hyperparameters on 34 OpenML tasks, through YAHPO's surrogate.

The objective is the validation accuracy after 52 epochs. Regret is 0 at the best that a long refined search finds and
1 at the median of random configurations. The surrogate is smooth and has no noise.

L. Zimmer et al., "Auto-PyTorch Tabular", 2021; F. Pfisterer et al., "YAHPO Gym", 2022.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from problems import BEGIN, Answer, finished

from advisor.suggest import Float, Int, Space
from advisor.suggest.encoding import Encoder
from advisor.suggest.others import Past
from storage.records import Experiment, Objective

Array = NDArray[np.float64]

EPOCHS = 52.0
NAMES = ("batch_size", "learning_rate", "momentum", "weight_decay", "num_layers", "max_units", "max_dropout")
"""Parameters in the order in which the surrogate takes them, after the number of epochs."""
N_RANDOM = 20_000
N_REFINED = 20
"""Best random points that are refined."""
N_ROUNDS = 40
N_NEAR = 50
"""Points drawn around each of them in a round."""

DATA_SETS = {
    "3945": "KDDCup09_appetency",
    "7593": "covertype",
    "34539": "Amazon_employee_access",
    "126025": "adult",
    "126026": "nomao",
    "126029": "bank-marketing",
    "146212": "shuttle",
    "167104": "Australian",
    "167149": "kr-vs-kp",
    "167152": "mfeat-factors",
    "167161": "credit-g",
    "167168": "vehicle",
    "167181": "kc1",
    "167184": "blood-transfusion-service-center",
    "167185": "cnae-9",
    "167190": "phoneme",
    "167200": "higgs",
    "167201": "connect-4",
    "168329": "helena",
    "168330": "jannis",
    "168331": "volkert",
    "168335": "MiniBooNE",
    "168868": "APSFailure",
    "168908": "christine",
    "168910": "fabert",
    "189354": "airlines",
    "189862": "jasmine",
    "189865": "sylvine",
    "189866": "albert",
    "189873": "dionis",
    "189905": "car",
    "189906": "segment",
    "189908": "Fashion-MNIST",
    "189909": "jungle_chess_2pcs_raw_endgame_complete",
}
"""OpenML task → its data set."""


class LCBench:
    name = "lcbench"

    def __init__(self, folder: Path, *, cache: Path) -> None:
        import onnxruntime

        onnxruntime.set_default_logger_severity(3)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(folder / "model.onnx", options)
        self._codes = json.loads((folder / "encoding.json").read_text())["OpenML_task_id"]
        declared = {
            each["name"]: each for each in json.loads((folder / "config_space.json").read_text())["hyperparameters"]
        }
        self._space = Space.of({name: _dimension(declared[name]) for name in NAMES})
        self._encoder = Encoder(self._space)
        self.tasks = sorted(declared["OpenML_task_id"]["choices"])
        self._scales = self._read_scales(cache)

    def group(self, task: str) -> str:
        """Return whether the design of the sampler was chosen with a look at this task."""
        return "seen" if self.tasks.index(task) % 2 == 0 else "unseen"

    def experiment(self, task: str) -> Experiment:
        name = DATA_SETS[task]
        return Experiment(
            f"mlp-{name}",
            number=self.tasks.index(task),
            objectives=(Objective("val_accuracy", "maximize"),),
            space=self._space.to_json(),
            description=f"LCBench funnel MLP on OpenML {name}",
            created=BEGIN,
        )

    def space(self, task: str) -> Space:
        return self._space

    @functools.lru_cache(maxsize=256)  # noqa: B019  # one object a process, see problems.benchmark
    def past(self, task: str, seed: int, n_runs: int) -> Past:
        rng = np.random.default_rng([seed, self.tasks.index(task), 77])
        rows = [self._space.draw(rng) for _ in range(n_runs)]
        values = self._accuracy(task, np.array([[row[name] for name in NAMES] for row in rows], dtype=float))
        experiment = self.experiment(task)
        runs = [finished(experiment.name, f"{n_runs}-{seed}", i, row, float(values[i])) for i, row in enumerate(rows)]
        return Past(experiment, runs)

    def answering(self, task: str) -> Answer:
        def answer(params: Mapping[str, Any]) -> tuple[Mapping[str, Any], float]:
            row = np.array([[params[name] for name in NAMES]], dtype=float)
            return params, float(self._accuracy(task, row)[0])

        return answer

    def regret(self, task: str, value: float) -> float:
        best, median = self._scales[task]
        return (best - value) / (best - median)

    def _accuracy(self, task: str, rows: Array) -> Array:
        """Return the validation accuracy in percent, shape (n,), of configurations, shape (n, 7)."""
        numbers = np.column_stack([np.full(len(rows), EPOCHS), rows]).astype(np.float32)
        code = np.full((len(rows), 1), self._codes[task], dtype=np.int32)
        given = {each.name: code if "int" in each.type else numbers for each in self._session.get_inputs()}
        return np.asarray(self._session.run(None, given)[0][:, 1], dtype=float)

    def _read_scales(self, cache: Path) -> dict[str, tuple[float, float]]:
        if cache.exists():
            return {task: (best, median) for task, (best, median) in json.loads(cache.read_text()).items()}
        found = {task: self._scale(task) for task in self.tasks}
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(json.dumps(found, indent=1) + "\n")
        return found

    def _scale(self, task: str) -> tuple[float, float]:
        """Return the best that a refined search finds, and the median of random configurations."""
        rng = np.random.default_rng(12345)
        points = self._encoder.draw(rng, N_RANDOM)
        values = self._accuracy(task, self._rows(points))
        order = np.argsort(-values)[:N_REFINED]
        best, at, step = points[order], values[order], 0.1
        for _ in range(N_ROUNDS):
            near = best[:, None, :] + step * rng.standard_normal((N_REFINED, N_NEAR, best.shape[1]))
            near = self._encoder.snap(near.reshape(-1, best.shape[1]))
            found = self._accuracy(task, self._rows(near)).reshape(N_REFINED, N_NEAR)
            k, mine = found.argmax(axis=1), np.arange(N_REFINED)
            better = found[mine, k] > at
            best[better] = near.reshape(N_REFINED, N_NEAR, -1)[mine, k][better]
            at = np.maximum(at, found[mine, k])
            step *= 0.92
        return float(at.max()), float(np.median(values))

    def _rows(self, points: Array) -> Array:
        """Return parameters, shape (n, 7), at coordinates of allowed values."""
        out = np.empty_like(points)
        for j, dimension in enumerate(self._space.values()):
            low, high = dimension.low, dimension.high
            out[:, j] = low * (high / low) ** points[:, j] if dimension.log else low + points[:, j] * (high - low)
            if isinstance(dimension, Int):
                out[:, j] = np.round(out[:, j])
        return out


def _dimension(declared: Mapping[str, Any]) -> Float | Int:
    kind = Int if declared["type"] == "uniform_int" else Float
    return kind(declared["lower"], declared["upper"], log=bool(declared["log"]))
