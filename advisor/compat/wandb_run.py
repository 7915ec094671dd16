"""A live run that is asked as W&B's are: rows and steps, config, summary, tags, files.

What is logged goes into the run's write-ahead log at once, under W&B's step: ``commit=False`` only leaves the step
where it is. So nothing waits in memory for a row to be complete, and a name that is logged twice at one step keeps both
values. A step that lies before the present one is kept under its own number, where W&B would drop it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from advisor.compat.unsupported import NotKept, Unsupported, say_once
from advisor.compat.wandb_config import Config
from advisor.compat.wandb_files import Artifact, Files
from advisor.compat.wandb_summary import Summary
from advisor.nested import flat
from advisor.tracking.attached import AttachedRun
from advisor.tracking.run import LiveRun, as_float, whole_step
from storage.records import RunState
from storage.spool import are_floats

log = logging.getLogger(__name__)

UNSUPPORTED: Final[Mapping[str, str]] = {
    "watch": "log the norm of the gradients yourself: run.log({'grad_norm': …})",
    "unwatch": "",
    "use_artifact": "keep the fingerprint of data with run.use_data(name, data)",
    "link_artifact": "",
    "upsert_artifact": "",
    "finish_artifact": "",
    "use_model": "",
    "link_model": "",
    "log_code": "the commit and the uncommitted changes are kept with every run",
    "mark_preempting": "",
    "restore": "",
    "pin_config_keys": "",
    "to_html": "'advisor report' writes a page",
    "display": "'advisor report' writes a page",
    "settings": "",
    "project_url": "",
    "sweep_url": "",
}
"""What W&B's run has that does nothing here, and what to use instead."""

_WAYS: Final[Mapping[str, Callable[[float, float], float]]] = {"min": min, "max": max, "last": lambda _, value: value}


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What ``wandb.init`` says of a run."""

    project: str | None = None
    name: str | None = None
    notes: str | None = None
    tags: tuple[str, ...] = ()
    group: str | None = None
    job_type: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    given_id: str | None = None
    folder: str | None = None
    """Where ``run.dir`` is made; the system's folder for such things by default."""
    may_change: bool = False
    """Whether values of the config may be replaced without being asked."""


class WandbRun(LiveRun):
    """A ``LiveRun`` that scripts written for W&B can use.

    Made by ``advisor.init`` where it is called as ``wandb.init`` is; see docs/coming-from-wandb-and-mlflow.md.

    Attributes
    ----------
    config, summary
        As in W&B.
    name, notes, group, job_type, project, tags
        As they were given; ``name``, ``notes`` and ``tags`` may be set, and what was there before stays in the store.
    """

    config: Config
    summary: Summary
    group: str | None = None
    job_type: str | None = None
    entity: str | None = None
    url: str | None = None
    sweep_id: str | None = None
    resumed = False
    offline = True
    disabled = False
    _step = 0

    @classmethod
    def shape(cls, run: LiveRun, about: About) -> WandbRun:
        """Make a live run one that is asked like this: the same object, so that whoever holds it ends it right."""
        run.__class__ = AttachedWandbRun if isinstance(run, AttachedRun) else cls
        assert isinstance(run, WandbRun)
        run._take_shape(about)
        return run

    def _take_shape(self, about: About) -> None:
        self._name, self._notes, self._tags = about.name, about.notes, about.tags
        self.project, self.group, self.job_type = about.project, about.group, about.job_type
        held = None if self.disabled else self
        suggested = self.params if self.suggestion_id is not None or isinstance(self, AttachedRun) else ()
        self.config = Config(held, about.config, may_change=about.may_change, suggested=suggested)
        self.summary = Summary(held)
        self._files = Files(about.folder)
        self._how: dict[str, tuple[str, ...]] = {}
        attributes = {"name": about.name, "group": about.group, "job_type": about.job_type, "wandb_id": about.given_id}
        self.set_attributes({key: value for key, value in attributes.items() if value is not None})

    # -- logging

    def log(
        self,
        metrics: Mapping[str, Any] | None = None,
        step: int | None = None,
        commit: bool | None = None,
        **more: Any,
    ) -> None:
        """Keep values at the present step, or at ``step``; see ``wandb.log``.

        Nested values get names with points. Text is kept as the run's attribute, its last value; images, tables and the
        like are not kept, which is said once.

        Raises
        ------
        TypeError
            If ``metrics`` is no dictionary, or a name in it is no text.
        RunFinishedError, RecordError, StorageError
            As ``LiveRun.log`` does.
        """
        more.pop("sync", None)  # an argument of older releases
        if metrics is not None and not isinstance(metrics, Mapping):
            raise TypeError(f"log() takes a dictionary, not a {type(metrics).__name__}")
        values = {**(metrics or {}), **more}
        if not are_floats(values):
            values = self._numbers_of(values)
        if step is not None:
            step = whole_step(step)
            if step < self._step:
                self._said_backwards(step)
            else:
                self._step = step
        if values:
            self._keep(values, self._step if step is None else step)
            self.summary.saw({name: self._reduced(name, value) for name, value in values.items()})
        if commit or (commit is None and step is None):
            self._step += 1

    def _keep(self, values: Mapping[str, float], step: int) -> None:
        super().log(values, step=step)

    def _numbers_of(self, values: Mapping[str, Any]) -> dict[str, float]:
        """Return what is a number; keep text for the end, and say what is not kept."""
        numbers: dict[str, float] = {}
        for name in values:
            if not isinstance(name, str):
                raise TypeError(f"names of metrics must be text, not {name!r:.60}")
        for name, value in flat(values).items():
            if value is None or isinstance(value, Unsupported):
                continue
            if isinstance(value, str):
                self._texts[name] = value
                continue
            try:
                numbers[name] = as_float(value)
            except (TypeError, ValueError, OverflowError):
                kind = type(value).__name__
                say_once(f"log {kind}", f"log({{{name!r}: …}}): a {kind} is no curve and is not kept")
        return numbers

    def _said_backwards(self, step: int) -> None:
        say_once(
            f"backwards {self.id}",
            f"step {step} comes after step {self._step}; it is kept under its own number (W&B would drop it)",
        )

    def _reduced(self, name: str, value: float) -> Any:
        """Return what stands for a metric in the summary: its last value, or, where it was defined so, a mapping."""
        ways = self._how.get(name)
        if ways is None:
            patterns = [pattern for pattern in self._how if pattern.endswith("*") and name.startswith(pattern[:-1])]
            ways = self._how[max(patterns, key=len)] if patterns else None
        if ways is None:
            return value
        before = self.summary.get(name)
        known = before if isinstance(before, dict) else {}
        return {way: _WAYS[way](known.get(way, value), value) for way in ways}

    @property
    def _texts(self) -> dict[str, str]:
        texts: dict[str, str] = self.__dict__.setdefault("_texts_by_name", {})
        return texts

    def define_metric(
        self, name: str, step_metric: Any = None, step_sync: bool | None = None, *, summary: str | None = None, **_: Any
    ) -> Unsupported:
        """Say how a metric's summary is made: ``min``, ``max``, ``last``, several of them by commas.

        A name that ends with ``*`` stands for all that begin so; of several that fit, the longest counts.
        The curves of a metric and of its step metric are both kept, by the run's own steps.
        """
        if summary is not None:
            self._how[name] = tuple(way for way in summary.split(",") if way in _WAYS)
        return Unsupported("wandb.define_metric")

    def alert(self, title: str, text: str = "", level: Any = None, wait_duration: Any = None) -> None:
        """Keep an alert as a note of the run and log it; the channels are told of findings only."""
        word = str(getattr(level, "value", level) or "INFO").upper()
        self.note(f"alert ({word}): {title}{f': {text}' if text else ''}")
        how = {"ERROR": logging.ERROR, "WARN": logging.WARNING}.get(word, logging.INFO)
        log.log(how, "%s: %s", title, text)

    # -- what it is

    @property
    def step(self) -> int:
        """The step that the next ``log`` is kept at."""
        return self._step

    @property
    def name(self) -> str:
        """What the run is called; scripts name files after it, so there is always one."""
        return self._name or f"run-{self.id[:8]}"

    @name.setter
    def name(self, name: str) -> None:
        self._name = name
        self.set_attributes({"name": name})

    @property
    def notes(self) -> str | None:
        """The note that was given last."""
        return self._notes

    @notes.setter
    def notes(self, text: str) -> None:
        self._notes = text
        self.note(text)

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags; one that is left out when they are set stays in the store."""
        return self._tags

    @tags.setter
    def tags(self, tags: Sequence[str]) -> None:
        self._tags = tuple(tags)
        self.tag(list(self._tags))

    @property
    def dir(self) -> str:
        """A folder whose files are kept with the run when it ends."""
        return self._files.folder()

    @property
    def start_time(self) -> float:
        """When it started, in seconds since 1970."""
        return self.started.timestamp()

    @property
    def path(self) -> str:
        """``PROJECT/ID``."""
        return f"{self.project}/{self.id}"

    def project_name(self) -> str | None:
        """Return the project."""
        return self.project

    def get_url(self) -> str | None:
        """Return None: there is no page of the run on any server."""
        return None

    # -- files

    def save(
        self,
        path: Any = None,
        base_path: Any = None,
        policy: str = "live",
        *,
        name: str | None = None,
        glob_str: Any = None,
    ) -> Any:
        """Keep the files that a pattern names, now and, with ``policy="live"``, those that changed at the end.

        With ``name`` it is ``LiveRun.save``: one file, and its SHA-256 comes back.
        """
        if name is not None:
            return super().save(path, name=name)
        pattern = str(path if path is not None else glob_str)
        return self._files.save(pattern, base_path, self._save_file, live=policy != "now")

    def log_artifact(self, artifact_or_path: Any, name: str | None = None, type: str | None = None, **_: Any) -> Any:
        """Keep the files of an artifact, or of a path, under its name; versions, aliases and lineage are not kept."""
        artifact = artifact_or_path
        if not isinstance(artifact, Artifact):
            artifact = Artifact.of(artifact_or_path, name, type)
        for file, called in artifact.files():
            self._save_file(file, f"{artifact.name}/{called}")
        return artifact

    def log_model(self, path: Any, name: str | None = None, **_: Any) -> Any:
        """Keep the files of a model."""
        return self.log_artifact(path, name or f"model-{self.id[:8]}", "model")

    def _save_file(self, path: str | Path, name: str) -> None:
        super().save(path, name=name)

    # -- the end

    def finish(
        self,
        exit_code: int | None = None,
        quiet: bool | None = None,
        *,
        value: float | Sequence[float] | None = None,
        state: RunState | str | None = None,
    ) -> None:
        """End the run: as failed where there is an exit code other than 0. A run that has ended stays as it is."""
        if self.state.is_over:
            return
        if exit_code:
            self.fail(f"exit code {exit_code}")
        else:
            super().finish(value=value, state=state)

    join = finish

    def _end(self, state: RunState, *, values: Sequence[float] | None = None, error: str | None = None) -> None:
        if not self.state.is_over:
            try:
                self._last_words()
            except Exception:  # a run that lacks a file has ended all the same
                log.exception("not all of run %s could be kept", self.id)
        super()._end(state, values=values, error=error)

    def _last_words(self) -> None:
        self.summary.write_rest()
        if self._texts:
            self.set_attributes(self._texts)
        points = self.summary.points()
        if points:
            self._keep(points, max(self._step - 1, 0))
        self._files.keep_rest(self._save_file)

    def __getattr__(self, name: str) -> Any:
        if name in UNSUPPORTED:
            return NotKept(f"wandb.{name}", UNSUPPORTED[name])
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


class AttachedWandbRun(WandbRun, AttachedRun):
    """The same of a run that another process owns: what it was suggested counts, whatever the script's config says."""
