"""What a parameter is, told by its name: the learning rate by any of its spellings, and others that shape curves.

Used to carry what other experiments taught (how the curve of a run follows from its learning rate, its batch size …) to
an experiment with other names and other ranges: every number is relative to the runs beside it. Leaves out parameters
that no name tells. Invariant: a parameter that is missing, or the same in all runs, is a column of zeros.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LOG_LIMIT: Final = 4.0
"""A learning rate counts as at most e**4 (55 times) off its siblings': nothing was learned of larger ratios."""

_NAMES: Final[Mapping[str, frozenset[str]]] = {
    "lr": frozenset({"lr", "learningrate", "eta", "eta0", "baselr", "maxlr", "peaklr", "learningrateinit", "stepsize"}),
    "batch_size": frozenset({"batchsize", "bs", "batch", "trainbatchsize", "perdevicetrainbatchsize"}),
    "width": frozenset({"width", "hidden", "hiddensize", "hiddendim", "units", "nhidden", "dmodel", "dim", "maxunits"}),
    "depth": frozenset({"depth", "layers", "nlayers", "numlayers", "nlayer", "numhiddenlayers"}),
    "dropout": frozenset({"dropout", "dropoutrate", "pdrop", "maxdropout"}),
    "weight_decay": frozenset({"weightdecay", "wd", "l2", "alpha"}),
    "clip": frozenset({"clip", "gradclip", "gradientclip", "clipnorm", "maxgradnorm", "gradientclipval"}),
    "batch_norm": frozenset({"batchnorm", "bn", "usebn", "usebatchnorm", "norm"}),
    "optimizer": frozenset({"optimizer", "optim", "opt", "optimiser"}),
    "schedule": frozenset({"schedule", "scheduler", "lrscheduler", "lrschedule", "lrschedulertype"}),
    "activation": frozenset({"activation", "act", "nonlinearity", "actfn"}),
}
_ADAPTIVE: Final = ("adam", "rmsprop", "adagrad", "lion", "nadam", "adafactor", "lamb")
COLUMNS: Final = (
    "lr",
    "batch_size",
    "width",
    "depth",
    "dropout",
    "weight_decay",
    "clip",
    "batch_norm",
    "adaptive",
    "momentum",
    "cosine",
    "steps",
    "tanh",
)
"""Columns in the order of ``known_columns``."""


def known_columns(params: Sequence[Mapping[str, Any]]) -> Floats:
    """Return the parameters whose names are known as numbers relative to the runs beside them, shape (n, 13).

    Learning rates are logarithms beside the median of the runs with the same optimizer, sizes beside the median of all.

    >>> known_columns([{"learning_rate": 0.1}, {"learning_rate": 0.1}, {"learning_rate": 1.0}])[:, 0].round(1).tolist()
    [0.0, 0.0, 2.3]
    """
    spelled = _spellings(params)
    given = {name: [run.get(spelled[name]) if name in spelled else None for run in params] for name in _NAMES}
    words = {name: [str(value).lower() for value in given[name]] for name in ("optimizer", "schedule", "activation")}
    adaptive = [any(kind in word for kind in _ADAPTIVE) for word in words["optimizer"]]
    momentum = ["momentum" in word or "nesterov" in word for word in words["optimizer"]]
    decay = _numbers(given["weight_decay"])
    columns = [
        np.clip(_beside(_log(given["lr"]), words["optimizer"]), -LOG_LIMIT, LOG_LIMIT),
        _beside(_log(given["batch_size"])),
        _beside(_log(given["width"])),
        _beside(_numbers(given["depth"])),
        _numbers(given["dropout"]),
        np.clip(np.log10(np.maximum(np.nan_to_num(decay), 1e-5)) + 5.0, 0.0, 4.0),
        (_numbers(given["clip"]) > 0).astype(float),
        np.array([float(value not in (None, False, 0, "none", "None")) for value in given["batch_norm"]]),
        np.array(adaptive, dtype=float),
        np.array(momentum, dtype=float),
        np.array([float("cos" in word) for word in words["schedule"]]),
        np.array([float("step" in word) for word in words["schedule"]]),
        np.array([float("tanh" in word) for word in words["activation"]]),
    ]
    return np.asarray(np.nan_to_num(np.column_stack(columns)))


def _spellings(params: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the name that these runs use for each parameter that is known; the shortest where there are several."""
    out: dict[str, str] = {}
    for key in sorted({key for run in params for key in run}, key=lambda k: (len(k), k), reverse=True):
        plain = re.sub(r"[^a-z0-9]", "", key.rpartition("/")[2].rpartition(".")[2].lower())
        out.update({name: key for name, spellings in _NAMES.items() if plain in spellings})
    return out


def _numbers(values: Sequence[Any]) -> Floats:
    out = np.full(len(values), np.nan)
    for i, value in enumerate(values):
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            out[i] = min(max(value, -1e300), 1e300)
    return out


def _log(values: Sequence[Any]) -> Floats:
    numbers = _numbers(values)
    return np.asarray(np.log(np.where(numbers > 0, numbers, np.nan)))


def _beside(column: Floats, groups: Sequence[str] = ()) -> Floats:
    """Return differences to the median of those that are known, within groups where given."""
    labels = np.array(groups) if len(groups) else np.zeros(column.size, dtype=int)
    out = column.copy()
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        known = column[rows][~np.isnan(column[rows])]
        if known.size:
            out[rows] = column[rows] - np.median(known)
    return out
