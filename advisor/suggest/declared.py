"""What the Optuna programs of runs declare of parameters: ranges, kept with each run as Optuna's JSON.

Leaves out which parameters there are (``infer``). Where programs declare one parameter differently, nothing is declared
of it.

Invariant: a range is what some program asked in; values of runs neither widen nor narrow it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, Final

from advisor.errors import SpaceError
from advisor.suggest.dimensions import Dimension
from advisor.suggest.space import Space
from storage.records import Run

SHOWN: Final = 3
"""Values outside a range that are named."""


def declared(runs: Sequence[Run]) -> dict[str, Dimension]:
    """Return the range of each parameter that programs declare, all that do the same one."""
    texts: dict[str, set[str]] = {}
    for run in runs:
        for name, text in run.distributions.items():
            texts.setdefault(name, set()).add(text)
    found: dict[str, Dimension] = {}
    for name, said in texts.items():
        ranges = [_range(name, text) for text in said]  # one range may be written in several ways
        first = ranges[0]
        if first is not None and all(each == first for each in ranges):
            found[name] = first
    return found


def has(run: Run, name: str) -> bool:
    """Whether a run has a value of a parameter; null is one where a program declares it."""
    value = run.params.get(name)
    if value is None:
        return name in run.params and name in run.distributions
    return not isinstance(value, float) or math.isfinite(value)


def beyond(name: str, dimension: Dimension, runs: Sequence[Run]) -> str:
    """Return, as the end of a sentence, which values of runs lie outside a range, and what they count as."""
    from advisor.suggest.remembered import place

    alone = Space({name: dimension.depending_on(())})
    near: list[Any] = []
    far: list[Any] = []
    for run in runs:
        if has(run, name) and dimension.problem(run.params[name]) is not None:
            placed, _ = place(alone, {name: run.params[name]})
            (near if placed else far).append(run.params[name])
    said = _said(name, near, "which counts as the nearest value inside")
    return said + _said(name, far, "and suggestions learn nothing from " + ("it" if len(far) == 1 else "them"))


def _said(name: str, values: Sequence[Any], what: str) -> str:
    if not values:
        return ""
    distinct = list(dict.fromkeys(f"{value!r:.40}" for value in values))
    shown = ", ".join(distinct[:SHOWN]) + (", …" if len(distinct) > SHOWN else "")
    return f"; {len(values)} run{' has' if len(values) == 1 else 's have'} {name} = {shown}, outside of that, {what}"


@functools.lru_cache(maxsize=1_024)
def _range(name: str, text: str) -> Dimension | None:
    """Return a range from Optuna's JSON; None where its choices are no scalars, or it is none."""
    from optuna.distributions import json_to_distribution

    from advisor.suggest.space_forms import dimension_of

    try:
        return dimension_of(name, json_to_distribution(text))
    except (ValueError, KeyError, TypeError, SpaceError):
        return None
