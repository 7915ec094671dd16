"""Reads a little of batches, modules and optimizers of any framework, by the names that they share.

Works on torch-like, numpy-like and plain Python objects, imports none of the frameworks, and copies a bounded sample
from a device, never a whole batch. Leaves out what the figures mean (``state``). Invariant: what is read is not
changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.errors import RecordError

SAMPLE = 4096
"""Elements of a batch that are looked at, evenly spread: enough to tell two batches apart, for some microseconds."""
STATES_READ = 8
"""Parameters whose optimizer state is read: reading a counter from a device waits for the device."""
SENSITIVE = ("dropout", "batchnorm", "droppath", "stochasticdepth", "instancenorm", "syncbn")
"""Parts of the names of layers that behave differently in training and in evaluation."""


def sample(data: Any, limit: int = SAMPLE) -> NDArray[Any]:
    """Return at most ``limit`` elements of an array-like, evenly spread, as a flat numpy array.

    Mappings and sequences of arrays (a batch as many loaders make it) are taken part by part.

    Raises
    ------
    RecordError
        If it is nothing that can be read as an array.
    """
    if isinstance(data, Mapping):
        return _joined([data[key] for key in sorted(data, key=str)], limit)
    if hasattr(data, "detach"):
        data = data.detach()
    elif hasattr(data, "to_numpy"):
        data = data.to_numpy()
    if not (hasattr(data, "reshape") and hasattr(data, "shape")):
        if isinstance(data, Sequence) and len(data) and hasattr(data[0], "shape") and len(data[0].shape):
            return _joined(data, limit)
        try:
            data = np.asarray(data)
        except (TypeError, ValueError) as error:
            raise RecordError(f"a batch of type {type(data).__name__} is no array: {error}") from None
    flat = data.reshape(-1)
    flat = flat[:: max(1, -(-flat.shape[0] // limit))]
    return _numpy(flat)


def _joined(parts: Sequence[Any], limit: int) -> NDArray[Any]:
    taken = [sample(part, max(1, limit // max(1, len(parts)))) for part in parts]
    if not taken:
        return np.empty(0)
    if all(part.dtype.kind in "biuf" for part in taken):
        return np.concatenate(taken)
    return np.concatenate([part.astype(str) for part in taken])


def _numpy(flat: Any) -> NDArray[Any]:
    if hasattr(flat, "cpu"):
        flat = flat.cpu()
    if hasattr(flat, "numpy"):
        try:
            return np.asarray(flat.numpy())
        except TypeError:  # a number format that numpy has not, bfloat16 for one
            return np.asarray(flat.float().numpy())
    return np.asarray(flat)


def shape_of(data: Any) -> tuple[int, ...]:
    """Return the shape of an array-like; of its first part, for a batch of several."""
    if isinstance(data, Mapping):
        return shape_of(next(iter(data.values()))) if data else ()
    shape = getattr(data, "shape", None)
    if shape is not None:
        return tuple(int(n) for n in shape)
    return np.shape(data) if isinstance(data, Sequence) else ()


def content_hash(data: Any) -> int:
    """Return a number of 64 bits that two batches share only where their sampled elements are the same."""
    elements = sample(data)
    raw = elements.tobytes() if elements.dtype.kind in "biufc" else "\0".join(map(str, elements.tolist())).encode()
    head = f"{shape_of(data)}{elements.dtype}".encode()
    return int.from_bytes(hashlib.blake2b(head + raw, digest_size=8).digest(), "little")


def class_labels(data: Any) -> NDArray[Any] | None:
    """Return the labels of a batch, one each; None where they are no classes (sequences, images, real numbers).

    One-hot rows become the place of their largest element.
    """
    shape = shape_of(data)
    if len(shape) == 2 and shape[1] > 1:
        if shape[0] * shape[1] > SAMPLE * 16:
            return None
        rows = sample(data, shape[0] * shape[1])
        if rows.dtype.kind not in "biuf":
            return None
        table = rows.reshape(shape)
        one_hot = bool(((table == 0) | (table == 1)).all() and (table.sum(axis=1) == 1).all())
        return table.argmax(axis=1) if one_hot else None
    if len(shape) > 2:
        return None
    labels = sample(data)
    if labels.dtype.kind == "f" and not bool((labels == np.round(labels)).all()):
        return None
    return labels


# -- modules


def parameter_counts(model: Any) -> tuple[int, int]:
    """Return how many parameters a model trains, and how many it has.

    Raises
    ------
    RecordError
        If it has no ``parameters()`` as torch modules have it, nor ``trainable_weights`` as Keras models have it.
    """
    if callable(getattr(model, "parameters", None)):
        parameters = list(model.parameters())
        sizes = [_size(one) for one in parameters]
        trained = sum(n for n, one in zip(sizes, parameters, strict=True) if getattr(one, "requires_grad", True))
        return trained, sum(sizes)
    if hasattr(model, "trainable_weights") and hasattr(model, "weights"):
        return sum(map(_size, model.trainable_weights)), sum(map(_size, model.weights))
    raise RecordError(
        f"a model of type {type(model).__name__} has neither parameters() nor trainable_weights; give a module of "
        "torch or Keras, or something shaped like one"
    )


def _size(parameter: Any) -> int:
    if callable(getattr(parameter, "numel", None)):
        return int(parameter.numel())
    return int(np.prod(shape_of(parameter), dtype=np.int64))


def modes(model: Any) -> tuple[bool, list[str], list[str]]:
    """Return whether a model is in training mode, and its layers to which that matters: in training, in evaluation.

    Raises
    ------
    RecordError
        If it has no flag ``training``.
    """
    if not hasattr(model, "training"):
        raise RecordError(f"a model of type {type(model).__name__} has no flag `training`; give a torch-like module")
    named: Iterable[tuple[str, Any]] = model.named_modules() if hasattr(model, "named_modules") else [("", model)]
    layers = [
        (name or type(one).__name__, bool(getattr(one, "training", False)))
        for name, one in named
        if any(part in type(one).__name__.lower() for part in SENSITIVE)
    ]
    return bool(model.training), [n for n, on in layers if on], [n for n, on in layers if not on]


# -- optimizers


def optimizer_state(optimizer: Any) -> dict[str, Any]:
    """Return ``{"step", "n_states", "lr"}`` of an optimizer, as plain numbers.

    ``step`` is None where the optimizer counts none, ``lr`` where it has none. Takes a torch optimizer, its
    ``state_dict()``, or a Keras optimizer.

    Raises
    ------
    RecordError
        If it is none of these.
    """
    inner = getattr(optimizer, "optimizer", None)  # what accelerate and others wrap around it
    if not isinstance(optimizer, Mapping) and not hasattr(optimizer, "state") and inner is not None:
        return optimizer_state(inner)
    if hasattr(optimizer, "iterations"):
        step = int(optimizer.iterations)
        return {"step": step, "n_states": len(getattr(optimizer, "variables", [])) if step else 0, "lr": None}
    state = optimizer.get("state") if isinstance(optimizer, Mapping) else getattr(optimizer, "state", None)
    groups = (
        optimizer.get("param_groups") if isinstance(optimizer, Mapping) else getattr(optimizer, "param_groups", None)
    )
    if not isinstance(state, Mapping):
        raise RecordError(
            f"an optimizer of type {type(optimizer).__name__} has no mapping `state`; give a torch optimizer, its "
            "state_dict(), or a Keras optimizer"
        )
    filled = [one for one in state.values() if not isinstance(one, Mapping) or any(v is not None for v in one.values())]
    counters = [one["step"] for one in filled[:STATES_READ] if isinstance(one, Mapping) and one.get("step") is not None]
    rate = groups[0].get("lr") if groups else None
    return {
        "step": int(max(float(one) for one in counters)) if counters else None,
        "n_states": len(filled),
        "lr": None if rate is None else float(rate),
    }


def held_parameters(optimizer: Any) -> set[int] | None:
    """Return the identities of the parameters that a torch-like optimizer holds, None where it cannot be told."""
    groups = getattr(optimizer, "param_groups", None)
    if not groups:
        return None
    return {id(parameter) for group in groups for parameter in group.get("params", ())}
