"""What data a run used: a hash of its content, its shape and its schema; the data itself is never kept.

Read are files, folders, numpy arrays and what converts to one (torch, jax, lists of numbers inside containers), pandas
frames and series, and JSON-like lists and mappings. Neither pandas nor torch is imported: whoever passes such an
object has done so, and it is recognised by the module of its type.

What is hashed (SHA-256), so that the same content gives the same fingerprint on every machine and in every layout:

file
    Its bytes; the hash is what ``sha256sum`` prints.
folder
    For each file in the order of its relative path (``/`` between parts): the path, its size and its hash. Links to
    files count as files, links to folders are not followed; empty folders and file times do not count.
array
    Its dtype, its shape, and its elements row by row (C order) in little endian. A transposed copy, a slice or a
    Fortran array has the fingerprint of its plain copy; float32 and float64 differ, so do 0.0 and -0.0.
table, series
    The index and then each column, in order: name, dtype and elements. Numbers as in an array; anything else element
    by element as JSON.
json
    Canonical JSON: keys sorted; arrays inside by their own fingerprint.

Invariant: equal fingerprints mean equal content of the same type.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.errors import RecordError

_CHUNK_BYTES = 1 << 24  # 16 MB keeps a copy of a strided array small
_CHUNK_ROWS = 20_000
_ALLOWED = "a path, an array, a data frame or series, or a list or mapping of JSON values"


def fingerprint(name: str, data: Any) -> dict[str, Any]:
    """Return what tells one data set from another.

    Parameters
    ----------
    name
        What the data is to the run, for instance ``train``.
    data
        A path (text or ``PathLike``) of a file or folder, an array or anything that converts to one, a pandas data
        frame or series, or a list or mapping of JSON values.

    Returns
    -------
    dict
        JSON values: ``name``, ``type`` (``file``, ``folder``, ``array``, ``table``, ``series``, ``json``), ``sha256``
        and ``n_bytes``; as they apply ``path``, ``n_files``, ``shape``, ``dtype`` and ``columns`` (a list of
        ``{"name", "dtype"}``).

    Raises
    ------
    RecordError
        If the path does not exist or cannot be read, or the object is of another kind.

    Examples
    --------
    >>> fingerprint("train", np.zeros((2, 3)))["shape"]
    [2, 3]
    """
    if not isinstance(name, str) or not name.strip():
        raise RecordError(f"data needs a name such as 'train', not {name!r}")
    try:
        return {"name": name} | _fingerprint(data)
    except RecordError as exc:
        raise RecordError(f"data {name!r}: {exc}") from exc


def _fingerprint(data: Any) -> dict[str, Any]:
    if isinstance(data, str | os.PathLike):
        return _path(Path(data))
    module = type(data).__module__.partition(".")[0]
    if module == "pandas" and hasattr(data, "columns"):
        return _table(data)
    if module == "pandas" and hasattr(data, "index"):
        return _series(data)
    if isinstance(data, list | tuple | Mapping):
        return _json(data)
    if module == "torch" or hasattr(data, "__array__"):
        return _array(_as_array(data))
    raise RecordError(f"{type(data).__name__} is not a kind of data that can be fingerprinted; give {_ALLOWED}")


# -- files


def _path(path: Path) -> dict[str, Any]:
    path = path.expanduser()
    try:
        if path.is_dir():
            return _folder(path)
        sha256, n_bytes = _file_hash(path)
    except FileNotFoundError as exc:
        raise RecordError(f"there is no file or folder {str(path)!r}; give {_ALLOWED}") from exc
    except (OSError, ValueError) as exc:
        raise RecordError(f"cannot read {str(path)!r}: {getattr(exc, 'strerror', None) or exc}") from exc
    return {"type": "file", "path": str(path.absolute()), "sha256": sha256, "n_bytes": n_bytes}


def _folder(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256(b"folder\0")
    total = n_files = 0
    for relative in sorted(_files(path)):
        sha256, n_bytes = _file_hash(path / relative)
        digest.update(_line(relative, n_bytes, sha256))
        total += n_bytes
        n_files += 1
    return {
        "type": "folder",
        "path": str(path.absolute()),
        "sha256": digest.hexdigest(),
        "n_bytes": total,
        "n_files": n_files,
    }


def _files(folder: Path) -> Iterator[str]:
    def stop(error: OSError) -> None:
        raise error  # a folder that cannot be listed must not look like an empty one

    for parent, _, names in os.walk(folder, onerror=stop):
        for name in names:
            yield (Path(parent) / name).relative_to(folder).as_posix()


def _file_hash(path: Path) -> tuple[str, int]:
    if not stat.S_ISREG(path.stat().st_mode):  # opening a named pipe would wait for ever
        raise OSError(f"{path.name!r} is neither a file nor a folder")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return digest.hexdigest(), file.tell()


# -- arrays


def _as_array(data: Any) -> NDArray[Any]:
    try:
        if hasattr(data, "detach"):  # a torch tensor that has a gradient or lives on a GPU
            data = data.detach().cpu()
        array: NDArray[Any] = np.asanyarray(data)
    except (TypeError, ValueError, RuntimeError) as exc:
        kind = f"{type(data).__name__} of {getattr(data, 'dtype', 'unknown dtype')}"
        raise RecordError(f"{kind} does not convert to a numpy array ({exc}); convert it first") from exc
    if array.dtype == object and array.ndim == 0:
        raise RecordError(f"{type(data).__name__} is not a kind of data that can be fingerprinted; give {_ALLOWED}")
    return array


def _array(array: NDArray[Any]) -> dict[str, Any]:
    digest = hashlib.sha256(b"array\0")
    _update_with_array(digest, array)
    dtype = str(array.dtype.newbyteorder("=")) if array.dtype.names is None else str(array.dtype)
    return {
        "type": "array",
        "sha256": digest.hexdigest(),
        "n_bytes": int(array.nbytes),
        "shape": list(array.shape),
        "dtype": dtype,
    }


def _update_with_array(digest: hashlib._Hash, array: NDArray[Any]) -> None:
    if isinstance(array, np.ma.MaskedArray):  # what lies under the mask is not content
        _update_with_array(digest, np.ma.getmaskarray(array))
        zero: Any = np.zeros((), array.dtype)[()]
        array = array.filled(zero)
    array = np.asarray(array)
    if array.dtype.names is not None:  # padding between fields is not content
        digest.update(_line("fields", *array.dtype.names))
        for field in array.dtype.names:
            _update_with_array(digest, array[field])
        return
    if array.dtype.kind not in "biufcmMSUV":
        digest.update(_line("objects", str(array.dtype), *array.shape))
        _update_with_values(digest, array.ravel().tolist())
        return
    dtype = array.dtype.newbyteorder("<")
    digest.update(_line(dtype.str, *array.shape))
    if array.ndim and not array.flags.c_contiguous:
        n_rows = max(1, _CHUNK_BYTES // max(1, array[:1].nbytes))
        pieces: Iterable[NDArray[Any]] = (array[at : at + n_rows] for at in range(0, len(array), n_rows))
    else:
        pieces = (array,)
    for piece in pieces:
        plain = np.ascontiguousarray(piece, dtype=dtype).reshape(-1)
        digest.update(plain.view(np.uint8).data if plain.size and dtype.itemsize else b"")


# -- tables


def _table(frame: Any) -> dict[str, Any]:
    digest = hashlib.sha256(b"table\0")
    digest.update(_line("shape", *frame.shape))
    _update_with_column(digest, "index", frame.index)
    columns = []
    for position, name in enumerate(frame.columns):
        column = frame.iloc[:, position]  # by position, since names may occur twice
        _update_with_column(digest, name, column)
        columns.append({"name": str(name), "dtype": str(column.dtype)})
    return {
        "type": "table",
        "sha256": digest.hexdigest(),
        "n_bytes": int(frame.memory_usage(index=True).sum()),
        "shape": list(frame.shape),
        "columns": columns,
    }


def _series(series: Any) -> dict[str, Any]:
    digest = hashlib.sha256(b"series\0")
    _update_with_column(digest, "index", series.index)
    _update_with_column(digest, series.name, series)
    return {
        "type": "series",
        "sha256": digest.hexdigest(),
        "n_bytes": int(series.memory_usage(index=True)),
        "shape": [len(series)],
        "dtype": str(series.dtype),
    }


def _update_with_column(digest: hashlib._Hash, name: object, column: Any) -> None:
    digest.update(_line("column", str(name), str(column.dtype)))
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biufcmM":
        _update_with_array(digest, column.to_numpy())
        return
    rows = getattr(column, "iloc", column)  # an index has no iloc, and is cut by position anyway
    for at in range(0, len(column), _CHUNK_ROWS):
        _update_with_values(digest, rows[at : at + _CHUNK_ROWS].astype(object).tolist())


# -- other values


def _json(data: Any) -> dict[str, Any]:
    text = _canonical(data)
    digest = hashlib.sha256(b"json\0" + text)
    return {"type": "json", "sha256": digest.hexdigest(), "n_bytes": len(text), "shape": [len(data)]}


def _update_with_values(digest: hashlib._Hash, values: list[Any]) -> None:
    digest.update(_canonical(values) + b"\n")


def _canonical(value: Any) -> bytes:
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_inner).encode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise RecordError(f"it holds a value that is not JSON ({exc}); give {_ALLOWED}") from exc


def _inner(value: Any) -> Any:
    """Return the JSON that stands for a value inside a list, a mapping or an object column."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, np.generic):
        return value.item() if value.dtype.kind in "biufU" else {"text": str(value), "dtype": value.dtype.str}
    if hasattr(value, "isoformat"):  # dates and times, pandas' NaT among them
        return {"time": value.isoformat()}
    if isinstance(value, Decimal) or _is_pandas_scalar(value):
        return {"text": str(value), "type": type(value).__name__}
    if hasattr(value, "__array__") or hasattr(value, "memory_usage"):
        found = _fingerprint(value)
        return {key: found[key] for key in ("type", "sha256")}
    raise TypeError(f"{type(value).__name__}: {value!r:.40}")


def _is_pandas_scalar(value: Any) -> bool:
    """Return whether a value is a period, an interval or pandas' NA."""
    return type(value).__module__.partition(".")[0] == "pandas" and not hasattr(value, "memory_usage")


def _line(*parts: object) -> bytes:
    """Return parts so that no two different sequences of parts give the same bytes."""
    return (json.dumps([str(part) for part in parts]) + "\n").encode()
