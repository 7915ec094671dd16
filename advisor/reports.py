"""From store to document: gathers what a report is written from, has it written, keeps it.

The writing itself is pure and lives in ``advisor.documents``; here are the reads and the files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import advisor as package
from advisor.documents import (
    ExperimentMaterial,
    LanguageModel,
    RunMaterial,
    Written,
    write_experiment_report,
    write_run_summary,
)
from advisor.errors import AdvisorError, ConfigError, NotEnoughRunsError
from storage.errors import StoreUnavailableError
from storage.records import Document, Event, Run, new_id

if TYPE_CHECKING:
    from advisor.app import Advisor
    from advisor.documents.configured import Listener
    from advisor.experiment import Experiment
    from advisor.suggest import Importances

FORMATS: Final = ("md", "html")
N_SUGGESTIONS: Final = 2
N_SIBLING_CURVES: Final = 40
"""Runs whose curves are drawn behind a single run's."""


def experiment_report(
    adv: Advisor,
    experiment: Experiment,
    *,
    format: str,
    llm: str | None,
    path: str | Path | None,
    write: bool,
    listener: Listener | None = None,
) -> Document:
    """Write an experiment's report; see ``Experiment.report``."""
    _check_format(format)
    record = experiment.record
    runs = experiment.runs()
    space, notes = _space_of(experiment)
    importances, importances_note = _importances_of(experiment)
    second = None if importances is None else _importances_of(experiment, method="ped-anova")[0]
    material = ExperimentMaterial(
        record,
        runs=runs,
        curves=adv.store.curves([run.id for run in runs]),
        findings=experiment.findings(include_resolved=True),
        suggestions=_suggestions_of(experiment),
        importances=None if importances is None else importances.shares,
        importance_ends={} if importances is None else importances.ends,
        importances_note=importances_note + ("" if second is None else f"; {second.first_in_words}"),
        space=space,
        inferred_notes=notes,
        advice=_advice(),
        ledger=experiment.ledger(),
        search_advice=experiment.stop_advice(),
        generated=adv.clock(),
        version=package.__version__,
        store_uri=adv.store.uri,
    )
    written = write_experiment_report(material, format=format, model=_model(adv, llm, listener))
    return _keep(adv, experiment.name, "", "report", written, format=format, path=path, write=write)


def run_summary(
    adv: Advisor,
    experiment: Experiment,
    run: Run,
    *,
    format: str,
    llm: str | None,
    path: str | Path | None,
    write: bool,
    listener: Listener | None = None,
) -> Document:
    """Write the summary of one run; see ``Experiment.summarize``."""
    _check_format(format)
    siblings = [other for other in experiment.runs() if other.id != run.id]
    drawn = [run.id, *(other.id for other in siblings[-N_SIBLING_CURVES:])]
    material = RunMaterial(
        run,
        experiment=experiment.record,
        siblings=siblings,
        curves=adv.store.curves(drawn),
        findings=run.findings,
        suggestions=_suggestions_of(experiment),
        advice=_advice(),
        generated=adv.clock(),
        version=package.__version__,
        store_uri=adv.store.uri,
    )
    written = write_run_summary(material, format=format, model=_model(adv, llm, listener))
    return _keep(adv, experiment.name, run.id, "run-summary", written, format=format, path=path, write=write)


# -- gathering


def _space_of(experiment: Experiment) -> tuple[Mapping[str, Mapping[str, Any]] | None, Sequence[str]]:
    try:
        space, notes = experiment.space()
    except NotEnoughRunsError:
        return None, ()
    return space.to_json(), notes


def _importances_of(experiment: Experiment, *, method: str = "total-effects") -> tuple[Importances | None, str]:
    try:
        return experiment.importances(method=method)
    except AdvisorError as error:
        return None, str(error)


def _suggestions_of(experiment: Experiment) -> list[dict[str, Any]]:
    """Ask what to try next, without keeping the answer: reading a report must not change the experiment."""
    try:
        made = experiment.suggest(N_SUGGESTIONS, seed=len(experiment.runs()), keep=False)
    except AdvisorError:
        return []  # no objective or no space: the report says what is missing
    return [suggestion.as_json() for suggestion in made]


def _advice() -> dict[str, str]:
    from advisor.findings import CODES

    return {code: entry.what_to_do for code, entry in CODES.items()}


def _model(adv: Advisor, llm: str | None, listener: Listener | None) -> LanguageModel | None:
    from advisor.documents.configured import configured_model

    return configured_model(adv.settings, name=llm, clock=adv.clock, listener=listener)


# -- keeping


def _check_format(format: str) -> None:
    if format not in FORMATS:
        raise ConfigError(f"format {format!r} is unknown; allowed are {' and '.join(map(repr, FORMATS))}")


def _keep(
    adv: Advisor,
    experiment: str,
    run_id: str,
    kind: str,
    written: Written,
    *,
    format: str,
    path: str | Path | None,
    write: bool,
) -> Document:
    target = _target(adv.settings.reports if path is None else Path(path), f"{_file_name(experiment, run_id)}.{format}")
    if write:
        _write(target, written)
    document = Document(
        new_id(),
        experiment=experiment,
        run_id=run_id,
        kind=kind,
        title=written.title,
        format=format,
        text=written.text,
        facts_hash=written.facts.hash,
        writer=written.writer,
        notes=written.notes,
        path=str(target) if write else None,
        time=adv.clock(),
    )
    if write:
        fields = ("kind", "title", "format", "facts_hash", "writer", "path")
        body = {"document_id": document.id, **{field: getattr(document, field) for field in fields}}
        adv.store.append(
            [Event.new("document.written", experiment, run_id, time=document.time, actor="report", **body)]
        )
    return document


def _target(path: Path, name: str) -> Path:
    """Return the file to write: ``path`` itself, or a file in it where it is or looks like a folder."""
    return path / name if path.is_dir() or not path.suffix else path


def _write(path: Path, written: Written) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for picture, content in written.pictures.items():
            (path.parent / picture).parent.mkdir(parents=True, exist_ok=True)
            (path.parent / picture).write_bytes(content)
        path.write_text(written.text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise StoreUnavailableError(f"cannot write the report {str(path)!r}: {error.strerror}") from error


def _file_name(experiment: str, run_id: str) -> str:
    """Return a name that is safe on every file system; text from runs never becomes a path."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", experiment).strip(".-")[:80] or "experiment"
    return f"{safe}-{re.sub(r'[^A-Za-z0-9-]', '-', run_id)[:40]}" if run_id else safe
