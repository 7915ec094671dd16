"""One parameter's range: a real number, a whole number, or one of a few values.

Whatever a range is used for (checking, drawing, distances, storing) is a method here, so that each
kind of range is one class. When a parameter has a meaning at all is said in ``conditions``.

Invariant: a dimension that exists is sound: bounds are ordered, log only above zero, choices distinct, and the
default, where there is one, is an allowed value.
"""

from __future__ import annotations

import copy
import enum
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral
from typing import Any, Final, Literal, Self

from advisor.errors import SpaceError
from advisor.suggest.conditions import Condition, conditions_of
from advisor.suggest.conditions import number as _number

ChoiceValue = None | bool | int | float | str

GRID_TOLERANCE = 1e-8
"""Share of a step by which a value may miss the grid: what decimal notation loses in binary floats."""


class _Unset(enum.Enum):
    """Tells a default that was not given from ``None``, which may be a choice."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = _Unset.UNSET
Unset = Literal[_Unset.UNSET]


class _Extras:
    """What every kind of dimension may say beside its range."""

    __slots__ = ()

    when: tuple[Condition, ...]
    default: ChoiceValue | Unset

    def depending_on(self, conditions: tuple[Condition, ...]) -> Self:
        """Return the same range under other conditions."""
        other = copy.copy(self)
        object.__setattr__(other, "when", conditions)
        return other

    def _more_json(self) -> dict[str, Any]:
        """Return the stored form of what is beside the range; nothing where nothing is."""
        out: dict[str, Any] = {}
        if self.when:
            out["when"] = {condition.name: condition.to_json() for condition in self.when}
        if self.default is not UNSET:
            out["default"] = self.default
        return out

    def _shown(self, *parts: str) -> str:
        extra = [f"{name}={value!r}" for name, value in self._more_json().items()]
        return f"{type(self).__name__}({', '.join((*parts, *extra))})"


@dataclass(frozen=True, slots=True, repr=False)
class Float(_Extras):
    """A real number between ``low`` and ``high``, both included.

    Parameters
    ----------
    low, high
        Finite bounds, ``low <= high``.
    log
        Whether ratios matter rather than differences; needs ``low > 0`` and no ``step``.
    step
        Distance of allowed values, counted from ``low``; None allows all.
    when
        Other parameter → the value, values or comparison under which this one has a meaning; None: always.
    default
        What runs without this parameter had used, for a parameter that is added later.

    Raises
    ------
    SpaceError
        If these do not go together.

    Examples
    --------
    >>> Float(1e-5, 1, log=True)
    Float(low=1e-05, high=1.0, log=True, step=None)
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    when: tuple[Condition, ...] = ()
    default: ChoiceValue | Unset = UNSET

    def __init__(
        self,
        low: float,
        high: float,
        *,
        log: bool = False,
        step: float | None = None,
        when: Mapping[str, Any] | None = None,
        default: float | Unset = UNSET,
    ) -> None:
        first, last = _bounds("Float", low, high)
        if log and step is not None:
            raise SpaceError(f"Float({first:g}, {last:g}): step and log=True exclude each other; leave one out")
        if log and first <= 0:
            raise SpaceError(f"Float({first:g}, {last:g}, log=True): a log scale needs low > 0")
        width = None if step is None else _number(step)
        if step is not None and (width is None or width <= 0):
            raise SpaceError(f"Float({first:g}, {last:g}, step={step!r}): step must be a number above 0")
        if width is not None:  # the last value on the grid is the highest allowed one, as in Optuna
            last = first + math.floor((last - first) / width + GRID_TOLERANCE) * width
        for name, value in (("low", first), ("high", last), ("log", bool(log)), ("step", width)):
            object.__setattr__(self, name, value)
        _say_more(self, when, default)

    @property
    def n_values(self) -> int | None:
        """How many values are allowed, None for a continuum."""
        if self.low == self.high:
            return 1
        return None if self.step is None else round((self.high - self.low) / self.step) + 1

    def problem(self, value: object) -> str | None:
        """Return why ``value`` is not allowed, as the end of a sentence, or None if it is."""
        number = _number(value)
        if number is None:
            return f"is not a number; give one in [{self.low:g}, {self.high:g}]"
        if not self.low <= number <= self.high:
            return f"is outside [{self.low:g}, {self.high:g}]; choose a value inside, or widen the space"
        if self.step is not None and abs(number - self._on_grid(number)) > GRID_TOLERANCE * self.step:
            return f"is not a multiple of {self.step:g} above {self.low:g}; the nearest is {self._on_grid(number):g}"
        return None

    def nearest(self, value: object) -> float | None:
        """Return the allowed value closest to ``value``, None if ``value`` is not a finite number."""
        number = _number(value)
        if number is None:
            return None
        return self._on_grid(min(max(number, self.low), self.high))

    def unit(self, value: object) -> float | None:
        """Return the position on the scale, 0 at ``low`` and 1 at ``high``; beyond them for values outside."""
        number = _number(value)
        return None if number is None else _unit(number, self.low, self.high, self.log)

    def at(self, unit: float) -> float:
        """Return the allowed value at a position in [0, 1]."""
        return self._on_grid(min(max(_at(unit, self.low, self.high, self.log), self.low), self.high))

    def grid(self) -> Iterator[float]:
        """Yield all values of a range that has steps, or only one value."""
        for i in range(self.n_values or 0):
            yield self._on_grid(self.low + i * (self.step or 0.0))

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        own = {"type": "float", "low": self.low, "high": self.high, "log": self.log, "step": self.step}
        return own | self._more_json()

    def deciding(self, bounds: Iterable[float]) -> list[float]:
        """Return allowed values such that, if any value lies so among ``bounds``, one of these does."""
        return _deciding(self, bounds)

    @property
    def span(self) -> str:
        """The allowed values in words."""
        return f"[{self.low:g}, {self.high:g}]{_scale(self)}"

    def __repr__(self) -> str:
        return self._shown(f"low={self.low!r}", f"high={self.high!r}", f"log={self.log}", f"step={self.step!r}")

    def _on_grid(self, number: float) -> float:
        if self.step is None:
            return number
        return min(self.low + round((number - self.low) / self.step) * self.step, self.high)


@dataclass(frozen=True, slots=True, repr=False)
class Int(_Extras):
    """A whole number between ``low`` and ``high``, both included.

    Parameters
    ----------
    low, high
        Bounds, ``low <= high``.
    log
        Whether ratios matter rather than differences; needs ``low >= 1`` and ``step == 1``.
    step
        Distance of allowed values, counted from ``low``.
    when, default
        As for ``Float``.

    Raises
    ------
    SpaceError
        If these do not go together.
    """

    low: int
    high: int
    log: bool = False
    step: int = 1
    when: tuple[Condition, ...] = ()
    default: ChoiceValue | Unset = UNSET

    def __init__(
        self,
        low: int,
        high: int,
        *,
        log: bool = False,
        step: int = 1,
        when: Mapping[str, Any] | None = None,
        default: int | Unset = UNSET,
    ) -> None:
        first, last = _bounds("Int", low, high)
        if first != int(first) or last != int(last):
            raise SpaceError(f"Int({low!r}, {high!r}): bounds must be whole numbers; use Float for others")
        width = _number(step)
        if width is None or width != int(width) or width < 1:
            raise SpaceError(f"Int({low!r}, {high!r}, step={step!r}): step must be a whole number of at least 1")
        if log and first < 1:
            raise SpaceError(f"Int({low!r}, {high!r}, log=True): a log scale needs low >= 1")
        if log and width != 1:
            raise SpaceError(f"Int({low!r}, {high!r}): step and log=True exclude each other; leave one out")
        start, stride = int(low), int(step)
        stop = start + (int(high) - start) // stride * stride
        for name, value in (("low", start), ("high", stop), ("log", bool(log)), ("step", stride)):
            object.__setattr__(self, name, value)
        _say_more(self, when, default)

    @property
    def n_values(self) -> int:
        """How many values are allowed."""
        return (self.high - self.low) // self.step + 1

    def problem(self, value: object) -> str | None:
        """Return why ``value`` is not allowed, as the end of a sentence, or None if it is."""
        number = _number(value)
        if number is None or number != int(number):
            return f"is not a whole number; give one in [{self.low}, {self.high}]"
        if not self.low <= number <= self.high:
            return f"is outside [{self.low}, {self.high}]; choose a value inside, or widen the space"
        if (int(number) - self.low) % self.step:
            return f"is not a multiple of {self.step} above {self.low}; the nearest is {self.nearest(number)}"
        return None

    def nearest(self, value: object) -> int | None:
        """Return the allowed value closest to ``value``, None if ``value`` is not a finite number."""
        number = _number(value)
        if number is None:
            return None
        clipped = min(max(number, self.low), self.high)
        return self.low + round((clipped - self.low) / self.step) * self.step

    def unit(self, value: object) -> float | None:
        """Return the position on the scale, 0 at ``low`` and 1 at ``high``; beyond them for values outside."""
        number = _number(value)
        return None if number is None else _unit(number, self.low, self.high, self.log)

    def at(self, unit: float) -> int:
        """Return the allowed value at a position in [0, 1]; each gets an equal share on a linear scale."""
        half = 0.5 * self.step
        found = self.nearest(_at(unit, self.low - (0 if self.log else half), self.high + half, self.log))
        assert found is not None  # a position gives a finite number
        return found

    def grid(self) -> Iterator[int]:
        """Yield all values."""
        yield from range(self.low, self.high + 1, self.step)

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        own = {"type": "int", "low": self.low, "high": self.high, "log": self.log, "step": self.step}
        return own | self._more_json()

    def deciding(self, bounds: Iterable[float]) -> list[int]:
        """Return allowed values such that, if any value lies so among ``bounds``, one of these does."""
        return _deciding(self, bounds)

    @property
    def span(self) -> str:
        """The allowed values in words."""
        return f"[{self.low}, {self.high}]{_scale(self)}"

    def __repr__(self) -> str:
        return self._shown(f"low={self.low}", f"high={self.high}", f"log={self.log}", f"step={self.step}")


@dataclass(frozen=True, slots=True, repr=False)
class Choice(_Extras):
    """One of a few values: None, bool, int, float or str.

    Parameters
    ----------
    choices
        The values.
    when, default
        As for ``Float``.

    Raises
    ------
    SpaceError
        If there is none, one is of another type, or two are equal (``1``, ``1.0`` and ``True`` are).

    Examples
    --------
    >>> Choice("sgd", "adam")
    Choice(choices=('sgd', 'adam'))
    """

    choices: tuple[ChoiceValue, ...]
    when: tuple[Condition, ...] = ()
    default: ChoiceValue | Unset = UNSET

    def __init__(
        self, *choices: ChoiceValue, when: Mapping[str, Any] | None = None, default: ChoiceValue | Unset = UNSET
    ) -> None:
        if not choices:
            raise SpaceError("Choice() needs at least one value, for instance Choice('sgd', 'adam')")
        for i, value in enumerate(choices):
            if isinstance(value, (list, tuple, set, dict)):
                raise SpaceError(f"Choice: give the values one by one, Choice('a', 'b'), not as {type(value).__name__}")
            if not (value is None or isinstance(value, (bool, int, float, str))) or value != value:
                raise SpaceError(f"Choice: {value!r} cannot be a choice; allowed are None, bool, int, float and str")
            if any(value == other for other in choices[:i]):
                raise SpaceError(f"Choice: {value!r} is equal to a choice before it; name each value once")
        object.__setattr__(self, "choices", tuple(choices))
        _say_more(self, when, default)

    @property
    def n_values(self) -> int:
        """How many values are allowed."""
        return len(self.choices)

    def problem(self, value: object) -> str | None:
        """Return why ``value`` is not allowed, as the end of a sentence, or None if it is."""
        if self.index(value) is not None:
            return None
        return f"is not one of {', '.join(repr(choice) for choice in self.choices)}"

    def index(self, value: object) -> int | None:
        """Return the position of the choice equal to ``value``, None where there is none."""
        for i, choice in enumerate(self.choices):
            if isinstance(choice, bool) == isinstance(value, bool) and choice == value:
                return i
        return None

    def nearest(self, value: object) -> ChoiceValue:
        """Return the choice equal to ``value``; None where there is none (ask ``index`` if None is a choice)."""
        i = self.index(value)
        return None if i is None else self.choices[i]

    def at(self, unit: float) -> ChoiceValue:
        """Return the choice at a position in [0, 1]; each gets an equal share."""
        return self.choices[min(int(unit * len(self.choices)), len(self.choices) - 1)]

    def grid(self) -> Iterator[ChoiceValue]:
        """Yield all choices."""
        yield from self.choices

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {"type": "choice", "choices": list(self.choices), **self._more_json()}

    def deciding(self, bounds: Iterable[float]) -> list[ChoiceValue]:
        """Return all choices."""
        return list(self.choices)

    @property
    def span(self) -> str:
        """The allowed values in words."""
        return f"({', '.join(map(repr, self.choices))})"

    def __repr__(self) -> str:
        return self._shown(f"choices={self.choices!r}")


Dimension = Float | Int | Choice


def plain(dimension: Dimension, value: Any) -> ChoiceValue:
    """Return ``value`` as the plain Python value of ``dimension``; numpy's scalars do not travel as JSON."""
    if isinstance(dimension, Int):
        return int(value)
    if isinstance(dimension, Float):
        return float(value)
    return dimension.nearest(value)


def _say_more(dimension: Dimension, when: Mapping[str, Any] | None, default: ChoiceValue | Unset) -> None:
    """Set what is beside the range; a default outside of it is refused."""
    if default is not UNSET:
        problem = dimension.problem(default)
        if problem is not None:
            raise SpaceError(f"default = {default!r} {problem}")
        default = plain(dimension, dimension.nearest(default))
    object.__setattr__(dimension, "when", conditions_of(when))
    object.__setattr__(dimension, "default", default)


def _deciding(dimension: Any, bounds: Iterable[float]) -> list[Any]:
    """Return the ends, the bounds, what lies beside them on a grid, and what lies between them."""
    marks = sorted({dimension.low, dimension.high, *(min(max(b, dimension.low), dimension.high) for b in bounds)})
    beside = range(-len(marks), len(marks) + 1) if dimension.step else (0,)
    near = (mark + k * (dimension.step or 0) for mark in marks for k in beside)
    between = ((a + b) / 2 for a, b in pairwise(marks))
    return list(dict.fromkeys(dimension.nearest(value) for value in (*near, *between)))


def _scale(dimension: Float | Int) -> str:
    step = dimension.step if dimension.step not in (None, 1) or isinstance(dimension, Float) else None
    return " on a log scale" if dimension.log else "" if step is None else f" in steps of {step:g}"


def _bounds(kind: str, low: object, high: object) -> tuple[float, float]:
    first, last = _number(low), _number(high)
    if first is None or last is None:
        raise SpaceError(f"{kind}({low!r}, {high!r}): both bounds must be finite numbers")
    if first > last:
        raise SpaceError(f"{kind}({low!r}, {high!r}): low must not be above high; swap them")
    return first, last


def _unit(value: float, low: float, high: float, log: bool) -> float:
    if low == high:
        return 0.0
    if log:
        if value <= 0:
            return -1.0
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _at(unit: float, low: float, high: float, log: bool) -> float:
    if log:
        return math.exp(math.log(low) + unit * (math.log(high) - math.log(low)))
    return low + unit * (high - low)


def is_whole(value: object) -> bool:
    """Whether ``value`` is an integer and not a bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)
