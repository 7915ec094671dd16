"""What people call experiments, runs and findings: ``digits``, ``digits#3``, ``digits#3:ADV103``, ids, ``3``.

Only reads. What is deleted is found where it is asked for, and named as deleted where it is not. Invariant: the exact
name of an experiment comes before the beginning of a run's id.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from shlex import quote
from typing import TYPE_CHECKING

from storage.errors import (
    ExperimentNotFoundError,
    FilterError,
    NothingCalledSoError,
    RecordError,
    RunNotFoundError,
    did_you_mean,
)
from storage.query import text_literal
from storage.records import Experiment, Finding, Run
from storage.store import RunStore

if TYPE_CHECKING:
    from storage.entries import Entry
    from storage.journal import State


ID_FROM = 6
"""Digits from which a number may be the beginning of an id."""
SHORT_ID = 8
"""Characters of an id of a finding that are shown, more where it takes more to tell it from another."""
SEED_NAMES = frozenset({"seed", "random_seed", "random_state", "rng_seed", "manual_seed", "torch_seed", "numpy_seed"})
"""What people call a parameter that is a seed, in lower case: runs that differ in nothing else repeat each other."""


def find_run(store: RunStore, reference: str) -> Run:
    """Return a run by its id or its beginning, ``EXPERIMENT#NUMBER``, its number in the only experiment, or its name.

    Raises
    ------
    RunNotFoundError
        If no run, or more than one, fits.
    """
    experiments = list(store.state().experiments)
    name, number = _numbered(reference)
    if number is not None and name in experiments:
        return _by_number(store, name, number)
    if reference.isdecimal() and len(reference) < ID_FROM and experiments:
        # Whoever types "3" means a number; that some run's id begins with a 3 is chance.
        if len(experiments) == 1:
            return _by_number(store, experiments[0], int(reference))
        raise RunNotFoundError(
            f"{reference!r} could be a run of {len(experiments)} experiments; write it with its experiment, "
            f"for instance {experiments[0]}#{reference}"
        )
    try:
        return store.run(reference)
    except RunNotFoundError as error:
        named = _named(store, reference)
        if named is not None:
            return named
        if reference in experiments:
            raise RunNotFoundError(_of_experiment(store, reference)) from None
        if number is not None and name and experiments:
            raise RunNotFoundError(f"there is no experiment {name!r}; {did_you_mean(name, experiments)}") from None
        begun, mark, rest = reference.rpartition("#")
        if mark and begun in experiments:
            what = f"{rest[:40]!r} is no number of a run" if rest else "the number of the run is missing"
            raise RunNotFoundError(f"{reference!r}: {what}; write it after its experiment, as in {begun}#0") from None
        if not reference.isdecimal() or not experiments:
            raise
        if len(experiments) == 1:
            return _by_number(store, experiments[0], int(reference))
        hint = f"a run's number is written with its experiment, for instance {experiments[0]}#{reference}"
        raise RunNotFoundError(f"{error}; {hint}") from None


def _of_experiment(store: RunStore, name: str) -> str:
    """Return what to say where an experiment was named and a run is wanted."""
    newest = store.page(name, descending=True, limit=1)[0]
    if not newest:
        return f"{name!r} is an experiment, and it has no runs yet"
    return f"{name!r} is an experiment; say which of its runs is meant, for instance {name}#{newest[0].number}"


def _named(store: RunStore, name: str) -> Run | None:
    """Return the run that another tool called so.

    Raises
    ------
    RunNotFoundError
        If several are called so.
    """
    try:
        found = store.runs(where=f"meta.name = {text_literal(name)}", limit=4)
    except FilterError:  # no run has a name
        return None
    if len(found) > 1:
        several = ", ".join(f"{run.experiment}#{run.number}" for run in found[:3])
        raise RunNotFoundError(f"{name!r} is the name of more than one run: {several}{' …' if len(found) > 3 else ''}")
    return found[0] if found else None


def find(store: RunStore, reference: str) -> Experiment | Run:
    """Return an experiment by its name, or else a run as ``find_run`` does.

    Raises
    ------
    ExperimentNotFoundError, RunNotFoundError
        If there is neither.
    """
    experiments = store.state().experiments
    if reference in experiments:
        return experiments[reference]
    try:
        return find_run(store, reference)
    except RunNotFoundError as error:
        if reference.rpartition("#")[0] in experiments:  # the experiment is known, its run is not
            raise
        if _deleted_book(store.state(), reference) is not None:
            raise ExperimentNotFoundError(
                f"experiment {reference!r} is deleted; 'advisor restore {quote(reference)}' brings it back"
            ) from None
        close = get_close_matches(reference, experiments, n=1)
        if close:
            raise RunNotFoundError(f"{str(error).rstrip('.?')}; of experiments, did you mean {close[0]!r}?") from None
        raise


def find_finding(store: RunStore, reference: str, *, within: str | None = None) -> Finding:
    """Return a finding by its id, the beginning of its id, or ``RUN:CODE`` with a run as ``find_run`` takes it.

    Parameters
    ----------
    within
        The experiment that it belongs to; None looks in all.

    Raises
    ------
    RecordError
        If no finding, or more than one, fits.
    RunNotFoundError
        If there is no such run.
    """
    run_reference, mark, code = reference.rpartition(":")
    if mark:  # no id of a finding holds one
        return _of_run(store, run_reference, code, within=within)
    state = store.state()
    runs = state.runs.values() if within is None else state.runs_of(within)
    everything = [finding for run in runs for finding in run.findings]
    exact = [finding for finding in everything if finding.id == reference]
    fitting = exact or [finding for finding in everything if reference and finding.id.startswith(reference)]
    if not fitting:
        raise _no_finding(store, reference, everything)
    return _only(fitting, reference)


def _of_run(store: RunStore, reference: str, code: str, *, within: str | None) -> Finding:
    """Return the finding of a run that has a code."""
    run = find_run(store, reference)
    if within not in (None, run.experiment):
        raise RecordError(f"run {reference!r} is of experiment {run.experiment!r}, not of {within!r}")
    fitting = [finding for finding in run.findings if finding.code.lower() == code.lower()]
    if not fitting:
        has = f"has no finding {code!r}" if run.findings else "has no findings"
        close = f"; {did_you_mean(code.upper(), (f.code for f in run.findings))}" if run.findings else ""
        raise NothingCalledSoError(f"run {run.experiment}#{run.number} {has}{close}")
    return _only(fitting, f"{reference}:{code}")


def _only(fitting: Sequence[Finding], reference: str) -> Finding:
    if len(fitting) == 1:
        return fitting[0]
    ids = ", ".join(f"{_short(f, fitting)} ({f.code}, {f.metric or 'no metric'})" for f in fitting[:4])
    more = f" and {len(fitting) - 4} more" if len(fitting) > 4 else ""
    raise RecordError(f"{len(fitting)} findings fit {reference!r}; give the beginning of one's id: {ids}{more}")


def _short(finding: Finding, others: Sequence[Finding]) -> str:
    """Return the beginning of a finding's id that none of some others has."""
    n = SHORT_ID
    while n < len(finding.id) and any(f.id != finding.id and f.id.startswith(finding.id[:n]) for f in others):
        n += 1
    return finding.id[:n]


def _no_finding(store: RunStore, reference: str, among: Sequence[Finding]) -> RecordError:
    try:
        run = find_run(store, reference)
    except RunNotFoundError:
        if not among:
            return NothingCalledSoError(f"no finding {reference!r}, no run has any; 'advisor check' looks for some")
        n = max(SHORT_ID, len(reference))
        close = did_you_mean(reference, (finding.id[:n] for finding in among), show=3)
        return NothingCalledSoError(f"no finding {reference!r}; {close.rstrip('?.')}; 'advisor check' lists them")
    name = f"{run.experiment}#{run.number}"
    codes = sorted({finding.code for finding in run.findings})
    which = f"for instance {name}:{codes[0]}" if codes else "but it has none"
    return RecordError(f"{reference!r} is a run; say which of its findings is meant, {which}")


def find_deleted(store: RunStore, reference: str) -> int | Entry:
    """Return the number of a deleted experiment, or a run that was deleted by itself.

    Raises
    ------
    ExperimentNotFoundError, RunNotFoundError
        If nothing that is deleted is called so.
    """
    state = store.state()
    number = _deleted_book(state, reference)
    if number is not None:
        return number
    hidden = _called(state, reference, state.hidden())
    deleted = [entry for entry in hidden if entry.deleted is not None]
    if len(deleted) == 1:
        return deleted[0]
    if len(deleted) > 1:
        ids = ", ".join(entry.run.id for entry in deleted[:4])
        raise RunNotFoundError(f"{len(deleted)} deleted runs begin with {reference!r}; give more of the id: {ids}")
    if hidden:
        whole = hidden[0].run.experiment
        raise RunNotFoundError(f"run {hidden[0].run.id!r} went with its experiment; restore that: {whole!r}")
    raise _nothing_deleted(store, reference)


def find_even_deleted(store: RunStore, reference: str) -> int | Entry:
    """Return the number of an experiment that is or was called so, or a run; deleted ones too.

    Raises
    ------
    RunNotFoundError
        If there is neither.
    """
    state = store.state()
    number = state.number_of(reference)
    if number is not None:
        return number
    number = _deleted_book(state, reference)
    if number is not None:
        return number
    try:
        found = find(store, reference)
    except RunNotFoundError:
        hidden = _called(state, reference, state.hidden())
        if len(hidden) != 1:
            raise
        return hidden[0]
    entry = state.entry(found.id) if isinstance(found, Run) else None
    assert entry is not None  # experiments were looked for above, and the run has just been read
    return entry


def present_name(store: RunStore, name: str) -> str:
    """Return what an experiment is called now that had this name.

    Raises
    ------
    ExperimentNotFoundError
        If there is none, or it is deleted.
    """
    state = store.state()
    number = state.number_of(name)
    if number is None or state.book(number).deleted is not None:
        return store.experiment(name).name  # raises, and says why
    return state.book(number).record.name


def _numbered(reference: str) -> tuple[str, int | None]:
    name, mark, number = reference.rpartition("#")
    return name, int(number) if mark and number.isdecimal() else None


def _by_number(store: RunStore, experiment: str, number: int) -> Run:
    state = store.state()
    run_id = state.id_of(experiment, number)
    if run_id is not None:
        return store.run(run_id)
    exp = state.number_of(experiment)
    if any(entry.exp == exp and entry.run.number == number for entry in state.hidden()):
        reference = f"{experiment}#{number}"
        raise RunNotFoundError(f"run {reference} is deleted; 'advisor restore {reference}' brings it back")
    n_runs = store.count(experiment)
    raise RunNotFoundError(f"experiment {experiment!r} has no run number {number}; it has {n_runs} runs")


def _called(state: State, reference: str, among: Sequence[Entry]) -> list[Entry]:
    """Return those of some runs that a reference may mean: the one of that id, or those that begin so."""
    name, number = _numbered(reference)
    if number is not None:
        return [e for e in among if (state.book(e.exp).record.name, e.run.number) == (name, number)]
    exact = [entry for entry in among if entry.run.id == reference]
    return exact or [entry for entry in among if reference and entry.run.id.startswith(reference)]


def _deleted_book(state: State, name: str) -> int | None:
    """Return the number of the experiment that was deleted last under a name."""
    gone = [
        (book.deleted, number) for number, book in state.books().items() if book.deleted and book.record.name == name
    ]
    return max(gone)[1] if gone else None


def _nothing_deleted(store: RunStore, reference: str) -> ExperimentNotFoundError | RunNotFoundError:
    try:
        found = find(store, reference)
    except (ExperimentNotFoundError, RunNotFoundError):
        state = store.state()
        names = [book.record.name for book in state.books().values() if book.deleted]
        names += [entry.run.id for entry in state.hidden() if entry.deleted]
        return RunNotFoundError(
            f"nothing that is deleted is called {reference!r}; {did_you_mean(reference, names, show=3)}"
        )
    if isinstance(found, Run):
        return RunNotFoundError(f"run {found.id!r} is not deleted")
    return ExperimentNotFoundError(f"experiment {found.name!r} is not deleted")
