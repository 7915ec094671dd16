"""Why these parameters: the nearest past runs, and the reasons in plain words.

Every figure in the text is one that the suggestion itself holds or that was counted for it.
Names that come from runs are put in as they are; whoever renders the text escapes it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from advisor.suggest.geometry import coordinates, distances
from advisor.suggest.remembered import Place, remembered
from advisor.suggest.samplers import Chosen
from advisor.suggest.study import Knowledge
from advisor.suggest.suggestion import Neighbour, Suggestion, Teacher
from storage.records import Experiment, RunState

if TYPE_CHECKING:
    from advisor.suggest.question import Question

N_NEAREST: Final = 3
N_TEACHERS: Final = 3
"""Other experiments that are named; of more the number is said."""
RISKY: Final = 0.8
"""Probability of coming through below which it is said."""
SHORT_ID: Final = 8
"""Characters of a run's id that are shown."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The run elsewhere that a point was taken from."""

    called: str
    """Its experiment and number."""
    lacked: Sequence[str]
    """Parameters that it did not have, which got a value by chance."""


def nearest_runs(question: Question, params: Mapping[str, Any]) -> tuple[Neighbour, ...]:
    """Return the runs learned from that are closest to ``params``, closest first, at most three."""
    runs = question.knowledge.used
    if not runs:
        return ()
    places: Sequence[Place] = question.knowledge.places
    if question.fixed:  # these are places in what is free
        known = remembered(question.experiment, question.space)
        places = known.places(question.experiment, runs)
    points = np.array([each.coordinates for each in places])
    gaps = distances(question.space, points, coordinates(question.space, [params])[0])
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
    question: Question,
    made: Suggestion,
    chosen: Chosen,
    *,
    about: str | None,
    opened: Opened | None = None,
    notes: Sequence[str] = (),
) -> Suggestion:
    """Return the suggestion with its reasons as a short paragraph.

    Parameters
    ----------
    about
        Id of the run that is repeated or tried again.
    opened
        The run elsewhere that the point was taken from.
    notes
        What else was found on the way: how a space was inferred, what could not be carried over.
    """
    experiment, knowledge = question.experiment, question.knowledge
    metric = experiment.objectives[0].metric
    sentences = [_source(question, made, chosen, about, opened)]
    if opened is not None and made.source != "portfolio":
        sentences.append(f"What was not said is as in {opened.called}, a run of another experiment.")
    if opened is not None and opened.lacked:
        sentences.append(f"{opened.called} had no {' and no '.join(opened.lacked)}: drawn by chance.")
    if made.teachers and made.source in ("portfolio", "gp", "first"):
        sentences.append(_taught(made.teachers, made.slope))
    fixed = [name for name in question.fixed if name in made.params]
    if fixed:
        sentences.append(f"Fixed: {', '.join(f'{name} = {_figure(made.params[name])}' for name in fixed)}.")
    idle = [f"{name} = {_figure(value)}" for name, value in question.fixed.items() if name not in made.params]
    if idle:
        sentences.append(f"Fixed as well, but without a meaning here: {', '.join(idle)}.")
    sentences.append(_learned(knowledge))
    if made.p_ok is not None and made.p_ok < RISKY:
        sentences.append(f"It comes through with a probability of {made.p_ok:.0%}: runs near it went wrong.")
    if made.p_feasible is not None:
        sentences.append(f"It keeps all constraints with a probability of {made.p_feasible:.0%}.")
    elif made.learned_from:
        sentences += [_sentence(text) for text in _unknown(question)]
    if made.nearest:
        places = ", ".join(_place(experiment, knowledge, metric, neighbour) for neighbour in made.nearest)
        sentences.append(f"Nearest past runs: {places}.")
    sentences.append(_foretold(made, metric))
    sentences += [_sentence(text) for text in notes]
    return replace(made, why=" ".join(sentences))


def _source(question: Question, made: Suggestion, chosen: Chosen, about: str | None, opened: Opened | None) -> str:
    """Return where the point comes from."""
    knowledge = question.knowledge
    n_seen = len(knowledge.places) + len(knowledge.pending)
    known = {run.id: run.number for run in question.runs}
    text = {
        "first": "This point was asked for first.",
        "retry": f"Run #{known.get(about or '')} with these parameters died without a word; this is another try.",
        "repeat": (
            f"Run #{known.get(about or '')} once more with another seed: each point is to be run "
            f"{question.problem.repeats} times, to tell noise from effect."
        ),
        "fixed": "All parameters are fixed.",
        "random-new": "What was proposed had all been tried, so this is a random point that is new.",
        "random-startup": (
            f"With {_runs(n_seen)} there is too little to model yet, so this is a random draw that keeps away from "
            "earlier runs."
        ),
        "gp": (
            f"By a Gaussian process on {_runs(len(knowledge.places))} this point is the most worth trying"
            f"{' beside those before it' if made.place else ''}: what it expects there, its uncertainty and the chance "
            "of a crash counted in."
        ),
    }.get(made.source)
    if made.source == "portfolio" and opened is not None:
        text = (
            f"As in {opened.called}, one of the best runs of its experiment; of the best configurations of other "
            "experiments it serves those best that are most believed."
        )
    return text if text and not (made.source == "random-startup" and chosen.why) else _sentence(chosen.why)


def _taught(teachers: Sequence[Teacher], slope: float | None) -> str:
    """Return which other experiments were learned from, and how far they were followed."""
    named = ", ".join(
        f"{t.experiment} ({t.n_runs} runs, likeness {t.similarity:.2f}, belief {t.weight:.0%})"
        for t in teachers[:N_TEACHERS]
    )
    more = f" and {len(teachers) - N_TEACHERS} more" if len(teachers) > N_TEACHERS else ""
    n_others = f"{len(teachers)} other experiment{'' if len(teachers) == 1 else 's'}"
    if slope is None:
        return f"Learned from {n_others}: {named}{more}."
    followed = (
        "which the runs here contradict, so they are not followed"
        if slope == 0
        else f"which are followed by a slope of {slope:.2f}, 1 being all they say"
    )
    return f"Learned from {n_others}: {named}{more}; {followed}."


def _unknown(question: Question) -> Iterator[str]:
    """Yield of each constraint of which too little is known to tell whether a point keeps it, why that is so."""
    used = question.knowledge.used
    for constraint in question.problem.constraints:
        metric = constraint.metric
        n_known = sum(math.isfinite(run.metrics.get(metric, math.nan)) for run in used)
        if n_known > 1:
            continue
        if n_known:
            text = f"only one run that this was learned from has a finite {metric}"
        elif any(metric in run.metrics for run in question.runs):
            text = f"no run that this was learned from has a finite {metric}"
        else:
            text = f"no run has logged {metric}"
        yield f"{text}, so whether it keeps {constraint} cannot be told"


def _foretold(made: Suggestion, metric: str) -> str:
    forecast = made.forecast
    if forecast is None:
        return f"No forecast: {made.forecast_note}."
    chance = "" if forecast.p_best is None else f", chance of a new best {forecast.chance}"
    return (
        f"Forecast of {metric}: {_figure(forecast.mean)}, in 80 % of the cases between "
        f"{_figure(forecast.low)} and {_figure(forecast.high)}{chance} ({made.forecast_note})."
    )


def _learned(knowledge: Knowledge) -> str:
    n = len(knowledge.places)
    if n == 0:
        text = "Learned from no run here yet"
    elif knowledge.n_wrong:
        text = f"Learned from {_runs(n)} here, of which {knowledge.n_wrong} failed or diverged and count as worst"
    else:
        text = f"Learned from {_runs(n)} here"
    if knowledge.pending:
        text += f"; keeps away from {len(knowledge.pending)} that go on or wait"
    return ". ".join([text, *knowledge.notes()]) + "."


def _place(experiment: Experiment, knowledge: Knowledge, metric: str, neighbour: Neighbour) -> str:
    run = next(each.run for each in knowledge.places if each.run.id == neighbour.run_id)
    if run.state in (RunState.FAILED, RunState.CRASHED):
        return f"#{neighbour.number} ({run.state})"
    if neighbour.objective is None or experiment.went_wrong(run):
        return f"#{neighbour.number} (diverged)"
    return f"#{neighbour.number} ({metric} {_figure(neighbour.objective)})"


def _runs(n: int) -> str:
    return f"{n} run{'' if n == 1 else 's'}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
