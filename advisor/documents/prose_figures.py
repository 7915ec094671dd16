"""One figure of a sentence, once it is read: which values of the store it may be, and whether it is one of them.

Leaves out reading the sentence (``prose``). Invariant: a figure is supported only as what the sentence says; where it
fits something else, or the sentence leaves open what is meant, it is unknown; it is contradicted only where neither.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from advisor.documents import prose_words as words
from advisor.documents.prose_values import Figure, Known, Label, Value, fits, read_figure
from advisor.documents.standing import value_of
from advisor.documents.untrusted import one_line

if TYPE_CHECKING:
    from storage.records import Run

Verdict = Literal["supported", "contradicted", "unknown"]
_OF_EXPERIMENT: Final = ("best", "worst", "median", "mean", "baseline", "lowest", "highest", "range")


@dataclass(frozen=True, slots=True)
class Reading:
    """How a figure of a sentence is understood."""

    label: Label | None
    _: KW_ONLY
    runs: tuple[Run | None, ...]
    """Whose it may be; None for a run that there is not, empty for the experiment."""
    text: str
    """The sentence, without the names of runs and experiments."""
    said: words.Statistic | None = None
    towards: str | None = None
    others: tuple[Run, ...] = ()
    """All runs that the sentence names."""
    labels: tuple[Label, ...] = ()
    """All names of figures in the sentence."""
    is_tight: bool = True
    """Whether the figure stands right behind its name, and the sentence leaves no doubt about the run."""
    is_from_context: bool = False
    """Whether the sentence names no run, and the one before did."""
    is_sure: bool = True
    is_rough: bool = False
    is_bound: bool = False
    is_difference: bool = False
    is_from: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """What the store says of a figure."""

    verdict: Verdict
    _: KW_ONLY
    about: str = ""
    expected: str = ""
    why: str = ""


def judged(known: Known, experiment: str | None, written: str, reading: Reading) -> Judged:
    """Return what the store says of a figure; one that is another of those that its sentence speaks of is unknown."""
    found = _judged(known, experiment, written, reading)
    if found.verdict != "contradicted" or reading.is_tight:
        return found
    figure = read_figure(written)
    for run in reading.others:
        for label in reading.labels:
            for value in known.of_run(run, label, reading.text):
                if figure is not None and value.role not in ("lowest", "highest", "first") and fits(figure, value):
                    why = f"it is {value.about}; that it is not said to be {found.about} is not certain"
                    return Judged("unknown", about=value.about, why=one_line(why))
    return found


def _judged(known: Known, experiment: str | None, written: str, reading: Reading) -> Judged:
    label = reading.label
    if label is None:
        return Judged("unknown", why="the text does not say what it is a figure of")
    if reading.runs and all(run is None for run in reading.runs):
        return Judged("unknown", about=label.text, why="there is no such run")
    if reading.is_bound:
        return Judged("unknown", about=label.text, why="whether a bound holds is not checked")
    figure = read_figure(written)
    if figure is None:
        return Judged("unknown", about=label.text, why="the figure is not understood")
    if label.kind == "metric" and (reading.is_difference or reading.is_from):
        return _changed(known, experiment, figure, reading)
    values = [value for run in reading.runs if run is not None for value in known.of_run(run, label, reading.text)]
    if not values and experiment is not None:
        return _held(figure, known.of_experiment(experiment, label, reading.text, reading.said), reading)
    if not values:
        why = "nothing in the store is called so" if reading.runs else "no run or experiment is named"
        return Judged("unknown", about=label.text, why=why)
    if label.kind != "metric":
        return _held(figure, values, reading)
    found = _of_curve(known, figure, values, reading)
    return _of_either(known, experiment, figure, reading, found) if reading.is_from_context else found


def _of_curve(known: Known, figure: Figure, values: Sequence[Value], reading: Reading) -> Judged:
    """Hold a figure of a run's metric against the statistic of the curve that the sentence says, or against its end."""
    run = next(run for run in reading.runs if run is not None)
    assert reading.label is not None  # the figure has a name
    metric = reading.label.name
    best = known.best_role(run.experiment, metric)
    roles = {"lowest": {"lowest"}, "highest": {"highest"}, "first": {"first"}, "last": {"last", "objective"},
             "best": {best, "objective"}}.get(reading.said or "", {"objective", "last", best})  # fmt: skip
    roles |= {reading.towards} if reading.towards else set()
    meant = [value for value in values if value.role in roles]
    found = _held(figure, meant or values, reading)
    if found.verdict != "contradicted":
        return found
    other = next((value for value in values if fits(figure, value)), None)
    if other is not None:
        why = f"it is {other.about}; the text does not say so, and the store says {found.expected} for {found.about}"
        return Judged("unknown", about=other.about, why=one_line(why))
    if not math.isfinite(figure.value) and known.n_not_finite(run, metric):
        return Judged("unknown", about=found.about, why="some points of the curve are not finite, the last one is")
    if words.is_at_step(reading.text) or (
        reading.said in _OF_EXPERIMENT and reading.said not in ("best", "lowest", "highest")
    ):
        return Judged("unknown", about=found.about, why="which point of the curve is meant is not checked")
    return found


def _of_either(known: Known, experiment: str | None, figure: Figure, reading: Reading, found: Judged) -> Judged:
    """Return what holds where a sentence names no run, and speaks of the best: of the run before, or of all."""
    if reading.said not in _OF_EXPERIMENT or experiment is None or reading.label is None:
        return found
    whole = _held(figure, known.of_experiment(experiment, reading.label, reading.text, reading.said), reading)
    if whole.verdict == "supported":
        return whole
    return replace(
        found, verdict="unknown", expected="", why="whether it is of the run or of the experiment is not said"
    )


def _held(figure: Figure, values: Sequence[Value], reading: Reading) -> Judged:
    """Hold a figure against what it may be."""
    label = reading.label
    if not values:
        return Judged("unknown", about="" if label is None else label.text, why="nothing in the store is called so")
    fitting = [value for value in values if fits(figure, value)]
    if fitting:
        return Judged("supported", about=fitting[0].about)
    sure = [value for value in values if value.certain]
    why = _doubt(figure, values, reading, bool(sure))
    if why:
        return Judged("unknown", about=values[0].about, why=why)
    expected = " or ".join(dict.fromkeys(value.text for value in sure[:4]))
    why = f"the store says {expected} for {sure[0].about}"
    return Judged("contradicted", about=sure[0].about, expected=expected, why=one_line(why))


def _doubt(figure: Figure, values: Sequence[Value], reading: Reading, is_sure: bool) -> str:
    """Return why a figure that fits nothing is not wrong for certain; empty where it is."""
    if not is_sure:
        return "it is none of the figures that could be meant"
    if reading.is_rough:
        return "it is said to be an approximation"
    if not reading.is_sure:
        return "it is not certain which run or figure is meant"
    plain = replace(figure, is_percent=False)
    if figure.is_percent and any(fits(plain, value) and abs(value.value) > 1 for value in values):
        return "the store holds the figure without a percent sign"
    return ""


# -- what changed


def _changed(known: Known, experiment: str | None, figure: Figure, reading: Reading) -> Judged:
    """Hold a difference, or what something changed from, against what it may be of."""
    assert reading.label is not None  # the figure has a name
    run = next((run for run in reading.runs if run is not None), None)
    values = list(_ends(known, experiment, run, reading) if reading.is_from else _differences(known, run, reading))
    size = figure if reading.is_from else replace(figure, value=abs(figure.value))
    fitting = next((value for value in values if fits(size, value)), None)
    if fitting is not None:
        return Judged("supported", about=fitting.about)
    sure = [value for value in values if value.certain]
    if len({run.id for run in reading.others}) == 2 and sure and not reading.is_rough and not reading.is_from:
        expected = sure[0].text
        return Judged("contradicted", about=sure[0].about, expected=expected,
                      why=f"the store says {expected} for {sure[0].about}")  # fmt: skip
    why = (
        "what it changed from is not said"
        if reading.is_from
        else "between which figures it is a difference is not said"
    )
    return Judged("unknown", about=reading.label.text, why=why)


def _metric_values(known: Known, run: Run, label: Label) -> dict[str, Value]:
    return {value.role: value for value in reversed(known.of_run(run, label, ""))}


def _ends(known: Known, experiment: str | None, run: Run | None, reading: Reading) -> Iterator[Value]:
    """Yield what a metric may have changed from: its first value, the baseline, the best run before, another run."""
    assert reading.label is not None  # the figure has a name
    for each in reading.others:
        own = _metric_values(known, each, reading.label)
        yield from (own[role] for role in (("first",) if each is run else ("objective", "last")) if role in own)
    if run is not None and run not in reading.others:
        yield from (value for role, value in _metric_values(known, run, reading.label).items() if role == "first")
    name = run.experiment if run is not None else experiment
    if name is None:
        return
    yield from known.of_experiment(name, reading.label, "baseline", "baseline")
    where = known.standing(name)
    if run is None or where.objective is None or where.objective.metric != reading.label.name:
        return
    for each in [one for one in where.best_so_far if one.number < run.number][-1:]:
        about = one_line(f"the best {reading.label.name} before {name}#{run.number}", limit=160)
        yield Value(value_of(each), about=about, text="", certain=False)


def _differences(known: Known, run: Run | None, reading: Reading) -> Iterator[Value]:
    """Yield the sizes of the differences that may be meant, each also as a share of what it is against."""
    from advisor.documents import numbers

    if run is None or reading.label is None:
        return
    called = one_line(f"{run.experiment}#{run.number}", limit=80)
    own = _metric_values(known, run, reading.label)
    end = own.get("objective") or own.get("last")
    if end is None:
        return
    others = {each.id: each for each in reading.others if each.id != run.id}
    against = [value for each in others.values() if (of := _metric_values(known, each, reading.label))
               for value in (of.get("objective") or of.get("last"),) if value is not None]  # fmt: skip
    if len(others) != 1:
        against += list(_ends(known, None, run, replace(reading, others=(run,))))
    for value in against:
        gap = abs(end.value - value.value)
        about = f"difference of {called} to {value.about}"
        yield Value(gap, about=about, text=numbers.figure(gap), certain=value.certain)
        if value.value:
            share = gap / abs(value.value)
            yield Value(share, about=f"{about}, as a share of it", text=numbers.percent(share), certain=False)
