"""An Optuna storage on the store of runs: an experiment is a study, a run is a trial.

Optuna programs, samplers, pruners and optuna-dashboard work on it unchanged, and runs that were tracked or
imported are trials to learn from. A study's id is ``Experiment.number``, a trial's id is ``Run.ordinal``.

What differs from Optuna's own storages: a finished run whose objective is NaN is a failed trial here (the
store keeps the NaN); a crashed run is a failed trial; an experiment without objectives has the
direction ``NOT_SET``, and none of its trials is complete. There is no heartbeat.

What a running trial sets — parameters, reported values, attributes — waits here for its change of state, or for
``trial_buffer.FLUSH_AFTER_S``, and is committed in one piece; this object reads it back at once, others after that
delay. Studies, new trials and changes of state are committed before the call returns. SIGKILL, and SIGTERM without
a handler, lose what waits and nothing else; a normal end, an exception, ``close`` and pickling write it down first.

Invariant: who came first is read back from the fold, never assumed.
"""

from __future__ import annotations

import copy
import threading
import time
import uuid
from collections.abc import Container, Hashable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from optuna.distributions import BaseDistribution, check_distribution_compatibility, distribution_to_json
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy  # the return type that BaseStorage asks for has no public name
from optuna.trial import FrozenTrial, TrialState

from advisor.redact import redact
from advisor.suggest.others import UNNAMED
from advisor.suggest.outcome import INTERRUPTED
from advisor.suggest.trial_buffer import FLUSH_AFTER_S, LiveTrial, TrialBuffer
from advisor.suggest.trial_cache import StudyTrials, TrialCache
from advisor.suggest.trial_failure import reason_of_failure, was_interrupted
from advisor.suggest.trials import (
    METRIC_NAMES,
    TO_RUN_STATE,
    default_metric_names,
    directions_of,
    merged,
    objectives_json,
    system_attrs_of,
    trial_body,
    with_changes,
)
from storage.entries import Entry
from storage.events import check_event, decode_body, encode_body
from storage.records import Event, Experiment, Run, RunState, new_id
from storage.store import open_store

if TYPE_CHECKING:
    from storage.journal import State
    from storage.store import RunStore

ACTOR: Final = "optuna"


class AdvisorStorage(BaseStorage):
    """Optuna's storage interface on a store of runs.

    Parameters
    ----------
    store
        Address of a store, made where there is none, or an open one.

    Examples
    --------
    >>> import optuna
    >>> from advisor.optuna import AdvisorStorage
    >>> study = optuna.create_study(storage=AdvisorStorage("experiments"), study_name="demo")  # doctest: +SKIP
    """

    def __init__(self, store: RunStore | str | Path) -> None:
        if isinstance(store, (str, Path)):
            self._start(open_store(store), owned=True)
        else:
            self._start(store, owned=False)

    def _start(self, store: RunStore, *, owned: bool) -> None:
        self._store, self._owned = store, owned
        self._lock = threading.RLock()
        self._trials = TrialCache(store)
        self._names: dict[int, tuple[str, float]] = {}  # by study id, with when it was looked at
        self._buffer: TrialBuffer[FrozenTrial] = TrialBuffer(self._lock, lambda changes: store.append(merged(changes)))

    def __getstate__(self) -> dict[str, Any]:
        self.flush()
        return {"uri": self._store.uri}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._start(open_store(state["uri"], create=False), owned=True)

    # -- studies

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """Create an experiment; objectives are called ``value``, or ``value_0``, ``value_1`` and so on."""
        name = f"{UNNAMED}{uuid.uuid4()}" if study_name is None else study_name
        objectives = objectives_json(default_metric_names(len(directions)), list(directions))
        event = Event.new("experiment.created", name, actor=ACTOR, objectives=objectives, reduce="last", space=None)
        with self._lock:
            if name not in self._state().experiments:
                state = self._append(event)
                if event.id not in state.refused:
                    return state.experiments[name].number
        raise DuplicatedStudyError(
            f"an experiment {name!r} exists in this store; give another study_name, or load_if_exists=True"
        )

    def delete_study(self, study_id: int) -> None:
        """Hide an experiment and its runs; their ids are not used again."""
        with self._lock:
            name = self._experiment(study_id).name
            self._append(Event.new("experiment.deleted", name, actor=ACTOR))
            self._trials.forget(study_id)
            self._names.pop(study_id, None)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Keep an attribute of a study; one whose name looks secret is redacted."""
        self._set_study_attr(study_id, "user", key, redact({key: value})[key])

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Keep an attribute of Optuna's own; metric names rename the experiment's objectives."""
        self._set_study_attr(study_id, "system", key, value)

    def _set_study_attr(self, study_id: int, scope: str, key: str, value: Any) -> None:
        with self._lock:
            experiment = self._experiment(study_id)
            events = [Event.new("experiment.attr", experiment.name, actor=ACTOR, scope=scope, key=key, value=value)]
            if scope == "system" and key == METRIC_NAMES and len(value) == len(experiment.objectives):
                objectives = objectives_json([str(name) for name in value], directions_of(experiment))
                events.append(Event.new("experiment.updated", experiment.name, actor=ACTOR, objectives=objectives))
            self._append(*events)

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return the number of an experiment."""
        experiment = self._state().experiments.get(study_name)
        if experiment is None:
            raise KeyError(f"there is no experiment {study_name!r} in this store")
        return experiment.number

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return the name of an experiment."""
        return self._experiment(study_id).name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return the direction of each objective."""
        return directions_of(self._experiment(study_id))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Return a study's attributes."""
        return copy.deepcopy(dict(self._experiment(study_id).user_attrs))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return Optuna's own attributes of a study."""
        return system_attrs_of(self._experiment(study_id))

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return all experiments in the order of their numbers."""
        return [
            FrozenStudy(
                study_name=experiment.name,
                direction=None,
                directions=directions_of(experiment),
                user_attrs=copy.deepcopy(dict(experiment.user_attrs)),
                system_attrs=system_attrs_of(experiment),
                study_id=experiment.number,
            )
            for experiment in list(self._state().experiments.values())
        ]

    # -- writing trials

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create a run and return its id; it is running unless a template says otherwise."""
        if template_trial is None:
            # Started when it was asked for, not when the commit came through.
            body: dict[str, Any] = {"state": "running", "params": {}, "source": "optuna"}
            body["started"] = datetime.now().astimezone().isoformat()
        else:
            body = trial_body(template_trial)
        with self._lock:
            run_id = new_id()
            state = self._append(Event.new("run.created", self._name(study_id), run_id, actor=ACTOR, **body))
            entry = state.entry(run_id)
            if entry is None or entry.hidden or entry.exp != study_id:
                raise KeyError(f"study {study_id} has been deleted")
            if entry.run.state is RunState.RUNNING:
                self._buffer.look(entry, self._trials.one(state, entry))
            return entry.run.ordinal

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Keep a parameter of a run that goes on.

        Raises
        ------
        ValueError
            If the study has it with a distribution that is not compatible.
        """
        body = {
            "name": param_name,
            "value": distribution.to_external_repr(param_value_internal),
            "distribution": distribution_to_json(distribution),
        }
        with self._lock:
            live = self._live(trial_id)
            known = self._trials.declared(live.exp, param_name)
            if known is None:
                known = self._study(live.exp).declared.get(param_name)
            if known is not None:
                check_distribution_compatibility(known[1], distribution)
            self._change(trial_id, ("param", param_name), "run.param", **body)
            if known is None:  # the first of its name is written at once: whoever comes next compares with it
                self._buffer.flush()
                self._check_against_others(live, param_name, distribution)

    def _check_against_others(self, live: LiveTrial[FrozenTrial], name: str, distribution: BaseDistribution) -> None:
        """Compare with what another process may have said of a new parameter in the same instant."""
        for trial in self._study(live.exp).trials:
            if name in trial.distributions and trial.number != live.run.number:
                check_distribution_compatibility(trial.distributions[name], distribution)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Change a run's state; of two processes that start a waiting run only one is told True.

        All that the run has reported is in the store before this returns, in the same commit. Of one that failed the
        reason is kept where it can be told; what Ctrl-C ended is tagged, so that nothing is learned from it.
        """
        reason = reason_of_failure() if state is TrialState.FAIL else None
        with self._lock:
            run = self._live(trial_id).run
            if state is TrialState.RUNNING and run.state is not RunState.WAITING:
                return False
            body: dict[str, Any] = {"state": str(TO_RUN_STATE[state])}
            if state.is_finished():
                body["values"] = [float(value) for value in values or ()]
            tags = []
            if reason is not None:
                body["error"] = reason
            if was_interrupted(reason):
                tags = [Event.new("run.tagged", run.experiment, run.id, actor=ACTOR, tags=[INTERRUPTED])]
            event = Event.new("run.state", run.experiment, run.id, actor=ACTOR, **body)
            now = self._append(*merged(self._buffer.changes(trial_id)), *tags, event)
            self._buffer.drop(trial_id)
            return event.id not in now.refused or self._raise_if_over(run, now)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Keep a reported value; a step reported twice keeps the later one."""
        with self._lock:
            self._change(trial_id, ("step", step), "run.reported", step=step, value=intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Keep an attribute of a trial; one whose name looks secret is redacted."""
        kept = redact({key: value})[key]
        with self._lock:
            self._change(trial_id, ("user", key), "run.attr", scope="user", key=key, value=kept)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Keep an attribute of Optuna's own."""
        with self._lock:
            self._change(trial_id, ("system", key), "run.attr", scope="system", key=key, value=value)

    def _change(self, trial_id: int, slot: Hashable, kind: str, /, **body: Any) -> None:
        """Let a change of a running trial wait for the next commit; of one that is queued, write it at once."""
        live = self._live(trial_id)
        # What cannot be kept is refused here, and what is kept does not change with the caller's own object.
        kept = decode_body(encode_body(body))
        event = Event.new(kind, live.run.experiment, live.run.id, actor=ACTOR, **kept)
        check_event(event)
        if live.run.state is RunState.RUNNING:
            self._buffer.put(live, slot, event)
        elif event.id in (now := self._append(event)).refused:
            self._raise_if_over(live.run, now)

    # -- reading trials

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a run as a trial; one that is over is shared, so do not change it.

        A running trial that this object works on is as it was in the store at most ``FLUSH_AFTER_S`` ago, with
        what this object has set since.
        """
        with self._lock:
            finished = self._trials.finished(trial_id)
            if finished is not None:
                return finished
            live = self._buffer.live(trial_id)
            if live is None or _is_old(live):
                state = self._state()
                entry = self._entry(trial_id, state)
                trial = self._trials.one(state, entry)
                if entry.run.state.is_over:
                    self._buffer.drop(trial_id)
                    return trial
                if live is None:
                    return with_changes(trial, ())  # a copy: Optuna's own Trial writes into what it gets here
                live = self._buffer.look(entry, trial)
            return with_changes(live.seen, live.changes.values())

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return an experiment's runs as trials, in the order of their numbers; shared ones unless ``deepcopy``."""
        with self._lock:
            state = self._state()
            self._experiment(study_id, state)
            study = self._trials.study(state, study_id)
            trials = list(study.trials)
            for live in self._buffer.waiting():
                place = study.places.get(live.run.id)
                if place is not None and not trials[place].state.is_finished():
                    trials[place] = with_changes(trials[place], live.changes.values())
        if states is not None:
            trials = [trial for trial in trials if trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """Return the ordinal of a run."""
        with self._lock:
            state = self._state()
            run_id = state.id_of(self._experiment(study_id, state).name, trial_number)
            if run_id is None:
                raise KeyError(f"study {study_id} has no trial of number {trial_number}")
            return state.runs[run_id].ordinal

    def get_trial_number_from_id(self, trial_id: int) -> int:
        """Return a run's number in its experiment."""
        return self._entry(trial_id, self._state()).run.number

    # -- the end

    def flush(self) -> None:
        """Write down what running trials have set and the store does not have yet.

        Raises
        ------
        StorageError
            If it could not be committed; it is tried again later.
        """
        with self._lock:
            self._buffer.flush()

    def close(self) -> None:
        """Write down what waits, and let go of a store that this object opened. Closing twice is fine."""
        self.flush()
        if self._owned:
            self._store.close()

    # -- the fold

    def _state(self) -> State:
        return self._store.state()

    def _append(self, *events: Event) -> State:
        self._store.append(events)
        return self._state()

    def _experiment(self, study_id: int, state: State | None = None) -> Experiment:
        book = (state or self._state()).books().get(study_id)
        if book is None or book.deleted is not None:
            self._names.pop(study_id, None)
            raise KeyError(f"there is no study {study_id} in this store")
        self._names[study_id] = (book.record.name, time.monotonic())
        return book.record

    def _name(self, study_id: int) -> str:
        """Return an experiment's name as it was ``FLUSH_AFTER_S`` ago or later; events under an old name reach it too.

        Spares a read of what others wrote: Optuna asks for a new trial right after it has looked for a queued one.
        """
        name, looked = self._names.get(study_id, ("", float("-inf")))
        return name if time.monotonic() - looked <= FLUSH_AFTER_S else self._experiment(study_id).name

    def _entry(self, trial_id: int, state: State) -> Entry:
        run_id = state.id_at(trial_id)
        entry = None if run_id is None else state.entry(run_id)
        if entry is None or entry.hidden:
            raise KeyError(f"there is no trial {trial_id} in this store")
        return entry

    def _study(self, exp: int) -> StudyTrials:
        return self._trials.study(self._state(), exp)

    def _live(self, trial_id: int) -> LiveTrial[FrozenTrial]:
        """Return a run that may still change, as the store had it ``FLUSH_AFTER_S`` ago or later."""
        live = self._buffer.live(trial_id)
        if live is not None and not _is_old(live):
            return live
        state = self._state()
        entry = self._entry(trial_id, state)
        if entry.run.state.is_over:
            self._buffer.drop(trial_id)
            raise _over(entry.run)
        trial = self._trials.one(state, entry)
        if entry.run.state is RunState.RUNNING:
            return self._buffer.look(entry, trial)
        return LiveTrial(entry.run, entry.exp, trial, time.monotonic())

    def _raise_if_over(self, run: Run, state: State) -> bool:
        """Raise if a run has been ended meanwhile, else return False: a change of it had no effect."""
        now = state.runs.get(run.id)
        if now is not None and now.state.is_over:
            raise _over(now)
        return False


def _is_old(live: LiveTrial[FrozenTrial]) -> bool:
    return time.monotonic() - live.looked > FLUSH_AFTER_S


def _over(run: Run) -> UpdateFinishedTrialError:
    return UpdateFinishedTrialError(f"run #{run.number} of {run.experiment!r} is {run.state} and cannot change")
