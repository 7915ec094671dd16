"""What the advisor has learned of curves before it sees yours: shipped as data, rebuilt by ``make train-head``.

For each share of a run that is compared (``VIEWS``): how hyperparameters show in curves anywhere (``Effects``), how far
sound runs deviate from their siblings (the reference that isolation forests learn from), and a small supervised forest
that tells harmful faults from sound runs (the head). All from small trainings with faults put in on purpose. Leaves out
how a run's deviations come about (``context``). Invariant: no pickles; what is kept says what figures it was made for,
and is not used with others.
"""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from advisor.errors import AdvisorError
from advisor.findings.context import Effects
from advisor.findings.features import FEATURE_NAMES
from advisor.findings.trees import Trees

Floats = NDArray[np.float64]

VIEWS: Final = (0.1, 0.25, 0.5, 1.0)
"""Shares of the usual length at which runs are compared: a beginning only with beginnings."""
SHIPPED: Final = "learned.npz"


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What was learned of one share of a run."""

    effects: Effects
    _: KW_ONLY
    reference: Floats
    """Shape (n, n_features): robust sigmas of sound runs beside their siblings."""
    centre: Floats
    """Shape (n_features,): the figures' medians over sound runs of all experiments."""
    wide: Floats
    """Shape (n_features,): the robust sigmas of the figures over sound runs of all experiments."""
    head: Trees
    """Their mean is the probability of a harmful fault, as it was among the trainings learned from."""


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """What was learned, by share of a run."""

    views: Mapping[float, View]


@functools.cache
def shipped() -> Learned:
    """Return what came with the package.

    Raises
    ------
    AdvisorError
        If the file is missing or was made for other figures.
    """
    return load(Path(__file__).with_name("data") / SHIPPED)


def load(path: Path) -> Learned:
    """Return what ``save`` wrote.

    Raises
    ------
    AdvisorError
        If the file cannot be read or was made for other figures.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
        if tuple(arrays.pop("features")) != FEATURE_NAMES:
            raise AdvisorError(f"{path.name} was made for other figures of curves; make it anew: make train-head")
        return Learned({view: _view(arrays, f"{view}/") for view in VIEWS})
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise AdvisorError(f"{path} cannot be read: {error}; install the package again, or: make train-head") from error


def save(learned: Learned, path: Path) -> None:
    """Write what was learned in single precision, without pickles."""
    arrays: dict[str, NDArray[Any]] = {"features": np.array(FEATURE_NAMES)}
    for view, one in learned.views.items():
        parts = {name: getattr(one.effects, name) for name in ("mean", "scale", "weights", "spread")}
        parts = {name: array.astype(np.float32) for name, array in parts.items()}
        parts |= {name: getattr(one, name).astype(np.float32) for name in ("centre", "wide")}
        parts["reference"] = one.reference.astype(np.float16)
        parts |= {f"head/{name}": _narrow(array) for name, array in one.head.as_arrays().items()}
        arrays |= {f"{view}/{name}": array for name, array in parts.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, allow_pickle=False, **arrays)


def _narrow(array: NDArray[Any]) -> NDArray[Any]:
    """Return doubles as the nearest single not above: rows are compared in single precision, so no row turns off."""
    if array.dtype != np.float64:
        return array
    narrow = array.astype(np.float32)
    return np.where(narrow > array, np.nextafter(narrow, np.float32(-np.inf)), narrow)


def _view(arrays: Mapping[str, NDArray[Any]], prefix: str) -> View:
    part = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    effects = Effects(*(part[name].astype(np.float64) for name in ("mean", "scale", "weights", "spread")))
    figures = {name: part[name].astype(np.float64) for name in ("reference", "centre", "wide")}
    head = {name.removeprefix("head/"): array for name, array in part.items() if name.startswith("head/")}
    head |= {name: head[name].astype(np.float64) for name in ("threshold", "value")}
    return View(effects, **figures, head=Trees.load(head))
