"""A suggestion drawn with characters: forecast beside the best run, what each parameter does, who taught it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from advisor.cli.output import one_line, say, say_indented, shown

if TYPE_CHECKING:
    from advisor.suggest import Suggestion
    from storage.records import Objective

WIDTH: Final = 32
"""Characters of the longest bar."""
NAME_MAX: Final = 28
"""Characters of a name."""
N_TEACHERS: Final = 5
"""Other experiments that are drawn."""


def draw(suggestions: Sequence[Suggestion], objective: Objective, best: float | None) -> None:
    """Print what each suggestion rests on."""
    for place, suggestion in enumerate(suggestions, start=1):
        say()
        params = ", ".join(f"{name} = {shown(value)}" for name, value in suggestion.params.items())
        say(f"{place}. {params}")
        for line in _lines(suggestion, objective, best):
            say_indented(line)


def _lines(suggestion: Suggestion, objective: Objective, best: float | None) -> Iterator[str]:
    yield f"from {suggestion.source} ({suggestion.sampler}, seed {suggestion.seed})"
    yield from _forecast(suggestion, objective, best)
    if suggestion.effects:
        better = "less" if objective.direction == "minimize" else "more"
        metric = one_line(objective.metric, limit=NAME_MAX)
        yield f"what each value does to {metric}, compared with a random one ({better} is better)"
        yield from bars(suggestion.effects)
    if suggestion.teachers:
        yield "belief in other experiments"
        beliefs = {teacher.experiment: teacher.weight for teacher in suggestion.teachers[:N_TEACHERS]}
        yield from bars(beliefs, percent=True)
    for name, chance in (
        ("comes through", suggestion.p_ok),
        ("keeps all constraints", suggestion.p_feasible),
    ):
        if chance is not None:
            yield f"{name}: {chance:.0%}"
    if suggestion.forecast is not None and suggestion.forecast.chance:
        yield f"is a new best: {suggestion.forecast.chance}"


def _forecast(suggestion: Suggestion, objective: Objective, best: float | None) -> Iterator[str]:
    """Yield the interval as a line of characters, the best run marked in it."""
    forecast = suggestion.forecast
    if forecast is None:
        yield f"no forecast: {one_line(suggestion.forecast_note, limit=200)}"
        return
    ends = [forecast.low, forecast.high, forecast.mean, *([] if best is None else [best])]
    low, high = min(ends), max(ends)
    span = (high - low) or 1.0
    at = {name: round((value - low) / span * (WIDTH - 1)) for name, value in _marks(forecast.mean, best).items()}
    first, last = (round((value - low) / span * (WIDTH - 1)) for value in (forecast.low, forecast.high))
    drawn = ["─" if first <= i <= last else " " for i in range(WIDTH)]
    for mark, i in at.items():
        drawn[i] = mark
    metric = one_line(objective.metric, limit=NAME_MAX)
    known = "" if best is None else f", best so far ◆ {shown(best)}"
    interval = f"80 % between {shown(forecast.low)} and {shown(forecast.high)}"
    yield f"{metric} expected ● {shown(forecast.mean)}, {interval}{known}"
    yield f"  {shown(low)} {''.join(drawn)} {shown(high)}"


def _marks(mean: float, best: float | None) -> dict[str, float]:
    return {"●": mean} if best is None else {"◆": best, "●": mean}


def bars(values: Mapping[str, float], *, percent: bool = False) -> Iterator[str]:
    """Yield one line a value, the longest bar first; a bar below 0 has another character.

    >>> list(bars({"lr": -0.2, "width": 0.1}))[0].endswith("░" * 32)
    True
    """
    ordered = sorted(values.items(), key=lambda item: -abs(item[1]))
    names = [one_line(name, limit=NAME_MAX) for name, _ in ordered]
    width = max(len(name) for name in names)
    largest = max(abs(value) for _, value in ordered) or 1.0
    for name, (_, value) in zip(names, ordered, strict=True):
        length = round(abs(value) / largest * WIDTH)
        figure = f"{value:.0%}" if percent else f"{value:+.3g}"
        yield f"  {name:<{width}}  {figure:>9}  {('█' if value >= 0 else '░') * length}"
