"""What people and agents call experiments and runs, found; also by the bounded form in which an answer shows a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from advisor.operations.bounds import name as shown
from advisor.references import find_run
from storage.errors import ExperimentNotFoundError
from storage.query import text_literal

if TYPE_CHECKING:
    from advisor.app import Advisor
    from advisor.experiment import Experiment
    from storage.records import Run


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
    return find_run(adv.store, reference)


def narrowed(adv: Advisor, name: str | None, where: str | None) -> str | None:
    """Return a filter that also asks for an experiment."""
    if name is None:
        return where or None
    only = f"experiment = {text_literal(experiment(adv, name).name)}"
    if not where:
        return only
    adv.store.count(where=where)  # refuses what is no filter by itself, so the parentheses hold all of it
    return f"{only} and ({where})"
