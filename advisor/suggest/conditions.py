"""When a parameter has a meaning: only where other parameters take certain values.

A condition is written ``{"optimizer": "sgd"}``, ``{"optimizer": ["sgd", "rmsprop"]}`` or ``{"layers": ">= 2"}``;
several names in one mapping have to hold together. There is no "or" between names, and nothing is computed.

Invariant: conditions that a space was made with name parameters of that space, form no circle and can hold.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Final

from advisor.errors import SpaceError
from storage.errors import did_you_mean

if TYPE_CHECKING:
    from advisor.suggest.dimensions import ChoiceValue, Dimension

_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_COMPARISON: Final = re.compile(r"\s*(>=|<=|==|!=|>|<)\s*(\S.*?)\s*")
_EQUALITY: Final = frozenset({"==", "!="})
_ALLOWED: Final = "give a value, a list of values, or a comparison such as '>= 2'"


def number(value: object) -> float | None:
    """Return a finite real number as a float, None for anything else; a bool is not a number here."""
    if type(value) is float:  # nearly all are, and to ask whether something is real takes ten times as long
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        found = float(value)
    except OverflowError:  # an int beyond the largest float
        return None
    return found if math.isfinite(found) else None


def same(first: object, second: object) -> bool:
    """Whether two values of a parameter are equal; ``True`` and ``1`` are not."""
    return isinstance(first, bool) == isinstance(second, bool) and bool(first == second)


@dataclass(frozen=True, slots=True)
class Condition:
    """What one other parameter has to be; either values or comparisons are given."""

    name: str
    """The other parameter."""
    values: tuple[ChoiceValue, ...] = ()
    """It has to be one of these."""
    comparisons: tuple[tuple[str, ChoiceValue], ...] = ()
    """It has to satisfy all of these: operator and bound."""

    def holds(self, value: object) -> bool:
        """Whether ``value`` of the other parameter satisfies the condition."""
        if not self.comparisons:
            return any(same(value, allowed) for allowed in self.values)
        return all(_compares(op, value, bound) for op, bound in self.comparisons)

    def narrowed(self, other: Condition) -> Condition | None:
        """Return the condition that both hold, on the same parameter; None where no value is left."""
        if not self.values and not other.values:
            extra = tuple(one for one in other.comparisons if one not in self.comparisons)
            return Condition(self.name, comparisons=self.comparisons + extra)
        listed, rest = (self, other) if self.values else (other, self)
        values = tuple(value for value in listed.values if rest.holds(value))
        return Condition(self.name, values) if values else None

    def to_json(self) -> Any:
        """Return the form in which people write it: a value, a list of values, or comparisons as text."""
        if self.comparisons:
            return ", ".join(f"{op} {bound}" for op, bound in self.comparisons)
        alone = self.values[0] if len(self.values) == 1 else None
        if len(self.values) == 1 and not (isinstance(alone, str) and _COMPARISON.fullmatch(alone)):
            return alone
        return list(self.values)

    def __str__(self) -> str:
        if self.comparisons:
            return " and ".join(f"{self.name} {op} {bound}" for op, bound in self.comparisons)
        if len(self.values) == 1:
            return f"{self.name} = {self.values[0]!r}"
        return f"{self.name} in ({', '.join(map(repr, self.values))})"


def conditions_of(when: object) -> tuple[Condition, ...]:
    """Return the conditions that a person wrote.

    Parameters
    ----------
    when
        Other parameter → value, list of values, or comparison; or conditions as they are; None for none.

    Raises
    ------
    SpaceError
        If it cannot be understood.
    """
    if when is None:
        return ()
    if isinstance(when, tuple) and all(isinstance(one, Condition) for one in when):
        return when
    if not isinstance(when, Mapping) or not when:
        raise SpaceError(f"when = {when!r} maps no other parameter to its values; write when: {{optimizer: sgd}}")
    return tuple(_condition(str(name), given) for name, given in when.items())


def _condition(name: str, given: object) -> Condition:
    if isinstance(given, (list, tuple)):
        if not given:
            raise SpaceError(f"when: {name} has an empty list of values, so it never holds; {_ALLOWED}")
        return Condition(name, tuple(_plain(name, value) for value in given))
    if isinstance(given, str):
        parts = [_COMPARISON.fullmatch(part) for part in given.split(",")]
        if all(parts):
            return Condition(name, comparisons=tuple(_comparison(name, found) for found in parts if found))
    return Condition(name, (_plain(name, given),))


def _comparison(name: str, found: re.Match[str]) -> tuple[str, ChoiceValue]:
    op, text = found.groups()
    try:
        bound: int | float = int(text)
    except ValueError:
        try:
            bound = float(text)
        except ValueError:
            if op in _EQUALITY:
                return op, text
            bound = math.nan
    if not math.isfinite(bound):
        raise SpaceError(f"when: {name} {op} {text!r} compares with no number; {_ALLOWED}")
    return op, bound


def _plain(name: str, value: Any) -> ChoiceValue:
    if not (value is None or isinstance(value, (bool, int, float, str))) or value != value:
        raise SpaceError(f"when: {name} cannot be compared with {value!r}; {_ALLOWED}")
    return value


def _compares(op: str, value: Any, bound: ChoiceValue) -> bool:
    if op in _EQUALITY:
        return same(value, bound) == (op == "==")
    return number(value) is not None and _OPERATORS[op](value, bound)


class Conditions:
    """The conditions of all parameters of one space.

    Parameters
    ----------
    dimensions
        The parameters of the space by name.

    Raises
    ------
    SpaceError
        If a condition names no parameter of the space, depends on itself, or can never hold.
    """

    __slots__ = ("_all", "order", "parents")

    order: tuple[str, ...]
    """All parameters, each after those that it depends on, otherwise as they were declared."""
    parents: frozenset[str]
    """Those that others depend on."""

    def __init__(self, dimensions: Mapping[str, Dimension]) -> None:
        for name, dimension in dimensions.items():
            for condition in dimension.when:
                if condition.name not in dimensions:
                    raise SpaceError(
                        f"parameter {name!r} depends on {condition.name!r}, which the space does not have; "
                        f"{did_you_mean(condition.name, [other for other in dimensions if other != name])}"
                    )
        self.order = tuple(_ordered(dimensions))
        self.parents = frozenset(condition.name for dimension in dimensions.values() for condition in dimension.when)
        self._all: dict[str, tuple[Condition, ...]] = {}
        for name in self.order:
            if dimensions[name].when:
                self._all[name] = self._inherited(name, dimensions)

    def of(self, name: str) -> tuple[Condition, ...]:
        """Return all that has to hold for a parameter, conditions of its parents included, one a parent."""
        return self._all.get(name, ())

    def activity(self, name: str, params: Mapping[str, Any]) -> bool | None:
        """Return whether a parameter has a meaning given others; None where those that decide are missing."""
        conditions = self._all.get(name)
        if conditions is None:
            return True
        known = [condition.holds(params[condition.name]) for condition in conditions if condition.name in params]
        if not all(known):
            return False
        return True if len(known) == len(conditions) else None

    def _inherited(self, name: str, dimensions: Mapping[str, Dimension]) -> tuple[Condition, ...]:
        merged: dict[str, Condition] = {}
        own = dimensions[name].when
        for condition in (*(up for one in own for up in self._all.get(one.name, ())), *own):
            parent = dimensions[condition.name]
            for value in condition.values:
                if parent.problem(value) is not None:
                    raise SpaceError(
                        f"parameter {name!r} depends on {condition.name} = {value!r}, which {parent.problem(value)}"
                    )
            before = merged.get(condition.name)
            both = condition if before is None else before.narrowed(condition)
            if both is None or not _can_hold(both, parent):
                raise SpaceError(
                    f"parameter {name!r} never has a meaning: no {condition.name} in {parent.span} has {condition}"
                    + (f" and {before}" if before is not None and before != condition else "")
                )
            merged[condition.name] = both
        return tuple(merged.values())


def _ordered(dimensions: Mapping[str, Dimension]) -> Iterable[str]:
    done: dict[str, None] = {}
    waiting = list(dimensions)
    while waiting:
        ready = [name for name in waiting if all(condition.name in done for condition in dimensions[name].when)]
        if not ready:
            raise SpaceError(
                f"the conditions of {' and '.join(map(repr, waiting))} wait for each other in a circle; "
                "let one of them always have a meaning"
                if len(waiting) > 1
                else f"parameter {waiting[0]!r} depends on itself; name another parameter under 'when'"
            )
        # One at a time, so that parameters stay as near to the declared order as they can.
        done[ready[0]] = None
        waiting.remove(ready[0])
    return done


def without(dimensions: Mapping[str, Dimension], fixed: Mapping[str, Any]) -> dict[str, Dimension]:
    """Return the parameters that are left when some are fixed, with what is left of their conditions.

    A parameter goes where a fixed value rules it out. One that depends on a fixed parameter takes over the
    conditions of that one, which may itself be without a meaning.
    """
    left: dict[str, Dimension] = {}
    conditions = Conditions(dimensions)
    for name, dimension in dimensions.items():
        if name in fixed:
            continue
        known = [condition for condition in conditions.of(name) if condition.name in fixed]
        if any(not condition.holds(fixed[condition.name]) for condition in known):
            continue
        if known:
            rest = tuple(condition for condition in conditions.of(name) if condition.name not in fixed)
            dimension = dimension.depending_on(rest)
        left[name] = dimension
    return left


def _can_hold(condition: Condition, parent: Dimension) -> bool:
    """Whether some allowed value satisfies a condition."""
    bounds = [found for _, bound in condition.comparisons if (found := number(bound)) is not None]
    candidates = condition.values or parent.deciding(bounds)
    return any(parent.problem(value) is None and condition.holds(value) for value in candidates)
