"""The search space: which parameters there are, and which values each may take.

Spaces come from Python (``Float``, ``Int``, ``Choice`` or Optuna's distributions), from the JSON that the
store keeps, or from a YAML file written by hand. Conditional parameters are not described here.
Optuna is imported only where a space is turned into its distributions.

Invariant: ``Space.of(space.to_json()) == space``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from advisor.errors import SpaceError
from advisor.suggest.dimensions import Choice, ChoiceValue, Dimension, Float, Int, plain
from storage.errors import did_you_mean

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["Choice", "ChoiceValue", "Dimension", "Float", "Int", "Space", "plain"]


class Space(Mapping[str, Dimension]):
    """Parameters by name, in the order in which they were declared. Immutable."""

    __slots__ = ("_dimensions",)
    _dimensions: Mapping[str, Dimension]

    def __init__(self, dimensions: Mapping[str, Dimension]) -> None:
        self._dimensions = dict(dimensions)

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
            In one sentence: the first parameter that is unknown, missing or outside its range.
        """
        for name in params:
            if name not in self:
                raise SpaceError(
                    f"unknown parameter {name!r}; {did_you_mean(name, self)} The search space says which there are; to "
                    f"widen it, declare it anew: experiment(…, space=…), or 'advisor experiment EXP --space FILE'"
                )
        for name, dimension in self.items():
            if name in params:
                problem = dimension.problem(params[name])
                if problem is not None:
                    raise SpaceError(f"{name} = {params[name]!r} {problem}")
            elif not partial:
                raise SpaceError(f"parameter {name!r} is missing; the space has {', '.join(self)}")

    def without(self, names: Mapping[str, Any]) -> Space:
        """Return the space of the other parameters."""
        return Space({name: dimension for name, dimension in self.items() if name not in names})

    @property
    def n_points(self) -> int | None:
        """How many points the space has, None for a continuum."""
        counts = [dimension.n_values for dimension in self.values()]
        known = [count for count in counts if count is not None]
        return math.prod(known) if len(known) == len(counts) else None

    def __getitem__(self, name: str) -> Dimension:
        return self._dimensions[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._dimensions)

    def __len__(self) -> int:
        return len(self._dimensions)

    def __repr__(self) -> str:
        return f"Space({dict(self._dimensions)!r})"

    __hash__: ClassVar[None]  # type: ignore[assignment]  # compared by content, like any mapping
