"""What a question asks beside its objectives and its space: constraints, first points, what is fixed, what runs cost.

Kept with the experiment as JSON (``Experiment.problem``); here it is a checked value. Pure.

Invariant: ``Problem.of(problem.to_json()) == problem``, and a problem that exists makes sense by itself. Whether it
fits the space is checked when it is said (``Problem.checked``); the space may change later (``Problem.fitting``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any, Final, Literal, Self, cast

from advisor.errors import ConfigError, SpaceError
from advisor.suggest.conditions import number
from advisor.suggest.dimensions import Choice, plain
from advisor.suggest.space import Space
from storage.errors import did_you_mean
from storage.records import Objective, Run

KEYS: Final = ("constraints", "try_first", "fixed", "renamed", "priors", "cost", "repeats")
"""The parts of a problem, as they are called in Python and in the store."""
DURATION: Final = "duration"
"""Cost that every run has: seconds from its start to its end."""

SPREAD: Final = 0.2
"""Of a prior that says none: two thirds of the belief lie within 0.4 of the parameter's range."""

_BOUND: Final = re.compile(r"\s*(<=|>=)\s*(\S+)\s*")
_CONSTRAINT: Final = re.compile(r"\s*(\S.*?)(\s*(?:<=|>=|==|!=|=|<|>).*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Constraint:
    """A bound that a run's last value of a metric has to keep."""

    metric: str
    op: Literal["<=", ">="]
    bound: float

    def violation(self, value: float) -> float:
        """Return by how much a value breaks the bound: above 0 where it does, NaN for NaN."""
        return value - self.bound if self.op == "<=" else self.bound - value

    def __str__(self) -> str:
        return f"{self.metric} {self.op} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Prior:
    """Where a user believes that the best value of a numeric parameter lies."""

    center: float
    """In the parameter's unit."""
    spread: float = SPREAD
    """Standard deviation of the belief, as a share of the parameter's range on its scale."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What else is said of a question; the empty one says nothing."""

    constraints: tuple[Constraint, ...] = ()
    try_first: tuple[Mapping[str, Any], ...] = ()
    """Points to suggest before anything else, in this order; parameters left out are chosen by the sampler."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that are not varied for now."""
    renamed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Own parameter → what it is called in other experiments."""
    priors: Mapping[str, Prior] = field(default_factory=dict)
    cost: str | None = None
    """What a run costs: ``duration`` (seconds), or the name of a metric; None where all cost the same."""
    repeats: int = 1
    """How often each point is to be run, with different seeds, where the objective is noisy."""

    @classmethod
    def of(cls, data: Mapping[str, Any] | None) -> Self:
        """Return the problem that ``to_json`` wrote."""
        data = data or {}
        return cls(
            constraints=tuple(Constraint(c["metric"], c["op"], float(c["bound"])) for c in data.get("constraints", ())),
            try_first=tuple(dict(point) for point in data.get("try_first", ())),
            fixed=dict(data.get("fixed", {})),
            renamed={name: tuple(others) for name, others in data.get("renamed", {}).items()},
            priors={name: Prior(**prior) for name, prior in data.get("priors", {}).items()},
            cost=data.get("cost"),
            repeats=int(data.get("repeats", 1)),
        )

    @classmethod
    def checked(
        cls,
        data: Mapping[str, Any],
        space: Space | None = None,
        objectives: Sequence[Objective] = (),
        *,
        names: Collection[str] | None = None,
    ) -> Self:
        """Return the problem that a person described, or refuse it.

        Parameters
        ----------
        data
            Any of ``KEYS``, each in the stored form or as people write it: ``constraints`` as ``"latency_ms <= 50"``,
            a list of those, or ``{"latency_ms": "<= 50"}``; ``try_first`` as one point or several; ``renamed`` with
            one name or several; ``priors`` as a value or ``{"center": …, "spread": …}``.
        space
            What parameters there are; without one, names and values of parameters are taken as they come.
        objectives
            The experiment's; its only objective cannot be what a run costs.
        names
            Without a space: which parameters there are, whatever their values.

        Raises
        ------
        ConfigError, SpaceError
            In one sentence, what cannot be used.
        """
        for key in data:
            if key not in KEYS:
                raise ConfigError(f"a problem has no part {key!r}; {did_you_mean(key, KEYS)}")
        names = names if space is None else space
        return cls(
            constraints=_constraints(data.get("constraints")),
            try_first=_points(data.get("try_first"), space, names),
            fixed=_fixed(data.get("fixed"), space, names),
            renamed=_renamed(data.get("renamed"), names),
            priors=_priors(data.get("priors"), space, names),
            cost=_cost(data.get("cost"), objectives),
            repeats=_repeats(data.get("repeats")),
        )

    def within(self, names: Collection[str]) -> Self:
        """Return what is said of some parameters only; of a point to try first, the part that names them."""
        points = ({name: value for name, value in point.items() if name in names} for point in self.try_first)
        return replace(
            self,
            try_first=tuple(point for point in points if point),
            fixed={name: value for name, value in self.fixed.items() if name in names},
            renamed={name: others for name, others in self.renamed.items() if name in names},
            priors={name: prior for name, prior in self.priors.items() if name in names},
        )

    def to_json(self) -> dict[str, Any]:
        """Return the form that the store keeps; what says nothing is left out."""
        out: dict[str, Any] = {
            "constraints": [{"metric": c.metric, "op": c.op, "bound": c.bound} for c in self.constraints],
            "try_first": [dict(point) for point in self.try_first],
            "fixed": dict(self.fixed),
            "renamed": {name: list(others) for name, others in self.renamed.items()},
            "priors": {name: {"center": p.center, "spread": p.spread} for name, p in self.priors.items()},
            "cost": self.cost,
        }
        kept = {name: value for name, value in out.items() if value}
        return kept | ({"repeats": self.repeats} if self.repeats != 1 else {})

    # -- runs

    def violations(self, run: Run) -> tuple[float, ...]:
        """Return by how much a run breaks each constraint, in the constraint's unit.

        Above 0 where it does; NaN where the run has no value of that metric, or the value is NaN. Those that the
        run told Optuna of are not among them (``Run.constraints``).
        """
        return tuple(c.violation(run.metrics.get(c.metric, math.nan)) for c in self.constraints)

    def violated(self, run: Run) -> dict[str, float]:
        """Return ``violations`` by constraint as Optuna takes them: infinite for a value that is NaN or not there.

        Those that the run itself told Optuna of are among them.
        """
        pairs = zip(map(str, self.constraints), self.violations(run), strict=True)
        both = (*pairs, *run.constraints.items())
        return {name: math.inf if math.isnan(value) else value for name, value in both}

    def feasible(self, run: Run) -> bool | None:
        """Whether a run keeps all constraints; None where a metric that would tell was not logged.

        A value that is NaN keeps no bound. Without constraints every run is feasible. Those that the run told Optuna
        of count as well.
        """
        if run.breaks_its_constraints:
            return False
        known = [c.violation(run.metrics[c.metric]) <= 0 for c in self.constraints if c.metric in run.metrics]
        if not all(known):
            return False
        return True if len(known) == len(self.constraints) else None

    def cost_of(self, run: Run) -> float | None:
        """Return what a run has cost, None where that is unknown or is not to be asked."""
        if self.cost is None:
            return None
        cost = run.duration_s if self.cost == DURATION else run.metrics.get(self.cost)
        return cost if cost is not None and math.isfinite(cost) else None

    # -- a space that changed

    def fitting(self, space: Space) -> tuple[Problem, tuple[str, ...]]:
        """Return what fits a space that may have changed since, and a sentence for each part that does not."""
        notes: list[str] = []

        def fits(what: str, params: Mapping[str, Any]) -> bool:
            try:
                space.check(params, partial=True)
            except SpaceError as error:
                notes.append(f"{what} no longer fits the search space and is passed over: {_first(error)}")
                return False
            return True

        fixed = {name: value for name, value in self.fixed.items() if fits(f"{name}, which is fixed,", {name: value})}
        points = tuple(point for point in self.try_first if fits(f"the point to try first {_shown(point)}", point))
        priors = {name: prior for name, prior in self.priors.items() if _between(space, name, prior.center)}
        notes += [
            f"the prior of {name} lies outside the search space and is passed over"
            for name in self.priors
            if name not in priors
        ]
        renamed = {name: others for name, others in self.renamed.items() if name in space}
        return replace(self, fixed=fixed, try_first=points, priors=priors, renamed=renamed), tuple(notes)

    def waiting_for(self, fixed: Mapping[str, Any]) -> tuple[Problem, tuple[str, ...]]:
        """Return the problem without the points to try first that contradict what is fixed, and a sentence for each."""
        kept, notes = [], []
        for point in self.try_first:
            other = next((name for name in point if name in fixed and point[name] != fixed[name]), None)
            if other is None:
                kept.append(point)
            else:
                notes.append(f"the point to try first {_shown(point)} waits while {other} is fixed at {fixed[other]!r}")
        return replace(self, try_first=tuple(kept)), tuple(notes)


def _constraints(given: Any) -> tuple[Constraint, ...]:
    if isinstance(given, str):
        given = [given] if given.strip() else []
    if isinstance(given, Mapping):
        items: Iterable[Constraint] = (_bounded(str(metric), bound) for metric, bound in given.items())
    elif isinstance(given, (list, tuple)):
        items = (_constraint(item) for item in given)
    elif given is None:
        items = ()
    else:
        raise ConfigError(f"constraints = {given!r} cannot be understood; write 'latency_ms <= 50', one or several")
    found = tuple(items)
    for i, one in enumerate(found):
        if any((one.metric, one.op) == (other.metric, other.op) for other in found[:i]):
            raise ConfigError(f"{one.metric} {one.op} has two bounds; keep the stricter one")
        low = next((other.bound for other in found if other.metric == one.metric and other.op == ">="), -math.inf)
        if one.op == "<=" and one.bound < low:
            raise ConfigError(f"no {one.metric} is both >= {low:g} and <= {one.bound:g}; loosen one of the bounds")
    return found


def _constraint(given: Any) -> Constraint:
    if isinstance(given, Constraint):
        return given
    if isinstance(given, Mapping) and set(given) == {"metric", "op", "bound"}:
        return _bounded(str(given["metric"]), f"{given['op']} {given['bound']}")
    if isinstance(given, Mapping) and len(given) == 1:
        ((metric, bound),) = given.items()
        return _bounded(str(metric), bound)
    found = _CONSTRAINT.fullmatch(given) if isinstance(given, str) else None
    if found is None:
        raise ConfigError(
            f"constraint {given!r} cannot be understood; write a metric, <= or >=, and a number: 'latency_ms <= 50'"
        )
    return _bounded(*found.groups())


def _bounded(metric: str, bound: Any) -> Constraint:
    metric = metric.strip()
    found = _BOUND.fullmatch(bound) if isinstance(bound, str) else None
    value = _float(found[2]) if found else None
    if found is None or value is None or not metric:
        raise ConfigError(
            f"constraint {f'{metric} {bound}'.strip()!r} cannot be understood; allowed are <= and >= with a finite "
            "number, for instance 'latency_ms <= 50'"
        )
    return Constraint(metric, cast("Literal['<=', '>=']", found[1]), value)


def _float(text: str) -> float | None:
    try:
        return number(float(text))
    except ValueError:
        return None


def _points(given: Any, space: Space | None, names: Collection[str] | None) -> tuple[Mapping[str, Any], ...]:
    points = [given] if isinstance(given, Mapping) and given else given or []
    if not isinstance(points, (list, tuple)) or not all(isinstance(point, Mapping) for point in points):
        raise ConfigError(f"try_first = {given!r} holds something else than points; give [{{'lr': 0.1}}, …]")
    return tuple(_point(f"point {i} of try_first", point, space, names) for i, point in enumerate(points, 1))


def checked_fixed(given: Any, space: Space | None) -> Mapping[str, Any]:
    """Return what somebody wants to be kept at a value, as plain values of the space.

    Raises
    ------
    ConfigError, SpaceError
        In one sentence, what cannot be fixed.
    """
    return _fixed(given, space, space)


def _fixed(given: Any, space: Space | None, names: Collection[str] | None) -> Mapping[str, Any]:
    if given is not None and not isinstance(given, Mapping):
        raise ConfigError(f"fixed = {given!r} maps no parameters to values; give {{'lr': 0.1}}")
    return _point("fixed", given, space, names) if given else {}


def _point(
    what: str, params: Mapping[str, Any], space: Space | None, names: Collection[str] | None
) -> Mapping[str, Any]:
    """Return parameters as plain values of the space, some of which may be missing."""
    if not params:
        raise ConfigError(f"{what} is empty; name at least one parameter with its value")
    scalars = {str(name): value.item() if hasattr(value, "item") else value for name, value in params.items()}
    for name, value in scalars.items():
        if not (value is None or isinstance(value, (bool, str)) or number(value) is not None):
            raise ConfigError(f"{what}: {name} = {value!r} is no finite number, text, truth value or null")
    for name in scalars:
        if names is not None and name not in names:
            raise SpaceError(f"{what}: unknown parameter {name!r}; {did_you_mean(name, names)}")
    if space is None:
        return scalars
    try:
        space.check(params, partial=True)
    except SpaceError as error:
        raise SpaceError(f"{what}: {error}") from error
    return {name: plain(space[name], params[name]) for name in space if name in params}


def _instead(name: str, others: Any, known: Collection[str]) -> str:
    """Return what may have been meant: the two names the other way round, or one that is written alike."""
    names = (others,) if isinstance(others, str) else others
    for other in names if isinstance(names, (list, tuple)) else ():
        if other in known:
            return f"{other!r} is the name here, so say it the other way round: {name!r} is what others call it"
    return did_you_mean(name, known)


def _renamed(given: Any, known: Collection[str] | None) -> Mapping[str, tuple[str, ...]]:
    if given is not None and not isinstance(given, Mapping):
        raise ConfigError(f"renamed = {given!r} maps no parameters to other names; give {{'lr': 'learning_rate'}}")
    out: dict[str, tuple[str, ...]] = {}
    owner: dict[str, str] = {}
    for name, others in (given or {}).items():
        if known is not None and name not in known:
            raise SpaceError(f"renamed: the space has no parameter {name!r}; {_instead(str(name), others, known)}")
        names = (others,) if isinstance(others, str) else others
        if not isinstance(names, (list, tuple)) or not names or not all(isinstance(o, str) and o for o in names):
            raise ConfigError(
                f"renamed: {name} → {others!r} is no name; say what {name} is called in other experiments"
            )
        for other in names:
            if other == name or owner.setdefault(other, str(name)) != name:
                raise ConfigError(
                    f"renamed: {other!r} cannot stand for {name!r} and for {owner.get(other, name)!r} too"
                )
        out[str(name)] = tuple(dict.fromkeys(names))
    return out


def _priors(given: Any, space: Space | None, names: Collection[str] | None) -> Mapping[str, Prior]:
    if given is not None and not isinstance(given, Mapping):
        raise ConfigError(f"priors = {given!r} maps no parameters to values; give {{'lr': 0.01}}")
    return {str(name): _prior(str(name), prior, space, names) for name, prior in (given or {}).items()}


def _prior(name: str, given: Any, space: Space | None, names: Collection[str] | None) -> Prior:
    if names is not None and name not in names:
        raise SpaceError(f"priors: the space has no parameter {name!r}; {did_you_mean(name, names)}")
    if isinstance(given, Prior):
        given = {"center": given.center, "spread": given.spread}
    parts = dict(given) if isinstance(given, Mapping) else {"center": given}
    center, spread = number(parts.get("center")), number(parts.get("spread", SPREAD))
    if center is None or not set(parts) <= {"center", "spread"}:
        raise ConfigError(f"the prior of {name!r} is {given!r}; give a number, or {{'center': 0.01, 'spread': 0.2}}")
    if spread is None or spread <= 0:
        raise ConfigError(
            f"the prior of {name!r} has a spread of {parts['spread']!r}; give a share of the range above 0"
        )
    if space is not None:
        dimension = space[name]
        if isinstance(dimension, Choice):
            raise SpaceError(f"priors: {name} is a choice; only a numeric parameter has a prior")
        if not _between(space, name, center):
            raise SpaceError(f"priors: {name} = {center:g} is outside {dimension.span}; give a value inside")
    return Prior(center, spread)


def _cost(given: Any, objectives: Sequence[Objective]) -> str | None:
    if given is None or given == "":
        return None
    if [objective.metric for objective in objectives] == [given]:
        raise ConfigError(f"cost = {given!r} is the objective itself; give another metric, or {DURATION!r}")
    if not isinstance(given, str):
        raise ConfigError(f"cost = {given!r} is no metric; give the name of a metric, or {DURATION!r}")
    return given


def _repeats(given: Any) -> int:
    if given is None:
        return 1
    if isinstance(given, bool) or not isinstance(given, Integral) or given < 1:
        raise ConfigError(f"repeats = {given!r} is no count; give a whole number of at least 1")
    return int(given)


def _between(space: Space, name: str, center: float) -> bool:
    """Whether a number lies in the range of a numeric parameter; its steps do not matter to a belief."""
    dimension = space.get(name)
    return dimension is not None and not isinstance(dimension, Choice) and dimension.low <= center <= dimension.high


def _first(error: SpaceError) -> str:
    return str(error).split(";")[0]


def _shown(point: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{name}: {value!r}" for name, value in point.items()) + "}"
