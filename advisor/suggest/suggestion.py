"""A suggestion: parameters for the next run, and everything that they rest on. A value; how it is made is elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from typing import Any

from advisor.suggest.forecast import Forecast
from storage.listed import Listed
from storage.records import RunState


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


@dataclass(frozen=True, slots=True)
class Teacher:
    """Another experiment that a suggestion was learned from."""

    experiment: str
    _: KW_ONLY
    n_runs: int
    """Runs of it that were looked at."""
    similarity: float
    """Of the questions, in [0, 1], by what is said of them."""
    overlap: float
    """How much of the space it covers, in (0, 1]."""
    weight: float
    """Share of the belief that it had, in [0, 1]; what is missing to 1 believed none."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Parameters proposed for the next run."""

    id: str
    _: KW_ONLY
    experiment: str
    params: Mapping[str, Any]
    """Plain Python values inside the space."""
    why: str
    """The reasons in plain words, figures included."""
    source: str
    """Where the parameters come from: ``first`` (a point that was asked for), ``repeat`` (another run of a point),
    ``retry`` (of a run that crashed), ``portfolio`` (a good configuration of another experiment), ``gp`` (the model),
    ``random-startup``, ``tpe`` or another sampler's short name, ``random-new`` where it had no new point left,
    ``fixed`` where all were given."""
    sampler: str
    """Class name of the sampler."""
    seed: int
    """Seed of the call; the same runs and seed give the same parameters."""
    learned_from: tuple[str, ...]
    """Ids of the experiment's own runs that the sampler saw, and of the run elsewhere that the point was taken from."""
    teachers: tuple[Teacher, ...] = ()
    """Other experiments that were learned from, the most believed first."""
    slope: float | None = None
    """How far what they say was followed, in [0, 1.5]; None where no model with a past was used."""
    forecast: Forecast | None
    """What to expect if the run finishes; None where the runs cannot tell."""
    forecast_note: str
    """What the forecast rests on, or why there is none."""
    expected_improvement: float | None = None
    """By how much the run is expected to better the best one, in the objective's unit; None where nobody can tell."""
    p_ok: float | None = None
    """Probability in (0, 1] that the run neither crashes, fails nor diverges; None where it was not estimated."""
    p_feasible: float | None = None
    """Probability that all constraints are kept; None where there are none, or nothing is known of one."""
    effects: Mapping[str, float]
    """Parameter → the objective expected with its value, less that with a random value of it, all others as suggested;
    in the objective's unit. Empty where the runs cannot tell."""
    nearest: tuple[Neighbour, ...]
    """The closest of the runs that were learned from, closest first."""
    created: datetime
    place: int = 0
    """Position in the call that it was made by, from 0."""
    store_version: int | None = None
    """Commit up to which the store was read; None where it was not kept."""

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        forecast = self.forecast
        return {
            "suggestion_id": self.id,
            "params": dict(self.params),
            "why": self.why,
            "source": self.source,
            "learned_from": list(self.learned_from),
            "forecast": None
            if forecast is None
            else {"mean": forecast.mean, "low": forecast.low, "high": forecast.high},
            "p_best": None if forecast is None else forecast.p_best,
            "expected_improvement": self.expected_improvement,
            "p_ok": self.p_ok,
            "p_feasible": self.p_feasible,
            "effects": dict(self.effects),
            "nearest": [
                {"run_id": n.run_id, "objective": n.objective, "state": str(n.state), "distance": n.distance}
                for n in self.nearest
            ],
            "teachers": [
                {
                    "experiment": t.experiment,
                    "n_runs": t.n_runs,
                    "similarity": t.similarity,
                    "overlap": t.overlap,
                    "weight": t.weight,
                }
                for t in self.teachers
            ],
            "slope": self.slope,
            "sampler": self.sampler,
            "seed": self.seed,
            "place": self.place,
            "store_version": self.store_version,
        }

    def _repr_html_(self) -> str:
        from advisor import notebook

        return notebook.suggestion(self)

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.params.items())
        printer.text(f"<Suggestion {self.id} {self.source} {{{shown}}}: {self.why}>")


class SuggestionList(Listed[Suggestion]):
    """Suggestions; a notebook shows them as a table."""

    def _repr_html_(self) -> str:
        from advisor import notebook

        return notebook.suggestions(self)
