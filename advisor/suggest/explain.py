"""Why these parameters: the nearest past runs, and the reasons in plain words.

Every figure in the text is one that the suggestion itself holds or that was counted for it.
Names that come from runs are put in as they are; whoever renders the text escapes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Final

import numpy as np

from advisor.suggest.forecast import Forecast
from advisor.suggest.geometry import coordinates, distances
from advisor.suggest.samplers import Chosen
from advisor.suggest.space import Space
from advisor.suggest.study import Knowledge
from storage.records import Experiment, Run, RunState

N_NEAREST: Final = 3


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A past run close to a suggestion."""

    run_id: str
    _: KW_ONLY
    number: int
    """The run's number in its experiment."""
    objective: float | None
    """Its first objective; None where it has none, NaN where it is not a number."""
    state: RunState
    distance: float
    """Gower's distance in [0, 1]: 0 is the same point, 1 differs in every parameter by the whole range."""


def nearest_runs(space: Space, runs: Sequence[Run], params: Mapping[str, Any]) -> tuple[Neighbour, ...]:
    """Return the runs closest to ``params``, closest first, at most three."""
    if not runs:
        return ()
    points = coordinates(space, [run.params for run in runs])
    gaps = distances(space, points, coordinates(space, [params])[0])
    order = np.argsort(gaps, kind="stable")[:N_NEAREST]
    return tuple(
        Neighbour(
            runs[i].id,
            number=runs[i].number,
            objective=runs[i].objective,
            state=runs[i].state,
            distance=float(gaps[i]),
        )
        for i in order
    )


def why(
    experiment: Experiment,
    knowledge: Knowledge,
    chosen: Chosen,
    nearest: Sequence[Neighbour],
    forecast: Forecast | None,
    forecast_note: str,
    *,
    fixed: Mapping[str, Any],
    source: str,
    space_notes: Sequence[str] = (),
) -> str:
    """Return the reasons for a suggestion as a short paragraph."""
    metric = experiment.objectives[0].metric
    sentences = [_sentence(chosen.why)]
    if source == "random-new":
        sentences.append("Its proposals had all been tried, so this is a random point that is new.")
    if fixed:
        sentences.append(f"Fixed: {', '.join(f'{name} = {_figure(value)}' for name, value in fixed.items())}.")
    sentences.append(_learned(knowledge))
    if nearest:
        places = ", ".join(_place(experiment, knowledge, metric, neighbour) for neighbour in nearest)
        sentences.append(f"Nearest past runs: {places}.")
    if space_notes:
        sentences.append(f"No space is declared, so it was inferred from the runs ({'; '.join(space_notes)}).")
    if forecast is None:
        sentences.append(f"No forecast: {forecast_note}.")
    else:
        chance = "" if forecast.p_best is None else f", chance of a new best {forecast.p_best:.0%}"
        sentences.append(
            f"Forecast of {metric}: {_figure(forecast.mean)}, in 80 % of the cases between "
            f"{_figure(forecast.low)} and {_figure(forecast.high)}{chance} ({forecast_note})."
        )
    return " ".join(sentences)


def _learned(knowledge: Knowledge) -> str:
    n = len(knowledge.used)
    if n == 0:
        text = "Learned from no run yet"
    elif knowledge.n_wrong:
        text = f"Learned from {_runs(n)}, of which {knowledge.n_wrong} failed or diverged and count as worst"
    else:
        text = f"Learned from {_runs(n)}"
    if knowledge.pending:
        text += f"; keeps away from {len(knowledge.pending)} that go on or wait"
    return ". ".join([text, *knowledge.notes()]) + "."


def _place(experiment: Experiment, knowledge: Knowledge, metric: str, neighbour: Neighbour) -> str:
    run = next(run for run in knowledge.used if run.id == neighbour.run_id)
    if run.state in (RunState.FAILED, RunState.CRASHED):
        return f"#{neighbour.number} ({run.state})"
    if neighbour.objective is None or experiment.went_wrong(run):
        return f"#{neighbour.number} (diverged)"
    return f"#{neighbour.number} ({metric} {_figure(neighbour.objective)})"


def _runs(n: int) -> str:
    return f"{n} run{'' if n == 1 else 's'}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
