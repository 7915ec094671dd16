"""Questions with conditions, and the same conditions in Python on the raw parameters: the answers must be equal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

Params = Mapping[str, Any]


def number(params: Params, name: str) -> float:
    """Return a parameter as a number, NaN where there is none."""
    value = params.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _between(name: str, low: float, high: float) -> Callable[[Params, str], bool]:
    return lambda params, _: low <= number(params, name) <= high


def _below(name: str, bound: float) -> Callable[[Params, str], bool]:
    return lambda params, _: number(params, name) < bound


def _above(name: str, bound: float) -> Callable[[Params, str], bool]:
    return lambda params, _: number(params, name) > bound


def _is(name: str, value: object) -> Callable[[Params, str], bool]:
    return lambda params, _: params.get(name) == value


def _within(name: str) -> Callable[[Params, str], bool]:
    return lambda _, experiment: experiment == name


def _all(*tests: Callable[[Params, str], bool]) -> Callable[[Params, str], bool]:
    return lambda params, experiment: all(test(params, experiment) for test in tests)


QUERIES: tuple[tuple[str, Callable[[Params, str], bool]], ...] = (
    ("params.lr<1e-3", _below("lr", 1e-3)),
    ("params.lr<2e-4", _below("lr", 2e-4)),
    ("params.lr > 10", _above("lr", 10)),
    ("params.lr>=1 experiment:mnist_vae", _all(lambda p, _: number(p, "lr") >= 1, _within("mnist_vae"))),
    ("optimizer:Adam params.lr>0.1", _all(_is("optimizer", "Adam"), _above("lr", 0.1))),
    ("optimizer:Momentum params.lr<=1e-4", _all(_is("optimizer", "Momentum"), lambda p, _: number(p, "lr") <= 1e-4)),
    ("params.batch_size=64", _is("batch_size", 64)),
    ("batch_size:50", _is("batch_size", 50)),
    ("learning_rate<9e-4", _below("learning_rate", 9e-4)),
    ("learning_rate>=0.005", lambda p, _: number(p, "learning_rate") >= 0.005),
    ("weight_decay>0.1", _above("weight_decay", 0.1)),
    ("weight_decay<2e-4", _below("weight_decay", 2e-4)),
    ("dropout_rate=0.1 label_smoothing=0.2", _all(_is("dropout_rate", 0.1), _is("label_smoothing", 0.2))),
    ("label_smoothing:0.4", _is("label_smoothing", 0.4)),
    ("warmup_factor=0.02", _is("warmup_factor", 0.02)),
    ("warmup_factor>0.05", _above("warmup_factor", 0.05)),
    ("beta2>0.99 submission:amos", _all(_above("beta2", 0.99), _is("submission", "amos"))),
    ("submission:amos framework:jax", _all(_is("submission", "amos"), _is("framework", "jax"))),
    ("submission:nadamp experiment:ogbg", _all(_is("submission", "nadamp"), _within("ogbg"))),
    ("one_minus_beta1<0.02", _below("one_minus_beta1", 0.02)),
    ("nesterov:true", _is("nesterov", True)),
    ("use_nadam=false", _is("use_nadam", False)),
    ("step_hint_factor<0.9", _below("step_hint_factor", 0.9)),
    ("cycles=2", _is("cycles", 2)),
    ("power>1.9", _above("power", 1.9)),
    ("converge<0.7 l2>0.002", _all(_below("converge", 0.7), _above("l2", 0.002))),
    ("not framework:jax weight_decay>0.05", _all(_is("framework", "pytorch"), _above("weight_decay", 0.05))),
    ("-submission:baseline beta1>0.94", _all(lambda p, _: p.get("submission") != "baseline", _above("beta1", 0.94))),
    ("max_preconditioner_dim=1024 use_momentum:true",
     _all(_is("max_preconditioner_dim", 1024), _is("use_momentum", True))),
    ("epsilon<=1e-8 learning_rate>=0.001 learning_rate<=0.002",
     _all(lambda p, _: number(p, "epsilon") <= 1e-8, _between("learning_rate", 1e-3, 2e-3))),
)  # fmt: skip

WITH_WORDS: tuple[tuple[str, Callable[[Params, str], bool]], ...] = (
    ("diverged params.lr>1", _above("lr", 1)),
    (
        '"went to nan" optimizer:Adam params.lr>=0.1',
        _all(_is("optimizer", "Adam"), lambda p, _: number(p, "lr") >= 0.1),
    ),
    ("plateau learning_rate<1e-3", _below("learning_rate", 1e-3)),
    ("overfits weight_decay<1e-3 experiment:ogbg", _all(_below("weight_decay", 1e-3), _within("ogbg"))),
    ("slow step submission:shampoo", _is("submission", "shampoo")),
)
"""With words the filter still decides which runs may come at all: none of another may."""
