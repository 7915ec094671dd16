"""Accelerate logs into runs: the tracker in a real Accelerator."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("accelerate")
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState

import advisor
from advisor.integrations.accelerate import AdvisorTracker, should_stop
from storage.records import RunState

Runs = Callable[[], list[advisor.Run]]
Example = Callable[[str], str]
Better = Callable[[str, str], None]


@pytest.fixture(autouse=True)
def no_state_is_kept() -> Iterator[None]:
    """Accelerate keeps what it knows of the processes for all of a program."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def accelerator(tracker: Any, config: dict[str, Any] | None = None) -> Accelerator:
    made = Accelerator(cpu=True, log_with=tracker)
    made.init_trackers("lines", config=config)
    return made


def train(accelerator: Accelerator, steps: int = 5) -> list[float]:
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 1)
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
    losses = []
    for step in range(steps):
        loss = model(torch.ones(4, 2)).pow(2).mean()
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        accelerator.log({"train_loss": loss, "text": "no number", "eval": {"f1": step}}, step=10 * step)
        if should_stop(accelerator):
            break
    return losses


def test_everything_that_is_logged_is_in_the_run(store: Path, runs: Runs) -> None:
    made = accelerator(AdvisorTracker("mine", store=store, objective="train_loss"), {"lr": 0.1, "model": {"width": 2}})
    losses = train(made)
    assert made.get_tracker("advisor", unwrap=True).state is RunState.RUNNING
    made.end_training()
    [run] = runs()
    assert (run.experiment, run.state) == ("mine", RunState.FINISHED)
    assert run.params == {"lr": 0.1, "model.width": 2}
    assert run.curve("train_loss").values.tolist() == pytest.approx(losses)
    assert run.curve("train_loss").steps.tolist() == [0, 10, 20, 30, 40]
    assert run.curve("eval/f1").values.tolist() == [0, 1, 2, 3, 4]


def test_the_tracker_is_known_by_name(store: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVISOR_STORE", str(store))
    made = accelerator("advisor")
    train(made)
    made.end_training()
    assert [(run.experiment, run.state) for run in runs()] == [("lines", RunState.FINISHED)]


def test_a_run_of_somebody_else_stays_open(store: Path, runs: Runs) -> None:
    with advisor.open(store).experiment("mine").start(params={"lr": 0.1}) as run:
        made = accelerator(AdvisorTracker(run=run), {"lr": 0.1, "width": 2})
        train(made)
        made.end_training()
        assert run.state is RunState.RUNNING
    assert runs()[0].params == {"lr": 0.1, "width": 2}


def test_a_run_that_has_hardly_a_chance_is_pruned(store: Path, runs: Runs, better: Better) -> None:
    better("lines", "train_loss")
    made = accelerator(AdvisorTracker("lines", store=store))
    made.log({"train_loss": 5.0}, step=300)
    assert should_stop(made)
    made.end_training()
    assert runs()[-1].state is RunState.PRUNED


def test_only_the_first_process_logs(store: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    made = accelerator(AdvisorTracker("lines", store=store), {"lr": 0.1})
    train(made)
    made.end_training()
    assert runs() == []


def test_the_example_runs_and_says_what_it_promises(example: Example) -> None:
    told = example("with_accelerate.py")
    assert re.search(r"run #0 is finished: loss 0\.\d+ after 50 steps", told)
    assert "{'lr': 0.1, 'steps': 50, 'model.width': 8}" in told
