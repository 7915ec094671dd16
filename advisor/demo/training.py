"""The demo's trainings: a small neural network on scikit-learn's bundled digits, written in numpy.

Everything is real: minibatches, stochastic gradient descent with momentum, epochs, a validation set. A learning
rate that is too high makes the values grow until they are infinite, as anywhere else. Left out is what would
prevent it (gradient clipping, warm-up), since the demo wants to see it.

Run as a program it is the demo's second process: it takes a suggestion from a store, trains with it and writes the
number of each ``log()`` call to standard output once the call has returned, until somebody kills it.

Invariant: equal parameters, data and seed give the same curves, on the same machine and number of threads.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from advisor.experiment import Experiment
    from advisor.suggest import Suggestion

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

N_TRAIN: Final = 1000
N_VALIDATION: Final = 400
"""The other 397 of the 1,797 images are the test set."""
N_CLASSES: Final = 10
GUESSING: Final = math.log(N_CLASSES)
"""Loss of somebody who gives each of the ten digits the same chance, in nats: 2.303."""
LEAK: Final = 0.1
"""Slope of ``leaky_relu`` below zero: its units cannot die, so a network that goes wrong is not silent about it."""


@dataclass(frozen=True, slots=True)
class Part:
    """Images and what they show."""

    x: Floats
    """Shape (n, 64), grey values in [0, 1]."""
    y: Labels
    """Shape (n,), digits 0 to 9."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digits:
    """The data, divided once and for all."""

    train: Part
    validation: Part
    test: Part


def load_digits(seed: int) -> Digits:
    """Return scikit-learn's copy of the UCI digits (8 x 8 pixels), divided at random."""
    from sklearn import datasets

    bunch = datasets.load_digits()
    order = np.random.default_rng(seed).permutation(len(bunch.target))
    x, y = bunch.data[order] / 16.0, bunch.target[order].astype(np.int64)
    cuts = slice(N_TRAIN), slice(N_TRAIN, N_TRAIN + N_VALIDATION), slice(N_TRAIN + N_VALIDATION, None)
    train, validation, test = (Part(x[cut], y[cut]) for cut in cuts)
    return Digits(train=train, validation=validation, test=test)


def shuffled(part: Part, seed: int) -> Part:
    """Return the same images with the labels of others."""
    return Part(part.x, np.random.default_rng(seed).permutation(part.y))


class Training:
    """A network with two hidden layers, and how far its training has come.

    Parameters
    ----------
    params
        ``lr``, ``hidden`` (units a layer), ``momentum``, ``batch`` (images a step) and ``activation``.
    train, validation
        What it learns from, and what it is measured on.
    seed
        Of the first weights and of the order of the images.
    """

    def __init__(self, params: Mapping[str, Any], train: Part, validation: Part, *, seed: int) -> None:
        self._params, self._train, self._validation = params, train, validation
        self._rng = np.random.default_rng(seed)
        sizes = (train.x.shape[1], params["hidden"], params["hidden"], N_CLASSES)
        # He et al. 2015 (arXiv:1502.01852): the signal keeps its size through the layers.
        self.weights: list[Floats] = [self._rng.normal(0, math.sqrt(2 / a), (a, b)) for a, b in pairwise(sizes)]
        self.weights += [np.zeros(b) for b in sizes[1:]]
        self._velocity = [np.zeros_like(weight) for weight in self.weights]

    def untrained(self) -> dict[str, float]:
        """Return the losses and the accuracy before the first step: what "worse than at the start" refers to."""
        train_loss, _ = evaluate(self.weights, self._params, self._train)
        val_loss, val_accuracy = evaluate(self.weights, self._params, self._validation)
        return {"train_loss": train_loss, "val_loss": val_loss, "val_accuracy": val_accuracy}

    def epoch(self) -> dict[str, float]:
        """Go through the training images once, then look at the validation images."""
        steps = list(self.steps())
        return self.measured(steps)

    def steps(self) -> Iterator[tuple[float, float]]:
        """Go through the training images once; yield loss and gradient norm of each minibatch."""
        size = self._params["batch"]
        order = self._rng.permutation(len(self._train.y))
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            with np.errstate(all="ignore"):  # overflow is what a diverging run is about
                yield self._step(self._train.x[rows], self._train.y[rows])

    def measured(self, steps: list[tuple[float, float]]) -> dict[str, float]:
        """Return the figures of an epoch with these steps: two means over them, two on the validation images."""
        with np.errstate(all="ignore"):
            loss, gradient = np.mean(np.array(steps), axis=0)
            val_loss, val_accuracy = evaluate(self.weights, self._params, self._validation)
        return {
            "train_loss": float(loss),
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "grad_norm": float(gradient),
        }

    def _step(self, x: Floats, y: Labels) -> tuple[float, float]:
        layers, log_p = forward(self.weights, self._params["activation"], x)
        loss = float(-log_p[np.arange(len(y)), y].mean())
        error = np.exp(log_p)
        error[np.arange(len(y)), y] -= 1
        error /= len(y)
        gradients: list[Floats] = [np.empty(0)] * 6
        for layer in (2, 1, 0):
            gradients[layer], gradients[3 + layer] = layers[layer].T @ error, error.sum(axis=0)
            error = (error @ self.weights[layer].T) * _slope(self._params["activation"], layers[layer])
        for weight, velocity, gradient in zip(self.weights, self._velocity, gradients, strict=True):
            velocity *= self._params["momentum"]
            velocity -= self._params["lr"] * gradient
            weight += velocity
        return loss, math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))


def forward(weights: list[Floats], activation: str, x: Floats) -> tuple[list[Floats], Floats]:
    """Return the input of each layer, and the logarithms of the digits' probabilities, shape (n, 10)."""
    layers = [x]
    for layer in (0, 1):
        layers.append(_activate(activation, layers[-1] @ weights[layer] + weights[3 + layer]))
    scores = layers[-1] @ weights[2] + weights[5]
    scores = scores - scores.max(axis=1, keepdims=True)
    return layers, scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def evaluate(weights: list[Floats], params: Mapping[str, Any], part: Part) -> tuple[float, float]:
    """Return the mean loss in nats, and the accuracy in [0, 1]."""
    _, log_p = forward(weights, params["activation"], part.x)
    loss = -log_p[np.arange(len(part.y)), part.y].mean()
    return float(loss), float((log_p.argmax(axis=1) == part.y).mean())


def save_weights(weights: list[Floats], path: Path) -> Path:
    """Write the weights; equal weights give equal bytes."""
    np.savez(path, *weights)
    return path


def read_weights(path: Any) -> list[Floats]:
    """Read what ``save_weights`` wrote, from a path or an open file."""
    with np.load(path, allow_pickle=False) as archive:
        return [archive[name] for name in archive.files]


def _activate(activation: str, z: Floats) -> Floats:
    return np.tanh(z) if activation == "tanh" else np.maximum(z, LEAK * z)


def _slope(activation: str, out: Floats) -> Floats:
    """Return the activation's derivative where it gave ``out``."""
    return 1 - out**2 if activation == "tanh" else np.where(out > 0, 1.0, LEAK)


def suggest_near_best(experiment: Experiment, seed: int) -> Suggestion:
    """Return a suggestion that keeps what decides whether a training is stable, as the best run has it."""
    best = experiment.best()
    steady = {name: best.params[name] for name in ("lr", "momentum")} if best is not None else {}
    return experiment.suggest(seed=seed, fixed=steady)[0]


def train_until_killed(store: str, experiment: str, seed: int) -> None:
    """Take the next suggestion, train with it without end, and say of each ``log()`` call when it has returned."""
    import advisor

    exp = advisor.open(store, create=False).experiment(experiment, create=False)
    digits = load_digits(seed)
    run = exp.start(suggest_near_best(exp, seed), seed=seed, tags=["second-process"])
    training = Training(run.params, digits.train, digits.validation, seed=seed)
    said, step = count(1), count()
    for epoch in count(1):
        steps = []
        for loss, gradient in training.steps():
            steps.append((loss, gradient))
            run.log({"batch_loss": loss}, step=next(step))
            os.write(sys.stdout.fileno(), b"%d\n" % next(said))
        run.log(training.measured(steps), step=epoch)
        os.write(sys.stdout.fileno(), b"%d\n" % next(said))


if __name__ == "__main__":
    train_until_killed(sys.argv[1], sys.argv[2], int(sys.argv[3]))
