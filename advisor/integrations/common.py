"""What the callbacks of all frameworks share: how a run begins, or is taken over where one goes on already.

The front door of ``session`` (a run as a callback holds it), ``processes`` (who logs) and ``flat`` (what is kept).
Invariant: no trouble with the store keeps a training from starting.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from advisor.errors import MissingExtraError, SpaceError
from advisor.integrations.flat import as_param, flat, scalars
from advisor.integrations.processes import RANKS, SilentRun, agreed, process_rank
from advisor.integrations.session import Session, end_before, say, trains_now
from advisor.tracking.attached import attach
from advisor.tracking.run import LiveRun
from storage.errors import StoreUnavailableError
from storage.records import Direction, Finding

if TYPE_CHECKING:
    from advisor.app import Advisor
    from advisor.experiment import Experiment

__all__ = [
    "RANKS",
    "MissingFrameworkError",
    "Session",
    "SilentRun",
    "agreed",
    "as_param",
    "begin",
    "flat",
    "framework",
    "process_rank",
    "say",
    "scalars",
    "trains_now",
]

log = logging.getLogger(__name__)

EXPERIMENT: Final = "ADVISOR_EXPERIMENT"
"""Variable that names the experiment where the program does not."""
_handles: dict[tuple[Any, ...], Advisor] = {}


class MissingFrameworkError(MissingExtraError, ImportError):
    """The framework that a module is for is not installed."""


def framework(what: str, *names: str, pip: str | None = None) -> Any:
    """Return one of some modules: one that is imported already, or the first that is installed.

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
    for name in sorted(names, key=lambda name: name not in sys.modules):
        if name in sys.modules or find_spec(name.partition(".")[0]) is not None:
            return import_module(name)
    package = pip or names[0].partition(".")[0]
    raise MissingFrameworkError(f"advisor.integrations.{what} needs {package}: pip install {package}")


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
    rank: int | None = None,
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
    rank
        Which process this is for the framework, where it may know more than ``process_rank``.
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
    end_before()
    if not all_ranks and max(process_rank(), rank or 0) > 0:
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
    from advisor.compat import current

    run = current.going_on()
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

    given = dict(settings) if store is None else {**settings, "store": str(store)}
    resolved = config.resolve(**given)
    key = (os.getpid(), os.getcwd(), repr(resolved))
    if key not in _handles:
        _handles[key] = open_advisor(store, **settings)
    return _handles[key]
