"""A search space for runs that came without one: inferred from the parameters they used, or what Optuna says of them.

Left out, with a note each: constants, seeds, parameters that only part of the runs have, free text, and
values that are not scalars. A parameter that exactly the runs with certain values of one choice have is taken to
depend on that choice. A run that ended before it had all of its parameters says nothing of which there are.

Invariant: a range that the runs' Optuna programs declare, all that do the same one, is taken as it is; every run whose
parameters are all in the space and have no such range lies inside it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from advisor.references import SEED_NAMES
from advisor.suggest.conditions import Condition, same
from advisor.suggest.declared import beyond, declared, has
from advisor.suggest.dimensions import Choice, Dimension, Float, Int, is_whole
from advisor.suggest.keyed import Keyed
from advisor.suggest.space import Space
from storage.records import Run, RunState

CAME_THROUGH: Final = (RunState.FINISHED, RunState.PRUNED)
"""States of runs that had all of their parameters."""
NEARLY_ALL: Final = 0.9
"""Share of the runs that must have a parameter; below it is taken as conditional on another."""
MIN_EACH: Final = 5
"""Runs with a parameter, and as many without it, before it is taken to depend on a choice: fewer agree by chance."""
LOG_RATIO: Final = 100.0
"""Positive values that span two decades are searched on a log scale."""
MARGIN: Final = 0.1
"""How far the range goes beyond the values seen, as a share of their spread on the scale, to each side."""
MAX_CHOICES: Final = 30
"""More different words than these are text (a path, a name), not a choice."""


@dataclass(frozen=True, slots=True)
class Inferred:
    """A space that nobody declared, and how it came about."""

    space: Space
    """Empty where no parameter varies."""
    notes: tuple[str, ...]
    """One plain sentence a parameter: what was inferred, or why it was left out; then, which runs do not count."""
    declared: Mapping[str, Dimension] = field(default_factory=dict)
    """The ranges that Optuna programs declare, also of parameters that were left out."""


def infer_space(runs: Sequence[Run]) -> Inferred:
    """Return the search space that the parameters of ``runs`` suggest.

    One report asks several times; what the same records gave is remembered.
    """
    return _inferred(Keyed(tuple(map(id, runs)), tuple(runs)))


@functools.lru_cache(maxsize=2)
def _inferred(kept: Keyed[tuple[Run, ...]]) -> Inferred:
    runs = kept.value  # held here, so no other object gets their ids
    names = dict.fromkeys(name for run in runs for name in run.params)
    ranges = declared(runs)
    counted = whole(runs, ranges)
    dimensions: dict[str, Dimension] = {}
    notes: dict[str, str] = {}
    partial: dict[str, Dimension] = {}
    for name in names:
        found, notes[name] = _infer(name, runs, ranges.get(name))
        if found is not None:
            among = telling(name, counted, ranges)
            having = sum(has(run, name) for run in among)
            if having >= NEARLY_ALL * len(among):
                dimensions[name] = found
            else:
                partial[name] = found
    asked = _Asked(runs, counted, ranges)
    _add_conditional(asked, partial, dimensions, notes)
    _add_others(asked, partial, dimensions, notes)
    said = [f"{name}: {note}" for name, note in notes.items()]
    early = sum(run.state.is_over for run in runs) - sum(run.state.is_over for run in counted)
    if early:
        these, have, are = ("1 run", "has", "it is") if early == 1 else (f"{early} runs", "have", "they are")
        said.append(
            f"{these} did not come through and {have} only a part of the parameters of others, so {are} not counted in "
            "this"
        )
    space = Space({name: dimensions[name] for name in names if name in dimensions})
    return Inferred(space, tuple(said), ranges)


def whole(runs: Sequence[Run], ranges: Mapping[str, Dimension]) -> list[Run]:
    """Return the runs that tell which parameters there are: those that came through, and others as far as they can.

    A run that failed, crashed or goes on may lack what it had not come to. It is left out where another one has its
    parameters and more, and is alike in those that are words.
    """
    words = few_words(runs, ranges)
    sets: dict[frozenset[str], list[Run]] = {}
    for run in runs:
        sets.setdefault(frozenset(name for name in run.params if has(run, name)), []).append(run)
    early: set[str] = set()
    for few, some in sets.items():
        unsure = [run for run in some if run.state not in CAME_THROUGH]
        if not unsure:
            continue
        compared = sorted(words & few)
        longer = (run for more, others in sets.items() if few < more for run in others)
        alone = _unmet({_at(run, compared) for run in unsure}, longer, compared)
        early |= {run.id for run in unsure if _at(run, compared) not in alone}
    return [run for run in runs if run.id not in early]


def telling(name: str, counted: Sequence[Run], ranges: Mapping[str, Dimension]) -> list[Run]:
    """Return the runs that tell whether a parameter is one of all: those of the programs that declare it, else all."""
    return [run for run in counted if run.distributions] if name in ranges else list(counted)


def _these(among: Sequence[Run], runs: Sequence[Run]) -> str:
    """Return how many runs were asked, and that these are not all of them."""
    return f"{len(among)} runs" if len(among) == len(runs) else f"the {len(among)} runs that can tell"


def _exactly(count: int, among: Sequence[Run], runs: Sequence[Run]) -> str:
    return f"exactly the {count} runs" if len(among) == len(runs) else f"of {_these(among, runs)} exactly the {count}"


def few_words(runs: Sequence[Run], ranges: Mapping[str, Dimension]) -> set[str]:
    """Return the parameters that others may depend on: declared as choices, or a few words or truth values each."""
    seen: dict[str, set[Any]] = {}
    numbers = {name for name, found in ranges.items() if not isinstance(found, Choice)}
    for run in runs:
        for name, value in run.params.items():
            if name in numbers or value is None:
                continue
            values = seen.setdefault(name, set())
            if isinstance(value, (bool, str)):
                if len(values) <= MAX_CHOICES:
                    values.add(value)
            elif name not in ranges:
                numbers.add(name)
    return {name for name, values in seen.items() if name not in numbers and len(values) <= MAX_CHOICES}


def _unmet(wanted: set[tuple[Any, ...]], runs: Iterable[Run], names: Sequence[str]) -> set[tuple[Any, ...]]:
    """Return which combinations of values no run has; it looks no further than it must."""
    left = set(wanted)
    for run in runs:
        if not left:
            break
        left.discard(_at(run, names))
    return left


def _at(run: Run, names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(_told_apart(run.params.get(name)) for name in names)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The runs that are asked which of them have a parameter."""

    runs: Sequence[Run]
    counted: Sequence[Run]
    """Those that tell which parameters there are (``whole``)."""
    ranges: Mapping[str, Dimension]

    def parted(self, name: str) -> tuple[list[Run], list[Run], list[Run]]:
        """Return the runs that can tell, those of them that have a parameter, and the others."""
        among = telling(name, self.counted, self.ranges)
        return among, [run for run in among if has(run, name)], [run for run in among if not has(run, name)]


def _add_conditional(
    asked: _Asked, partial: Mapping[str, Dimension], dimensions: dict[str, Dimension], notes: dict[str, str]
) -> None:
    """Add the parameters that exactly the runs with certain values of a choice have; their notes say so."""
    for name, found in partial.items():
        among, with_it, without_it = asked.parted(name)
        if min(len(with_it), len(without_it)) < MIN_EACH:
            continue
        choices = {parent: choice for parent, choice in dimensions.items() if isinstance(choice, Choice)}
        for parent, choice in choices.items():
            seen = [value for _, value in dict.fromkeys(_told_apart(run.params.get(parent)) for run in with_it)]
            values = tuple(value for value in choice.choices if any(same(one, value) for one in seen))
            condition = Condition(parent, values)
            if values and all(has(run, name) == condition.holds(run.params.get(parent)) for run in among):
                dimensions[name] = found.depending_on((condition,))
                notes[name] += f"; {_exactly(len(with_it), among, asked.runs)} with {condition} have it"
                break


def _add_others(
    asked: _Asked, partial: Mapping[str, Dimension], dimensions: dict[str, Dimension], notes: dict[str, str]
) -> None:
    """Add those that nearly all runs have that came through, where no word of the other runs explains the lack."""
    words = set() if partial.keys() <= dimensions.keys() else few_words(asked.counted, asked.ranges)
    for name, found in partial.items():
        if name in dimensions:
            continue
        among, with_it, without_it = asked.parted(name)
        n_came = sum(run.state in CAME_THROUGH for run in among)
        n_with_it = sum(run.state in CAME_THROUGH for run in with_it)
        known = words_of(with_it, words)
        if n_with_it and n_with_it >= NEARLY_ALL * n_came and not any(strange(run.params, known) for run in without_it):
            dimensions[name] = found
        else:
            these = _these(among, asked.runs)
            notes[name] = f"left out, only {len(with_it)} of {these} have it, so it depends on another parameter"


def words_of(runs: Sequence[Run], names: Collection[str]) -> dict[str, set[tuple[str, Any]]]:
    """Return which words some parameters have in runs."""
    return {name: {_told_apart(run.params.get(name)) for run in runs} for name in names}


def strange(params: Mapping[str, Any], known: Mapping[str, set[tuple[str, Any]]]) -> bool:
    """Whether parameters have a word that is not among the known ones."""
    return any(name in params and _told_apart(params[name]) not in words for name, words in known.items())


def _told_apart(value: Any) -> tuple[str, Any]:
    """Return a value so that it may be a key, and ``True`` is not 1; what is no scalar is no choice's value."""
    return (type(value).__name__, value if isinstance(value, (bool, int, float, str)) else None)


def _infer(name: str, runs: Sequence[Run], range_: Dimension | None) -> tuple[Dimension | None, str]:
    """Return what a parameter may be, and how that is known or why it is left out."""
    values = [run.params[name] for run in runs if has(run, name)]
    if not values:
        return None, "left out, no run gives it a value"
    if name.lower() in SEED_NAMES:
        return None, "left out, a seed is not something to tune"
    if range_ is not None:
        if range_.n_values == 1:
            return None, f"left out, always {next(iter(range_.grid()))!r}"
        return range_, f"{range_.span}, as the runs' Optuna programs declare it{beyond(name, range_, runs)}"
    if not all(isinstance(value, (bool, int, float, str)) for value in values):
        return None, "left out, its values are not all numbers or words"
    distinct = list(dict.fromkeys((isinstance(value, bool), value) for value in values))
    if len(distinct) == 1:
        return None, f"left out, always {values[0]!r}"
    if any(isinstance(value, (bool, str)) for value in values):
        return _choice([value for _, value in distinct], n_values=len(values))
    return _range(values)


def _choice(distinct: list[Any], *, n_values: int) -> tuple[Dimension | None, str]:
    ordered = sorted(distinct, key=lambda value: (type(value).__name__, str(value)))
    if len(ordered) > MAX_CHOICES or (len(ordered) > 10 and len(ordered) > n_values / 2):
        return None, f"left out, {len(ordered)} different words in {n_values} runs look like text, not a choice"
    if len(set(ordered)) < len(ordered):  # True and 1 in one parameter
        return None, "left out, it mixes truth values with equal numbers"
    return Choice(*ordered), f"one of the {len(ordered)} values seen"


def _range(values: list[Any]) -> tuple[Dimension, str]:
    low, high = float(min(values)), float(max(values))
    whole = all(is_whole(value) for value in values)
    log = low > 0 and high / low >= LOG_RATIO
    if log:
        factor = (high / low) ** MARGIN
        first, last = _rounded(low / factor, down=True), _rounded(high * factor, down=False)
    else:
        first, last = _widened(low, high)
        first, last = min(_rounded(first, down=True), low), max(_rounded(last, down=False), high)
    scale = "on a log scale, since the values span two decades or more" if log else "on a linear scale"
    if whole:
        floor = 1 if low >= 1 else 0 if low >= 0 else -math.inf  # a count that was never 0 stays above it
        found: Float | Int = Int(round(max(first, floor)), round(last), log=log)
    else:
        found = Float(first, last, log=log)
    kind = "whole numbers" if whole else "numbers"
    return found, (
        f"{kind} from {found.low:g} to {found.high:g} {scale}; seen were {low:g} to {high:g}, with a margin added"
    )


def _rounded(value: float, *, down: bool) -> float:
    """Round away from the values seen, to three digits: a range that nobody chose need not look exact."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 2)
    rounded = (math.floor if down else math.ceil)(value / unit) * unit
    return float(f"{rounded:.3g}")


def _widened(low: float, high: float) -> tuple[float, float]:
    """Add the margin on a linear scale, but keep to the side of 0, and below the 1, that the values kept to."""
    margin = MARGIN * (high - low)
    first, last = low - margin, high + margin
    if low >= 0 > first or (low > 0 and first == 0):
        first = low / 2
    if low >= 0 and high <= 1 < last:
        last = (high + 1) / 2
    return first, last
