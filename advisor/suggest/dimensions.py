"""One parameter's range: a real number, a whole number, or one of a few values.

Whatever a range is used for (checking, drawing, distances, storing) is a method here, so that each
kind of range is one class.

Invariant: a dimension that exists is sound: bounds are ordered, log only above zero, choices distinct.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from advisor.errors import SpaceError

ChoiceValue = None | bool | int | float | str

GRID_TOLERANCE = 1e-8
"""Share of a step by which a value may miss the grid: what decimal notation loses in binary floats."""


def _number(value: object) -> float | None:
    """Return a finite real number as a float, None for anything else; a bool is not a number here."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        number = float(value)
    except OverflowError:  # an int beyond the largest float
        return None
    return number if math.isfinite(number) else None


@dataclass(frozen=True, slots=True)
class Float:
    """A real number between ``low`` and ``high``, both included.

    Parameters
    ----------
    low, high
        Finite bounds, ``low <= high``.
    log
        Whether ratios matter rather than differences; needs ``low > 0`` and no ``step``.
    step
        Distance of allowed values, counted from ``low``; None allows all.

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

    def __init__(self, low: float, high: float, *, log: bool = False, step: float | None = None) -> None:
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

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {"type": "float", "low": self.low, "high": self.high, "log": self.log, "step": self.step}

    def _on_grid(self, number: float) -> float:
        if self.step is None:
            return number
        return min(self.low + round((number - self.low) / self.step) * self.step, self.high)


@dataclass(frozen=True, slots=True)
class Int:
    """A whole number between ``low`` and ``high``, both included.

    Parameters
    ----------
    low, high
        Bounds, ``low <= high``.
    log
        Whether ratios matter rather than differences; needs ``low >= 1`` and ``step == 1``.
    step
        Distance of allowed values, counted from ``low``.

    Raises
    ------
    SpaceError
        If these do not go together.
    """

    low: int
    high: int
    log: bool = False
    step: int = 1

    def __init__(self, low: int, high: int, *, log: bool = False, step: int = 1) -> None:
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

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {"type": "int", "low": self.low, "high": self.high, "log": self.log, "step": self.step}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few values: None, bool, int, float or str.

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

    def __init__(self, *choices: ChoiceValue) -> None:
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

    def to_json(self) -> dict[str, Any]:
        """Return the stored form."""
        return {"type": "choice", "choices": list(self.choices)}


Dimension = Float | Int | Choice


def plain(dimension: Dimension, value: Any) -> ChoiceValue:
    """Return ``value`` as the plain Python value of ``dimension``; numpy's scalars do not travel as JSON."""
    if isinstance(dimension, Int):
        return int(value)
    if isinstance(dimension, Float):
        return float(value)
    return dimension.nearest(value)


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
