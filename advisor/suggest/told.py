"""Parameters told of a run, held against what the Optuna programs of the runs before it declare.

For experiments without a declared space. Leaves out names that no run has: who looks for slips of the pen is
``Experiment.tell``.

Invariant: where no program declares anything, everything goes; what is refused is said as a declared space says it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from advisor.errors import SpaceError
from advisor.suggest.declared import has
from advisor.suggest.dimensions import Dimension
from advisor.suggest.infer import MIN_EACH, Inferred, few_words, infer_space, strange, telling, whole, words_of
from advisor.suggest.space import Space
from storage.records import Run


def check_told(runs: Sequence[Run], params: Mapping[str, Any]) -> None:
    """Make sure that parameters are such as the programs of an experiment's runs ask for.

    Raises
    ------
    SpaceError
        In one sentence: the first parameter that is missing, outside its range, or without a meaning.
    """
    if not any(run.distributions for run in runs):
        return
    inferred = infer_space(runs)
    space = _expected(runs, inferred, params)
    if space:
        space.check({name: value for name, value in params.items() if name in space})
    for name, value in params.items():
        problem = inferred.declared[name].problem(value) if name in inferred.declared else None
        if problem is not None:
            raise SpaceError(f"{name} = {value!r} {problem}")


def _expected(runs: Sequence[Run], inferred: Inferred, params: Mapping[str, Any]) -> Space:
    """Return the space of the declared parameters that are told, or that must be there beside what is told."""
    counted = whole(runs, inferred.declared)
    kept: dict[str, Dimension] = {}
    for name in inferred.space.order:
        dimension = inferred.space[name]
        known = name in inferred.declared and all(condition.name in kept for condition in dimension.when)
        if known and (name in params or _is_needed(name, counted, inferred, params)):
            kept[name] = dimension
    return Space({name: kept[name] for name in inferred.space if name in kept})


def _is_needed(name: str, counted: Sequence[Run], inferred: Inferred, params: Mapping[str, Any]) -> bool:
    """Whether all runs have a parameter where it has a meaning, and what is told is no case that none of them is."""
    among = telling(name, counted, inferred.declared)
    having = [run for run in among if has(run, name)]
    if len(among) < MIN_EACH or any(inferred.space.is_active(name, r.params) and not has(r, name) for r in among):
        return False
    return not strange(params, words_of(having, few_words(among, inferred.declared)))
