"""What can go wrong in a training, as hooks on one: fifteen classes of faults, each with a severity drawn by chance.

A fault is put into the cause (the learning rate, the data, the optimizer), never into the curve. It draws from its own
stream of random numbers, so that the twin without it sees the same weights, batches and dropout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from trainings import Training

Draw = Callable[[np.random.Generator], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one run."""

    name: str
    severity: Mapping[str, Any]
    onset: float
    """Share of the training at which it begins."""


FROM_START: Final = 0.0


def _late(rng: np.random.Generator) -> float:
    return float(rng.uniform(0.25, 0.75))


def draw(name: str, rng: np.random.Generator) -> Fault:
    """Return a fault of this class with a severity and an onset by chance."""
    severity = SEVERITIES[name](rng)
    return Fault(name, severity, _late(rng) if name in MIDWAY else FROM_START)


SEVERITIES: Final[Mapping[str, Draw]] = {
    "lr_high": lambda rng: {"factor": float(10 ** rng.uniform(1.0, 2.3))},
    "bad_init": lambda rng: {"factor": 0.0 if rng.random() < 0.25 else float(rng.uniform(4, 15))},
    "shuffled_labels": lambda rng: {"share": float(rng.uniform(0.5, 1.0))},
    "label_leak": lambda rng: {"noise": float(rng.uniform(0.0, 0.5))},
    "no_norm": lambda rng: {"spread": float(rng.uniform(0.7, 2.0))},
    "frozen": lambda rng: {},
    "eval_mode": lambda rng: {"dropout": float(rng.uniform(0.2, 0.5))},
    "zero_grad": lambda rng: {"kept": float(rng.uniform(0.9, 1.0))},
    "stuck_loader": lambda rng: {"n_batches": int(rng.integers(1, 5))},
    "batch_corrupt": lambda rng: {"share": float(rng.uniform(0.3, 1.0)), "size": float(rng.uniform(2, 10))},
    "label_shift": lambda rng: {"share": float(rng.uniform(0.5, 1.0))},
    "resume_reset": lambda rng: {"scheduler_too": bool(rng.random() < 0.5)},
    "slow_step": lambda rng: {"factor": float(rng.uniform(1.5, 5.0))},
    "spike": lambda rng: {"size": float(10 ** rng.uniform(1.0, 2.3)), "n_steps": int(rng.integers(1, 4))},
    "non_finite": lambda rng: {},
}
"""Class → how bad it is, drawn anew for each run."""
CLASSES: Final = tuple(SEVERITIES)
MIDWAY: Final = frozenset(
    {"stuck_loader", "batch_corrupt", "label_shift", "resume_reset", "slow_step", "spike", "non_finite"}
)
"""Faults that begin in the middle of a training."""
LOUD: Final = frozenset({"lr_high", "spike", "slow_step", "non_finite"})
"""Of these the ones that show as divergence, a spike of a nat or more, slow steps, or NaN must all be found."""
HARM_NATS: Final = math.log(1.25)
HARM_ACCURACY: Final = 0.03
"""A fault harmed where the final validation loss is 25 % off the twin's, or the accuracy three points."""


def apply(fault: Fault, training: Training, at: float, rng: np.random.Generator) -> None:
    """Do to the training what the fault does before the step at share ``at`` of it."""
    _HOOKS[fault.name](fault, training, at, rng)


def _at_start(act: Callable[[Fault, Any, np.random.Generator], None]) -> Callable[..., None]:
    def hook(fault: Fault, training: Training, at: float, rng: np.random.Generator) -> None:
        if not training.struck:
            act(fault, training, rng)
            training.struck = True

    return hook


def _at_onset(act: Callable[[Fault, Any, np.random.Generator], None]) -> Callable[..., None]:
    def hook(fault: Fault, training: Training, at: float, rng: np.random.Generator) -> None:
        if at >= fault.onset and not training.struck:
            act(fault, training, rng)
            training.struck = True

    return hook


def _lr_high(fault: Fault, training: Any, rng: np.random.Generator) -> None:
    training.lr_factor = fault.severity["factor"]


def _bad_init(fault: Fault, training: Any, rng: np.random.Generator) -> None:
    training.scale_weights(fault.severity["factor"])


def _shuffled_labels(fault: Fault, training: Any, rng: np.random.Generator) -> None:
    training.permute_labels(fault.severity["share"], rng)


def _label_leak(fault: Fault, training: Any, rng: np.random.Generator) -> None:
    training.leak_labels(fault.severity["noise"], rng)


def _no_norm(fault: Fault, training: Any, rng: np.random.Generator) -> None:
    training.undo_normalisation(fault.severity["spread"], rng)


def _frozen(fault: Fault, training: Any, rng: np.random.Generator) -> None:
    training.freeze()


def _eval_mode(fault: Fault, training: Any, rng: np.random.Generator) -> None:
    training.forget_eval_mode(fault.severity["dropout"])


def _zero_grad(fault: Fault, training: Any, rng: np.random.Generator) -> None:
    training.kept_gradient = fault.severity["kept"]


def _stuck_loader(fault: Fault, training: Any, rng: np.random.Generator) -> None:
    training.stick(fault.severity["n_batches"])


def _batch_corrupt(fault: Fault, training: Any, rng: np.random.Generator) -> None:
    training.corrupt = (fault.severity["share"], fault.severity["size"], math.inf)


def _spike(fault: Fault, training: Any, rng: np.random.Generator) -> None:
    training.corrupt = (1.0, fault.severity["size"], fault.severity["n_steps"])


def _resume_reset(fault: Fault, training: Any, rng: np.random.Generator) -> None:
    training.reset_optimizer(scheduler_too=fault.severity["scheduler_too"])


def _slow_step(fault: Fault, training: Any, rng: np.random.Generator) -> None:
    training.time_factor = fault.severity["factor"]


def _non_finite(fault: Fault, training: Any, rng: np.random.Generator) -> None:
    training.overflow()


_HOOKS: Final[Mapping[str, Callable[..., None]]] = {
    "lr_high": _at_start(_lr_high),
    "bad_init": _at_start(_bad_init),
    "shuffled_labels": _at_start(_shuffled_labels),
    "label_leak": _at_start(_label_leak),
    "no_norm": _at_start(_no_norm),
    "frozen": _at_start(_frozen),
    "eval_mode": _at_start(_eval_mode),
    "zero_grad": _at_start(_zero_grad),
    "stuck_loader": _at_onset(_stuck_loader),
    "batch_corrupt": _at_onset(_batch_corrupt),
    "label_shift": _at_onset(_shuffled_labels),
    "resume_reset": _at_onset(_resume_reset),
    "slow_step": _at_onset(_slow_step),
    "spike": _at_onset(_spike),
    "non_finite": _at_onset(_non_finite),
}
