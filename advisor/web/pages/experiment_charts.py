"""What the pictures of an experiment are drawn from, and the tables that say the same in words. No HTML.

Columns of all runs are cheap, whole runs are not: what needs these is worked out on the newest ``NEWEST`` runs and
says so. Invariant: nothing here reads more whole runs than that, however large the experiment is.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from advisor.suggest.landscape import Axis, Group, Landscape, landscape, wanted
from advisor.suggest.problem import Problem
from advisor.suggest.search_advice import NEWEST
from advisor.web.web import Web
from storage.records import Experiment, Run

if TYPE_CHECKING:
    from advisor.suggest import Importances, Ledger, SearchAdvice
    from advisor.suggest.noise import Noise

DRAWN: Final = 2_000
"""Runs that are drawn."""
LOG_FROM: Final = 100.0
"""An objective whose largest value is so many times its smallest is drawn on a log scale at first."""
LEDGER_UP_TO: Final = 5_000
"""Runs of an experiment whose ledger is worked out for a page; it needs all of them."""
N_BEST: Final = 10
N_STEPS: Final = 50
"""Improvements that the table beside the picture lists, the last ones."""
POINTS_OF_FRONT: Final = 1_000


def landscape_of(web: Web, record: Experiment, where: str = "") -> Landscape:
    """Return an experiment's runs as columns; kept until something happens in the store.

    Raises
    ------
    FilterError
        If the filter cannot be understood.
    """
    store = web.adv.store

    def make() -> Landscape:
        names = store.names(record.name)
        return landscape(record, names, store.columns(record.name, wanted(record, names), where=where or None))

    return web.memo.get(("landscape", record.number, where, store.state().version), make)


def fingerprint(found: Landscape) -> str:
    """Return a hash of what models are fitted to, so that what rests on it is worked out anew only if it changes."""
    digest = hashlib.blake2b(digest_size=12)
    for column in (found.numbers, found.objective, found.fates):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


# -- what is drawn


def plots(found: Landscape, noise: Noise | None) -> dict[str, Any]:
    """Return what the pictures are drawn from, as JSON values: null where there is none or it is not finite."""
    at = found.drawn(DRAWN)
    ranked = found.objective[found.ranked]
    is_log = bool(ranked.size and ranked.min() > 0 and ranked.max() / ranked.min() >= LOG_FROM)
    return {
        "metric": found.metric,
        "maximize": found.maximize,
        "log": is_log,
        "n_runs": len(found),
        "n_drawn": int(at.size),
        "ids": found.ids[at].tolist(),
        "numbers": found.numbers[at].tolist(),
        "objective": _finite(found.objective[at]),
        "fates": found.fates[at].tolist(),
        "steps": [[int(found.numbers[i]), float(found.objective[i])] for i in found.steps().tolist()],
        "last": int(found.numbers[-1]) if len(found) else 0,
        "sd": None if noise is None else noise.sd,
        "axes": [
            {
                "name": axis.name,
                "log": axis.log,
                "whole": axis.whole,
                "labels": list(axis.labels),
                "values": _finite(axis.values[at]),
            }
            for axis in found.axes
        ],
    }


def _finite(values: Any) -> list[float | None]:
    """Return numbers with six digits, which is more than a screen shows; null where they are not finite."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values.tolist()]


def noise_of(web: Web, record: Experiment, found: Landscape) -> Noise | None:
    """Return how far repeats lie apart, on the newest runs."""
    exp = web.adv.experiment(record.name, create=False)
    return web.memo.get(("noise", record.number, fingerprint(found)), lambda: exp.noise(newest=NEWEST))


def importances_of(web: Web, record: Experiment, found: Landscape) -> tuple[Importances | None, str]:
    """Return which parameters mattered, on the newest runs, and what it rests on or why nobody can tell."""
    exp = web.adv.experiment(record.name, create=False)
    key = ("importances", record.number, fingerprint(found))
    return web.memo.get(key, lambda: exp.importances(newest=NEWEST))


def newest_of(web: Web, record: Experiment) -> list[Run]:
    """Return the newest runs, in the order of their numbers."""
    store = web.adv.store
    return store.runs(record.name, descending=True, limit=NEWEST)[::-1]


# -- several objectives, and constraints


@dataclass(frozen=True, slots=True)
class Kept:
    """How many runs keep a constraint."""

    constraint: str
    _: KW_ONLY
    n_known: int
    n_kept: int


@dataclass(frozen=True, slots=True)
class TradeOff:
    """Runs by two objectives, and those that no other one beats."""

    objectives: tuple[tuple[str, str], ...]
    """Metric and direction of all of them; the first two are drawn."""
    _: KW_ONLY
    front: tuple[Run, ...]
    points: tuple[tuple[str, int, float, float, bool], ...]
    """Id, number, both values, and whether the run is on the front."""
    n_runs: int
    """Runs that were looked at."""


def constraints_of(record: Experiment, runs: Sequence[Run]) -> list[Kept]:
    """Return how many runs keep each constraint."""
    out = []
    for constraint in Problem.of(record.problem).constraints:
        known = [run.metrics[constraint.metric] for run in runs if constraint.metric in run.metrics]
        kept = sum(constraint.violation(value) <= 0 for value in known)
        out.append(Kept(str(constraint), n_known=len(known), n_kept=kept))
    return out


def trade_off(record: Experiment, runs: Sequence[Run]) -> TradeOff | None:
    """Return the trade-off between the objectives; None where there is one objective."""
    from advisor.suggest.pareto import front

    if len(record.objectives) < 2:
        return None
    best = front(record, runs)
    on_it = {run.id for run in best}
    ranked = [run for run in runs if record.ranks(run)]
    shown = [*best, *[run for run in ranked if run.id not in on_it][::-1]][:POINTS_OF_FRONT]
    return TradeOff(
        tuple((each.metric, each.direction) for each in record.objectives),
        front=tuple(best),
        points=tuple((run.id, run.number, run.values[0], run.values[1], run.id in on_it) for run in shown),
        n_runs=len(runs),
    )


# -- two parameters at once


@dataclass(frozen=True, slots=True)
class Interaction:
    """What runs came to for groups of two parameters."""

    across: Axis
    down: Axis
    _: KW_ONLY
    columns: list[Group]
    rows: list[tuple[Group, list[Group | None]]]
    low: float | None
    """Smallest and largest median of a cell, for the colours."""
    high: float | None

    def shade(self, cell: Group | None, *, maximize: bool) -> int | None:
        """Return how good a cell is in nine steps, 8 for the best; None where no run of it ranks."""
        if cell is None or cell.median is None or self.low is None or self.high is None:
            return None
        width = self.high - self.low
        share = 0.5 if width == 0 else (cell.median - self.low) / width
        return round(8 * (share if maximize else 1 - share))


def interaction(found: Landscape, across: str, down: str) -> Interaction | None:
    """Return what runs came to for two parameters, by default the first two; None where there are not two."""
    if len(found.axes) < 2:
        return None
    first = found.axis(across) or found.axes[0]
    other = found.axis(down)
    second = other if other is not None and other is not first else next(a for a in found.axes if a is not first)
    columns, down_groups, cells = found.groups(first), found.groups(second), found.cells(first, second)
    medians = [cell.median for row in cells for cell in row if cell is not None and cell.median is not None]
    return Interaction(
        first,
        second,
        columns=columns,
        rows=list(zip(down_groups, cells, strict=True)),
        low=min(medians, default=None),
        high=max(medians, default=None),
    )


# -- our own record


def ledger_of(web: Web, record: Experiment, found: Landscape) -> tuple[Ledger | None, SearchAdvice]:
    """Return the ledger, None where the experiment is too large for a page, and the advice whether to go on."""
    exp = web.adv.experiment(record.name, create=False)
    memo, state = web.memo, web.adv.store.state()
    key = (record.number, fingerprint(found), len(state.suggestions), len(state.closed_suggestions))
    advice = memo.get(("stop", *key), lambda: exp.stop_advice(newest=NEWEST))
    if len(found) > LEDGER_UP_TO:
        return None, advice
    return memo.get(("ledger", *key, state.version), exp.ledger), advice
