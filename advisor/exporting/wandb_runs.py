"""Runs as W&B's offline runs: ``wandb sync DIR/wandb/offline-run-*`` uploads them, ``wandb leet`` shows them.

A run is a folder with a ``.wandb`` file: a header of 7 bytes, then records (protocol buffers of
``wandb_internal.Record``) in the framing of LevelDB's logs, blocks of 32 KiB with CRC-32. Written as wandb 0.31 does
it; without the package, since its generated code would tie us to its version, and two dozen fields do not change.

A row of W&B has one value a metric and its step counts up, so of values that share metric and step the last one is
written, and values at negative steps are left out; both are counted.
"""

from __future__ import annotations

import json
import math
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from advisor.exporting.protobuf import data, integer, text
from advisor.exporting.taken import Exported, Tally, open_suggestions, plain_id, records, runs_of
from storage.curves import is_of_machine
from storage.records import Curve, Run, RunState

if TYPE_CHECKING:
    from advisor.app import Advisor

HEADER: Final = b":W&B" + struct.pack("<HB", 0xBEE1, 0)
BLOCK: Final = 32_768
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
MIN_CONSUMER: Final = "0.70.0"
PRODUCER: Final = "0.31.0"
"""What wandb 0.31 writes into its header."""

# Fields of wandb_internal.Record.
NUM, HISTORY, SUMMARY, STATS, RUN, EXIT, HEAD = 1, 2, 3, 7, 17, 18, 21


def write(adv: Advisor, folder: Path, *, experiment: str | None) -> Exported:
    """Write a folder for each run below ``wandb``; one of an earlier export is replaced."""
    tally = Tally()
    for record in records(adv, experiment):
        runs = []
        for run, curves in runs_of(adv, record):
            tally.saw(curves)
            runs.append(run)
            name = plain_id(run.id)
            stamp = (run.started or run.created).strftime("%Y%m%d_%H%M%S")
            home = folder / "wandb" / f"offline-run-{stamp}-{name}"
            (home / "files").mkdir(parents=True, exist_ok=True)
            write_log(home / f"run-{name}.wandb", messages(run, curves, tally))
        tally.left_out["{n} open suggestions have no place in W&B and were left out"] += len(
            open_suggestions(adv, record, runs)
        )
        tally.left_out["files that runs saved were not copied: {n} files"] += sum(len(run.artifacts) for run in runs)
    return tally.exported(folder)


# -- records


def messages(run: Run, curves: Mapping[str, Curve], tally: Tally) -> Iterator[bytes]:
    """Yield the records of one run, without their numbers."""
    version = text(1, PRODUCER) + text(2, MIN_CONSUMER)
    yield data(HEAD, data(1, version))
    yield data(RUN, _run(run))
    started = run.started or run.created
    last: dict[str, Any] = {}
    for step, row, time in rows(curves, tally):
        runtime = {} if math.isnan(time) else {"_runtime": time, "_timestamp": started.timestamp() + time}
        row = {**row, **runtime, "_step": step}
        last |= row
        yield data(HISTORY, _items(1, row) + data(2, integer(1, step) if step else b""))
    for time, sample in _machine(curves):
        stats = integer(1, 0) + data(2, _timestamp(started + timedelta(seconds=time)))
        stats += b"".join(data(3, text(1, name) + text(16, as_json(value))) for name, value in sample.items())
        yield data(STATS, stats)
    about = {name: value for name, value in run.user_attrs.items() if name not in _PLACES and _is_scalar(value)}
    yield data(SUMMARY, _items(1, {**about, **last, **run.metrics}))
    if run.state.is_over:
        code = 0 if run.state in (RunState.FINISHED, RunState.PRUNED) else 1
        runtime_s = int(run.duration_s or 0)
        yield data(EXIT, (integer(1, code) if code else b"") + (integer(2, runtime_s) if runtime_s else b""))


def rows(curves: Mapping[str, Curve], tally: Tally) -> Iterator[tuple[int, dict[str, float], float]]:
    """Yield step, values by metric, and seconds since the start (NaN where unknown), by step."""
    by_step: dict[int, dict[str, float]] = {}
    times: dict[int, float] = {}
    for metric, curve in curves.items():
        if is_of_machine(metric):  # ``_machine`` writes them where W&B has them
            continue
        for step, value, time in zip(curve.steps.tolist(), curve.values.tolist(), curve.times.tolist(), strict=True):
            if step < 0:
                tally.left_out["{n} values at negative steps were left out: W&B has none"] += 1
                continue
            row = by_step.setdefault(step, {})
            if metric in row:
                tally.left_out["{n} values share metric and step with a later one, which alone W&B keeps"] += 1
            row[metric] = value
            if math.isnan(times.get(step, math.nan)):
                times[step] = time
    for step in sorted(by_step):
        yield step, by_step[step], times[step]


def _machine(curves: Mapping[str, Curve]) -> Iterator[tuple[float, dict[str, float]]]:
    """Yield what the machine did: seconds since the start, and W&B's names of its system metrics."""
    by_time: dict[float, dict[str, float]] = {}
    for metric, curve in curves.items():
        if is_of_machine(metric):
            name = _SYSTEM.get(metric.removeprefix("system/"), metric.removeprefix("system/"))
            name = re.sub(r"^gpu_(\d+)_(\w+)$", lambda found: f"gpu.{found[1]}.{_GPU.get(found[2], found[2])}", name)
            for time, step, value in zip(
                curve.times.tolist(), curve.steps.tolist(), curve.values.tolist(), strict=True
            ):
                by_time.setdefault(step if math.isnan(time) else time, {})[name] = value
    yield from sorted(by_time.items())


_SYSTEM: Final = {
    "cpu_percent": "cpu",
    "memory_percent": "memory_percent",
    "process_cpu_percent": "proc.cpu",
    "process_threads": "proc.cpu.threads",
}
_GPU: Final = {"percent": "gpu", "temperature_c": "temp", "power_w": "powerWatts"}
_PLACES: Final = {"name": 8, "group": 6, "job_type": 7}
"""Attributes that ``RunRecord`` has fields for."""


def _run(run: Run) -> bytes:
    out = text(1, plain_id(run.id)) + text(3, project(run.experiment))
    config = {**run.params, **({"seed": run.seed} if run.seed is not None and "seed" not in run.params else {})}
    out += data(4, b"".join(data(1, text(1, name) + text(16, as_json(value))) for name, value in config.items()))
    attributes = {"name": f"{run.experiment}#{run.number}", **run.user_attrs}
    for name in ("group", "job_type", "name"):
        if attributes.get(name) is not None:
            out += text(_PLACES[name], str(attributes[name]))
    if run.notes:
        out += text(9, "\n\n".join(run.notes))
    tags = [*run.tags, *(["pruned"] if run.state is RunState.PRUNED else [])]
    out += b"".join(text(10, tag) for tag in tags)
    return out + data(17, _timestamp(run.started or run.created))


def project(experiment: str) -> str:
    """Return an experiment's name as W&B takes it for a project."""
    return re.sub(r"[/\\#?%:\s]+", "-", experiment).strip("-")[:128] or "experiment"


def _timestamp(time: datetime) -> bytes:
    return integer(1, int(time.timestamp())) + integer(2, time.microsecond * 1000)


def _items(field: int, values: Mapping[str, Any]) -> bytes:
    """Return items as wandb 0.31 writes them: the name as a nested key of one part, the value as JSON."""
    return b"".join(data(field, text(2, name) + text(16, as_json(value))) for name, value in values.items())


def as_json(value: Any) -> str:
    """Return JSON with NaN and infinities as W&B's own client writes them."""
    return json.dumps(value, default=str)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (bool, int, float, str))


# -- framing


def write_log(path: Path, content: Iterator[bytes]) -> None:
    """Write records as a log of LevelDB's kind, numbered from 1."""
    with path.open("wb") as file:
        file.write(HEADER)
        at = len(HEADER)
        for number, message in enumerate(content, start=1):
            framed = b"".join(_pieces(integer(NUM, number) + message, at))
            file.write(framed)
            at += len(framed)


def _pieces(record: bytes, at: int) -> Iterator[bytes]:
    """Yield a record cut to the blocks of a file of which ``at`` bytes are written."""
    begun = False
    while True:
        room = BLOCK - at % BLOCK
        if room < 7:
            yield bytes(room)
            at, room = at + room, BLOCK
        part, record = record[: room - 7], record[room - 7 :]
        kind = (LAST if begun else FULL) if not record else (MIDDLE if begun else FIRST)
        yield struct.pack("<IHB", zlib.crc32(part, zlib.crc32(bytes([kind]))), len(part), kind) + part
        at += 7 + len(part)
        begun = True
        if not record:
            return
