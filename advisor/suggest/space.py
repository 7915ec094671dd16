"""The search space: which parameters there are, and which values each may take.

Spaces come from Python (``Float``, ``Int``, ``Choice`` or Optuna's distributions), from the JSON that the
store keeps, or from a YAML file written by hand. Optuna is imported only where a space is turned into its
distributions. A parameter is *active* where its conditions (``advisor.suggest.conditions``) hold; where they do not,
it has no meaning, and a point of the space does not have it.

Invariant: ``Space.of(space.to_json()) == space``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from advisor.errors import SpaceError
from advisor.suggest.conditions import Conditions, without
from advisor.suggest.dimensions import UNSET, Choice, ChoiceValue, Dimension, Float, Int, plain
from storage.errors import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import optuna
    from optuna.distributions import BaseDistribution

__all__ = ["Choice", "ChoiceValue", "Dimension", "Float", "Int", "Space", "plain"]

MAX_BRANCHES: Final = 10_000
"""Combinations of the parameters that others depend on that are gone through to count the points of a space."""


class Space(Mapping[str, Dimension]):
    """Parameters by name, in the order in which they were declared. Immutable.

    Raises
    ------
    SpaceError
        If a condition names no parameter of the space, depends on itself, or can never hold.
    """

    __slots__ = ("_conditions", "_dimensions", "_has_defaults", "_text")
    _dimensions: Mapping[str, Dimension]
    _conditions: Conditions
    _has_defaults: bool
    _text: str

    def __init__(self, dimensions: Mapping[str, Dimension]) -> None:
        self._dimensions = dict(dimensions)
        self._conditions = Conditions(self._dimensions)
        self._has_defaults = any(dimension.default is not UNSET for dimension in dimensions.values())
        self._text = f"Space({self._dimensions!r})"  # what is kept of a space is looked up by it, at every ask

    @classmethod
    def of(cls, mapping: Mapping[str, Any]) -> Self:
        """Return the space that ``mapping`` describes.

        Parameters
        ----------
        mapping
            Parameter name → ``Float``, ``Int`` or ``Choice``, an Optuna distribution, the stored JSON form,
            a list of choices, or a short form such as ``{"low": 1e-5, "high": 1, "log": true}``.

        Raises
        ------
        SpaceError
            If a parameter cannot be understood, or there is none.
        """
        from advisor.suggest.space_forms import dimension_of

        if isinstance(mapping, cls) and mapping:
            return mapping
        if not isinstance(mapping, Mapping):
            raise SpaceError(f"a search space maps names to ranges; {type(mapping).__name__} was given")
        if not mapping:
            raise SpaceError("the search space is empty; name at least one parameter with its range")
        return cls({str(name): dimension_of(str(name), value) for name, value in mapping.items()})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the space that ``to_json`` wrote; the same as ``of``."""
        return cls.of(data)

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read a space from a YAML file: the JSON form or the short forms that ``of`` takes.

        Raises
        ------
        SpaceError
            If the file cannot be read, is not YAML, or does not describe a space.
        """
        from advisor.suggest.space_forms import read_yaml

        return cls.of(read_yaml(Path(path)))

    def to_json(self) -> dict[str, dict[str, Any]]:
        """Return the form that the store keeps."""
        return {name: dimension.to_json() for name, dimension in self.items()}

    def to_distributions(self) -> dict[str, BaseDistribution]:
        """Return Optuna's distribution of each parameter."""
        from advisor.suggest.space_forms import distribution_of

        return {name: distribution_of(dimension) for name, dimension in self.items()}

    def check(self, params: Mapping[str, Any], *, partial: bool = False) -> None:
        """Make sure that ``params`` are a point of this space.

        Parameters
        ----------
        partial
            Whether parameters may be missing.

        Raises
        ------
        SpaceError
            In one sentence: the first parameter that is unknown, missing, outside its range, or without a meaning.
        """
        for name in params:
            if name not in self:
                raise SpaceError(
                    f"unknown parameter {name!r}; {did_you_mean(name, self)} The search space says which there are; to "
                    f"widen it, declare it anew: experiment(…, space=…), or 'advisor experiment EXP --space FILE'"
                )
        for name in self._conditions.order:
            active = self._conditions.activity(name, params)
            if name in params:
                if active is False:
                    raise SpaceError(f"{name} has no meaning with {self._ruled_out_by(name, params)}; leave it out")
                problem = self[name].problem(params[name])
                if problem is not None:
                    raise SpaceError(f"{name} = {params[name]!r} {problem}")
            elif active and not partial:
                raise SpaceError(f"parameter {name!r} is missing; {self._wanted(params)}")

    def _wanted(self, params: Mapping[str, Any]) -> str:
        if not self.is_conditional:
            return f"the space has {', '.join(self)}"
        needed = [name for name in self if self._conditions.activity(name, params) is not False]
        return f"with what is given the space needs {', '.join(needed)}"

    def _ruled_out_by(self, name: str, params: Mapping[str, Any]) -> str:
        failing = (c.name for c in self._conditions.of(name) if c.name in params and not c.holds(params[c.name]))
        return " and ".join(f"{parent} = {params[parent]!r}" for parent in failing)

    # -- conditions

    @property
    def is_conditional(self) -> bool:
        """Whether some parameter has a meaning only where others take certain values."""
        return bool(self._conditions.parents)

    @property
    def has_defaults(self) -> bool:
        """Whether it says of some parameter what runs without it had used."""
        return self._has_defaults

    @property
    def order(self) -> tuple[str, ...]:
        """All parameters, each after those that decide whether it has a meaning."""
        return self._conditions.order

    def is_active(self, name: str, params: Mapping[str, Any]) -> bool:
        """Whether a parameter has a meaning, given the others; false where those that decide are missing."""
        return self._conditions.activity(name, params) is True

    def active(self, params: Mapping[str, Any], *, fill: bool = False) -> dict[str, Any]:
        """Return the parameters without those that have no meaning, as a run may have been given them all the same.

        Parameters that the space does not know stay, and so do those whose conditions cannot be told.

        Parameters
        ----------
        fill
            Whether parameters that are missing and have a default get it.
        """
        kept = dict(params)
        if not self.is_conditional and not (fill and self._has_defaults):
            return kept
        for name in self._conditions.order:
            if name in kept:
                if self._conditions.activity(name, kept) is False:
                    del kept[name]
            elif fill and (default := self[name].default) is not UNSET and self.is_active(name, kept):
                kept[name] = default
        return kept

    def missing(self, params: Mapping[str, Any]) -> list[str]:
        """Return the parameters that have a meaning, given the others, and are not there."""
        return [name for name in self if name not in params and self.is_active(name, params)]

    def complete(self, params: Mapping[str, Any], fixed: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``params`` with what is fixed, where it has a meaning, in the order of the space."""
        kept = self.active({**params, **fixed})
        return {name: kept[name] for name in self if name in kept}

    def includes(self, params: Mapping[str, Any]) -> bool:
        """Whether a run's parameters are a point of this space, defaults counted in and what has no meaning left out.

        Parameters that the space does not know do not count: a run outlives the space that it was made in.
        """
        kept = self.active(params, fill=True)
        for name in self._conditions.order:
            if name not in kept:
                if self._conditions.activity(name, kept) is not False:
                    return False
            elif self[name].problem(kept[name]) is not None:
                return False
        return True

    def key(self, params: Mapping[str, Any]) -> str:
        """Return what makes two points the same: equal values of all parameters that have a meaning."""
        kept = self.active(params, fill=True)
        values = {}
        for name, dimension in self.items():
            if name in kept:
                value = kept[name]
                values[name] = plain(dimension, value) if dimension.problem(value) is None else repr(value)
        return json.dumps(values)

    # -- points

    def draw(self, rng: np.random.Generator, *, fixed: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return a random point: uniform on each scale, only what has a meaning, the rest as it is fixed."""
        drawn: dict[str, Any] = {}
        for name in self._conditions.order:
            if self.is_active(name, drawn):
                drawn[name] = fixed[name] if fixed and name in fixed else self[name].at(float(rng.random()))
        return {name: drawn[name] for name in self if name in drawn}

    def suggest(self, trial: optuna.Trial, *, fixed: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return a point that an Optuna trial is asked for, parameter by parameter: any sampler of Optuna's can do it.

        Only parameters that have a meaning are asked for, those that decide first (define-by-run); what is fixed is
        not asked for.
        """
        from advisor.suggest.space_forms import suggested

        found: dict[str, Any] = {}
        for name in self._conditions.order:
            if self.is_active(name, found):
                found[name] = fixed[name] if fixed and name in fixed else suggested(trial, name, self[name])
        return {name: found[name] for name in self if name in found}

    def points(self) -> Iterator[dict[str, Any]]:
        """Yield every point of a discrete space.

        Raises
        ------
        SpaceError
            If a parameter has a continuum of values.
        """
        for name, dimension in self.items():
            if dimension.n_values is None:
                raise SpaceError(f"parameter {name!r} has no end of values; give it a step to go through all points")
        for found in self._walk(0, {}, self._conditions.order):
            yield {name: found[name] for name in self if name in found}

    def _walk(self, at: int, given: dict[str, Any], order: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        while at < len(order) and not self.is_active(order[at], given):
            at += 1
        if at == len(order):
            yield given
            return
        for value in self[order[at]].grid():
            yield from self._walk(at + 1, {**given, order[at]: value}, order)

    @property
    def n_points(self) -> int | None:
        """How many points the space has, None for a continuum or where too many cases would have to be told apart."""
        counts = {name: dimension.n_values for name, dimension in self.items()}
        known = [count for count in counts.values() if count is not None]
        if len(known) < len(counts):
            return None
        deciding = [name for name in self._conditions.order if name in self._conditions.parents]
        if math.prod(counts[name] or 0 for name in deciding) > MAX_BRANCHES:
            return None
        others = [name for name in self if name not in self._conditions.parents]
        return sum(
            math.prod(counts[name] or 0 for name in others if self.is_active(name, branch))
            for branch in self._walk(0, {}, tuple(deciding))
        )

    # -- other spaces

    def without(self, fixed: Mapping[str, Any]) -> Space:
        """Return the space of the other parameters, once some are fixed; what a fixed value rules out goes, too."""
        return Space(without(self._dimensions, fixed))

    def difference(self, later: Space) -> list[str]:
        """Return a sentence for each way in which a later space differs from this one.

        >>> Space.of({"lr": Float(1e-4, 1, log=True)}).difference(Space.of({"lr": Float(1e-5, 1, log=True)}))
        ['lr widened from [0.0001, 1] to [1e-05, 1]']
        """
        from advisor.suggest.space_forms import changes

        return changes(self, later)

    def __getitem__(self, name: str) -> Dimension:
        return self._dimensions[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._dimensions)

    def __len__(self) -> int:
        return len(self._dimensions)

    def __repr__(self) -> str:
        return self._text

    __hash__: ClassVar[None]  # type: ignore[assignment]  # compared by content, like any mapping
