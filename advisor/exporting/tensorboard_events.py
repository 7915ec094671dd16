"""Runs as TensorBoard's event files: ``tensorboard --logdir DIR`` shows curves, and parameters under HPARAMS.

An event file is TFRecords (length, masked CRC-32C, data, masked CRC-32C) of protocol buffers. TensorBoard's scalars
have 32 bits: values are rounded to them, and those beyond their range become the largest one, which is counted.
(Tensors of 64-bit floats were tried: the Python reader takes them, the data server that TensorBoard starts by default
hides them.)
"""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from advisor.exporting.protobuf import data, double, integer, single, text
from advisor.exporting.taken import Exported, Tally, folder_name, open_suggestions, records, runs_of
from advisor.nested import flat
from storage.records import Curve, Run, RunState

if TYPE_CHECKING:
    from advisor.app import Advisor

LARGEST: Final = float(np.finfo(np.float32).max)
STATUS: Final[Mapping[RunState, int]] = {
    RunState.WAITING: 0,
    RunState.RUNNING: 3,
    RunState.FINISHED: 1,
    RunState.PRUNED: 1,
    RunState.FAILED: 2,
    RunState.CRASHED: 2,
}
"""``Status`` of the hparams plugin: unknown, success, failure, running."""


def write(adv: Advisor, folder: Path, *, experiment: str | None) -> Exported:
    """Write a folder with one event file for each run; that of an earlier export is replaced."""
    tally, homes = Tally(), set[str]()
    for record in records(adv, experiment):
        home = folder / folder_name(record.name, homes)
        runs = []
        for run, curves in runs_of(adv, record):
            tally.saw(curves)
            runs.append(run)
            write_run(home / f"run-{run.number:05d}", run, curves, tally)
        for what, n in (
            (
                "{n} open suggestions have no place in TensorBoard and were left out",
                len(open_suggestions(adv, record, runs)),
            ),
            ("notes of runs were left out: {n} notes", sum(len(run.notes) for run in runs)),
            ("files that runs saved were not copied: {n} files", sum(len(run.artifacts) for run in runs)),
        ):
            tally.left_out[what] += n
    return tally.exported(folder)


def write_run(home: Path, run: Run, curves: Mapping[str, Curve], tally: Tally) -> None:
    """Write the event file of one run."""
    home.mkdir(parents=True, exist_ok=True)
    for earlier in home.glob("events.out.tfevents.*"):
        earlier.unlink()
    started = (run.started or run.created).timestamp()
    path = home / f"events.out.tfevents.{int(started):010d}.{socket.gethostname()}.{run.number}.0"
    with path.open("wb") as file:
        _write(file, double(1, started) + text(3, "brain.Event:2"))
        params = {**flat(run.params), **({} if run.seed is None else {"seed": run.seed})}
        if params:
            start = b"".join(data(1, text(1, name) + data(2, _value(value))) for name, value in params.items())
            _write(file, _hparams(started, "session_start_info", 3, start + double(5, started)))
        for metric, curve in curves.items():
            points = zip(curve.steps.tolist(), curve.values.tolist(), curve.times.tolist(), strict=True)
            for step, value, time in points:
                at = started if math.isnan(time) else started + time
                _write(file, double(1, at) + integer(2, step) + _scalar(metric, value))
            n_large = int((np.isfinite(curve.values) & (np.abs(curve.values) > LARGEST)).sum())
            tally.left_out["{n} values are beyond 32-bit floats; the largest one stands for them"] += n_large
        if params and run.state.is_over:
            ended = started if run.ended is None else run.ended.timestamp()
            end = integer(1, STATUS[run.state]) + double(2, ended)
            _write(file, _hparams(ended, "session_end_info", 4, end))


def _scalar(tag: str, value: float) -> bytes:
    if math.isfinite(value):
        value = min(max(value, -LARGEST), LARGEST)
    return data(5, data(1, text(1, tag) + single(2, value)))


def _hparams(at: float, tag: str, field: int, content: bytes) -> bytes:
    plugin = data(1, text(1, "hparams") + data(2, data(field, content)))
    tensor = (
        integer(1, 1) + data(2, b"") + data(5, struct.pack("<f", 0.0))
    )  # a tag needs a tensor; this one says nothing
    return double(1, at) + data(5, data(1, text(1, f"_hparams_/{tag}") + data(8, tensor) + data(9, plugin)))


def _value(value: Any) -> bytes:
    """Return a ``google.protobuf.Value``; what is neither number, flag nor text becomes text."""
    if isinstance(value, bool):
        return integer(4, int(value))
    if isinstance(value, (int, float)) and abs(value) <= 2**1023:
        return double(2, float(value))
    return text(3, value if isinstance(value, str) else str(value))


# -- framing


def _write(file: IO[bytes], event: bytes) -> None:
    length = struct.pack("<Q", len(event))
    file.write(length + _masked(length) + event + _masked(event))


def _masked(content: bytes) -> bytes:
    crc = crc32c(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _table() -> tuple[int, ...]:
    out = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        out.append(crc)
    return tuple(out)


_CRC: Final = _table()


def crc32c(content: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of bytes, RFC 3720.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    crc, table = 0xFFFFFFFF, _CRC
    for byte in content:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF
