"""A plain loop of PyTorch, tracked."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch

import advisor
from advisor.integrations.torch import TrackedLoop, track
from storage.records import Finding, RunState

Runs = Callable[[], list[advisor.Run]]
Example = Callable[[str], str]
Better = Callable[[str, str], None]


def parts(*, shuffle: bool = True, lr: float = 0.1) -> dict[str, Any]:
    torch.manual_seed(0)
    x = torch.randn(64, 2)
    data = torch.utils.data.TensorDataset(x, (x.sum(dim=1) > 0).long())
    model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Dropout(0.1), torch.nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=shuffle)
    return {"model": model, "optimizer": optimizer, "loader": loader}


def train(run: TrackedLoop, parts: dict[str, Any], epochs: int, *, nan_at: int = -1) -> list[float]:
    """Return the gradient's norm before each step."""
    norms = []
    for _ in run.epochs(epochs):
        for x, y in run.batches():
            loss = torch.nn.functional.cross_entropy(parts["model"](x), y)
            parts["optimizer"].zero_grad()
            loss.backward()
            norms.append(sum(p.grad.pow(2).sum() for p in parts["model"].parameters()).sqrt().item())
            run.log(train_loss=loss if run.step != nan_at else float("nan"))
            parts["optimizer"].step()
        with run.evaluating():
            assert not parts["model"].training
            run.log(val_loss=torch.nn.functional.cross_entropy(parts["model"](x), y))
        assert parts["model"].training
    return norms


def test_a_loop_is_tracked(store: Path, runs: Runs) -> None:
    made = parts()
    with track("loop", store=store, objective="val_loss", params={"note": "x"}, seed=3, **made) as run:
        norms = train(run, made, 3)
        run.run.tag("tagged")
    [read] = runs()
    assert (read.state, read.seed, read.tags) == (RunState.FINISHED, 3, ("tagged",))
    assert read.params["note"] == "x"
    assert (read.params["optimizer.name"], read.params["optimizer.lr"], read.params["optimizer.momentum"]) == (
        "SGD",
        0.1,
        0.9,
    )
    assert (read.params["batch_size"], read.params["model.n_parameters"], read.params["model.n_trainable"]) == (
        8,
        42,
        42,
    )
    np.testing.assert_allclose(read.curve("grad_norm").values, norms, rtol=1e-5)
    assert read.curve("train_loss").steps.tolist() == read.curve("grad_norm").steps.tolist() == list(range(24))
    assert set(read.curve("lr").values) == {0.1}
    assert read.curve("val_loss").steps.tolist() == [8, 16, 24]
    assert [finding.code for finding in read.findings if finding.detector == "state"] == []


def test_an_exception_fails_the_run_and_sys_exit_does_not(store: Path, runs: Runs) -> None:
    with pytest.raises(ZeroDivisionError), track("loop", store=store):
        raise ZeroDivisionError("the training broke")
    with pytest.raises(SystemExit), track("loop", store=store):
        sys.exit(0)
    first, second = runs()
    assert (first.state, second.state) == (RunState.FAILED, RunState.FINISHED)
    assert "ZeroDivisionError: the training broke" in str(first.error)


def test_a_training_that_goes_on_from_a_checkpoint_is_a_run_that_says_so(store: Path, runs: Runs) -> None:
    made = parts()
    with track("loop", store=store, **made) as run:
        train(run, made, 2)
        kept = {"advisor": run.state_dict(), "optimizer": made["optimizer"].state_dict()}
    again = parts()
    again["optimizer"].load_state_dict(kept["optimizer"])
    with track("loop", store=store, resume=kept["advisor"], **again) as run:
        train(run, again, 3)
    lost = parts()
    with track("loop", store=store, resume=kept["advisor"], **lost) as run:
        assert [finding.code for finding in run.findings] == ["ADV116"]
    first, second, _ = runs()
    assert second.user_attrs == {"resumed_from": first.id, "resumed_at_step": 16}
    assert second.curve("train_loss").steps.tolist() == list(range(16, 24))
    assert [finding.code for finding in second.findings if finding.detector == "state"] == []


def test_a_run_that_has_hardly_a_chance_is_pruned(store: Path, runs: Runs, better: Better) -> None:
    better("loop", "val_loss")
    made = parts(lr=1e-9)
    with track("loop", store=store, prune=True, **made) as run:
        train(run, made, 50)
    assert run.epoch < 50
    assert runs()[-1].state is RunState.PRUNED


def test_a_nan_is_told_at_once_and_may_end_the_training(store: Path, runs: Runs) -> None:
    told: list[Finding] = []
    made = parts()
    with track("loop", store=store, stop_on_error=True, on_finding=told.append, **made) as run:
        train(run, made, 5, nan_at=3)
    assert [(one.code, one.step) for one in told] == [("ADV101", 3)]
    assert run.epoch == 1
    assert runs()[0].state is RunState.FAILED


def test_the_state_of_model_and_data_is_checked(store: Path, runs: Runs) -> None:
    made = parts(shuffle=False)
    with track("loop", store=store, **made) as run:
        for _ in run.epochs(2):
            for x, y in run.batches():
                made["model"].eval()
                torch.nn.functional.cross_entropy(made["model"](x), y).backward()
                made["optimizer"].step()
    assert {finding.code for finding in runs()[0].findings if finding.detector == "state"} == {"ADV117", "ADV119"}


def test_only_the_first_process_logs(store: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    made = parts()
    with track("loop", store=store, prune=True, **made) as run:
        train(run, made, 1)
    assert runs() == []


def test_the_hooks_are_gone_afterwards(store: Path) -> None:
    made = parts()
    with track("loop", store=store, **made) as run:
        pass
    made["optimizer"].step()
    assert run.step == 0


def test_the_example_runs_and_says_what_it_promises(example: Example) -> None:
    told = example("with_torch.py")
    assert re.search(r"run #0 is finished: val_loss 0\.\d+", told)
    assert "curves: grad_norm, lr, train_loss, val_loss" in told
    assert "found: ADV119 the training data is not shuffled" in told
    assert "to go on from the checkpoint: 92 steps, 4 epochs" in told
