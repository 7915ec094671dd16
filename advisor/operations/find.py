"""What people and agents call experiments and runs, found; also by the bounded form in which an answer shows a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from advisor.operations.bounds import name as shown
from advisor.references import find_finding, find_run
from storage.errors import ExperimentNotFoundError, NothingCalledSoError, RecordError, RunNotFoundError, did_you_mean
from storage.query import text_literal

if TYPE_CHECKING:
    from advisor.app import Advisor
    from advisor.experiment import Experiment
    from storage.records import Finding, Run

MANY: Final = 100
"""Findings that are looked at where several fit."""
SHORT: Final = 8


def experiment(adv: Advisor, name: str) -> Experiment:
    """Return an experiment.

    Raises
    ------
    ExperimentNotFoundError
        If there is none of that name.
    """
    try:
        return adv.experiment(adv.store.experiment(name).name, create=False)
    except ExperimentNotFoundError:
        fitting = [record.name for record in adv.store.experiments() if shown(record.name) == name]
        if len(fitting) != 1:
            raise
        return adv.experiment(fitting[0], create=False)


def run(adv: Advisor, reference: str) -> Run:
    """Return a run.

    Raises
    ------
    RunNotFoundError
        If no run, or more than one, fits.
    """
    try:
        return find_run(adv.store, reference)
    except RunNotFoundError:
        named = adv.store.state().experiments.get(reference)
        if named is None:
            raise
        some = next(adv.store.state().runs_of(reference), None)
        for_one = (
            "it has no runs yet" if some is None else f"name one of its runs, for instance {reference}#{some.number}"
        )
        raise RunNotFoundError(f"{reference[:200]!r} is an experiment; {for_one}") from None


def finding(adv: Advisor, reference: str) -> Finding:
    """Return a finding by its id, the beginning of its id, or ``RUN:CODE``; only its run is read.

    Raises
    ------
    NothingCalledSoError
        If no finding fits.
    RecordError
        If more than one fits.
    RunNotFoundError
        If there is no such run.
    """
    if ":" in reference:
        return find_finding(adv.store, reference)
    with adv.alerts.reading() as book:
        exact = [reference] if reference in book.findings else []
        fitting = exact or [key for key in book.findings if key.startswith(reference)]
        runs = list({key: book.findings[key].finding.run_id for key in fitting[:MANY]}.values())
        some = [key[:SHORT] for key in list(book.findings)[-MANY:]]
    entries = {entry.run.id: entry.run for entry in adv.store.state().entries(runs) if not entry.hidden}
    found = [each for one in entries.values() for each in one.findings if each.id in fitting]
    if len(found) == 1:
        return found[0]
    if found:
        raise RecordError(f"{len(fitting)} findings begin with {reference!r:.80}; give more of the id")
    raise NothingCalledSoError(f"no finding is called {reference!r:.80}; {did_you_mean(reference, some, show=3)}")


def narrowed(adv: Advisor, name: str | None, where: str | None) -> str | None:
    """Return a filter that also asks for an experiment."""
    if name is None:
        return where or None
    only = f"experiment = {text_literal(experiment(adv, name).name)}"
    if not where:
        return only
    adv.store.count(where=where)  # refuses what is no filter by itself, so the parentheses hold all of it
    return f"{only} and ({where})"
