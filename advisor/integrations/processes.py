"""Who logs in a training of several processes: the first one, unless each has a run of its own.

Leaves out how a run begins (``common``). Invariant: a process that is not to log runs the same code as the others.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from advisor.tracking import run as live
from advisor.tracking.run import LiveRun
from storage.records import Finding, RunState

RANKS: Final = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "LOCAL_RANK")
"""Variables by which launchers number the processes of one training, those across machines first."""


def process_rank() -> int:
    """Return which process of a distributed training this is, 0 where there is only one."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank())
    given = (os.environ.get(name, "").strip() for name in RANKS)
    return next((int(text) for text in given if text.isdigit()), 0)


def agreed(decision: bool) -> bool:
    """Return what the first process of a distributed training decided; all have to ask at the same time.

    One process that stops while the others wait for its gradients stands still for ever.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not (distributed.is_available() and distributed.is_initialized()):
        return decision
    if distributed.get_world_size() == 1:
        return decision
    told = [decision]
    distributed.broadcast_object_list(told, src=0)
    return bool(told[0])


class SilentRun(LiveRun):
    """A run that takes everything and keeps nothing: that of a process that is not to log."""

    def __init__(self, experiment: str = "", params: Mapping[str, Any] | None = None) -> None:
        # Not the base's: there is no write-ahead log, no store and no thread.
        self.id, self.experiment, self.params = "", experiment, dict(params or {})
        self.seed = self.suggestion_id = self._number = None
        self.started = datetime.now(UTC)
        self.state = RunState.RUNNING
        self.at_exit = self.finish
        self._advised_stop = False
        self._origin = time.perf_counter()
        self._pid, self._process = os.getpid(), live._process

    @property
    def number(self) -> int:
        """-1: it is none of its experiment's."""
        return -1

    @property
    def findings(self) -> list[Finding]:
        """None, ever."""
        return []

    @property
    def n_not_kept(self) -> int:
        """0: nothing was meant to be kept."""
        return 0

    def log(self, metrics: Mapping[str, Any] | None = None, *, step: int | None = None, **more: Any) -> None:
        """Do nothing."""

    def use_data(self, name: str, data: Any) -> dict[str, Any]:
        """Do nothing, not even read the data."""
        return {}

    def save(self, path: str | Path, *, name: str | None = None) -> str:
        """Do nothing."""
        return ""

    def should_stop(self) -> bool:
        """Return False."""
        return False

    def _raise(self, found: Sequence[Finding]) -> None:
        pass

    def _add(self, kind: str, **body: Any) -> None:
        pass

    def _end(self, state: RunState, *, values: Sequence[float] | None = None, error: str | None = None) -> None:
        self.state = state
