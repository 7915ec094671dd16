"""What the store says for a name that a text uses: a metric, a parameter, a duration, a count, of a run or experiment.

Leaves out finding names in sentences (``prose``). Invariant: every value names what it is of; where a word may mean
several figures (a metric's last, lowest, highest value), all of them are candidates.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

from advisor.documents import numbers
from advisor.documents.prose_words import Statistic, as_exponent
from advisor.documents.standing import Standing, standing, value_of
from advisor.documents.untrusted import one_line
from storage.query import Names
from storage.records import FindingState, Run, RunState

if TYPE_CHECKING:
    from storage.records import Experiment
    from storage.store import RunStore

LabelKind = Literal["metric", "parameter", "seed", "duration", "rank", "step", "runs", "state", "findings", "noise"]

_WORDS: Final[tuple[tuple[str, LabelKind, bool], ...]] = (
    (r"seed", "seed", False),
    (r"(?:ran|took|duration|lasted|runtime|run time)(?: for)?", "duration", False),
    (r"rank(?:ed)?", "rank", False),
    (r"(?:last )?(?:step|epoch)", "step", False),
    (r"noise|standard deviation|std", "noise", False),
    (r"findings?", "findings", True),
    (r"(?:runs? )?(?:finished|failed|crashed|pruned)(?: runs?)?", "state", True),
    (r"(?:runs|trials)", "runs", True),
)
_AGGREGATES: Final = {"median": "median", "worst": "worst", "mean": "mean", "average": "mean", "baseline": "baseline",
                      "lowest": "lowest", "highest": "highest", "best": "best", "top": "best"}  # fmt: skip
_SPREAD: Final = (("last", "last"), ("min", "lowest"), ("max", "highest"), ("first", "first"))
_FIGURE: Final = re.compile(
    r"([-+−]?)(?:(\d[\d,]*(?:\.\d+)?(?:e[-+−]?\d+)?)\s?(%?)|(nan|inf(?:inity)?|∞))", re.IGNORECASE
)
_BETTER_LOW: Final = re.compile(
    r"(?:^|[^a-z])(?:loss|error|err|rmse|mse|mae|perplexity|ppl|nll|wer|cer|fid|regret|latency)(?:$|[^a-z])"
)
_BETTER_HIGH: Final = re.compile(
    r"(?:^|[^a-z])(?:acc|accuracy|f1|auc|auroc|precision|recall|r2|bleu|rouge|iou|miou|map|reward|return|score|top[15])"
    r"(?:$|[^a-z])"
)
_PERCENT: Final = re.compile(
    r"pct|percent|%|(?:^|[^a-z])(?:acc|accuracy|precision|recall|f1|top[15]|wer|cer|error|err)(?:$|[^a-z])"
)


@dataclass(frozen=True, slots=True)
class Label:
    """What a text calls a figure."""

    kind: LabelKind
    _: KW_ONLY
    name: str = ""
    """Of the metric, parameter or state."""
    text: str
    follows: bool = False
    """Whether it stands after its figure: "12 runs"."""
    unit_s: float | None = None
    """Of a duration: the seconds of the unit that is written behind the figure; None where none is."""


@dataclass(frozen=True, slots=True)
class Value:
    """One figure of the store that a name may mean."""

    value: float
    _: KW_ONLY
    about: str
    text: str
    certain: bool = True
    """Whether the text can mean only this or its like; if not, a figure that differs is unknown, not wrong."""
    role: str = ""
    """Of a curve's figure: ``objective``, ``last``, ``lowest``, ``highest``, ``first``."""
    may_be_percent: bool = False
    """Whether a value above one may itself be in percent, by its name."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure as it is written."""

    value: float
    unit: float
    """What its last digit stands for."""
    is_percent: bool
    is_signed: bool


def read_figure(text: str) -> Figure | None:
    """Return a written figure; None where it is none.

    >>> read_figure("1,234.50").unit, read_figure("65.6%").value
    (0.01, 65.6)
    >>> read_figure("2.0×10^-4").value, read_figure("NaN").value
    (0.0002, nan)
    """
    found = _FIGURE.fullmatch(as_exponent(text.strip()))
    if found is None:
        return None
    sign = -1.0 if found[1] in ("-", "−") else 1.0
    if found[4]:
        word = found[4].lower()
        return Figure(math.nan if word == "nan" else sign * math.inf, 0.0, False, bool(found[1]))
    plain = found[2].replace(",", "").replace("−", "-").lower()
    mantissa, _, exponent = plain.partition("e")
    digits = len(mantissa.partition(".")[2])
    value = float(plain)
    unit = float(f"1e{int(exponent or 0) - digits}")
    return Figure(sign * value, unit, bool(found[3]), bool(found[1]))


def fits(figure: Figure, value: Value) -> bool:
    """Return whether a written figure is a value, rounded to what was written.

    A percentage is one of one; of a value above one, only where its name says that it may be in percent.
    """
    if not math.isfinite(value.value) or not math.isfinite(figure.value):
        return value.value == figure.value or (math.isnan(value.value) and math.isnan(figure.value))
    if not figure.is_percent:
        return _equal(figure, value.value)
    as_it_is = value.may_be_percent and abs(value.value) > 1
    return _equal(figure, value.value * 100.0) or (as_it_is and _equal(figure, value.value))


def _equal(figure: Figure, wanted: float) -> bool:
    return abs(figure.value - wanted) <= 0.5 * figure.unit * (1 + 1e-9) + 1e-12 * abs(wanted)


def may_be_percent(name: str) -> bool:
    """Return whether a metric of a name may be in percent, where its values are above one."""
    return bool(_PERCENT.search(name.lower()))


@dataclass(frozen=True, slots=True)
class Place:
    """A name in a sentence, from ``start`` to ``end``."""

    start: int
    end: int
    what: Any


class Known:
    """What a store holds, as far as a text asks for it."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._standings: dict[str, Standing] = {}
        self._experiments: dict[str, Experiment] = {}
        self._label_patterns: dict[str | None, list[tuple[re.Pattern[str], Label]]] = {}

    @cached_property
    def names(self) -> list[str]:
        """Names of experiments, the longest first."""
        return sorted((record.name for record in self._store.experiments()), key=lambda name: (-len(name), name))

    @property
    def only_experiment(self) -> str | None:
        """The store's experiment where it has one only."""
        return self.names[0] if len(self.names) == 1 else None

    def experiments_in(self, text: str) -> list[tuple[str, int, int]]:
        """Return the experiments that a text names, without a run's number behind it."""
        found: list[tuple[str, int, int]] = []
        for name in self.names:
            for match in re.finditer(rf"(?<![\w-]){re.escape(name)}(?![\w#-])", text):
                if not any(start < match.end() and match.start() < end for _, start, end in found):
                    found.append((name, match.start(), match.end()))
        return sorted(found, key=lambda each: each[1])

    def numbered_in(self, text: str) -> Iterator[tuple[str, int, int, int]]:
        """Yield runs that are called ``EXPERIMENT#NUMBER``."""
        for name in self.names:
            for match in re.finditer(rf"(?<![\w-]){re.escape(name)}#(\d{{1,9}})\b", text):
                yield name, int(match[1]), match.start(), match.end()

    def run_by_number(self, experiment: str | None, number: int) -> Run | None:
        """Return a run by its number; None where there is none, or no experiment is named."""
        if experiment is None:
            return None
        run_id = self._store.state().id_of(experiment, number)
        return None if run_id is None else self._store.run(run_id)

    def run_by_id(self, beginning: str) -> Run | None:
        """Return the run whose id begins so; None where none does, or several do."""
        from storage.errors import StorageError

        try:
            return self._store.run(beginning)
        except StorageError:
            return None

    def standing(self, experiment: str) -> Standing:
        """Return how an experiment's runs stand."""
        if experiment not in self._standings:
            record = self.experiment(experiment)
            self._standings[experiment] = standing(record, self._store.runs(experiment))
        return self._standings[experiment]

    def experiment(self, name: str) -> Experiment:
        """Return the record of an experiment."""
        if name not in self._experiments:
            self._experiments[name] = self._store.experiment(name)
        return self._experiments[name]

    def says_whole(self, text: str) -> bool:
        """Return whether a sentence speaks of an experiment as a whole."""
        return bool(
            re.search(r"\b(median|worst|mean|average|runs|trials|overall|in total|experiment|rang\w+)\b", text.lower())
        )

    # -- labels

    def labels_in(self, text: str, experiment: str | None) -> list[tuple[Label, int, int]]:
        """Return the names of figures in a text, in their order; longer ones hide those within them."""
        found: list[tuple[Label, int, int]] = []
        for pattern, label in self._labels(experiment):
            for match in pattern.finditer(text):
                if not any(start < match.end() and match.start() < end for _, start, end in found):
                    named = label
                    if label.kind == "state":
                        word = re.search(r"finished|failed|crashed|pruned", match[0].lower())
                        named = Label("state", name=word[0] if word else "", text=match[0], follows=True)
                    found.append((named, match.start(), match.end()))
        return sorted(found, key=lambda each: each[1])

    def _labels(self, experiment: str | None) -> list[tuple[re.Pattern[str], Label]]:
        if experiment not in self._label_patterns:
            known = Names() if experiment is None else self._store.names(experiment)  # reads no runs
            metrics, parameters = known.metrics, known.params - known.metrics
            named = [Label("metric", name=name, text=name) for name in metrics]
            named += [Label("parameter", name=name, text=name) for name in parameters]
            named.sort(key=lambda label: (-len(label.name), label.name))
            patterns = [(_pattern(label.name), label) for label in named]
            patterns += [
                (re.compile(rf"(?<![\w]){words}(?![\w])", re.IGNORECASE), Label(kind, text=kind, follows=follows))
                for words, kind, follows in _WORDS
            ]
            self._label_patterns[experiment] = patterns
        return self._label_patterns[experiment]

    # -- values

    def of_run(self, run: Run, label: Label, text: str) -> list[Value]:
        """Return what a name may mean of a run."""
        return list(self._of_run(run, label, text))

    def _of_run(self, run: Run, label: Label, text: str) -> Iterator[Value]:
        called = one_line(f"{run.experiment}#{run.number}", limit=80)
        if label.kind == "metric":
            yield from self._metric_of(run, label.name, called)
        elif label.kind == "parameter":
            value = run.params.get(label.name)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                yield Value(float(value), about=f"{label.name} of {called}", text=numbers.parameter(value))
        elif label.kind == "seed" and run.seed is not None:
            yield Value(run.seed, about=f"seed of {called}", text=str(run.seed))
        elif label.kind == "duration" and run.duration_s is not None:
            yield from _durations(run.duration_s, called, label.unit_s)
        elif label.kind == "rank":
            place = self.standing(run.experiment).rank(run)
            if place is not None:
                yield Value(place, about=f"rank of {called}", text=str(place))
        elif label.kind == "step":
            yield from _steps(run, called)
        elif label.kind == "findings":
            n = sum(finding.state is not FindingState.RESOLVED for finding in run.findings)
            yield Value(n, about=f"findings of {called}", text=str(n))

    def _metric_of(self, run: Run, metric: str, called: str) -> Iterator[Value]:
        record = self.experiment(run.experiment)
        percent = may_be_percent(metric)

        def told(value: float, role: str, about: str) -> Value:
            text = numbers.figure(value)
            return Value(value, about=f"{about} of {called}", text=text, role=role, may_be_percent=percent)

        if record.objective is not None and record.objective.metric == metric and run.objective is not None:
            yield told(run.objective, "objective", metric)
        figures = run.summary.get(metric, {})
        last = run.metrics.get(metric)
        if last is not None and not isinstance(figures.get("last"), (int, float)):
            yield told(float(last), "last", f"last {metric}")
        for key, word in _SPREAD:
            value = figures.get(key)
            if isinstance(value, (int, float)):
                yield told(float(value), word, f"{word} {metric}")

    def best_role(self, experiment: str, metric: str) -> str:
        """Return which end of a curve is its best, ``lowest`` or ``highest``; empty where that is not known."""
        for objective in self.experiment(experiment).objectives:
            if objective.metric == metric:
                return "lowest" if objective.direction == "minimize" else "highest"
        low, high = (pattern.search(metric.lower()) for pattern in (_BETTER_LOW, _BETTER_HIGH))
        return "" if bool(low) == bool(high) else "lowest" if low else "highest"

    def n_not_finite(self, run: Run, metric: str) -> int:
        """Return how many points of a curve are not finite."""
        n = run.summary.get(metric, {}).get("n_nonfinite")
        return int(n) if isinstance(n, (int, float)) else 0

    def of_experiment(self, experiment: str, label: Label, text: str, said: Statistic | None = None) -> list[Value]:
        """Return what a name may mean of an experiment as a whole."""
        return list(self._of_experiment(experiment, label, text.lower(), said))

    def _of_experiment(self, experiment: str, label: Label, text: str, said: Statistic | None) -> Iterator[Value]:
        called = one_line(experiment, limit=60)
        if label.kind == "state":
            n = self._store.count(experiment, where=f"state = '{RunState(label.name)}'")
            yield Value(n, about=f"{label.name} runs of {called}", text=numbers.count(n))
            return
        where = self.standing(experiment)
        if label.kind == "metric" and where.objective is not None and where.objective.metric == label.name:
            yield from _aggregates(where, label.name, called, _asked(text, said))
        elif label.kind == "noise" and where.noise is not None:
            yield Value(where.noise, about=f"noise of {called}", text=numbers.figure(where.noise))
        elif label.kind == "runs":
            yield Value(len(where.runs), about=f"runs of {called}", text=numbers.count(len(where.runs)))
            ranked = len(where.ranked)
            yield Value(ranked, about=f"ranked runs of {called}", text=numbers.count(ranked), certain=False)
        elif label.kind == "findings":
            n = sum(f.state is not FindingState.RESOLVED for run in where.runs for f in run.findings)
            yield Value(n, about=f"findings of {called}", text=numbers.count(n))


def _pattern(name: str) -> re.Pattern[str]:
    """Return what finds a name in a text, its words also with blanks between them."""
    parts = [re.escape(part) for part in re.split(r"[_\s]+", name) if part]
    return re.compile(rf"(?<![\w/.]){r'[_ ]'.join(parts)}(?![\w])", re.IGNORECASE)


def _asked(text: str, said: Statistic | None) -> list[str]:
    """Return the aggregates that a figure may be: the one that is said of it, else those that its sentence names."""
    if said == "range":
        return ["lowest", "highest"]
    if said in _AGGREGATES.values():
        return [said]  # type: ignore[list-item]  # one of the values
    return list(dict.fromkeys(key for word, key in _AGGREGATES.items() if re.search(rf"\b{word}\b", text)))


def _aggregates(where: Standing, metric: str, called: str, asked: list[str]) -> Iterator[Value]:
    if where.best is None or where.baseline is None:
        return
    values = [value_of(run) for run in where.ranked]
    found = {
        "best": values[0],
        "median": statistics.median(values),
        "mean": statistics.fmean(values),
        "worst": values[-1],
        "baseline": value_of(where.baseline),
        "lowest": min(values),
        "highest": max(values),
    }
    percent = may_be_percent(metric)
    for key in asked or ["best"]:
        about = f"{key} {metric} of {called}"
        yield Value(found[key], about=about, text=numbers.figure(found[key]), may_be_percent=percent)
    for run in where.ranked if not asked else ():
        about, value = f"{metric} of {called}", value_of(run)
        yield Value(value, about=about, text=numbers.figure(value), certain=False, may_be_percent=percent)


def _durations(seconds: float, called: str, unit_s: float | None) -> Iterator[Value]:
    for unit in (1.0, 60.0, 3600.0) if unit_s is None else (unit_s,):
        certain = unit_s is not None or unit == 1.0
        yield Value(seconds / unit, about=f"duration of {called}", text=numbers.duration(seconds), certain=certain)


def _steps(run: Run, called: str) -> Iterator[Value]:
    for metric, figures in run.summary.items():
        for key in ("last_step", "min_step", "max_step", "n"):
            value = figures.get(key)
            if isinstance(value, int):
                about = f"{key.replace('_', ' ')} of {one_line(metric, limit=40)} of {called}"
                yield Value(value, about=about, text=numbers.count(value), certain=False)
