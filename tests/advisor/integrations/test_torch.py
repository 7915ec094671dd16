"""A plain loop of PyTorch, tracked."""

from __future__ import annotations

import re
import subprocess
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


TWO = """
import sys, torch
from advisor.integrations.torch import track
rank = int(sys.argv[2])
torch.distributed.init_process_group("gloo", init_method="file://" + sys.argv[3], rank=rank, world_size=2)
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
with track("loop", store=sys.argv[1], prune=True, model=model, optimizer=optimizer) as run:
    for epoch in run.epochs(300):
        model(torch.ones(1, 1)).sum().backward()
        optimizer.step()
        run.log({"val_loss": 5.0}, step=epoch)
print(run.epoch, run.run.number)
torch.distributed.destroy_process_group()  # threads of a group that is left to the end of a process may abort it
"""


def test_what_the_first_process_is_advised_stops_all(
    store: Path, runs: Runs, better: Better, tmp_path: Path, repository: Path
) -> None:
    better("loop", "val_loss")
    arguments = [[sys.executable, "-c", TWO, str(store), rank, str(tmp_path / "meet")] for rank in "01"]
    processes = [subprocess.Popen(one, cwd=repository, stdout=subprocess.PIPE, text=True) for one in arguments]
    told = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert told[0][0] == told[1][0] != "300"
    assert [number for _, number in told] == ["30", "-1"]
    assert runs()[-1].state is RunState.PRUNED


def test_a_training_that_optimize_starts_logs_into_the_run_that_it_was_started_for(
    store: Path, tmp_path: Path, runs: Runs, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(repository))
    (tmp_path / "train.py").write_text(
        "import sys, torch\n"
        "from advisor.integrations.torch import track\n"
        "model = torch.nn.Linear(1, 1)\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=float(sys.argv[1]))\n"
        "with track(model=model, optimizer=optimizer, params={'lr': float(sys.argv[1])}) as run:\n"
        "    run.log(loss=1.0)\n"
        "    run.run.set_attribute('said', 'by the training')\n"
    )
    exp = advisor.open(store, capture=False).experiment("lines", objective="loss", space={"lr": advisor.Float(0.1, 1)})
    done = exp.optimize_command([sys.executable, "train.py", "{lr}"], n_runs=1, sampler="random")
    [run] = runs()
    assert run.state is RunState.FINISHED, done.attempts[0].log.read_text()
    assert run.objective == 1.0
    assert run.params["optimizer.name"] == "SGD"
    assert run.params["optimizer.lr"] == pytest.approx(run.params["lr"])
    assert run.user_attrs["said"] == "by the training"
