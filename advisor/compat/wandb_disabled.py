"""A run that keeps nothing, for ``mode="disabled"``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from advisor.compat.wandb_run import About, WandbRun
from storage.records import Finding, RunState, new_id, utc_now


class DisabledRun(WandbRun):
    """Everything can be called, and nothing is written."""

    disabled = True

    def __init__(self, about: About, *, now: Callable[[], datetime] = utc_now) -> None:
        # Not the base's: there is no store and no file.
        self.id, self.experiment, self.seed = new_id(), about.project or "default", None
        self.params = dict(about.config)
        self.suggestion_id, self._number = None, 0
        self.started, self.state = now(), RunState.RUNNING
        self._advised_stop = False
        self._take_shape(about)
        self._name = about.name or "disabled"

    number = property(lambda self: 0)
    findings = property(lambda self: list[Finding]())
    n_not_kept = property(lambda self: 0)

    def _keep(self, values: Mapping[str, float], step: int) -> None:
        self._check_alive("log to")

    def _add(self, kind: str, **body: Any) -> None:
        self._check_alive("add to")

    def _save_file(self, path: str | Path, name: str) -> None:
        pass

    def _raise(self, found: Sequence[Finding]) -> None:
        pass

    def should_stop(self) -> bool:
        """Return False."""
        return False

    def _check_alive(self, doing: str) -> None:
        pass

    def _end(self, state: RunState, *, values: Sequence[float] | None = None, error: str | None = None) -> None:
        self._files.forget()
        self.state = state
