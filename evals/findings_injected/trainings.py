"""Small trainings with torch on data that scikit-learn bundles or makes: experiments of 400 steps a run.

``TASKS`` are those that findings are measured on; ``LESSONS`` share no data with them and are learned from alone.

Step times are drawn, not measured: log-normal with rare long pauses, as on a shared machine, so that the curves do not
depend on what else the machine does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from faults import Fault, apply
from numpy.typing import NDArray
from torch import nn

N_STEPS: Final = 400
EVAL_EVERY: Final = 8
STEP_S: Final = {"mlp": 0.06, "cnn": 0.15, "rnn": 0.25}
"""Usual seconds of a step, by kind of net."""
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Data:
    """A data set, split."""

    x: torch.Tensor
    y: torch.Tensor
    x_val: torch.Tensor
    y_val: torch.Tensor
    n_classes: int
    """0 for a regression."""


@dataclass(frozen=True, slots=True)
class Task:
    """One experiment."""

    name: str
    data: Callable[[], Data]
    net: str
    """``mlp``, ``cnn`` or ``rnn``."""
    lr: float = 1.0
    """Times the usual learning rate."""


def _split(x: Any, y: Any, n_classes: int, seed: int = 0) -> Data:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))[:1200]
    x, y = np.asarray(x, dtype=np.float32)[order], np.asarray(y)[order]
    n_val = min(max(len(x) // 4, 40), 200)
    flat = x[n_val:].reshape(len(x) - n_val, -1)
    if x.ndim == 2:
        x = (x - flat.mean(axis=0)) / (flat.std(axis=0) + 1e-6)
    y = y.astype(np.int64) if n_classes else y.astype(np.float32)
    if not n_classes and y.ndim == 1:
        y = ((y - y.mean()) / y.std())[:, None]
    tensors = [torch.from_numpy(np.ascontiguousarray(part)) for part in (x[n_val:], y[n_val:], x[:n_val], y[:n_val])]
    return Data(*tensors, n_classes)


@functools.cache
def _sklearn(name: str) -> Data:
    from sklearn import datasets

    if name == "digits":
        x, y = datasets.load_digits(return_X_y=True)
        return _split(x, y, 10)
    if name == "digits-images":
        x, y = datasets.load_digits(return_X_y=True)
        return _split((x / 8 - 1).reshape(-1, 1, 8, 8), y, 10)
    if name == "digits-rows":
        x, y = datasets.load_digits(return_X_y=True)
        return _split((x / 8 - 1).reshape(-1, 8, 8), y, 10)
    if name == "digits-rebuilt":
        x, _ = datasets.load_digits(return_X_y=True)
        return _split(x, x / 8 - 1, 0)
    if name == "cancer":
        x, y = datasets.load_breast_cancer(return_X_y=True)
        return _split(x, y, 2)
    if name == "wine":
        x, y = datasets.load_wine(return_X_y=True)
        return _split(x, y, 3)
    if name == "diabetes":
        x, y = datasets.load_diabetes(return_X_y=True)
        return _split(x, y, 0)
    if name == "friedman":
        x, y = datasets.make_friedman1(1200, n_features=12, noise=0.8, random_state=0)
        return _split(x, y, 0)
    if name == "moons":
        x, y = datasets.make_moons(1000, noise=0.25, random_state=0)
        return _split(x, y, 2)
    if name == "clusters":
        x, y = datasets.make_classification(
            1400, n_features=24, n_informative=10, n_classes=5, n_clusters_per_class=2, random_state=0
        )
        return _split(x, y, 5)
    return _made(name)


def _made(name: str) -> Data:
    from sklearn import datasets

    if name == "iris":
        x, y = datasets.load_iris(return_X_y=True)
        return _split(x, y, 3)
    if name == "friedman2":
        x, y = datasets.make_friedman2(1200, noise=40.0, random_state=0)
        return _split(x, y, 0)
    if name == "friedman3":
        x, y = datasets.make_friedman3(1200, noise=0.05, random_state=0)
        return _split(x, y, 0)
    if name == "circles":
        x, y = datasets.make_circles(1000, noise=0.15, factor=0.5, random_state=0)
        return _split(x, y, 2)
    if name == "quantiles":
        x, y = datasets.make_gaussian_quantiles(n_samples=1200, n_features=8, n_classes=4, random_state=0)
        return _split(x, y, 4)
    if name == "hastie":
        x, y = datasets.make_hastie_10_2(1400, random_state=0)
        return _split(x, y > 0, 2)
    if name == "swiss-roll":
        x, y = datasets.make_swiss_roll(1200, noise=0.5, random_state=0)
        return _split(x, y, 0)
    rng = np.random.default_rng(0)
    if name in ("stripes", "spots"):
        return _images(name, rng)
    if name == "echo":
        x = rng.uniform(-1, 1, size=(1400, 8, 1))
        return _split(x, x[:, 3, 0], 0)
    if name == "waves":
        which = rng.integers(4, size=1400)
        at = np.arange(14) * (which[:, None] + 1.5) * 0.45 + rng.uniform(0, 6, size=(1400, 1))
        return _split((np.sin(at) + 0.4 * rng.standard_normal(at.shape))[..., None], which, 4)
    if name == "adding":
        x = rng.random((1400, 10, 2)).astype(np.float32)
        x[..., 1] = 0
        for row in x:
            row[rng.choice(10, 2, replace=False), 1] = 1
        return _split(x, (x[..., 0] * x[..., 1]).sum(axis=1), 0)
    assert name == "majority"
    x = rng.choice([-1.0, 1.0], size=(1400, 11, 1))
    return _split(x, (x.sum(axis=(1, 2)) > 0).astype(int), 2)


def _images(name: str, rng: np.random.Generator) -> Data:
    """Return images of 8 x 8: stripes of one of four directions, or up to three bright spots to be counted."""
    which = rng.integers(4, size=1400)
    x = 0.5 * rng.standard_normal((1400, 1, 8, 8))
    down, across = np.mgrid[:8, :8]
    for image, k in zip(x[:, 0], which, strict=True):
        if name == "stripes":
            turn = np.pi * k / 4
            image += np.sin(1.6 * (np.cos(turn) * down + np.sin(turn) * across) + rng.uniform(0, 6))
        else:
            for row, column in rng.integers(7, size=(k, 2)):
                image[row : row + 2, column : column + 2] += 2.0
    return _split(x, which, 4)


def _task(name: str, data: str, net: str, lr: float = 1.0) -> Task:
    return Task(name, lambda: _sklearn(data), net, lr)


TASKS: Final[Mapping[str, Task]] = {
    task.name: task
    for task in (
        _task("digits-mlp", "digits", "mlp"),
        _task("digits-cnn", "digits-images", "cnn"),
        _task("digits-rnn", "digits-rows", "rnn", 2.0),
        _task("digits-autoencoder", "digits-rebuilt", "mlp"),
        _task("cancer-mlp", "cancer", "mlp"),
        _task("wine-mlp", "wine", "mlp"),
        _task("diabetes-mlp", "diabetes", "mlp", 0.5),
        _task("friedman-mlp", "friedman", "mlp", 0.5),
        _task("moons-mlp", "moons", "mlp"),
        _task("clusters-mlp", "clusters", "mlp"),
        _task("adding-rnn", "adding", "rnn", 2.0),
        _task("majority-rnn", "majority", "rnn", 2.0),
    )
}
LESSONS: Final[Mapping[str, Task]] = {
    task.name: task
    for task in (
        _task("iris-mlp", "iris", "mlp"),
        _task("friedman2-mlp", "friedman2", "mlp", 0.5),
        _task("friedman3-mlp", "friedman3", "mlp", 0.5),
        _task("circles-mlp", "circles", "mlp"),
        _task("quantiles-mlp", "quantiles", "mlp"),
        _task("hastie-mlp", "hastie", "mlp"),
        _task("swiss-roll-mlp", "swiss-roll", "mlp", 0.5),
        _task("stripes-cnn", "stripes", "cnn"),
        _task("spots-cnn", "spots", "cnn"),
        _task("echo-rnn", "echo", "rnn", 2.0),
        _task("waves-rnn", "waves", "rnn", 2.0),
    )
}
USUAL_LR: Final = {"sgd": 0.1, "momentum": 0.02, "adam": 0.003}


def draw_params(rng: np.random.Generator, task: Task) -> dict[str, Any]:
    """Return hyperparameters as a sensible sweep draws them."""
    optimizer = str(rng.choice(list(USUAL_LR)))
    return {
        "optimizer": optimizer,
        "lr": task.lr * USUAL_LR[optimizer] * float(10 ** rng.uniform(-1.0, 0.5)),
        "batch_size": int(rng.choice([16, 32, 64])),
        "width": int(rng.choice([16, 32, 64])),
        "depth": int(rng.integers(1, 4)) if task.net == "mlp" else 1,
        "activation": str(rng.choice(["relu", "tanh", "gelu"])),
        "dropout": float(rng.choice([0.0, 0.0, 0.1, 0.3])),
        "weight_decay": float(rng.choice([0.0, 1e-4, 1e-3])),
        "schedule": str(rng.choice(["constant", "cosine", "step"])),
        "clip": float(rng.choice([0.0, 1.0])),
        "batch_norm": bool(rng.random() < 0.3) and task.net == "mlp",
    }


class Recurrent(nn.Module):
    """A GRU and a linear layer on its last state."""

    def __init__(self, n_in: int, width: int, n_out: int, dropout: float) -> None:
        super().__init__()
        self.cell = nn.GRU(n_in, width, batch_first=True)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(width, n_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states, _ = self.cell(x)
        out: torch.Tensor = self.head(self.drop(states[:, -1]))
        return out


def _net(task: Task, data: Data, params: Mapping[str, Any]) -> nn.Module:
    n_out = data.n_classes or data.y.shape[1]
    width, dropout = params["width"], params["dropout"]
    activation = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}[params["activation"]]
    if task.net == "rnn":
        return Recurrent(data.x.shape[2], width, n_out, dropout)
    layers: list[nn.Module] = []
    if task.net == "cnn":
        n = max(width // 8, 4)
        layers = [nn.Conv2d(data.x.shape[1], n, 3, padding=1), activation(), nn.MaxPool2d(2)]
        layers += [nn.Flatten(), nn.Dropout(dropout), nn.Linear(n * 16, n_out)]
        return nn.Sequential(*layers)
    n_in = data.x.shape[1]
    for _ in range(params["depth"]):
        layers.append(nn.Linear(n_in, width))
        if params["batch_norm"]:
            layers.append(nn.BatchNorm1d(width))
        layers += [activation(), nn.Dropout(dropout)]
        n_in = width
    return nn.Sequential(*layers, nn.Linear(n_in, n_out))


class Training:
    """One run, and the places where a fault can strike it."""

    def __init__(self, task: Task, params: Mapping[str, Any], seed: int) -> None:
        torch.manual_seed(seed)
        self.rng = np.random.default_rng([seed, 1])
        self.times = np.random.default_rng([seed, 2])
        self.chance = np.random.default_rng([seed, 3])
        """What a fault draws, so that the twin without it sees the same batches and the same dropout."""
        self.step_s = STEP_S[task.net]
        self.params, self.data = dict(params), task.data()
        self.net = _net(task, self.data, params)
        self.x, self.y, self.x_val = self.data.x, self.data.y, self.data.x_val
        self.struck = False
        self.lr_factor, self.time_factor, self.kept_gradient = 1.0, 1.0, 0.0
        self.corrupt: tuple[float, float, float] | None = None
        self._eval_mode, self._n_stuck, self._restart = True, 0, 0
        self._optimizer = self._new_optimizer()

    # -- where faults strike

    def scale_weights(self, factor: float) -> None:
        with torch.no_grad():
            for parameter in self.net.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(factor)

    def permute_labels(self, share: float, rng: np.random.Generator) -> None:
        rows = np.flatnonzero(rng.random(len(self.y)) < share)
        self.y = self.y.clone()
        self.y[rows] = self.y[rng.permutation(rows)]

    def leak_labels(self, noise: float, rng: np.random.Generator) -> None:
        """Put the answer into the last inputs, in training and validation alike."""

        def leaked(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            x = x.clone()
            told = y.float() / max(self.data.n_classes - 1, 1) * 2 - 1 if self.data.n_classes else y[:, 0]
            told = told + noise * torch.from_numpy(rng.standard_normal(len(x)).astype(np.float32))
            flat = x.view(len(x), -1)
            flat[:, -1] = told
            return x

        self.x, self.x_val = leaked(self.x, self.y), leaked(self.x_val, self.data.y_val)

    def undo_normalisation(self, spread: float, rng: np.random.Generator) -> None:
        """Give every input a scale and a level of its own."""
        shape = (1, *self.x.shape[1:])
        scale = torch.from_numpy((10 ** rng.uniform(-spread / 2, spread, shape)).astype(np.float32))
        level = torch.from_numpy((3 * rng.standard_normal(shape)).astype(np.float32))
        self.x, self.x_val = self.x * scale + level * scale, self.x_val * scale + level * scale

    def freeze(self) -> None:
        for parameter in list(self.net.parameters())[:-2]:
            parameter.requires_grad_(False)

    def forget_eval_mode(self, dropout: float) -> None:
        self._eval_mode = False
        for module in self.net.modules():
            if isinstance(module, nn.Dropout):
                module.p = max(module.p, dropout)

    def stick(self, n_batches: int) -> None:
        self._n_stuck = n_batches * self.params["batch_size"]

    def reset_optimizer(self, *, scheduler_too: bool) -> None:
        self._optimizer = self._new_optimizer()
        if scheduler_too:
            self._restart = -1  # taken up by the next step

    def overflow(self) -> None:
        with torch.no_grad():
            next(self.net.parameters()).view(-1)[0] = float("inf")

    # -- the training

    def _new_optimizer(self) -> torch.optim.Optimizer:
        kind, wd = self.params["optimizer"], self.params["weight_decay"]
        if kind == "adam":
            return torch.optim.Adam(self.net.parameters(), lr=self.params["lr"], weight_decay=wd)
        momentum = 0.9 if kind == "momentum" else 0.0
        return torch.optim.SGD(self.net.parameters(), lr=self.params["lr"], momentum=momentum, weight_decay=wd)

    def _lr(self, step: int) -> float:
        if self._restart < 0:
            self._restart = step
        at = (step - self._restart) / N_STEPS
        factors = {"cosine": 0.5 * (1 + np.cos(np.pi * at)), "step": 0.1 ** int(at * 3)}
        factor = factors.get(self.params["schedule"], 1.0)
        return float(self.params["lr"] * self.lr_factor * factor)

    def _loss(self, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(out, y) if self.data.n_classes else nn.functional.mse_loss(out, y)

    def _batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        n = self._n_stuck or len(self.x)
        rows = self.rng.integers(len(self.x), size=self.params["batch_size"]) % n
        x, y = self.x[rows], self.y[rows]
        if self.corrupt is not None:
            share, size, left = self.corrupt
            bad = torch.from_numpy(self.chance.random(len(x)) < share)
            x = x.clone()
            x[bad] = size * torch.from_numpy(self.chance.standard_normal(x[bad].shape).astype(np.float32))
            self.corrupt = (share, size, left - 1) if left > 1 else None
        return x, y

    def step(self, number: int) -> tuple[float, float, float]:
        """Train on one batch; return loss, gradient norm and seconds."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._lr(number)
        self.net.train()
        for parameter in self.net.parameters():
            if parameter.grad is not None:
                parameter.grad = parameter.grad * self.kept_gradient if self.kept_gradient else None
        x, y = self._batch()
        loss = self._loss(self.net(x), y)
        loss.backward()
        limit = self.params["clip"] or float("inf")
        norm = nn.utils.clip_grad_norm_([p for p in self.net.parameters() if p.requires_grad], limit)
        self._optimizer.step()
        pause = 20.0 if self.times.random() < 0.01 else 1.0
        seconds = self.step_s * self.time_factor * pause * float(np.exp(0.15 * self.times.standard_normal()))
        return float(loss.detach()), float(norm), seconds

    @torch.no_grad()
    def evaluate(self) -> tuple[float, float]:
        """Return validation loss, and accuracy (for a regression the share of variance explained)."""
        self.net.train(not self._eval_mode)
        out = self.net(self.x_val)
        loss = float(self._loss(out, self.data.y_val))
        if self.data.n_classes:
            return loss, float((out.argmax(dim=1) == self.data.y_val).float().mean())
        return loss, 1.0 - loss / float(self.data.y_val.var())


def train(task: Task, params: Mapping[str, Any], seed: int, fault: Fault | None) -> dict[str, Array]:
    """Return the curves of one run: ``loss``, ``grad_norm`` and ``seconds`` a step, ``val_loss`` and ``val_score``."""
    training = Training(task, params, seed)
    steps: list[tuple[float, float, float]] = []
    evaluated: list[tuple[float, float]] = []
    for number in range(N_STEPS):
        if fault is not None:
            apply(fault, training, number / N_STEPS, training.chance)
        steps.append(training.step(number))
        if (number + 1) % EVAL_EVERY == 0:
            evaluated.append(training.evaluate())
    columns = np.array(steps, dtype=np.float32).T, np.array(evaluated, dtype=np.float32).T
    names: Sequence[str] = ("loss", "grad_norm", "seconds", "val_loss", "val_score")
    return dict(zip(names, (*columns[0], *columns[1]), strict=True))
