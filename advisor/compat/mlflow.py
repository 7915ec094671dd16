"""MLflow's fluent functions over our own runs: ``from advisor.compat import mlflow``.

Runs go to the advisor's store whatever the tracking URI says. Parameters cannot change, as in MLflow. Where no step is
given, values of a metric are counted from 0, whereas MLflow puts all of them at step 0. Models, registries and traces
are not kept, which is said once; docs/coming-from-wandb-and-mlflow.md lists everything.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from advisor.compat.mlflow_active import ActiveRun, State
from advisor.compat.mlflow_runs import (
    NAME,
    NOTE,
    PARENT,
    MlflowException,
    ReadExperiment,
    ReadRun,
    as_frame,
    as_read,
    search,
)
from advisor.compat.unsupported import NotKept, say_once
from storage.errors import StorageError

log = logging.getLogger(__name__)

exceptions = SimpleNamespace(MlflowException=MlflowException)
_FLAVORS: Final = (
    "sklearn pytorch tensorflow keras xgboost lightgbm catboost transformers pyfunc onnx spark statsmodels prophet "
    "langchain openai sentence_transformers paddle shap h2o fastai spacy"
).split()
NOT_KEPT: Final[Mapping[str, str]] = {
    **dict.fromkeys(_FLAVORS, "save the model's file and keep it with mlflow.log_artifact(path)"),
    **dict.fromkeys(("register_model", "models", "evaluate", "projects", "MlflowClient", "client", "tracking"), ""),
    **dict.fromkeys(("trace", "start_span", "tracing", "genai", "log_trace", "delete_tag", "delete_run"), ""),
    **dict.fromkeys(("set_experiment_tag", "set_experiment_tags", "system_metrics", "set_registry_uri"), ""),
    **dict.fromkeys(("enable_system_metrics_logging", "disable_system_metrics_logging"), "set ADVISOR_SYSTEM_METRICS"),
}
"""Names that do nothing, and what to use instead."""


_now = State()


# -- where to


def set_tracking_uri(uri: str | Path) -> None:
    """Remember the address; runs go to the advisor's store, which ``ADVISOR_STORE`` or advisor.toml names."""
    _now.tracking_uri = str(uri)
    say_once(
        "tracking uri", f"runs go to the advisor's store, not to {_now.tracking_uri!r}; ADVISOR_STORE names another"
    )


def get_tracking_uri() -> str:
    """Return what ``set_tracking_uri`` was given."""
    return _now.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")


def set_experiment(experiment_name: str | None = None, experiment_id: str | None = None, **_: Any) -> ReadExperiment:
    """Have runs belong to an experiment from now on."""
    _now.experiment = str(experiment_name or experiment_id or "Default")
    return ReadExperiment(name=_now.experiment)


def create_experiment(name: str, *_: Any, **__: Any) -> str:
    """Make an experiment and return its id, which is its name."""
    _now.opened().experiment(name)
    return name


def get_experiment_by_name(name: str) -> ReadExperiment | None:
    """Return an experiment, None where there is none of that name."""
    names = [record.name for record in _now.opened().store.experiments()]
    return ReadExperiment(name=name) if name in names else None


get_experiment = get_experiment_by_name


# -- runs


def start_run(
    run_id: str | None = None,
    experiment_id: str | None = None,
    run_name: str | None = None,
    nested: bool = False,
    parent_run_id: str | None = None,
    tags: Mapping[str, Any] | None = None,
    description: str | None = None,
    log_system_metrics: bool | None = None,
) -> ActiveRun:
    """Start a run and make it the active one.

    Raises
    ------
    MlflowException
        If a run is active and ``nested`` is false.
    """
    if _now.stack and not nested:
        active = _now.stack[-1].live.id
        raise MlflowException(
            f"Run with UUID {active} is already active. To start a new run, first end the current run with "
            "mlflow.end_run(). To start a nested run, call start_run with nested=True"
        )
    if run_id is not None:
        say_once("start_run(run_id)", "a run that has ended is not opened again: this is a new one that names it")
    parent = parent_run_id or (_now.stack[-1].live.id if _now.stack else None)
    told = {str(key): str(value) for key, value in (tags or {}).items()}
    told |= {key: value for key, value in ((NAME, run_name), (PARENT, parent), (NOTE, description)) if value}
    if run_id is not None:
        told["continues"] = run_id
    name = experiment_id or _now.experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "Default"
    live = _now.opened().experiment(name).start(params={})
    run = ActiveRun(live, _now)
    run.set_tags(told)
    _now.stack.append(run)
    return run


def end_run(status: str = "FINISHED") -> None:
    """End the active run, where there is one: ``FINISHED``, ``FAILED`` or ``KILLED``."""
    _now.end(str(status))


def active_run() -> ActiveRun | None:
    """Return the run that goes on, None where none does."""
    return _now.stack[-1] if _now.stack else None


def last_active_run() -> ActiveRun | None:
    """Return the active run, or the one that was active last."""
    return active_run() or _now.last


def get_run(run_id: str) -> ReadRun | ActiveRun:
    """Return a run by its id.

    Raises
    ------
    MlflowException
        If there is none.
    """
    for run in _now.stack:
        if run.live.id == run_id:
            return run
    try:
        return as_read(_now.opened().run(run_id))
    except StorageError as error:
        raise MlflowException(str(error)) from error


def search_runs(
    experiment_ids: Sequence[str] | None = None,
    filter_string: str = "",
    run_view_type: Any = None,
    max_results: int = 100_000,
    order_by: Sequence[str] | None = None,
    output_format: str = "pandas",
    search_all_experiments: bool = False,
    experiment_names: Sequence[str] | None = None,
) -> Any:
    """Return runs as a data frame, or as a list with ``output_format="list"``.

    Raises
    ------
    MlflowException
        If the filter is not understood.
    MissingExtraError
        Without pandas, where a data frame is wanted.
    """
    adv = _now.opened()
    names = [*(experiment_names or ()), *(experiment_ids or ())]
    if not names:
        every = [record.name for record in adv.store.experiments()]
        names = every if search_all_experiments or _now.experiment not in every else [str(_now.experiment)]
    found = search(adv, names, filter_string, max_results=max_results, order_by=order_by or ())
    return found if output_format == "list" else as_frame(found)


# -- what is recorded


def log_param(key: str, value: Any, *_: Any, run_id: str | None = None, **__: Any) -> Any:
    """Keep a parameter.

    Raises
    ------
    MlflowException
        If it has another value already.
    """
    _active(run_id).log_params({key: value})
    return value


def log_params(params: Mapping[str, Any], *_: Any, run_id: str | None = None, **__: Any) -> None:
    """Keep several parameters; see ``log_param``."""
    _active(run_id).log_params(params)


def log_metric(key: str, value: float, step: int | None = None, *_: Any, run_id: str | None = None, **__: Any) -> None:
    """Keep one value of a metric; NaN and infinite ones are kept as they are.

    Raises
    ------
    MlflowException
        If it is no number.
    """
    _active(run_id).log({key: value}, step)


def log_metrics(
    metrics: Mapping[str, float], step: int | None = None, *_: Any, run_id: str | None = None, **__: Any
) -> None:
    """Keep values of several metrics; see ``log_metric``."""
    _active(run_id).log(metrics, step)


def set_tag(key: str, value: Any, *_: Any, run_id: str | None = None, **__: Any) -> None:
    """Keep a tag, in the place of an earlier one of that name."""
    _active(run_id).set_tags({key: value})


def set_tags(tags: Mapping[str, Any], *_: Any, run_id: str | None = None, **__: Any) -> None:
    """Keep several tags; see ``set_tag``."""
    _active(run_id).set_tags(tags)


def log_input(dataset: Any, context: str | None = None, *_: Any, **__: Any) -> None:
    """Keep the fingerprint of data, where the dataset holds them; the data are not kept."""
    data = next(
        (found for name in ("df", "features", "data") if (found := getattr(dataset, name, None)) is not None), None
    )
    name = context or str(getattr(dataset, "name", None) or "data")
    try:
        _active().live.use_data(name, dataset if data is None else data)
    except StorageError as error:
        say_once(f"log_input {name}", f"log_input: {error}")


def _dataset(data: Any, *_: Any, name: str | None = None, **__: Any) -> SimpleNamespace:
    return SimpleNamespace(df=data, name=name)


data = SimpleNamespace(from_pandas=_dataset, from_numpy=_dataset, from_polars=_dataset)
"""``mlflow.data``: what holds data for ``log_input``."""


# -- files


def log_artifact(local_path: str | Path, artifact_path: str | None = None, *_: Any, **__: Any) -> None:
    """Keep a file, or a folder under its own name, with the run."""
    path = Path(local_path)
    if path.is_dir():
        log_artifacts(path, "/".join(filter(None, [artifact_path, path.name])))
    else:
        _active().live.save(path, name="/".join(filter(None, [artifact_path, path.name])))


def log_artifacts(local_dir: str | Path, artifact_path: str | None = None, *_: Any, **__: Any) -> None:
    """Keep all files of a folder with the run."""
    run, folder = _active(), Path(local_dir)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        run.live.save(path, name="/".join(filter(None, [artifact_path, path.relative_to(folder).as_posix()])))


def log_text(text: str, artifact_file: str, *_: Any, **__: Any) -> None:
    """Keep a text as a file of the run."""
    with _file(artifact_file) as path:
        path.write_text(text, encoding="utf-8")


def log_dict(dictionary: Any, artifact_file: str, *_: Any, **__: Any) -> None:
    """Keep a mapping or list as a file of the run: YAML by the file's name, else JSON."""
    if Path(artifact_file).suffix in (".yml", ".yaml"):
        import yaml

        log_text(yaml.safe_dump(dictionary, sort_keys=False, allow_unicode=True), artifact_file)
    else:
        log_text(json.dumps(dictionary, indent=2, default=str), artifact_file)


def log_figure(figure: Any, artifact_file: str, **how: Any) -> None:
    """Keep a figure of matplotlib or plotly as a file of the run."""
    with _file(artifact_file) as path:
        if hasattr(figure, "savefig"):
            figure.savefig(path, **how.get("save_kwargs", {}))
        elif path.suffix == ".html":
            figure.write_html(path)
        else:
            figure.write_image(path)


def log_image(image: Any, artifact_file: str | None = None, **_: Any) -> None:
    """Keep an image of Pillow as a file of the run; others are not kept, which is said once."""
    if artifact_file is None or not hasattr(image, "save"):
        say_once("log_image", "log_image keeps images of Pillow under an artifact_file; this one is not kept")
        return
    with _file(artifact_file) as path:
        image.save(path)


def log_table(data: Any, artifact_file: str, **_: Any) -> None:
    """Keep a table as a JSON file of the run."""
    log_dict(data.to_dict("split") if hasattr(data, "to_dict") else data, artifact_file)


def autolog(*_: Any, **__: Any) -> None:
    """Do nothing, and say so once."""
    say_once("autolog", "autolog() does nothing here: log what matters with log_params and log_metric")


@contextmanager
def _file(name: str) -> Iterator[Path]:
    """Give a path to write to, and keep what was written under ``name``."""
    run = _active()
    with tempfile.TemporaryDirectory(prefix="advisor-file-") as folder:
        path = Path(folder) / Path(name).name
        yield path
        run.live.save(path, name=name)


def _active(run_id: str | None = None) -> ActiveRun:
    """Return the active run, started now where there is none, as in MLflow; or the one of an id that goes on."""
    return _now.run(run_id) or start_run()


def __getattr__(name: str) -> Any:
    if name in NOT_KEPT:
        return NotKept(f"mlflow.{name}", NOT_KEPT[name])
    raise AttributeError(f"module 'advisor.compat.mlflow' has no attribute {name!r}")
