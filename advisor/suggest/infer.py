"""A search space for runs that came without one: inferred from the parameters they used, or what Optuna says of them.

Left out, with a note each: constants, seeds, parameters that only part of the runs have, free text, and
values that are not scalars. A parameter that exactly the runs with certain values of one choice have is taken to
depend on that choice.

Invariant: every run whose parameters are all in the space lies inside it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from advisor.errors import SpaceError
from advisor.references import SEED_NAMES
from advisor.suggest.conditions import Condition, same
from advisor.suggest.dimensions import Choice, Dimension, Float, Int, is_whole
from advisor.suggest.keyed import Keyed
from advisor.suggest.space import Space
from storage.records import Run

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
    """One plain sentence a parameter: what was inferred, or why it was left out."""


def infer_space(runs: Sequence[Run]) -> Inferred:
    """Return the search space that the parameters of ``runs`` suggest.

    One report asks several times; what the same records gave is remembered.
    """
    return _inferred(Keyed(tuple(map(id, runs)), tuple(runs)))


@functools.lru_cache(maxsize=2)
def _inferred(kept: Keyed[tuple[Run, ...]]) -> Inferred:
    runs = kept.value  # held here, so no other object gets their ids
    names = dict.fromkeys(name for run in runs for name in run.params)
    dimensions: dict[str, Dimension] = {}
    notes: list[str] = []
    for name in names:
        values = [run.params[name] for run in runs if run.params.get(name) is not None]
        found, note = _infer(name, values, n_runs=len(runs))
        if found is not None:
            declared = _declared(name, runs)
            if declared is not None:
                found, note = declared, "as the runs' Optuna programs declare it"
            dimensions[name] = found
        notes.append(f"{name}: {note}")
    _add_conditional(runs, dimensions, notes)
    return Inferred(Space(dimensions), tuple(notes))


def _declared(name: str, runs: Sequence[Run]) -> Dimension | None:
    """Return what Optuna programs say that a parameter may be, None where they disagree or a run is outside."""
    texts = {run.distributions[name] for run in runs if name in run.distributions}
    if len(texts) != 1:
        return None
    from optuna.distributions import json_to_distribution

    from advisor.suggest.space_forms import dimension_of

    try:
        found = dimension_of(name, json_to_distribution(texts.pop()))
    except (ValueError, KeyError, TypeError, SpaceError):
        return None
    outside = any(found.problem(run.params[name]) is not None for run in runs if run.params.get(name) is not None)
    return None if outside else found


def _add_conditional(runs: Sequence[Run], dimensions: dict[str, Dimension], notes: list[str]) -> None:
    """Add the parameters that exactly the runs with certain values of a choice have; their notes say so."""
    choices = {name: found for name, found in dimensions.items() if isinstance(found, Choice)}
    names = list(dict.fromkeys(name for run in runs for name in run.params))
    for at, name in enumerate(names):
        having = {run.id for run in runs if run.params.get(name) is not None}
        if name in dimensions or min(len(having), len(runs) - len(having)) < MIN_EACH:
            continue
        with_it = [run.params for run in runs if run.id in having]
        found, note = _infer(name, [params[name] for params in with_it], n_runs=len(having))
        for parent, choice in choices.items():
            seen = [value for _, value in dict.fromkeys(_told_apart(params.get(parent)) for params in with_it)]
            values = tuple(value for value in choice.choices if any(same(one, value) for one in seen))
            condition = Condition(parent, values)
            if found is not None and all((r.id in having) == condition.holds(r.params.get(parent)) for r in runs):
                dimensions[name] = found.depending_on((condition,))
                notes[at] = f"{name}: {note}; exactly the {len(having)} runs with {condition} have it"
                break


def _told_apart(value: Any) -> tuple[str, Any]:
    """Return a value so that it may be a key, and ``True`` is not 1; what is no scalar is no choice's value."""
    return (type(value).__name__, value if isinstance(value, (bool, int, float, str)) else None)


def _infer(name: str, values: list[Any], *, n_runs: int) -> tuple[Dimension | None, str]:
    values = [value for value in values if not (isinstance(value, float) and not math.isfinite(value))]
    if not values:
        return None, "left out, no run gives it a value"
    if not all(isinstance(value, (bool, int, float, str)) for value in values):
        return None, "left out, its values are not all numbers or words"
    if name.lower() in SEED_NAMES:
        return None, "left out, a seed is not something to tune"
    distinct = list(dict.fromkeys((isinstance(value, bool), value) for value in values))
    if len(distinct) == 1:
        return None, f"left out, always {values[0]!r}"
    if len(values) < NEARLY_ALL * n_runs:
        return None, f"left out, only {len(values)} of {n_runs} runs have it, so it depends on another parameter"
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
