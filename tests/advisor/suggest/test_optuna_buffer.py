"""What a running trial sets is kept back for a moment: who sees it when, and what ends of a process do to it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from advisor.optuna import AdvisorStorage
from advisor.suggest import optuna_storage, trial_buffer
from storage.errors import RecordError, StoreUnavailableError
from storage.records import Event

SOON_S = 20.0
FLOAT = FloatDistribution(0, 1)


@pytest.fixture
def address(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def one(address: Path) -> Iterator[AdvisorStorage]:
    opened = AdvisorStorage(address)
    yield opened
    opened.close()


@pytest.fixture
def two(one: AdvisorStorage, address: Path) -> AdvisorStorage:
    return AdvisorStorage(address)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written because time has passed."""
    monkeypatch.setattr(trial_buffer, "FLUSH_AFTER_S", 60.0)
    monkeypatch.setattr(optuna_storage, "FLUSH_AFTER_S", 60.0)


def _trial(storage: AdvisorStorage, name: str = "s") -> tuple[int, int]:
    study_id = storage.create_new_study([StudyDirection.MINIMIZE], name)
    return study_id, storage.create_new_trial(study_id)


def _wait(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + SOON_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _set_all(storage: AdvisorStorage, trial_id: int) -> None:
    storage.set_trial_param(trial_id, "x", 0.25, FLOAT)
    storage.set_trial_intermediate_value(trial_id, 3, 0.5)
    storage.set_trial_user_attr(trial_id, "note", [1, {"a": None}])
    storage.set_trial_system_attr(trial_id, "rung", 2)


def _has_all(storage: AdvisorStorage, trial_id: int) -> bool:
    trial = storage.get_trial(trial_id)
    has_all = (trial.params, trial.distributions, trial.intermediate_values, trial.user_attrs, trial.system_attrs) == (
        {"x": 0.25},
        {"x": FLOAT},
        {3: 0.5},
        {"note": [1, {"a": None}]},
        {"rung": 2},
    )
    if has_all:  # before that, the rest may come between two reads
        assert [trial] == [each for each in storage.get_all_trials(0) if each._trial_id == trial_id]
    return has_all


# -- who sees it when


def test_the_object_that_sets_reads_it_at_once_and_others_after_a_short_while(
    one: AdvisorStorage, two: AdvisorStorage
) -> None:
    _, trial_id = _trial(one)
    _set_all(one, trial_id)
    assert _has_all(one, trial_id)
    assert _wait(lambda: _has_all(two, trial_id))
    assert _has_all(one, trial_id)


@pytest.mark.usefixtures("patient")
def test_what_waits_is_committed_together_with_the_end(one: AdvisorStorage, two: AdvisorStorage) -> None:
    study_id, trial_id = _trial(one)
    one.set_trial_param(one.create_new_trial(study_id), "x", 0.5, FLOAT)  # known from here on
    before = one._store.state().version
    _set_all(one, trial_id)
    assert one._store.state().version == before
    assert two.get_trial(trial_id).params == {}
    assert one.set_trial_state_values(trial_id, TrialState.COMPLETE, [1.0])
    assert one._store.state().version == before + 1
    assert _has_all(two, trial_id)
    assert two.get_trial(trial_id).value == 1.0


@pytest.mark.usefixtures("patient")
def test_the_last_of_several_values_counts_and_steps_keep_their_order(one: AdvisorStorage, two: AdvisorStorage) -> None:
    _, trial_id = _trial(one)
    for step, value in [(2, 0.1), (0, 0.2), (2, float("nan")), (2, float("inf"))]:
        one.set_trial_intermediate_value(trial_id, step, value)
    assert list(one.get_trial(trial_id).intermediate_values.items()) == [(2, float("inf")), (0, 0.2)]
    one.flush()
    assert list(two.get_trial(trial_id).intermediate_values.items()) == [(2, float("inf")), (0, 0.2)]


@pytest.mark.usefixtures("patient")
def test_many_values_are_written_without_waiting(
    one: AdvisorStorage, two: AdvisorStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_buffer, "FLUSH_AT", 5)
    _, trial_id = _trial(one)
    for step in range(12):
        one.set_trial_intermediate_value(trial_id, step, 0.0)
    assert len(two.get_trial(trial_id).intermediate_values) == 10


@pytest.mark.usefixtures("patient")
def test_what_was_handed_out_or_in_does_not_change_later(one: AdvisorStorage) -> None:
    _, trial_id = _trial(one)
    given = [1]
    one.set_trial_user_attr(trial_id, "list", given)
    given.append(2)
    seen = one.get_trial(trial_id)
    one.set_trial_user_attr(trial_id, "list", [3])
    one.set_trial_intermediate_value(trial_id, 0, 1.0)
    assert (seen.user_attrs, seen.intermediate_values) == ({"list": [1]}, {})


@pytest.mark.usefixtures("patient")
def test_what_cannot_be_kept_is_refused_when_it_is_set(one: AdvisorStorage) -> None:
    _, trial_id = _trial(one)
    with pytest.raises(RecordError, match="numbers, text, lists and mappings can be kept"):
        one.set_trial_user_attr(trial_id, "thing", object())
    assert one.set_trial_state_values(trial_id, TrialState.COMPLETE, [1.0])
    assert one.get_trial(trial_id).user_attrs == {}


# -- several processes on one trial or parameter


@pytest.mark.usefixtures("patient")
def test_a_trial_that_another_ends_keeps_the_others_result(one: AdvisorStorage, two: AdvisorStorage) -> None:
    _, trial_id = _trial(one)
    one.set_trial_intermediate_value(trial_id, 0, 1.0)
    two.set_trial_state_values(trial_id, TrialState.FAIL)
    with pytest.raises(UpdateFinishedTrialError, match="is failed and cannot change"):
        one.set_trial_state_values(trial_id, TrialState.COMPLETE, [1.0])
    assert one.get_trial(trial_id) == two.get_trial(trial_id)
    assert one.get_trial(trial_id).state == TrialState.FAIL
    with pytest.raises(UpdateFinishedTrialError):
        one.set_trial_intermediate_value(trial_id, 1, 1.0)


def test_that_another_ended_a_trial_is_noticed_while_reporting(one: AdvisorStorage, two: AdvisorStorage) -> None:
    _, trial_id = _trial(one)
    two.set_trial_state_values(trial_id, TrialState.FAIL)

    def refused() -> bool:
        try:
            one.set_trial_intermediate_value(trial_id, 0, 1.0)
        except UpdateFinishedTrialError:
            return True
        return False

    assert _wait(refused)


@pytest.mark.parametrize(
    "other", [IntDistribution(0, 1), CategoricalDistribution([0, 1]), FloatDistribution(0.1, 1, log=True)]
)
def test_a_parameter_of_another_kind_is_refused_whoever_had_it_first(
    one: AdvisorStorage, two: AdvisorStorage, other: BaseDistribution
) -> None:
    study_id, first = _trial(one)
    second = two.create_new_trial(study_id)
    one.set_trial_param(first, "x", 0.5, FLOAT)
    with pytest.raises(ValueError, match="Cannot set different"):
        two.set_trial_param(second, "x", 1, other)
    two.set_trial_param(second, "x", 5.0, FloatDistribution(0, 10))  # another range is fine
    assert two.get_trial(second).params == {"x": 5.0}


def test_of_two_that_name_a_parameter_in_the_same_instant_one_is_refused(
    one: AdvisorStorage, two: AdvisorStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_id, first = _trial(one)
    second = two.create_new_trial(study_id)
    append = two._store.append

    def late(events: Sequence[Event]) -> None:
        monkeypatch.setattr(two._buffer, "_append", append)
        one.set_trial_param(first, "x", 0.5, FLOAT)
        append(events)

    monkeypatch.setattr(two._buffer, "_append", late)
    with pytest.raises(ValueError, match="different distribution kind"):
        two.set_trial_param(second, "x", 1, IntDistribution(0, 3))
    assert one.get_trial(first).params == {"x": 0.5}


def test_each_queued_trial_is_claimed_by_one_of_many(one: AdvisorStorage, address: Path) -> None:
    study_id = one.create_new_study([StudyDirection.MINIMIZE], "s")
    queued = [one.create_new_trial(study_id, create_trial(state=TrialState.WAITING)) for _ in range(4)]
    storages = [one, *(AdvisorStorage(address) for _ in range(3))]
    claimed: list[int] = []

    def claim(storage: AdvisorStorage) -> None:
        claimed.extend(each for each in queued if storage.set_trial_state_values(each, TrialState.RUNNING))

    threads = [threading.Thread(target=claim, args=(storage,)) for storage in storages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == queued
    assert one.get_n_trials(study_id, TrialState.RUNNING) == 4


def _objective(trial: optuna.Trial) -> float:
    x, y = trial.suggest_float("x", -10, 10), trial.suggest_float("y", -10, 10)
    trial.report(x, 0)
    trial.report(y, 1)
    trial.set_user_attr("x", x)
    return (x - 3) ** 2 + y


def _optimize(address: Path, n_trials: int) -> None:
    study = optuna.load_study(study_name="s", storage=AdvisorStorage(address))
    study.optimize(_objective, n_trials=n_trials)


def test_processes_share_one_study(one: AdvisorStorage, address: Path) -> None:
    study = optuna.create_study(study_name="s", storage=one)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_optimize, args=(address, 5)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [trial.number for trial in study.trials] == list(range(15))
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}
    for trial in study.trials:
        x, y = trial.params["x"], trial.params["y"]
        assert trial.value == (x - 3) ** 2 + y
        assert (trial.intermediate_values, trial.user_attrs) == ({0: x, 1: y}, {"x": x})


@pytest.mark.usefixtures("patient")
def test_threads_report_through_one_object(one: AdvisorStorage, two: AdvisorStorage) -> None:
    study = optuna.create_study(study_name="s", storage=one)
    study.optimize(_objective, n_trials=12, n_jobs=4)
    trials = two.get_all_trials(study._study_id)
    assert [trial.number for trial in trials] == list(range(12))
    assert all(len(trial.params) == 2 and len(trial.intermediate_values) == 2 for trial in trials)


# -- a store that cannot be written


def test_what_could_not_be_written_goes_on_waiting(
    one: AdvisorStorage, two: AdvisorStorage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _, trial_id = _trial(one)
    append = one._store.append

    def full(events: Sequence[Event]) -> None:
        raise StoreUnavailableError("no space left on the disk")

    monkeypatch.setattr(one._buffer, "_append", full)
    one.set_trial_intermediate_value(trial_id, 0, 1.0)
    assert _wait(lambda: "not in the store yet: no space left" in caplog.text)
    with pytest.raises(StoreUnavailableError):
        one.flush()
    monkeypatch.setattr(one._buffer, "_append", append)
    one.set_trial_state_values(trial_id, TrialState.COMPLETE, [2.0])
    assert two.get_trial(trial_id).intermediate_values == {0: 1.0}


# -- ends


@pytest.mark.usefixtures("patient")
def test_pickling_and_closing_write_it_down(one: AdvisorStorage, two: AdvisorStorage) -> None:
    _, trial_id = _trial(one)
    one.set_trial_intermediate_value(trial_id, 0, 1.0)
    copied = pickle.loads(pickle.dumps(one))
    assert copied.get_trial(trial_id).intermediate_values == {0: 1.0}
    one.set_trial_intermediate_value(trial_id, 1, 1.0)
    one.close()
    one.close()
    assert set(two.get_trial(trial_id).intermediate_values) == {0, 1}


_SCRIPT = """
import optuna, os, signal, sys, time
from advisor.optuna import AdvisorStorage
from advisor.suggest import trial_buffer

def main():
    storage = AdvisorStorage(sys.argv[1])
    study = optuna.create_study(storage=storage, study_name="s", load_if_exists=True)
    done = study.ask()
    for step in range(3):
        done.report(0.5, step)
    study.tell(done, done.suggest_float("x", 0, 1))
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    trial.report(0.0, 0)
{then}

if __name__ == "__main__":
    main()
"""
_ENDS = {
    "plain": "    pass",
    "exit": "    sys.exit(3)",
    "exception": "    raise RuntimeError('an error of the program')",
    "interrupt": "    signal.raise_signal(signal.SIGINT)",
}


def _script(address: Path, then: str) -> subprocess.Popen[str]:
    then = "\n".join("    " + line for line in then.splitlines())
    return subprocess.Popen(
        [sys.executable, "-c", _SCRIPT.replace("{then}", then), str(address)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


@pytest.mark.parametrize("end", list(_ENDS))
def test_ends_of_the_interpreter_write_it_down(one: AdvisorStorage, address: Path, end: str) -> None:
    process = _script(address, _ENDS[end].strip())
    _, errors = process.communicate(timeout=120)
    assert "StoreUnavailable" not in errors
    done, trial = one.get_all_trials(one.get_study_id_from_name("s"))
    assert (done.state, len(done.intermediate_values)) == (TrialState.COMPLETE, 3)
    assert (trial.state, len(trial.params), trial.intermediate_values) == (TrialState.RUNNING, 1, {0: 0.0})


def test_a_kill_loses_no_more_than_the_last_moment_of_running_trials(one: AdvisorStorage, address: Path) -> None:
    process = _script(
        address,
        "time.sleep(10 * trial_buffer.FLUSH_AFTER_S)\n"
        "trial.report(1.0, 1)\nprint('reported', flush=True)\ntime.sleep(60)",
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "reported\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    done, trial = one.get_all_trials(one.get_study_id_from_name("s"))
    assert (done.state, done.values, len(done.intermediate_values)) == (TrialState.COMPLETE, [done.params["x"]], 3)
    assert (trial.number, trial.state, len(trial.params)) == (1, TrialState.RUNNING, 1)
    assert trial.intermediate_values in ({0: 0.0}, {0: 0.0, 1: 1.0})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_leaves_what_waits_to_the_parent(one: AdvisorStorage, address: Path) -> None:
    forking = """
import warnings
warnings.simplefilter("ignore")
if os.fork() == 0:
    try:
        trial.report(9.0, 9)
    except Exception as error:
        print(type(error).__name__, flush=True)
    os._exit(0)
os.wait()
trial.report(1.0, 1)
"""
    process = _script(address, forking.strip())
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert output == "StoreUnavailableError\n"
    assert one.get_all_trials(one.get_study_id_from_name("s"))[1].intermediate_values == {0: 0.0, 1: 1.0}
