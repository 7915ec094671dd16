"""The interchange format: a folder with ``runs.parquet`` and ``curves.parquet``, in both directions, losslessly.

Only reads and writes the two files; what their rows mean is the business of ``advisor.sources``. Parquet files of other
programs are read here, too, a batch at a time (``read_parquet``).
NaN and ±inf survive, in curves as floats and in JSON as Python writes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from storage.errors import RecordError
from storage.records import Curve, CurveChunk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RUNS_FILE: Final = "runs.parquet"
CURVES_FILE: Final = "curves.parquet"
RUN_COLUMNS: Final = ("run_id", "experiment", "state", "params", "seed", "meta")
"""Columns that ``runs.parquet`` must have; others may follow."""
CURVE_COLUMNS: Final = ("run_id", "metric", "steps", "values")
BATCH_ROWS: Final = 512
OTHERS_BATCH_ROWS: Final = 65_536
GROUP_MAX_BYTES: Final = 2**31
"""Of one row group of a foreign file, unpacked: it is in memory at once, and may be packed to next to nothing."""


def read_runs(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of ``runs.parquet``.

    Raises
    ------
    RecordError
        If the file is missing, is no Parquet, or lacks a column.
    """
    table = _open(folder / RUNS_FILE, RUN_COLUMNS).read()
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def count_curves(folder: Path) -> int:
    """Return the number of rows of ``curves.parquet``."""
    return int(_open(folder / CURVES_FILE, CURVE_COLUMNS).metadata.num_rows)


def read_curves(folder: Path) -> Iterator[list[CurveChunk]]:
    """Yield the rows of ``curves.parquet`` in their order, some hundred at a time.

    Raises
    ------
    RecordError
        If the file is missing, is no Parquet, lacks a column, or a row's lists differ in length.
    """
    from storage.lance import list_view

    file = _open(folder / CURVES_FILE, CURVE_COLUMNS)
    timed = "times" in file.schema_arrow.names
    for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=[*CURVE_COLUMNS, *(["times"] if timed else [])]):
        steps, values = list_view(batch.column("steps")), list_view(batch.column("values"))
        times = list_view(batch.column("times")) if timed else None
        heads = zip(batch.column("run_id").to_pylist(), batch.column("metric").to_pylist(), strict=True)
        chunks = []
        for i, (run_id, metric) in enumerate(heads):
            step, value = steps(i), values(i)
            time = times(i) if times is not None else ()
            if len(step) != len(value) or (len(time) and len(time) != len(step)):
                raise RecordError(
                    f"{CURVES_FILE}: {metric!r} of run {run_id!r} has {len(step)} steps and {len(value)} values; "
                    "they must be equally many"
                )
            chunks.append(CurveChunk(run_id, metric=metric, chunk=0, through=0, steps=step, values=value, times=time))
        yield chunks


def read_batches(path: Path, *, rows: int = 65_536) -> Iterator[dict[str, list[Any]]]:
    """Yield the columns of any Parquet file, some rows at a time; a cell without a value is None.

    Raises
    ------
    RecordError
        If the file is missing, or cannot be read as Parquet.
    """
    from pyarrow.lib import ArrowException

    file = _open(path, ())
    try:
        for batch in file.iter_batches(batch_size=rows):
            yield batch.to_pydict()
    except (ArrowException, OSError, ValueError, OverflowError) as error:
        raise RecordError(f"{str(path)!r} cannot be read as Parquet: {str(error).splitlines()[0]}") from error


class ParquetBatch:
    """Some rows of a Parquet file, by columns."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __len__(self) -> int:
        return int(self._batch.num_rows)

    def values(self, column: str) -> list[Any]:
        """Return a column as Python values, None where there is none.

        Raises
        ------
        RecordError
            If it holds what Python has no value for.
        """
        return _as_python(self._batch.column(column), column)

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Return a column of numbers, or of times as seconds since 1970; NaN where there is none, or no number."""
        import numpy as np
        import pyarrow as pa
        from pyarrow.lib import ArrowException

        data = self._batch.column(column)
        try:
            if pa.types.is_timestamp(data.type):
                data = data.cast(pa.timestamp("us", tz=data.type.tz), safe=False).cast(pa.int64())
                return np.asarray(data.cast(pa.float64()).to_numpy(zero_copy_only=False)) / 1e6
            return np.asarray(data.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
        except (ArrowException, ValueError, TypeError):
            return np.full(len(self), np.nan)

    def codes(self, column: str) -> tuple[NDArray[np.int64], list[Any]]:
        """Return a column as numbers of its distinct values, -1 where there is none, and these values.

        Raises
        ------
        RecordError
            If it holds what Python has no value for.
        """
        import numpy as np

        encoded = self._batch.column(column).dictionary_encode()
        indices = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return np.asarray(indices, dtype=np.int64), _as_python(encoded.dictionary, column)


def _as_python(data: Any, column: str) -> list[Any]:
    """Return an array's values; text that is no UTF-8 with ``�``, since nothing checks it when it is read."""
    import pyarrow as pa
    from pyarrow.lib import ArrowException

    try:
        try:
            values: list[Any] = data.to_pylist()
        except UnicodeDecodeError:
            raw = data.cast(pa.binary()).to_pylist()
            values = [None if value is None else value.decode(errors="replace") for value in raw]
    except (ArrowException, ValueError, OverflowError, NotImplementedError) as error:
        raise RecordError(f"the column {column!r} holds what cannot be read: {str(error)[:200]}") from error
    return values


def read_parquet(
    path: Path, columns: Sequence[str], *, keep: tuple[str, Sequence[str]] | None = None
) -> Iterator[ParquetBatch]:
    """Yield the rows of any Parquet file, some ten thousand at a time.

    Parameters
    ----------
    columns
        Which to read; all must be there.
    keep
        A column of text among them, and the values of rows to keep; all rows by default.

    Raises
    ------
    RecordError
        If the file is missing, is no Parquet, is damaged, too large in one piece, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow.lib import ArrowException

    file = _open(path, columns)
    try:
        for i in range(file.metadata.num_row_groups):
            if file.metadata.row_group(i).total_byte_size > GROUP_MAX_BYTES:
                raise RecordError(f"{str(path)!r} has row groups of more than {GROUP_MAX_BYTES:,} bytes")
        for batch in file.iter_batches(batch_size=OTHERS_BATCH_ROWS, columns=list(columns)):
            if keep is not None:
                batch = batch.filter(pc.is_in(batch.column(keep[0]), pa.array(list(keep[1]), type=pa.string())))
            if batch.num_rows:
                yield ParquetBatch(batch)
    except (ArrowException, OSError, ValueError, TypeError, OverflowError, MemoryError) as error:
        if isinstance(error, RecordError):
            raise
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise RecordError(f"{str(path)!r} cannot be read as Parquet: {first[:200]}") from error
    finally:
        file.close()


def write_folder(
    folder: Path, runs: Sequence[Mapping[str, Any]], curves: Mapping[str, Mapping[str, Curve]]
) -> tuple[int, int]:
    """Write both files, replacing what is there; return the numbers of runs and of curves.

    ``runs`` are rows: the columns of ``RUN_COLUMNS``, and whatever else any of them has.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    required = {name: pa.int64() if name == "seed" else pa.string() for name in RUN_COLUMNS}
    extra = [name for name in dict.fromkeys(name for run in runs for name in run) if name not in required]
    columns = {name: pa.array([run[name] for run in runs], type=kind) for name, kind in required.items()}
    columns |= {name: _column([run.get(name) for run in runs]) for name in extra}
    pq.write_table(pa.table(columns), folder / RUNS_FILE)

    flat = [(run_id, curve) for run_id, by_metric in curves.items() for curve in by_metric.values()]
    table = pa.table(
        {
            "run_id": pa.array([run_id for run_id, _ in flat], type=pa.string()),
            "metric": pa.array([curve.metric for _, curve in flat], type=pa.string()),
            "steps": pa.array([curve.steps for _, curve in flat], type=pa.list_(pa.int64())),
            "values": pa.array([curve.values for _, curve in flat], type=pa.list_(pa.float64())),
            # No times at all is an absent list, not a list of NaN.
            "times": pa.array(
                [None if np.isnan(curve.times).all() else curve.times for _, curve in flat], type=pa.list_(pa.float64())
            ),
        }
    )
    pq.write_table(table, folder / CURVES_FILE, row_group_size=BATCH_ROWS)
    return len(runs), len(flat)


def _column(values: Sequence[Any]) -> Any:
    """Return values as a column; those of several types become text, as JSON writes them."""
    import pyarrow as pa
    from pyarrow.lib import ArrowException

    try:
        column = pa.array(values)
    except (ArrowException, OverflowError):
        column = pa.array([None if value is None else json.dumps(value, default=str) for value in values])
    return column.cast(pa.string()) if pa.types.is_null(column.type) else column


def _open(path: Path, columns: Sequence[str]) -> Any:
    import pyarrow.parquet as pq
    from pyarrow.lib import ArrowException

    if not path.is_file():
        raise RecordError(f"{str(path)!r} is missing; a folder to import holds {RUNS_FILE} and {CURVES_FILE}")
    try:
        file = pq.ParquetFile(path)
    except (ArrowException, OSError, ValueError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise RecordError(f"{str(path)!r} cannot be read as Parquet: {first}") from error
    missing = [name for name in columns if name not in file.schema_arrow.names]
    if missing:
        raise RecordError(f"{str(path)!r} lacks the column {missing[0]!r}; it needs {', '.join(columns)}")
    return file
