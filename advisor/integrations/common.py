"""What the callbacks of all frameworks share: how a run begins, is fed and ends, and who of many processes logs.

A callback holds a ``Session``: the run, and whether the callback began it. Leaves out what a framework calls things.
Invariant: only who began a run ends it, and no trouble with the store ends a training.
"""

from __future__ import annotations

import itertools
import logging
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from advisor.errors import MissingExtraError, SpaceError
from advisor.redact import redact
from advisor.tracking import run as live
from advisor.tracking.attached import AttachedRun, attach
from advisor.tracking.run import LiveRun
from storage.errors import StoreUnavailableError
from storage.records import Direction, Finding, RunState, Severity

if TYPE_CHECKING:
    from advisor.app import Advisor
    from advisor.experiment import Experiment

log = logging.getLogger(__name__)

EXPERIMENT: Final = "ADVISOR_EXPERIMENT"
"""Variable that names the experiment where the program does not."""
RANKS: Final = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "LOCAL_RANK")
"""Variables by which launchers number the processes of one training, those across machines first."""
MAX_PARAMS: Final = 300
"""A configuration of more names than this is cut: it is a data structure, not a choice of parameters."""
MAX_DEPTH: Final = 6
MAX_TEXT: Final = 200
"""Characters of a text parameter."""
LOOK_EVERY_S: Final = 1.0
"""Findings are asked for this often at most while a training logs; at once after a value that is not finite."""

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # of an object: another one in each process
_handles: dict[tuple[Any, ...], Advisor] = {}


class MissingFrameworkError(MissingExtraError, ImportError):
    """The framework that a module is for is not installed."""


def framework(what: str, *names: str, pip: str | None = None) -> Any:
    """Return the first of some modules that is installed.

    Parameters
    ----------
    what
        The module of this package that needs it, for the message.
    pip
        What to install; the first name where None.

    Raises
    ------
    MissingFrameworkError
        If none is installed.
    """
    for name in names:
        if name in sys.modules or find_spec(name.partition(".")[0]) is not None:
            return import_module(name)
    package = pip or names[0].partition(".")[0]
    raise MissingFrameworkError(f"advisor.integrations.{what} needs {package}: pip install {package}")


# -- who logs


def rank() -> int:
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
        self.fails_unless_ended = ""
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


# -- what is kept


def flat(config: Any, *, limit: int = MAX_PARAMS) -> dict[str, Any]:
    """Return a configuration as parameters: nested names joined by dots, values plain.

    Numbers, texts, booleans and None stay what they are; anything else becomes its short text. Secrets are redacted
    by their full names. What is more than ``limit`` names is left out.

    Parameters
    ----------
    config
        A mapping, a Namespace, a dataclass, or what has ``to_dict()``.

    Examples
    --------
    >>> flat({"optimizer": {"lr": 0.1, "betas": (0.9, 0.99)}, "amp": True, "loss": len})
    {'optimizer.lr': 0.1, 'optimizer.betas': '(0.9, 0.99)', 'amp': True, 'loss': 'len'}
    """
    mapping = _mapping(config)
    if mapping is None:
        raise TypeError(f"parameters are a mapping of names to values, not a {type(config).__name__}")
    return redact(dict(itertools.islice(_leaves(mapping, "", MAX_DEPTH), limit)))


def _leaves(mapping: Mapping[Any, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    for name, value in mapping.items():
        inner = _mapping(value) if depth > 1 else None
        if inner is not None and not isinstance(value, type):
            yield from _leaves(inner, f"{prefix}{name}.", depth - 1)
        else:
            yield f"{prefix}{name}", as_param(value)


def _mapping(value: Any) -> Mapping[Any, Any] | None:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, type) or callable(getattr(value, "item", None)):
        return None
    if callable(getattr(value, "to_dict", None)):
        given = value.to_dict()
        return given if isinstance(given, Mapping) else None
    is_record = hasattr(value, "__dataclass_fields__") or type(value).__name__ == "Namespace"
    return {k: v for k, v in vars(value).items() if not k.startswith("_")} if is_record else None


def as_param(value: Any) -> Any:
    """Return a value as a parameter: a number, a text, a boolean or None, or else its short text.

    >>> as_param(3), as_param([1, 2]), as_param(abs)
    (3, '[1, 2]', 'abs')
    """
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, (bool, int, float)):
        return value
    number = _number(value)
    if number is not None:
        return number
    if callable(value) and hasattr(value, "__qualname__"):
        value = value.__qualname__
    text = str(value) if isinstance(value, (str, os.PathLike)) else _ADDRESS.sub("", repr(value))
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _number(value: Any) -> Any:
    """Return what numpy, torch and others keep as one number; None where it is none."""
    if not callable(getattr(value, "item", None)) or getattr(value, "shape", ()) not in ((), (1,)):
        return None
    try:
        item = value.item()
    except (TypeError, ValueError, RuntimeError):
        return None
    return item if isinstance(item, (bool, int, float)) else None


def scalars(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the numbers among what a framework logs as floats, whoever keeps them; nested names joined by ``/``.

    >>> scalars({"loss": 1, "eval": {"f1": 0.5}, "text": "none"})
    {'loss': 1.0, 'eval/f1': 0.5}
    """
    found: dict[str, float] = {}
    for name, value in metrics.items():
        number = value if isinstance(value, (bool, int, float)) else _number(value)
        if isinstance(value, Mapping):
            found |= scalars(value, f"{prefix}{name}/")
        elif number is not None:
            found[f"{prefix}{name}"] = float(number)
    return found


# -- a run in a callback's hands


class Session:
    """A run as a callback holds it.

    Attributes
    ----------
    run
        The run; in processes that are not to log, one that does nothing.
    mine
        Whether the callback began it, and so has to end it.
    why_stopped
        Why the callback stopped the training; empty where it did not.
    """

    def __init__(
        self,
        run: LiveRun,
        *,
        mine: bool,
        on_finding: Callable[[Finding], object] | None = None,
        stop_on_error: bool = False,
    ) -> None:
        self.run, self.mine = run, mine
        self.why_stopped = ""
        self._on_finding = on_finding or say
        self._stop_on_error = stop_on_error
        self._told = {finding.id for finding in run.findings}
        self._look_at = 0.0
        self._error: Finding | None = None
        self._late = False

    @property
    def findings(self) -> list[Finding]:
        """What was found wrong so far."""
        return self.run.findings

    def add_params(self, params: Mapping[str, Any]) -> None:
        """Add parameters. Of a run that others began, or that follows a suggestion, what is there already stays."""
        fresh = dict(params)
        if not self.mine or isinstance(self.run, AttachedRun) or self.run.suggestion_id:
            for name in self.run.params.keys() & fresh.keys():
                given = fresh.pop(name)
                if given != self.run.params[name]:
                    message = "run %s has %s = %r; that the framework says %r is not kept"
                    log.warning(message, self.run.id, name, self.run.params[name], given)
        if not self._over():
            self.run.add_params(fresh)

    def log(self, metrics: Mapping[str, Any], *, step: int | None = None) -> None:
        """Log the numbers among some values at one step, and tell of findings; says once if the run is over."""
        if self._over():
            return
        values = scalars(metrics)
        if values:
            self.run.log(values, step=step)
        at_once = not all(map(math.isfinite, values.values()))
        if at_once or time.monotonic() >= self._look_at:
            self.tell_findings()

    def tell_findings(self) -> None:
        """Give what was found since the last time to whoever wants to know."""
        self._look_at = time.monotonic() + LOOK_EVERY_S
        for finding in self.run.findings:
            if finding.id not in self._told:
                self._told.add(finding.id)
                if finding.severity is Severity.ERROR:
                    self._error = self._error or finding
                self._on_finding(finding)

    def should_stop(self) -> bool:
        """Return whether to stop the training: by the run's advice, or for a finding where that was asked for."""
        if self.run.state.is_over:
            return False
        self.tell_findings()
        if self._stop_on_error and self._error is not None:
            self.why_stopped = f"{self._error.code} {self._error.title}"
            return True
        if self.run.should_stop():
            self.why_stopped = self.run.stop_reason
            return True
        return False

    def resumed(self, run_id: str | None, step: int) -> None:
        """Say that the run goes on from a checkpoint of an earlier one, which cannot be opened again."""
        if run_id == self.run.id or self._over():
            return
        self.run.set_attribute("resumed_from", run_id or "")
        self.run.set_attribute("resumed_at_step", step)
        self.run.note(f"resumed from {f'run {run_id}' if run_id else 'a checkpoint of an unknown run'} at step {step}")

    def finish(self, *, pruned: bool = False) -> None:
        """End the run: as pruned where its advice to stop was followed, as failed where a finding stopped it."""
        if self.run.state.is_over:
            return
        self.tell_findings()
        if not self.mine:
            return
        if self._stop_on_error and self._error is not None and self.why_stopped:
            self.run.fail(f"stopped by the callback: {self.why_stopped}")
        else:
            self.run.finish(state=RunState.PRUNED if pruned or self.why_stopped else RunState.FINISHED)

    def fail(self, reason: str | BaseException) -> None:
        """End the run as failed; of a run that somebody else began, this is somebody else's business."""
        if not self.run.state.is_over:
            self.tell_findings()
            if self.mine:
                self.run.fail(reason)

    def _over(self) -> bool:
        if not self.run.state.is_over:
            return False
        if not self._late:
            self._late = True
            log.warning("run %s has ended (%s); what is logged now is not kept", self.run.id, self.run.state)
        return True


def say(finding: Finding) -> None:
    """Say a finding where warnings go."""
    level = logging.INFO if finding.severity is Severity.INFO else logging.WARNING
    log.log(level, "run %s: %s %s", finding.run_id, finding.code, finding.title)


def begin(
    experiment: str | Experiment | None = None,
    *,
    run: LiveRun | None = None,
    params: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    store: str | Path | None = None,
    objective: str | Sequence[str] | None = None,
    direction: Direction | Sequence[Direction] | None = None,
    seed: int | None = None,
    tags: Sequence[str] = (),
    notes: Sequence[str] = (),
    adopt: bool = True,
    all_ranks: bool = False,
    on_finding: Callable[[Finding], object] | None = None,
    stop_on_error: bool = False,
    **settings: Any,
) -> Session:
    """Begin a run, or take one over that goes on already.

    Taken over are, in this order: ``run``; the run of ``advisor.init``, unless another experiment is named; the run
    that ``advisor optimize`` started this process for.

    Parameters
    ----------
    experiment
        By name, or as ``advisor.open(…).experiment(…)`` returned it; by default ``$ADVISOR_EXPERIMENT`` or
        ``default``.
    params
        Parameters that the user gives.
    config
        What the framework knows of the training, already flat. Where both say something, ``params`` count.
    store, objective, direction, settings
        As for ``advisor.init``.
    adopt
        Whether to take over a run of ``advisor.init``; a search that trains again and again needs a run each.
    all_ranks
        Whether each process of a distributed training has a run; by default only the first one.
    on_finding
        Called once with each finding, in the training's thread; by default it is a warning in the log.
    stop_on_error
        Whether ``Session.should_stop`` is true once there is a finding of severity error.

    Raises
    ------
    ConfigError
        If a setting makes no sense, or this process was started with other parameters than ``params``.
    """
    told: dict[str, Any] = {"on_finding": on_finding, "stop_on_error": stop_on_error}
    given, known = flat(params or {}), dict(config or {})
    name = experiment if isinstance(experiment, str | None) else experiment.name
    if not all_ranks and rank() > 0:
        return Session(SilentRun(name or "", {**known, **given}), mine=False, **told)
    taken = run or (_current(name) if adopt else None)
    if taken is not None:
        session = Session(taken, mine=False, **told)
    else:
        handle = None if isinstance(experiment, str | None) else experiment
        chosen = name or os.environ.get(EXPERIMENT, "").strip() or "default"
        attached = attach(chosen, any_experiment=name is None, params=given, tags=tags, notes=notes)
        if attached is None:
            words: dict[str, Any] = {"seed": seed, "tags": tags, "notes": notes}
            goal = {"objective": objective, "direction": direction}
            return Session(
                _started(handle or chosen, {**known, **given}, words, goal, store, settings), mine=True, **told
            )
        session = Session(attached, mine=True, **told)
    session.add_params({**known, **given})
    return session


def _current(name: str | None) -> LiveRun | None:
    from advisor import fluent

    run = fluent.current()
    return run if run is not None and name in (None, run.experiment) else None


def _started(
    experiment: str | Experiment,
    params: Mapping[str, Any],
    words: Mapping[str, Any],
    goal: Mapping[str, Any],
    store: str | Path | None,
    settings: Mapping[str, Any],
) -> LiveRun:
    try:
        handle = _handle(store, settings).experiment(experiment, **goal) if isinstance(experiment, str) else experiment
        try:
            return handle.start(params=dict(params), **words)
        except SpaceError as error:  # what a framework knows is more than a declared space has, and not to be refused
            log.debug("%s", error)
            started = handle.start(params={}, **words)
            started.add_params(params)
            return started
    except StoreUnavailableError as error:
        if settings.get("strict"):
            raise
        log.error("%s; the training goes on and is NOT tracked", error)
        return SilentRun(experiment if isinstance(experiment, str) else experiment.name, params)


def _handle(store: str | Path | None, settings: Mapping[str, Any]) -> Advisor:
    """Return the store's handle, one for all runs that this process begins in it."""
    from advisor import config
    from advisor.app import open as open_advisor

    resolved = config.resolve(**settings, **({} if store is None else {"store": str(store)}))
    key = (os.getpid(), os.getcwd(), repr(resolved))
    if key not in _handles:
        _handles[key] = open_advisor(store, **settings)
    return _handles[key]
