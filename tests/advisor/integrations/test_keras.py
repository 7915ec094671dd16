"""Keras logs into runs, here on its torch backend."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras")
pytest.importorskip("torch")
import keras

import advisor
from advisor.errors import ConfigError
from advisor.integrations.keras import AdvisorCallback
from storage.records import Finding, RunState

Runs = Callable[[], list[advisor.Run]]
Example = Callable[[str], str]
Better = Callable[[str, str], None]
# Keras reads its own variables so, with NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

X = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
Y = (X.sum(axis=1) > 0).astype("float32")


def model(rate: Any = 0.1) -> Any:
    keras.utils.set_random_seed(0)
    made = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(1)])
    made.compile(optimizer=keras.optimizers.SGD(rate, momentum=0.9), loss="mse", metrics=["mae"])
    return made


def fit(made: Any, *callbacks: Any, epochs: int = 3, **more: Any) -> Any:
    return made.fit(
        X, Y, batch_size=8, epochs=epochs, validation_data=(X, Y), callbacks=list(callbacks), verbose=0, **more
    )


class BreaksAt(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == 2:
            raise ZeroDivisionError("the training broke")


class Remembers(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.losses: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.losses.append(logs["loss"])


def test_everything_that_keras_logs_is_in_the_run(store: Path, runs: Runs) -> None:
    remembers = Remembers()
    with AdvisorCallback(
        "nets", store=store, objective="val_loss", params={"note": "x"}, every_batches=2, checks=True
    ) as callback:
        made = model()
        history = fit(made, remembers, callback).history
        evaluated = made.evaluate(X, Y, verbose=0, callbacks=[callback], return_dict=True)
    [run] = runs()
    assert run.state is RunState.FINISHED
    assert set(history) == {"loss", "mae", "val_loss", "val_mae"}
    for name, values in history.items():
        assert run.curve(name).values.tolist() == values
        assert run.curve(name).steps.tolist() == [0, 1, 2]
    assert run.curve("batch/loss").steps.tolist() == list(range(0, 24, 2))
    assert run.curve("batch/loss").values.tolist() == remembers.losses[::2]
    assert run.curve("learning_rate").values.tolist() == pytest.approx([0.1] * 3)
    assert run.curve("test_loss").values.tolist() == [evaluated["loss"]]
    assert run.findings == ()


def test_optimizer_and_model_become_parameters(store: Path, runs: Runs) -> None:
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 8, 0.5)
    with AdvisorCallback("nets", store=store) as callback:
        fit(model(schedule), callback, epochs=2)
    [run] = runs()
    expected = {
        "epochs": 2,
        "loss": "mse",
        "optimizer.name": "SGD",
        "optimizer.momentum": 0.9,
        "optimizer.learning_rate.schedule": "ExponentialDecay",
        "optimizer.learning_rate.initial_learning_rate": 0.1,
        "model.class": "Sequential",
        "model.layers": "Dense, Dense",
        "model.n_layers": 2,
        "model.n_parameters": 17,
        "model.n_trainable": 17,
    }
    assert expected.items() <= run.params.items()
    assert run.curve("learning_rate").values.tolist() == pytest.approx([0.05, 0.025])
    assert "layers" in run.user_attrs["model_config"]


def test_an_exception_fails_the_run(store: Path, runs: Runs) -> None:
    with pytest.raises(ZeroDivisionError), AdvisorCallback("nets", store=store) as callback:
        fit(model(), callback, BreaksAt())
    with pytest.raises(ZeroDivisionError):
        fit(model(), AdvisorCallback("nets", store=store), BreaksAt())
    with AdvisorCallback("nets", store=store) as callback:
        fit(model(), callback, epochs=1)
    first, second, third = runs()
    assert [run.state for run in (first, second, third)] == [RunState.FAILED, RunState.FAILED, RunState.FINISHED]
    assert "ZeroDivisionError: the training broke" in str(first.error)
    assert "an exception ended it" in str(second.error)
    assert len(first.curve("loss")) == 2


def test_two_callbacks_in_one_fit_are_refused(store: Path) -> None:
    first, second = AdvisorCallback("a", store=store), AdvisorCallback("b", store=store)
    with first, second, pytest.raises(ConfigError, match="this call of fit has two AdvisorCallbacks"):
        fit(model(), first, second)


def test_several_calls_of_fit_are_one_run_where_that_was_begun_before(store: Path, runs: Runs) -> None:
    with advisor.open(store).experiment("nets").start(params={}) as run:
        made = model()
        fit(made, AdvisorCallback(run=run), epochs=2)
        fit(made, AdvisorCallback(run=run), epochs=4, initial_epoch=2)
    [read] = runs()
    assert (read.state, read.curve("loss").steps.tolist()) == (RunState.FINISHED, [0, 1, 2, 3])


def test_only_the_first_process_logs(store: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with AdvisorCallback("nets", store=store, prune=True, checks=True) as callback:
        fit(model(), callback, epochs=1)
    assert runs() == []


def test_a_run_that_has_hardly_a_chance_is_pruned(store: Path, runs: Runs, better: Better) -> None:
    better("nets", "val_loss")
    with AdvisorCallback("nets", store=store, prune=True) as callback:
        history = fit(model(1e-9), callback, epochs=60)
    assert len(history.epoch) < 60
    assert runs()[-1].state is RunState.PRUNED


def test_a_nan_is_told_at_once_and_may_end_the_training(store: Path, runs: Runs) -> None:
    told: list[Finding] = []
    with AdvisorCallback("nets", store=store, stop_on_error=True, on_finding=told.append, every_batches=1) as callback:
        history = fit(model(1e30), callback, epochs=5)
    assert told[0].code == "ADV101"
    assert told[0].metric == "batch/loss"
    assert callback.findings
    assert len(history.epoch) == 1
    assert runs()[0].state is RunState.FAILED


def test_a_training_that_goes_on_is_a_run_that_says_so(store: Path, runs: Runs, tmp_path: Path) -> None:
    made = model()
    with AdvisorCallback("nets", store=store) as callback:
        fit(made, callback, epochs=2)
    made.save(tmp_path / "model.keras")
    first = callback.run
    assert first is not None
    with AdvisorCallback("nets", store=store, resumed_from=first.id, every_batches=1) as callback:
        fit(keras.saving.load_model(tmp_path / "model.keras"), callback, epochs=4, initial_epoch=2)
    second = runs()[-1]
    assert second.user_attrs["resumed_from"] == first.id
    assert second.user_attrs["resumed_at_step"] == 2
    assert second.curve("loss").steps.tolist() == [2, 3]
    assert second.curve("batch/loss").steps.tolist() == list(range(16, 32))


def test_a_frozen_model_is_noticed_where_asked(store: Path, runs: Runs) -> None:
    made = model()
    made.layers[0].trainable = made.layers[1].trainable = False
    made.compile(optimizer="sgd", loss="mse")
    with AdvisorCallback("nets", store=store, checks=True) as callback, pytest.warns(UserWarning, match="trainable"):
        fit(made, callback, epochs=1)
    assert {finding.code for finding in runs()[0].findings if finding.detector == "state"} == {"ADV118"}


def test_the_example_runs_and_says_what_it_promises(example: Example) -> None:
    told = example("with_keras.py")
    assert re.search(r"run #0 is finished: val_loss 0\.\d+, accuracy 0\.\d+", told)
    assert "optimizer: Adam with learning rate 0.003" in told
    assert "model: Dense, Dense of 2410 parameters" in told
