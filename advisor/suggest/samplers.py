"""Which sampler proposes the next parameters: the stated rule, or what the user names.

**The rule.** With one objective, the advisor's own sampler proposes (``engine``): a portfolio of what was good in other
experiments, then a Gaussian process that learns from them and from the runs here; without a past, a few points that are
spread out, then the Gaussian process. ``evals/suggest_transfer`` measures it against Optuna's samplers.
With several objectives, or more than ``MAX_PARAMETERS`` parameters, the first ``N_STARTUP`` runs are random draws that
keep away from earlier ones, and then Optuna's tree-structured Parzen estimator proposes: with one objective it models
all parameters together (``multivariate``), in groups where runs do not share all of them (``group``); with several
objectives each parameter by itself, which is Optuna's own default there. Runs that still go on and suggestions that
wait count as poor (``constant_liar``), so that nobody gets the same advice twice.

Samplers that keep a memory in Optuna's attributes (CMA-ES, NSGA-II, QMC) begin anew at each suggestion
here; to use their memory, run them in an Optuna study on ``AdvisorStorage``.
"""

from __future__ import annotations

import inspect
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Final

from advisor.errors import ConfigError, MissingExtraError
from advisor.suggest.space import Space
from storage.errors import did_you_mean

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

N_STARTUP: Final = 10
"""Runs before a model is trusted; Optuna's own default for TPE."""
MAX_PARAMETERS: Final = 40
"""Beyond, distances say little, and the tree-structured Parzen estimator proposes."""
OWN: Final = "TransferSampler"
"""Name of the advisor's own sampler; in an Optuna study it is ``advisor.optuna.TransferSampler``."""

_NEED_ARGUMENTS: Final = frozenset({"BaseSampler", "GridSampler", "PartialFixedSampler", "BaseGASampler"})
_construction = threading.Lock()


@dataclass(frozen=True, slots=True)
class Chosen:
    """A sampler, and why it is this one."""

    sampler: BaseSampler | None
    """None for the advisor's own, which needs no study."""
    _: KW_ONLY
    name: str
    """Class name."""
    source: str
    """Short name for a suggestion's ``source``: ``random-startup``, ``tpe``, ``gp`` …"""
    why: str
    """The reason as the beginning of a sentence."""

    @property
    def is_own(self) -> bool:
        """Whether it is the advisor's own sampler."""
        return self.sampler is None


def choose_sampler(
    space: Space,
    n_finished: int,
    *,
    seed: int,
    name_or_object: str | BaseSampler | None = None,
    n_objectives: int = 1,
) -> Chosen:
    """Return the sampler for the next suggestion, by the rule of this module unless one is asked for.

    Parameters
    ----------
    n_finished
        Runs there are to learn from, failed ones included.
    name_or_object
        An Optuna sampler by class name (``"TPESampler"``, ``"tpe"``, ``"random"``, ``"GPSampler"`` …) or as an
        object, which is used as it is; ``"auto"`` and None mean the rule.

    Raises
    ------
    ConfigError
        If there is no sampler of that name, or it cannot be made without further arguments.
    MissingExtraError
        If the sampler needs a package that is not installed.
    """
    name = name_or_object if isinstance(name_or_object, str) else "" if name_or_object is None else None
    by_rule = name is not None and _short(name) in ("", "auto")
    own_wanted = name is not None and _short(name) == _short(OWN)
    if own_wanted and n_objectives > 1:
        raise ConfigError(f"{OWN} takes one objective, the experiment has {n_objectives}; leave sampler out")
    if own_wanted or (by_rule and n_objectives == 1 and len(space) <= MAX_PARAMETERS):
        return Chosen(None, name=OWN, source="transfer", why="")
    from optuna import samplers

    if isinstance(name_or_object, samplers.BaseSampler):
        kind = type(name_or_object).__name__
        return Chosen(name_or_object, name=kind, source=_short(kind), why=f"{kind} was asked for")
    if not by_rule:
        return _by_name(str(name_or_object), seed)
    if n_finished < N_STARTUP:
        from advisor.suggest.spread import SpreadSampler

        why = (
            f"with {n_finished} of {N_STARTUP} startup runs there is too little to model yet, "
            "so this is a random draw that keeps away from earlier runs"
        )
        return Chosen(SpreadSampler(space, seed=seed), name="SpreadSampler", source="random-startup", why=why)
    joint = {"multivariate": True, "group": True} if n_objectives == 1 else {}
    sampler = _made(samplers.TPESampler, seed=seed, n_startup_trials=N_STARTUP, constant_liar=True, **joint)
    why = f"with {n_finished} runs to learn from, TPE tells the better runs from the others and looks near the better"
    return Chosen(sampler, name="TPESampler", source="tpe", why=why)


def _by_name(name: str, seed: int) -> Chosen:
    from optuna import samplers

    known = {n for n in samplers.__all__ if n.endswith("Sampler") and n not in _NEED_ARGUMENTS}
    by_short = {_short(n): n for n in known}
    class_name = by_short.get(_short(name))
    if class_name is None:
        if _short(name) in {_short(n) for n in _NEED_ARGUMENTS}:
            raise ConfigError(f"sampler {name!r} needs arguments of its own; pass it as an object")
        raise ConfigError(
            f"unknown sampler {name!r}; {did_you_mean(name, {*known, *by_short, 'auto', 'transfer'}, show=30)}"
        )
    with saying_what_is_missing(class_name):
        sampler = _made(getattr(samplers, class_name), seed=seed)
    return Chosen(sampler, name=class_name, source=_short(class_name), why=f"{class_name} was asked for")


@contextmanager
def saying_what_is_missing(sampler: str) -> Iterator[None]:
    """Say which package a sampler of Optuna's lacks; some import it only when they are asked for a first point.

    Raises
    ------
    MissingExtraError
        If one is not installed.
    """
    try:
        yield
    except ImportError as error:
        hint = f"; pip install {error.name}" if error.name else ""
        first_line = str(error).split("\n")[0]
        raise MissingExtraError(f"{sampler} needs a package that is not installed: {first_line}{hint}") from error


def _made(factory: Callable[..., BaseSampler], *, seed: int, **options: Any) -> BaseSampler:
    """Build a sampler without the notice that part of it is experimental; the choice is ours, and tested."""
    if "seed" in inspect.signature(factory).parameters:
        options["seed"] = seed
    with quiet_about_experiments():
        return factory(**options)


@contextmanager
def quiet_about_experiments() -> Iterator[None]:
    """Keep Optuna's ``ExperimentalWarning`` from being shown within the block."""
    from optuna.exceptions import ExperimentalWarning

    with _construction, warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def _short(name: str) -> str:
    return name.lower().removesuffix("sampler").replace("_", "").replace("-", "")
