"""Weights & Biases, offline: each run a file of protobuf records, written by a process of its own.

Without a server nothing lists, filters or reads such runs back; only counting after a kill is done here, by a
small reader of the file (LevelDB's log framing).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import work

ENVIRONMENT = {
    "WANDB_MODE": "offline",
    "WANDB_DIR": "{folder}",
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
}
STARTUP = """
import wandb
run = wandb.init(project="bench", config={{"lr": 0.1, "optimizer": "adam"}})
"""
STARTUP_END = "run.finish()"
NOT_OFFERED = dict.fromkeys(("runs", "curves"), "offline runs cannot be listed or read without a server")
BLOCK, HEADER = 32 * 1024, struct.Struct("<IHB")


class Live:
    def __init__(self, folder: Path, params: Mapping[str, object]) -> None:
        import wandb

        self._run = wandb.init(project=work.PROJECT, config=dict(params))

    def log(self, metrics: dict[str, float], step: int) -> None:
        self._run.log(metrics, step=step)

    def finish(self) -> None:
        self._run.finish()


def count(folder: Path) -> int:
    from wandb.proto import wandb_internal_pb2

    paths = list(folder.glob("wandb/offline-run-*/run-*.wandb"))
    if not paths:
        return 0
    (path,) = paths
    steps = set()
    for body in records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(body)
        if record.WhichOneof("record_type") == "history":
            found = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            if all(name in found for name in work.METRICS):
                steps.add(json.loads(found["_step"]))
    return len(steps)


def records(data: bytes) -> Iterator[bytes]:
    """Yield the whole records of a file; what a kill tore off at its end is left out."""
    at, gathered = 7, b""
    while at + HEADER.size <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEADER.size:
            at += left
            continue
        _, length, kind = HEADER.unpack_from(data, at)
        start, at = at + HEADER.size, at + HEADER.size + length
        if at > len(data) or kind == 0:
            return
        gathered = data[start:at] if kind in (1, 2) else gathered + data[start:at]
        if kind in (1, 4):
            yield gathered
