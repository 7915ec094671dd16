"""Trials are made again only where something changed, and are then what they would be if all were made anew."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from advisor.optuna import AdvisorStorage
from storage import open_store
from storage.records import CurveChunk, Event, new_id
from storage.store import RunStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    opened = open_store(tmp_path / "store")
    yield opened
    opened.close()


def _objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


def test_trials_that_did_not_change_are_the_same_objects(store: RunStore) -> None:
    storage, other = AdvisorStorage(store), AdvisorStorage(store.uri)
    study = optuna.create_study(storage=storage, study_name="s")
    study.optimize(_objective, n_trials=3)
    before = storage.get_all_trials(0, deepcopy=False)
    optuna.load_study(study_name="s", storage=other).optimize(_objective, n_trials=2)
    after = storage.get_all_trials(0, deepcopy=False)
    assert len(after) == 5
    assert all(old is new for old, new in zip(before, after, strict=False))


def _random_event(rng: random.Random, store: RunStore, ids: list[str]) -> Event:
    kind = rng.choice(
        ["create", "param", "report", "end", "delete", "restore", "move", "note", "update", "rename", "attr"]
    )
    run_id, name = rng.choice(ids), rng.choice(sorted(store.state().experiments))
    if kind == "create":
        ids.append(new_id())
        source = rng.choice(["optuna", "tracked"])
        distributions = {"x": optuna.distributions.distribution_to_json(optuna.distributions.FloatDistribution(0, 1))}
        return Event.new(
            "run.created",
            name,
            ids[-1],
            state=rng.choice(["running", "waiting", "finished"]),
            params={"x": rng.random(), "n": rng.randrange(5)} if source == "tracked" else {"x": rng.random()},
            distributions=distributions if source == "optuna" else {},
            source=source,
            values=[rng.random()],
        )
    return {
        "param": lambda: Event.new("run.param", name, run_id, name="z", value=rng.random(), distribution=None),
        "report": lambda: Event.new("run.reported", name, run_id, step=rng.randrange(3), value=rng.random()),
        "end": lambda: Event.new("run.state", name, run_id, state="finished", values=[rng.random()]),
        "delete": lambda: Event.new("run.deleted", name, run_id),
        "restore": lambda: Event.new("run.restored", name, run_id),
        "move": lambda: Event.new("run.moved", name, run_id, to=rng.choice(sorted(store.state().experiments))),
        "note": lambda: Event.new("run.noted", name, run_id, text="seen"),
        "update": lambda: Event.new(
            "experiment.updated", name, objectives=[{"metric": "m", "direction": rng.choice(["minimize", "maximize"])}]
        ),
        "rename": lambda: Event.new("experiment.renamed", name, to=f"{name}'"),
        "attr": lambda: Event.new("experiment.attr", name, key="k", value=1),
    }[kind]()


def _plain(trial: FrozenTrial) -> tuple[object, ...]:
    return (trial.number, trial.state, trial.values, trial.params, trial.distributions, trial.intermediate_values)


@pytest.mark.parametrize("seed", range(3))
def test_what_follows_the_events_equals_what_is_made_anew(store: RunStore, seed: int) -> None:
    rng, ids = random.Random(seed), ["none"]
    for name in ("a", "b"):
        store.append([Event.new("experiment.created", name, objectives=[{"metric": "m", "direction": "minimize"}])])
    following = AdvisorStorage(store)
    for _ in range(60):
        store.append([_random_event(rng, store, ids) for _ in range(rng.randrange(1, 4))])
        anew = AdvisorStorage(store)
        for exp in (0, 1):
            found = [_plain(trial) for trial in following.get_all_trials(exp)]
            assert found == [_plain(trial) for trial in anew.get_all_trials(exp)]
            numbers = [trial.number for trial in following.get_all_trials(exp)]
            assert numbers == sorted(numbers)


def test_the_curve_of_a_tracked_run_that_goes_on_is_read_each_time(store: RunStore) -> None:
    store.append([Event.new("experiment.created", "a", objectives=[{"metric": "m", "direction": "minimize"}])])
    store.append([Event.new("run.created", "a", "r", state="running", params={"x": 0.5})])
    storage = AdvisorStorage(store)
    for chunk in range(2):
        store.append_curves(
            [CurveChunk("r", metric="m", chunk=chunk, through=chunk + 1, steps=[chunk], values=[float(chunk)])]
        )
        (trial,) = storage.get_all_trials(0)
        assert trial.intermediate_values == {step: float(step) for step in range(chunk + 1)}
        assert storage.get_trial(trial._trial_id).intermediate_values == trial.intermediate_values


def test_an_experiment_made_under_the_name_of_a_deleted_one_has_its_own_trials(store: RunStore) -> None:
    storage, other = AdvisorStorage(store), AdvisorStorage(store.uri)
    optuna.create_study(storage=storage, study_name="s").optimize(_objective, n_trials=2)
    optuna.delete_study(study_name="s", storage=other)
    optuna.create_study(storage=other, study_name="s")
    with pytest.raises(KeyError):
        storage.get_all_trials(0)
    with pytest.raises(KeyError):
        storage.create_new_trial(0)
    study = optuna.load_study(study_name="s", storage=storage)
    study.optimize(_objective, n_trials=1)
    assert [trial.number for trial in study.trials] == [0]
    assert other.get_n_trials(1, TrialState.COMPLETE) == 1
