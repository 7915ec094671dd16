"""What MLflow says of a run, put in our words; the same for its folders, its databases and its server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from advisor.errors import SourceError
from advisor.sources.port import Cursor, Piece, SourceExperiment, SourceRun
from advisor.sources.reading import PARAMS_AT_MOST, from_seconds, parse_json, plain, whole
from advisor.sources.values import from_text, seed_of, tag
from storage.records import RunState

ACTIVE: Final = "active"
"""The ``lifecycle_stage`` of what was not deleted."""
STATES: Final[Mapping[Any, RunState]] = {
    "RUNNING": RunState.RUNNING,
    "SCHEDULED": RunState.WAITING,
    "FINISHED": RunState.FINISHED,
    "FAILED": RunState.FAILED,
    "KILLED": RunState.CRASHED,
    1: RunState.RUNNING,
    2: RunState.WAITING,
    3: RunState.FINISHED,
    4: RunState.FAILED,
    5: RunState.CRASHED,
}
"""By name, as databases and the server write them, and by number, as folders do."""
KILLED: Final = "MLflow recorded that it was killed"
NOTE: Final = "mlflow.note.content"
ENVIRONMENT: Final[Mapping[str, str]] = {
    "mlflow.user": "user",
    "mlflow.source.name": "script",
    "mlflow.source.git.commit": "git_commit",
    "mlflow.source.git.branch": "git_branch",
    "mlflow.source.git.repoURL": "git_remote",
    "mlflow.source.git.dirty": "git_dirty",
    "mlflow.source.git.diff": "git_diff",
    "mlflow.project.env": "project_environment",
    "mlflow.project.entryPoint": "entry_point",
    "mlflow.docker.image.uri": "docker_image",
    "mlflow.docker.image.id": "docker_image_id",
}
"""MLflow's tags that say with what a run was made, and our words for them."""
META: Final[Mapping[str, str]] = {
    "mlflow.parentRunId": "parent_run",
    "mlflow.source.type": "source_type",
    "mlflow.autologging": "autologging",
    "mlflow.databricks.runURL": "url",
}
MODELS: Final = "mlflow.log-model.history"
ELSEWHERE: Final = frozenset({"mlflow.runName", NOTE, MODELS, *ENVIRONMENT, *META})
FINITE_MAX: Final = 1.7976931348623157e308
"""What MLflow's databases hold in place of infinity, and a server may pass on."""
TAG_AT_MOST: Final = 200
"""Characters of a tag; what is longer, or has several lines, is an attribute."""
ARTIFACTS_AT_MOST: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A run as MLflow keeps it, wherever that is."""

    run_id: str
    experiment: str
    about: SourceExperiment
    name: str | None = None
    status: Any = None
    """A key of ``STATES``."""
    start_ms: Any = None
    """Milliseconds since 1970."""
    end_ms: Any = None
    active: datetime | None = None
    user: str | None = None
    source_version: str | None = None
    """The commit, as releases before 1.0 kept it."""
    artifact_uri: str | None = None
    artifacts: Sequence[Mapping[str, Any]] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    datasets: Sequence[Mapping[str, Any]] = ()
    """With ``name``, ``digest`` and perhaps ``context``."""


def source_run(record: Record, read: Callable[[Cursor | None], Piece]) -> SourceRun:
    """Return a run in our words.

    Parameters are text in MLflow: see ``from_text`` for what becomes a number. A tag is kept as ``name=value``;
    MLflow's own tags go where their meaning has a place here.
    """
    params = {name: from_text(value) for name, value in list(record.params.items())[:PARAMS_AT_MOST]}
    state = state_of(record.status)
    tags, attributes = _tags(record.tags)
    return SourceRun(
        key=record.run_id,
        experiment=record.experiment,
        about=record.about,
        read=read,
        name=record.tags.get("mlflow.runName") or record.name or None,
        state=state,
        active=record.active if state in (None, RunState.RUNNING) else None,
        params=params,
        tags=tags,
        notes=[record.tags[NOTE]] if record.tags.get(NOTE) else (),
        seed=seed_of(params),
        started=from_ms(record.start_ms),
        ended=from_ms(record.end_ms),
        error=KILLED if state is RunState.CRASHED else None,
        environment=_environment(record),
        meta=_meta(record),
        attributes=attributes,
        artifacts=_artifacts(record),
    )


def state_of(status: Any) -> RunState | None:
    """Return the state that MLflow's word or number stands for, None for what is none of them."""
    return STATES.get(status) if isinstance(status, (str, int)) else None


def may_go_on(status: Any) -> bool:
    """Return whether something may still be written of a run."""
    return state_of(status) in (None, RunState.RUNNING)


def about_experiment(
    experiment_id: str, tags: Mapping[str, str], artifact_location: str | None = None
) -> SourceExperiment:
    """Return what MLflow says of an experiment beside its runs.

    The objective is known where its tags name one, as those that AutoML makes do.
    """
    metric = tags.get("mlflow.experiment.primaryMetric.name")
    greater = tags.get("mlflow.experiment.primaryMetric.greaterIsBetter", "")
    direction = {"true": "maximize", "false": "minimize"}.get(greater.lower())
    attributes = {name: plain(value) for name, value in tags.items() if not name.startswith("mlflow.")}
    attributes["mlflow_experiment_id"] = experiment_id
    if artifact_location:
        attributes["artifact_location"] = artifact_location
    return SourceExperiment(
        objectives=[(metric, direction)] if metric and direction else (),
        description=tags.get(NOTE, ""),
        attributes=attributes,
    )


def from_ms(milliseconds: Any) -> datetime | None:
    """Return the time of milliseconds since 1970, None for what is none; MLflow keeps 0 where it has none."""
    found = whole(milliseconds)
    return from_seconds(found / 1000) if found else None


def _tags(tags: Mapping[str, str]) -> tuple[list[str], dict[str, Any]]:
    """Return the user's tags as texts, and as attributes those that are too long for one."""
    short, long = [], {}
    for name, value in list(tags.items())[:PARAMS_AT_MOST]:
        if name in ELSEWHERE or name.startswith("mlflow."):
            continue
        if len(value) <= TAG_AT_MOST and "\n" not in value:
            short.append(tag(name, value))
        else:
            long[name] = plain(value)
    return short, long


def _environment(record: Record) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if record.user and record.user != "unknown":
        out["user"] = record.user
    if record.source_version:
        out["git_commit"] = record.source_version
    out |= {ours: plain(record.tags[theirs]) for theirs, ours in ENVIRONMENT.items() if record.tags.get(theirs)}
    if "git_dirty" in out:
        out["git_dirty"] = str(out["git_dirty"]).lower() == "true"
    return out


def _meta(record: Record) -> dict[str, Any]:
    out: dict[str, Any] = {ours: plain(record.tags[theirs]) for theirs, ours in META.items() if theirs in record.tags}
    for name, value in list(record.tags.items())[:PARAMS_AT_MOST]:
        if name.startswith("mlflow.") and name not in ELSEWHERE:
            out[name] = plain(value)
    if record.artifact_uri:
        out["artifact_uri"] = record.artifact_uri
    if record.datasets:
        first = record.datasets[0]
        out |= {"dataset" if part == "name" else f"dataset_{part}": value for part, value in first.items() if value}
        out["datasets"] = [f"{each.get('name')}@{each.get('digest')}" for each in record.datasets]
    return out


def _artifacts(record: Record) -> list[Mapping[str, Any]]:
    """Return links to a run's files: those that were seen, its models, and where all of them are."""
    out = list(record.artifacts)
    uri = (record.artifact_uri or "").rstrip("/")
    models = _models(record.tags.get(MODELS))
    out += [{"name": name, "uri": f"{uri}/{name}", "kind": "model"} for name in models]
    if uri and not out:
        out.append({"name": "artifacts", "uri": uri})
    return out[:ARTIFACTS_AT_MOST]


def _models(history: str | None) -> Iterable[str]:
    try:
        models = parse_json(history) if history else []
    except SourceError:  # cut off at the length that MLflow allows
        return []
    if not isinstance(models, list):
        return []
    names = (model.get("artifact_path") for model in models if isinstance(model, dict))
    return dict.fromkeys(plain(name) for name in names if isinstance(name, str))
