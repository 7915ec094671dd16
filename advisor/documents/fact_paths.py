"""Facts by their addresses: ids that say where in the store a figure stands, so that whoever reads one can look it up.

``run/3f2a91c04b7d/metrics.val_loss``, ``experiment/digits/n_runs``, ``difference/3f2a…/91bc…/objective``: the address
is all there is to remember. A sheet's facts (``fact``) have ids within their document; these have ids within the store.
Leaves out what has to be worked out anew with the models (``advisor.reports.addressed``).

Invariant: an id that was told is looked up to the same kind of figure of the same thing, as the store holds it now; a
name within an id is percent-encoded, so an id holds no blank, bracket, brace, line end or invisible character.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from advisor.documents import numbers
from advisor.documents.fact import Fact, FactKind, relative
from advisor.documents.untrusted import one_line
from advisor.references import find_run
from storage.errors import ExperimentNotFoundError, RecordError, did_you_mean
from storage.records import Direction, Finding, FindingState, Run, RunState

if TYPE_CHECKING:
    from storage.records import Experiment
    from storage.store import RunStore

SHORT_ID: Final = 12
"""Digits of an id that stand for it: among a million runs the chance that two share them is 1 in 500."""
MAX_NAME: Final = 120
"""Characters of a name within an id; what has a longer name has no id of its own (an experiment has its number)."""
MAX_ID: Final = 600
KINDS: Final = ("run", "experiment", "difference", "suggestion", "document")
"""First part of an id."""
_HEX_ID: Final = re.compile(r"[0-9a-f]{32}")
_SAFE: Final = "/+@=:"
_OF_CURVE: Final[Mapping[str, tuple[str, str]]] = {
    "metrics": ("last", "last {metric}"),
    "min": ("min", "lowest {metric}"),
    "max": ("max", "highest {metric}"),
    "first": ("first", "first {metric}"),
    "min_step": ("min_step", "step of the lowest {metric}"),
    "max_step": ("max_step", "step of the highest {metric}"),
    "last_step": ("last_step", "last step of {metric}"),
    "n_points": ("n", "points of {metric}"),
    "n_nonfinite": ("n_nonfinite", "points of {metric} that are not finite"),
}
"""Part of an id → key of a curve's figures, and the words for it."""
_OF_FINDING: Final = ("step", "p_value", "score")
_OF_SUGGESTION: Final = ("p_best", "expected_improvement", "p_ok", "p_feasible")


class FactNotFoundError(RecordError):
    """No fact of the store has this id."""


# -- ids


def encoded(name: str) -> str:
    """Return a name as a part of an id may hold it.

    >>> encoded("val loss]"), encoded("system/gpu")
    ('val%20loss%5D', 'system/gpu')
    """
    return quote(name, safe=_SAFE, errors="replace")


def short(run_id: str) -> str:
    """Return what stands for the id of a run, a suggestion or a finding within the id of a fact."""
    return run_id[:SHORT_ID] if _HEX_ID.fullmatch(run_id) else quote(run_id, safe="", errors="replace")


def run_path(run: Run) -> str:
    """Return how the ids of a run's facts begin."""
    return f"run/{short(run.id)}"


def experiment_path(experiment: Experiment) -> str:
    """Return how the ids of an experiment's facts begin: by its name, or ``~NUMBER`` where that is long."""
    name = quote(experiment.name, safe="", errors="replace")
    return f"experiment/{name}" if len(name) <= MAX_NAME and name[0] != "~" else f"experiment/~{experiment.number}"


def parts_of(fact_id: str) -> list[str]:
    """Return the parts of an id: its kind, what it is about, and which figure.

    Raises
    ------
    FactNotFoundError
        If it is no id of a fact.
    """
    kind = fact_id.partition("/")[0]
    parts = fact_id.split("/", 3 if kind == "difference" else 2)
    if len(fact_id) > MAX_ID or kind not in KINDS or len(parts) < (4 if kind == "difference" else 3) or not parts[-1]:
        raise FactNotFoundError(
            f"{one_line(fact_id, limit=80)!r} is no id of a fact; one looks like run/RUN_ID/metrics.val_loss, "
            "run/RUN_ID/params.lr or experiment/NAME/n_runs, and answers list theirs under 'facts'"
        )
    return parts


# -- looking up


def look_up(store: RunStore, fact_id: str) -> Fact:
    """Return the fact that an id names, as the store has it now.

    Raises
    ------
    FactNotFoundError
        If there is no such figure.
    StorageError
        If there is no such run or experiment.
    """
    kind, about, *rest = parts_of(fact_id)
    field = rest[-1]
    known: Iterable[Fact] = ()
    if kind == "run":
        run = find_run(store, unquote(about))
        record = store.experiment(run.experiment)
        found, known = run_fact(record, run, field), run_facts(record, run)
    elif kind == "experiment":
        record = experiment_at(store, about)
        found, known = experiment_fact(store, record, field), experiment_facts(store, record)
    elif kind == "difference":
        one, other = find_run(store, unquote(about)), find_run(store, unquote(rest[0]))
        found, known = difference_fact(store, one, other, field), run_facts(store.experiment(one.experiment), one)
    elif kind == "suggestion":
        body = _suggestion(store, unquote(about))
        found, known = suggestion_fact(body, field), suggestion_facts(body)
    else:
        raise FactNotFoundError(f"{fact_id!r} is a fact of a document, which has to be derived again")
    if found is None:
        shown = did_you_mean(field, (fact.id.split("/", 2)[2] for fact in known), show=6)
        raise FactNotFoundError(f"{kind} {one_line(unquote(about), limit=60)!r} has no fact {field!r:.80}; {shown}")
    return replace(found, id=fact_id)


def experiment_at(store: RunStore, about: str) -> Experiment:
    """Return the experiment that a part of an id names.

    Raises
    ------
    ExperimentNotFoundError
        If there is none.
    """
    if about.startswith("~"):
        found = next((each for each in store.experiments() if str(each.number) == about[1:]), None)
        if found is None:
            raise ExperimentNotFoundError(f"there is no experiment number {about[1:]!r:.20}")
        return found
    return store.experiment(unquote(about))


# -- runs


def run_facts(experiment: Experiment, run: Run, *, first: Sequence[str] = (), curves: bool = True) -> Iterator[Fact]:
    """Yield what a run's record holds, the objective first.

    Parameters
    ----------
    first
        Parameters that come before the others: those that vary.
    curves
        Whether to tell more of each curve than where it ended.
    """
    names = [*(name for name in first if name in run.params), *(name for name in run.params if name not in first)]
    objective = experiment.objective
    metrics = sorted(run.metrics, key=lambda name: (objective is None or name != objective.metric, name))
    fields = ["objective", *(f"values.{place}" for place in range(2, len(run.values) + 1))]
    fields += [f"params.{encoded(name)}" for name in names]
    fields += [f"metrics.{encoded(name)}" for name in metrics]
    fields += ["duration_s", "number", "seed", "n_findings"]
    if curves:
        more = ("min", "max", "min_step", "max_step", "first", "last_step", "n_points", "n_nonfinite")
        fields += [f"{key}.{encoded(name)}" for name in metrics for key in more]
    for field in fields:
        fact = run_fact(experiment, run, field)
        if fact is not None and len(field) <= MAX_NAME:
            yield fact


def run_fact(experiment: Experiment, run: Run, field: str) -> Fact | None:
    """Return one fact of a run, None where it has none of that name."""
    key, _, encoded_name = field.partition(".")
    name, called = unquote(encoded_name), one_line(f"{run.experiment}#{run.number}", limit=80)
    shown, where = one_line(name, limit=60), f"{run_path(run)}/{field}"
    objective = experiment.objective
    if field == "objective":
        if run.objective is None:
            return None
        metric = "objective" if objective is None else one_line(objective.metric, limit=60)
        direction = None if objective is None else objective.direction
        return _measured(where, run.objective, f"{metric} of {called}, its objective", run, metric, direction)
    if key == "values" and name.isdecimal() and 1 <= int(name) <= len(run.values):
        told = experiment.objectives[int(name) - 1].metric if int(name) <= len(experiment.objectives) else name
        metric = one_line(told, limit=60)
        return _measured(where, run.values[int(name) - 1], f"objective {metric} of {called}", run, metric)
    if key == "params" and name in run.params:
        return _setting(where, run.params[name], f"parameter {shown} of {called}", run, shown)
    if key == "metrics" and name in run.metrics:
        return _measured(where, run.metrics[name], f"last {shown} of {called}", run, shown)
    if key in _OF_CURVE:
        figure, words = _OF_CURVE[key]
        return _figure(where, run.summary.get(name, {}).get(figure), f"{words.format(metric=shown)} of {called}", run)
    if field == "duration_s" and run.duration_s is not None:
        text = numbers.duration(run.duration_s)
        return _fact(where, run.duration_s, f"duration of {called}", text, "duration", run, unit="s")
    if field in ("number", "seed"):
        return _figure(where, getattr(run, field), f"{field} of {called}", run)
    if field == "state":
        return _fact(where, str(run.state), f"state of {called}", str(run.state), "name", run)
    if field == "n_findings":
        n = sum(finding.state is not FindingState.RESOLVED for finding in run.findings)
        return _fact(where, n, f"findings of {called} that are not resolved", numbers.count(n), "count", run)
    if key == "findings":
        begin, _, rest = encoded_name.partition(".")
        fitting = [finding for finding in run.findings if begin and finding.id.startswith(begin)]
        return _finding_fact(run, fitting[0], rest) if len(fitting) == 1 else None
    return None


def finding_facts(run: Run, finding: Finding) -> Iterator[Fact]:
    """Yield the figures that a finding rests on."""
    fields = [*_OF_FINDING, *(f"evidence.{encoded(str(key))}" for key in finding.evidence)]
    for field in fields:
        fact = _finding_fact(run, finding, field)
        if fact is not None and len(field) <= MAX_NAME:
            yield fact


def _finding_fact(run: Run, finding: Finding, field: str) -> Fact | None:
    where = f"{run_path(run)}/findings.{short(finding.id)}.{field}"
    of = f"of {finding.code} on {one_line(f'{run.experiment}#{run.number}', limit=80)}"
    if field in _OF_FINDING:
        return _figure(where, getattr(finding, field), f"{field.replace('_', ' ')} {of}", run)
    key, _, name = field.partition(".")
    value = finding.evidence.get(unquote(name)) if key == "evidence" else None
    shown = one_line(unquote(name).replace("_", " "), limit=60)
    return _figure(where, value, f"{shown} {of}", run)


# -- experiments


def experiment_facts(store: RunStore, record: Experiment) -> Iterator[Fact]:
    """Yield how many runs an experiment has, and what its best one came to."""
    for field in (*_counts(), "best.objective", "best.number"):
        fact = experiment_fact(store, record, field)
        if fact is not None and (field == "n_runs" or fact.value != 0):
            yield fact


def experiment_fact(store: RunStore, record: Experiment, field: str) -> Fact | None:
    """Return one fact of an experiment, None where it has none of that name."""
    where, called = f"{experiment_path(record)}/{field}", one_line(record.name, limit=80)
    source = f"experiment {called}"
    if field == "n_runs":
        n = store.count(record.name)
        return Fact(where, value=n, unit="runs", label=f"runs of {called}", text=numbers.count(n), kind="count",
                    source=source, about="runs")  # fmt: skip
    if field in _counts():
        state = field.removeprefix("n_")
        n = store.count(record.name, where=f"state = '{state}'")
        return Fact(where, value=n, unit="runs", label=f"{state} runs of {called}", text=numbers.count(n),
                    kind="count", source=source, about="runs")  # fmt: skip
    key, _, rest = field.partition(".")
    if key != "best" or not rest:
        return None
    best = best_of(store, record)
    found = None if best is None else run_fact(record, best, rest)
    return None if found is None else replace(found, id=where, label=f"{found.label}, the best of {called}")


def best_of(store: RunStore, record: Experiment) -> Run | None:
    """Return an experiment's best run; where it has constraints, of those that keep them."""
    if not record.problem.get("constraints"):
        return store.best(record.name)
    from advisor.suggest.pareto import best_feasible

    return best_feasible(record, store.runs(record.name))


def _counts() -> list[str]:
    return ["n_runs", *(f"n_{state}" for state in RunState)]


# -- differences


def difference_fact(store: RunStore, one: Run, other: Run, field: str) -> Fact | None:
    """Return the second run's figure less the first one's; of ``share.…`` as a share of the first."""
    where = f"difference/{short(one.id)}/{short(other.id)}/{field}"
    inner = field.removeprefix("share.")
    before = run_fact(store.experiment(one.experiment), one, inner)
    after = run_fact(store.experiment(other.experiment), other, inner)
    if before is None or after is None or before.number is None or after.number is None:
        return None
    change = after.number - before.number
    label = f"{after.label} less that of {one_line(f'{one.experiment}#{one.number}', limit=80)}"
    source = f"runs {one.id} and {other.id}"
    if inner == field:
        is_time = before.kind == "duration"
        text = numbers.duration(change) if is_time and change >= 0 else numbers.signed(change)
        return Fact(where, value=change, unit=before.unit, label=label, text=text, kind="delta", source=source,
                    about=after.about)  # fmt: skip
    share = relative(change, before.number, other=after.number)
    if share is None:
        return None
    return Fact(where, value=share, unit="share", label=f"{label}, as a share of it",
                text=numbers.signed_percent(share), kind="share", source=source)  # fmt: skip


# -- suggestions


def suggestion_facts(body: Mapping[str, Any]) -> Iterator[Fact]:
    """Yield what a suggestion proposes and foretells; ``body`` is its public JSON form."""
    fields = [f"forecast.{key}" for key in ("mean", "low", "high")]
    fields += [f"params.{encoded(name)}" for name in body.get("params", {})]
    for field in (*fields, *_OF_SUGGESTION):
        fact = suggestion_fact(body, field)
        if fact is not None and len(field) <= MAX_NAME:
            yield fact


def suggestion_fact(body: Mapping[str, Any], field: str) -> Fact | None:
    """Return one fact of a suggestion, None where it has none of that name."""
    own = str(body["suggestion_id"])
    where, called = f"suggestion/{short(own)}/{field}", f"suggestion {one_line(own, limit=SHORT_ID)}"
    key, _, name = field.partition(".")
    name = unquote(name)
    if key == "params" and name in body["params"]:
        shown = one_line(name, limit=60)
        return _setting(where, body["params"][name], f"parameter {shown} of {called}", None, shown)
    if key == "forecast":
        return _figure(where, (body.get("forecast") or {}).get(name), f"forecast ({name}) of {called}", None)
    if field in _OF_SUGGESTION:
        return _figure(where, body.get(field), f"{field.replace('_', ' ')} of {called}", None)
    return None


def _suggestion(store: RunStore, beginning: str) -> Mapping[str, Any]:
    fitting = {
        str(event.body["suggestion_id"]): event.body
        for event in store.state().of_kind("suggestion.made")
        if beginning and str(event.body["suggestion_id"]).startswith(beginning)
    }
    if len(fitting) != 1:
        n = "no suggestion begins" if not fitting else f"{len(fitting)} suggestions begin"
        raise FactNotFoundError(f"{n} with {one_line(beginning, limit=60)!r}; suggest_params gives their ids")
    return next(iter(fitting.values()))


# -- making


def _fact(where: str, value: Any, label: str, text: str, kind: FactKind, run: Run | None, *, unit: str = "",
          about: str = "", direction: Direction | None = None) -> Fact:  # fmt: skip
    source = "" if run is None else f"run {run.id}"
    return Fact(where, value=value, unit=unit, label=label, text=text, kind=kind, source=source, about=about,
                direction=direction)  # fmt: skip


def _measured(where: str, value: float, label: str, run: Run | None, about: str,
              direction: Direction | None = None) -> Fact:  # fmt: skip
    return _fact(where, value, label, numbers.figure(value), "value", run, about=about, direction=direction)


def _figure(where: str, value: Any, label: str, run: Run | None) -> Fact | None:
    """Return a fact of a number; None where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):
        return _fact(where, value, label, numbers.parameter(value), "count", run)
    return _measured(where, value, label, run, "")


def _setting(where: str, value: Any, label: str, run: Run | None, about: str) -> Fact | None:
    """Return a fact of a parameter's value; None where that is neither a number nor a word."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        if not isinstance(value, bool):
            return None
        value = numbers.parameter(value)
    text = numbers.parameter(value)
    plain = text if isinstance(value, str) else value
    return _fact(where, plain, label, text, "setting", run, about=about)
