"""Runs as MLflow shows them: ``info``, ``data``, and the answers of ``get_run`` and ``search_runs``.

Parameters are text there, so what is shown is the text of ours; the store keeps the values themselves. Tags are
attributes of the run (``meta.NAME`` in filters), because a tag of MLflow may be set anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from advisor.errors import AdvisorError, MissingExtraError
from storage.records import Run, RunState

if TYPE_CHECKING:
    from advisor.app import Advisor

NAME: Final = "mlflow.runName"
PARENT: Final = "mlflow.parentRunId"
NOTE: Final = "mlflow.note.content"
ATTRIBUTES: Final[Mapping[str, str]] = {NAME: "name", PARENT: "parent_run"}
"""Tags of MLflow's own, and the attributes that stand for them."""
STATUS: Final[Mapping[RunState, str]] = {
    RunState.WAITING: "SCHEDULED",
    RunState.RUNNING: "RUNNING",
    RunState.FINISHED: "FINISHED",
    RunState.PRUNED: "FINISHED",
    RunState.FAILED: "FAILED",
    RunState.CRASHED: "KILLED",
}
STATES: Final = {"FINISHED": RunState.FINISHED, "FAILED": RunState.FAILED, "KILLED": RunState.CRASHED}
"""How MLflow calls the ends of runs."""


class MlflowException(AdvisorError):
    """What MLflow raises by this name: a call that its own tracking would refuse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """What a run is; times in milliseconds since 1970."""

    run_id: str
    run_name: str
    experiment_id: str
    """The experiment's name: experiments have no other id here."""
    status: str
    start_time: int | None
    end_time: int | None
    artifact_uri: str = ""
    """Empty: files are in the store, by their content."""
    lifecycle_stage: str = "active"

    @property
    def run_uuid(self) -> str:
        """The id, by an older name."""
        return self.run_id


@dataclass(frozen=True, slots=True)
class RunData:
    """What was recorded, as it was when it was asked for."""

    metrics: Mapping[str, float]
    params: Mapping[str, str]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ReadRun:
    """A run that was read from the store."""

    info: RunInfo
    data: RunData


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadExperiment:
    """An experiment, of which the name is the id."""

    name: str

    @property
    def experiment_id(self) -> str:
        """The name."""
        return self.name

    artifact_location: str = ""
    lifecycle_stage: str = "active"


def as_read(run: Run) -> ReadRun:
    """Return a run as MLflow shows it."""
    attributes = dict(run.user_attrs)
    tags = {theirs: str(attributes.pop(ours)) for theirs, ours in ATTRIBUTES.items() if ours in attributes}
    tags |= {name: str(value) for name, value in attributes.items()}
    tags |= dict.fromkeys(run.tags, "true")
    if run.notes:
        tags[NOTE] = run.notes[0]
    info = RunInfo(
        run_id=run.id,
        run_name=tags.get(NAME, f"{run.experiment}#{run.number}"),
        experiment_id=run.experiment,
        status=STATUS[run.state],
        start_time=None if run.started is None else int(run.started.timestamp() * 1000),
        end_time=None if run.ended is None else int(run.ended.timestamp() * 1000),
    )
    return ReadRun(info, RunData(dict(run.metrics), {name: str(v) for name, v in run.params.items()}, tags))


def search(
    adv: Advisor, experiments: Sequence[str], filter_string: str, *, max_results: int, order_by: Sequence[str]
) -> list[ReadRun]:
    """Return the runs of some experiments that fit a filter of MLflow, the newest first unless asked otherwise.

    Raises
    ------
    MlflowException
        If the filter or the order is not understood.
    """
    from storage.errors import FilterError

    where = condition(filter_string)
    try:
        runs = [run for name in experiments for run in adv.store.runs(name, where=where)]
    except FilterError as error:
        raise MlflowException(f"the filter {filter_string!r} is not understood: {error}") from error
    found = sorted(map(as_read, runs), key=lambda run: run.info.start_time or 0, reverse=True)
    for clause in reversed(order_by):
        found = _ordered(found, clause)
    return found[:max_results]


def _ordered(runs: Sequence[ReadRun], clause: str) -> list[ReadRun]:
    """Return runs by one clause such as ``metrics.acc DESC``; those without a value, or with NaN, come last."""
    name, _, way = clause.strip().partition(" ")
    valued = [(_value(run, name), run) for run in runs]
    there = [(value, run) for value, run in valued if value is not None and value == value]
    rest = [run for value, run in valued if value is None or value != value]
    there.sort(key=lambda pair: pair[0], reverse=way.strip().upper() == "DESC")
    return [run for _, run in there] + rest


def condition(filter_string: str) -> str | None:
    """Return a filter of MLflow as one of ours.

    >>> condition("params.lr = '0.1' and attributes.status = 'FINISHED' and tags.owner ILIKE 'a%'")
    "params.lr = 0.1 and state in ('finished', 'pruned') and meta.owner like 'a%'"
    """
    text = filter_string.strip()
    for theirs, ours in ATTRIBUTES.items():
        text = re.sub(rf"\btags?\.[`\"]?{re.escape(theirs)}[`\"]?", f"meta.{ours}", text)
    text = re.sub(r"\btags?\.", "meta.", text)
    text = re.sub(r"\b(?:params?|parameters?)\.", "params.", text)
    text = re.sub(r"\bmetrics?\.", "metrics.", text)
    text = re.sub(r"\b(?:attributes?|attr|run)\.(?=\w)", "", text)
    text = re.sub(r"\brun_name\b", "meta.name", text)
    text = re.sub(r"\brun_id\b", "id", text)
    text = re.sub(r"\bstatus\s*(!?=)\s*(['\"])(\w+)\2", _state_condition, text, flags=re.IGNORECASE)
    text = re.sub(r"(params\.\S+\s*[!<>=]+\s*)(['\"])(-?[\d.]+(?:[eE][+-]?\d+)?)\2", r"\1\3", text)
    return re.sub(r"\bI?LIKE\b", "like", text, flags=re.IGNORECASE) or None


def _state_condition(found: re.Match[str]) -> str:
    states = [f"'{state}'" for state, status in STATUS.items() if status == found[3].upper()]
    if len(states) == 1:
        return f"state {found[1]} {states[0]}"
    return f"state {'in' if found[1] == '=' else 'not in'} ({', '.join(states)})"


def _value(run: ReadRun, name: str) -> Any:
    family, _, key = name.replace("`", "").partition(".")
    families = {"metrics": run.data.metrics, "params": run.data.params, "tags": run.data.tags}
    if family in families:
        return families[family].get(key)
    return getattr(run.info, key or family, None)


def as_frame(runs: Sequence[ReadRun]) -> Any:
    """Return runs as a data frame with MLflow's columns.

    Raises
    ------
    MissingExtraError
        Without pandas.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtraError.of("search_runs as a data frame (output_format='list' works)", "pandas") from error
    about = ("run_id", "experiment_id", "status", "artifact_uri", "start_time", "end_time")
    columns: dict[str, list[Any]] = {name: [getattr(run.info, name) for run in runs] for name in about}
    for name in ("start_time", "end_time"):
        columns[name] = pd.to_datetime(columns[name], unit="ms", utc=True)
    for family in ("metrics", "params", "tags"):
        named = dict.fromkeys(key for run in runs for key in getattr(run.data, family))
        columns |= {f"{family}.{key}": [getattr(run.data, family).get(key) for run in runs] for key in named}
    return pd.DataFrame(columns)
