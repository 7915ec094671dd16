"""The Trainer of transformers logs into runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import advisor
from advisor.errors import ConfigError
from advisor.integrations.huggingface import AdvisorCallback
from storage.records import Finding, RunState

Runs = Callable[[], list[advisor.Run]]
Example = Callable[[str], str]
Better = Callable[[str, str], None]
pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*")

SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
DATA = [{"input_ids": [i % 32, (3 * i) % 32], "labels": i % 2} for i in range(32)]


def model() -> Any:
    torch.manual_seed(0)
    return BertForSequenceClassification(BertConfig(vocab_size=32, max_position_embeddings=8, num_labels=2, **SIZES))


def arguments(tmp_path: Path, **given: Any) -> TrainingArguments:
    usual = {"num_train_epochs": 2, "logging_steps": 1, "eval_strategy": "epoch", "save_strategy": "no"}
    quiet = {"report_to": "none", "disable_tqdm": True, "use_cpu": True}
    return TrainingArguments(output_dir=str(tmp_path / "out"), **{**usual, **quiet, **given})


def trainer(tmp_path: Path, *callbacks: Any, kind: type[Trainer] = Trainer, **given: Any) -> Trainer:
    return kind(
        model=model(),
        args=arguments(tmp_path, **given),
        train_dataset=DATA,
        eval_dataset=DATA,
        callbacks=list(callbacks),
    )


class Breaks(Trainer):
    """Raises, or gives NaN, at the third step."""

    raises = True

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **more: Any) -> Any:
        loss = super().compute_loss(model, inputs, *args, **more)
        if self.state.global_step == 3 and self.raises:
            raise ZeroDivisionError("the training broke")
        return loss * float("nan") if self.state.global_step == 3 and isinstance(loss, torch.Tensor) else loss


def points(history: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    return [(row["step"], row[name]) for row in history if name in row]


def curve(run: advisor.Run, name: str) -> list[tuple[int, float]]:
    return list(zip(run.curve(name).steps.tolist(), run.curve(name).values.tolist(), strict=True))


def test_everything_that_the_trainer_logs_is_in_the_run(tmp_path: Path, store: Path, runs: Runs) -> None:
    with AdvisorCallback("bert", store=store, objective="eval/loss", params={"note": "x"}) as callback:
        training = trainer(tmp_path, callback, weight_decay=0.1, adam_beta2=0.98, save_steps=7)
        training.train()
        training.evaluate()
        training.predict(DATA)
    [run] = runs()
    history = training.state.log_history
    assert (run.state, run.experiment, run.seed) == (RunState.FINISHED, "bert", 42)
    for name in ("loss", "grad_norm", "learning_rate"):
        assert curve(run, f"train/{name}") == points(history, name)
    assert curve(run, "eval/loss") == points(history, "eval_loss")
    assert len(curve(run, "eval/loss")) == 3
    assert run.objective == history[-1]["eval_loss"]
    assert [step for step, _ in curve(run, "test/loss")] == [8]
    assert "train/runtime" not in run.curves
    summary = next(row for row in history if "train_runtime" in row)
    assert run.user_attrs["training_summary"]["train_loss"] == summary["train_loss"]


def test_arguments_and_model_become_parameters(tmp_path: Path, store: Path, runs: Runs) -> None:
    with AdvisorCallback(store=store, params={"note": "x"}) as callback:
        trainer(tmp_path, callback, max_steps=1, adam_beta2=0.98, save_steps=7, run_name="first").train()
    [run] = runs()
    arguments_ = {k: v for k, v in run.params.items() if "." not in k}
    assert arguments_ == {
        "note": "x",
        "learning_rate": 5e-5,
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 1,
        "num_train_epochs": 2,
        "max_steps": 1,
        "optim": "adamw_torch_fused",
        "weight_decay": 0.0,
        "adam_beta2": 0.98,
        "warmup_steps": 0,
        "lr_scheduler_type": "linear",
        "max_grad_norm": 1.0,
        "label_smoothing_factor": 0.0,
        "bf16": False,
        "fp16": False,
    }
    assert {name.removeprefix("model."): value for name, value in run.params.items() if "." in name} == {
        **SIZES,
        "vocab_size": 32,
        "max_position_embeddings": 8,
        "model_type": "bert",
        "use_cache": False,  # the Trainer's own doing
        "n_parameters": 906,
        "n_trainable": 906,
    }
    assert run.user_attrs["training_arguments"]["run_name"] == "first"
    assert run.user_attrs["training_arguments"]["hub_token"] == "[redacted]"
    assert run.user_attrs["model_config"]["hidden_size"] == 8


def test_the_callback_is_known_by_name(tmp_path: Path, store: Path, runs: Runs, monkeypatch: Any) -> None:
    monkeypatch.setenv("ADVISOR_STORE", str(store))
    monkeypatch.setenv("ADVISOR_EXPERIMENT", "named")
    training = trainer(tmp_path, report_to="advisor", max_steps=2)
    [callback] = [one for one in training.callback_handler.callbacks if isinstance(one, AdvisorCallback)]
    training.train()
    callback.finish()
    assert [(run.experiment, run.state) for run in runs()] == [("named", RunState.FINISHED)]


def test_two_callbacks_in_one_trainer_are_refused(tmp_path: Path, store: Path) -> None:
    first, second = AdvisorCallback("a", store=store), AdvisorCallback("b", store=store)
    with first, second, pytest.raises(ConfigError, match="this Trainer has two AdvisorCallbacks"):
        trainer(tmp_path, first, second, max_steps=1).train()


def test_an_evaluation_alone_is_a_run(tmp_path: Path, store: Path, runs: Runs) -> None:
    with AdvisorCallback("bert", store=store) as callback:
        training = trainer(tmp_path, callback)
        evaluated = training.evaluate()
        training.evaluate()
    [run] = runs()
    assert run.curve("eval/loss").values.tolist() == [evaluated["eval_loss"]] * 2


def test_a_run_that_goes_on_takes_the_training_in(tmp_path: Path, store: Path, runs: Runs) -> None:
    run = advisor.init("mine", store=store, params={"learning_rate": 5e-5})
    trainer(tmp_path, AdvisorCallback(), max_steps=2).train()
    advisor.log({"more": 1.0})
    run.finish()
    [read] = runs()
    assert (read.state, len(read.curve("train/loss")), read.metrics["more"]) == (RunState.FINISHED, 2, 1.0)


def test_an_exception_fails_the_run(tmp_path: Path, store: Path, runs: Runs) -> None:
    with pytest.raises(ZeroDivisionError), AdvisorCallback("bert", store=store) as callback:
        trainer(tmp_path, callback, kind=Breaks).train()
    callback = AdvisorCallback("bert", store=store)
    with pytest.raises(ZeroDivisionError):
        trainer(tmp_path, callback, kind=Breaks).train()
    assert callback.run is not None
    assert callback.run.state is RunState.RUNNING  # nobody has told the callback …
    with AdvisorCallback("bert", store=store) as callback:
        trainer(tmp_path, callback, max_steps=1).train()
    first, second, third = runs()
    assert [run.state for run in (first, second, third)] == [RunState.FAILED, RunState.FAILED, RunState.FINISHED]
    assert "ZeroDivisionError: the training broke" in str(first.error)
    assert "an exception ended it" in str(second.error)  # … until the thread trains again
    assert len(first.curve("train/loss")) == 3


def test_only_the_first_process_logs(tmp_path: Path, store: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    callback = AdvisorCallback("bert", store=store, checks=True, prune=True)
    trainer(tmp_path, callback, max_steps=1).train()
    callback.finish()
    assert runs() == []


def test_a_run_that_has_hardly_a_chance_is_pruned(tmp_path: Path, store: Path, runs: Runs, better: Better) -> None:
    better("bert", "eval/loss")
    with AdvisorCallback("bert", store=store, prune=True) as callback:
        training = trainer(tmp_path, callback, max_steps=300, eval_strategy="steps", eval_steps=50, logging_steps=50)
        training.train()
    assert training.state.global_step < 300
    assert runs()[-1].state is RunState.PRUNED
    assert curve(runs()[-1], "eval/loss")[-1][0] == training.state.global_step


def test_a_nan_is_told_at_once_and_may_end_the_training(tmp_path: Path, store: Path, runs: Runs) -> None:
    class GivesNaN(Breaks):
        raises = False

    told: list[Finding] = []
    with AdvisorCallback("bert", store=store, stop_on_error=True, on_finding=told.append) as callback:
        training = trainer(
            tmp_path, callback, kind=GivesNaN, logging_nan_inf_filter=False, eval_strategy="no", max_steps=20
        )
        training.train()
    assert {(one.code, one.step) for one in told} == {("ADV101", 4)}
    assert callback.findings
    assert training.state.global_step == 4
    assert runs()[0].state is RunState.FAILED


def test_a_training_that_goes_on_from_a_checkpoint_is_a_run_that_says_so(
    tmp_path: Path, store: Path, runs: Runs
) -> None:
    for steps, resume in ((4, False), (8, True)):
        with AdvisorCallback("bert", store=store, checks=True) as callback:
            training = trainer(tmp_path, callback, max_steps=steps, save_strategy="steps", save_steps=4)
            training.train(resume_from_checkpoint=resume)
    first, second = runs()
    assert second.user_attrs["resumed_from"] == first.id
    assert second.user_attrs["resumed_at_step"] == 4
    assert [step for step, _ in curve(first, "train/loss")] == [1, 2, 3, 4]
    assert [step for step, _ in curve(second, "train/loss")] == [5, 6, 7, 8]
    assert [one.code for run in runs() for one in run.findings if one.detector == "state"] == []
    kept = json.loads((tmp_path / "out" / "checkpoint-4" / "trainer_state.json").read_text())["stateful_callbacks"]
    assert kept["advisor"]["optimizer"]["step"] == 4


def test_the_state_of_model_and_data_is_checked_where_asked(tmp_path: Path, store: Path, runs: Runs) -> None:
    class AsSorted(Trainer):
        def _get_train_sampler(self, *args: Any) -> Any:
            return torch.utils.data.SequentialSampler(DATA)

    with AdvisorCallback("bert", store=store, checks=True) as callback:
        training = trainer(tmp_path, callback, kind=AsSorted)
        training.model.bert.requires_grad_(False)
        training.train()
    assert [one.code for one in runs()[0].findings if one.detector == "state"] == ["ADV119"]


def test_each_trial_of_a_search_is_a_run(tmp_path: Path, store: Path, runs: Runs) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rates = iter([1e-3, 1e-3, 1e-3])

    class PrunesTheLast(optuna.pruners.BasePruner):
        def prune(self, study: Any, trial: Any) -> bool:
            return bool(trial.number == 2)

    training = Trainer(
        model_init=lambda trial: model(),
        args=arguments(tmp_path),
        train_dataset=DATA,
        eval_dataset=DATA,
        callbacks=[AdvisorCallback("search", store=store)],
    )
    training.hyperparameter_search(
        backend="optuna",
        n_trials=3,
        direction="minimize",
        hp_name=lambda trial: f"trial-{trial.number}",
        hp_space=lambda trial: {
            "learning_rate": trial.suggest_float("learning_rate", next(rates), 2e-3),
            "per_device_train_batch_size": trial.suggest_categorical("per_device_train_batch_size", [4, 8]),
        },
        pruner=PrunesTheLast(),
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    found = runs()
    assert [run.state for run in found] == [RunState.FINISHED, RunState.FINISHED, RunState.PRUNED]
    assert len({run.params["learning_rate"] for run in found}) == 3
    assert [run.user_attrs["trial_name"] for run in found] == ["trial-0", "trial-1", "trial-2"]


def test_the_example_runs_and_says_what_it_promises(example: Example) -> None:
    told = example("with_huggingface.py")
    assert re.search(r"run #0 is finished: eval/loss 0\.\d+", told)
    assert "arguments: {'num_train_epochs': 3, 'learning_rate': 0.01}" in told
    assert "the model: {'model.hidden_size': 16, 'model.n_parameters': 10514}" in told
