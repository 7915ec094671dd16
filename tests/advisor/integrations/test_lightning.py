"""Lightning logs into runs: the logger and the callback in a real Trainer."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lightning")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what Lightning's own imports say is not ours
    import lightning.pytorch as pl
    import torch
    from lightning.pytorch.callbacks import Callback, ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger
    from torch.utils.data import DataLoader, TensorDataset

import advisor
from advisor.integrations.lightning import AdvisorCallback, AdvisorLogger, AdvisorPruning
from storage.records import Finding, RunState

Runs = Callable[[], list[advisor.Run]]
Example = Callable[[str], str]
Better = Callable[[str, str], None]
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        ".*does not have many workers",
        "The dirpath has changed from",  # the folder of checkpoints is called by the run
        "Checkpoint directory .* exists and is not empty",
        "You defined a `validation_step` but have no `val_dataloader`",
        "`isinstance.treespec, LeafSpec.` is deprecated",
    )
]


class Line(pl.LightningModule):
    """A line with dropout, and what may go wrong at a step."""

    def __init__(self, lr: float = 0.1, optimizer: dict[str, Any] | None = None, breaks_at: int = -1) -> None:
        super().__init__()
        self.save_hyperparameters({"lr": lr, "optimizer": optimizer or {"name": "sgd", "momentum": 0.9}})
        self.layers = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Dropout(0.1), torch.nn.Linear(4, 1))
        self.breaks_at = breaks_at
        self.loss_is_nan_at = -1

    def training_step(self, batch: Any, index: int) -> Any:
        if self.global_step == self.breaks_at:
            raise ZeroDivisionError("the training broke")
        x, y = batch
        loss = ((self.layers(x)[:, 0] - y) ** 2).mean()
        if self.global_step == self.loss_is_nan_at:
            loss = loss * float("nan")
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        x, y = batch
        self.log("val_loss", ((self.layers(x)[:, 0] - y) ** 2).mean())

    def test_step(self, batch: Any, index: int) -> None:
        self.log("test_loss", ((self.layers(batch[0])[:, 0] - batch[1]) ** 2).mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.hparams["lr"], momentum=0.9)


def data(*, shuffle: bool = True) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 2, generator=generator)
    return DataLoader(TensorDataset(x, (x.sum(dim=1) > 0).float()), batch_size=8, shuffle=shuffle)


def trainer(tmp_path: Path, logger: Any, *callbacks: Any, epochs: int = 2, **options: Any) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=logger,
        callbacks=list(callbacks),
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        enable_checkpointing=any(isinstance(one, ModelCheckpoint) for one in callbacks),
        **options,
    )


def test_everything_that_is_logged_is_in_the_run(tmp_path: Path, store: Path, runs: Runs) -> None:
    csv = CSVLogger(tmp_path / "csv")
    with AdvisorLogger("lines", store=store, objective="val_loss", params={"note": "x"}) as logger:
        fitting = trainer(tmp_path, [logger, csv])
        fitting.fit(model := Line(), data(), data(shuffle=False))
        fitting.test(model, dataloaders=data(shuffle=False), verbose=False)
        assert (logger.name, logger.version) == ("lines", logger.experiment.id)
    [run] = runs()
    assert run.state is RunState.FINISHED
    assert run.params == {"note": "x", "lr": 0.1, "optimizer.name": "sgd", "optimizer.momentum": 0.9}
    table = np.genfromtxt(Path(csv.log_dir) / "metrics.csv", delimiter=",", names=True)
    assert set(run.curves) == {"train_loss", "val_loss", "test_loss", "epoch"}
    for metric in ("train_loss", "val_loss", "test_loss"):
        rows = table[~np.isnan(table[metric])]
        assert run.curve(metric).steps.tolist() == rows["step"].tolist()
        np.testing.assert_allclose(run.curve(metric).values, rows[metric], rtol=1e-6)
    assert (len(run.curve("train_loss")), len(run.curve("val_loss")), len(run.curve("test_loss"))) == (16, 2, 1)
    assert run.objective == run.curve("val_loss").values[-1]


def test_the_step_may_be_logged_by_the_module(tmp_path: Path, store: Path, runs: Runs) -> None:
    class ByEpoch(Line):
        def validation_step(self, batch: Any, index: int) -> None:
            self.log_dict({"val_loss": batch[0].mean(), "step": float(self.current_epoch)})

    with AdvisorLogger("lines", store=store) as logger:
        trainer(tmp_path, logger, epochs=3).fit(ByEpoch(), data(), data(shuffle=False))
    assert runs()[0].curve("val_loss").steps.tolist() == [0, 1, 2]


def test_a_run_is_open_for_a_test_until_the_next_training(tmp_path: Path, store: Path, runs: Runs) -> None:
    for _ in range(2):
        logger = AdvisorLogger("lines", store=store)
        fitting = trainer(tmp_path, logger, epochs=1)
        fitting.fit(model := Line(), data())
        fitting.test(model, dataloaders=data(shuffle=False), verbose=False)
    logger.finish()
    assert [(run.state, len(run.curve("test_loss"))) for run in runs()] == [(RunState.FINISHED, 1)] * 2


@pytest.mark.parametrize("callbacks", [[], [AdvisorCallback]])
def test_an_exception_fails_the_run_and_keeps_its_traceback(
    callbacks: list[Any], tmp_path: Path, store: Path, runs: Runs
) -> None:
    logger = AdvisorLogger("lines", store=store)
    with pytest.raises(ZeroDivisionError):
        trainer(tmp_path, logger, *(make() for make in callbacks)).fit(Line(breaks_at=3), data())
    [run] = runs()
    assert run.state is RunState.FAILED
    assert "ZeroDivisionError: the training broke" in str(run.error)
    assert run.curve("train_loss").steps.tolist() == [0, 1, 2]


def test_a_run_of_somebody_else_stays_open(tmp_path: Path, store: Path, runs: Runs) -> None:
    with advisor.open(store).experiment("mine").start(params={"lr": 0.1}) as run:
        trainer(tmp_path, AdvisorLogger(run=run), epochs=1).fit(Line(), data())
        run.log({"more": 1.0})
    [read] = runs()
    assert (read.experiment, read.state) == ("mine", RunState.FINISHED)
    assert {"train_loss", "more"} < set(read.curves)


def test_only_the_first_process_logs(tmp_path: Path, store: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    logger = AdvisorLogger("lines", store=store)
    trainer(tmp_path, logger, AdvisorPruning(checks=True), epochs=1).fit(Line(), data(), data(shuffle=False))
    logger.experiment.note("takes everything")
    logger.finish()
    assert runs() == []


def test_a_run_that_has_hardly_a_chance_is_pruned(tmp_path: Path, store: Path, runs: Runs, better: Better) -> None:
    better("lines", "val_loss")
    with AdvisorLogger("lines", store=store) as logger:
        fitting = trainer(tmp_path, logger, AdvisorPruning(), epochs=50)
        fitting.fit(Line(lr=1e-6), data(), data(shuffle=False))
    assert fitting.current_epoch < 50
    assert runs()[-1].state is RunState.PRUNED
    assert len(runs()[-1].curve("val_loss")) == fitting.current_epoch


def test_a_nan_is_told_at_once_and_may_end_the_training(tmp_path: Path, store: Path, runs: Runs) -> None:
    told: list[Finding] = []
    logger = AdvisorLogger("lines", store=store, on_finding=told.append)
    model = Line()
    model.loss_is_nan_at = 5
    fitting = trainer(tmp_path, logger, AdvisorCallback(stop_on_error=True), epochs=10)
    fitting.fit(model, data())
    logger.finish()
    assert [(one.code, one.metric, one.step) for one in told] == [("ADV101", "train_loss", 5)]
    assert logger.findings[0].code == "ADV101"
    assert fitting.global_step == 7  # Lightning logs a step after its callbacks have heard of its end
    assert (runs()[0].state, "ADV101" in str(runs()[0].error)) == (RunState.FAILED, True)


def test_a_training_that_goes_on_from_a_checkpoint_is_a_run_that_says_so(
    tmp_path: Path, store: Path, runs: Runs
) -> None:
    with AdvisorLogger("lines", store=store) as logger:
        keep = ModelCheckpoint(save_last=True)
        trainer(tmp_path, logger, AdvisorCallback(checks=True), keep, epochs=2).fit(Line(), data())
    assert Path(keep.last_model_path).is_relative_to(tmp_path / "lines" / str(logger.version))
    with AdvisorLogger("lines", store=store) as logger:
        fitting = trainer(tmp_path, logger, AdvisorCallback(checks=True), ModelCheckpoint(save_last=True), epochs=4)
        fitting.fit(Line(), data(), ckpt_path=keep.last_model_path, weights_only=False)
    first, second = runs()
    assert second.user_attrs == {"resumed_from": first.id, "resumed_at_step": 16}
    assert first.curve("train_loss").steps.tolist() == list(range(16))
    assert second.curve("train_loss").steps.tolist() == list(range(16, 32))
    assert [one.code for run in runs() for one in run.findings if one.detector == "state"] == []


def test_the_state_of_model_and_data_is_checked_where_asked(tmp_path: Path, store: Path, runs: Runs) -> None:
    class StaysInTraining(Callback):
        def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
            pl_module.train()

    with AdvisorLogger("lines", store=store) as logger:
        model = Line()
        model.layers[0].requires_grad_(False)
        model.layers[2].requires_grad_(False)
        model.extra = torch.nn.Parameter(torch.zeros(1))
        model.training_step = lambda batch, batch_idx: model.extra.sum()  # type: ignore[method-assign, assignment]
        fitting = trainer(
            tmp_path, logger, StaysInTraining(), AdvisorCallback(checks=True), epochs=3, num_sanity_val_steps=0
        )
        fitting.fit(model, data(shuffle=False), data(shuffle=False))
    codes = {finding.code for finding in runs()[0].findings if finding.detector == "state"}
    assert codes == {"ADV117", "ADV119"}


def test_a_callback_without_the_logger_says_that_it_does_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer(tmp_path, False, AdvisorPruning(checks=True), epochs=1).fit(Line(), data())
    assert "there is no AdvisorLogger in this trainer, so AdvisorPruning does nothing" in caplog.text


def test_a_logger_that_is_sent_to_another_process_leaves_its_run_behind(store: Path) -> None:
    with AdvisorLogger("lines", store=store) as logger:
        assert logger.experiment.id
        assert pickle.loads(pickle.dumps(logger)).version is None


def test_the_older_package_works_as_well(repository: Path, store: Path, runs: Runs) -> None:
    pytest.importorskip("pytorch_lightning")
    program = """
        import sys, torch, pytorch_lightning as pl
        from advisor.integrations.lightning import AdvisorLogger, AdvisorPruning
        class Line(pl.LightningModule):
            def __init__(self):
                super().__init__()
                self.layer = torch.nn.Linear(1, 1)
            def training_step(self, batch, index):
                loss = self.layer(batch).pow(2).mean()
                self.log("loss", loss)
                return loss
            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), lr=0.1)
        assert isinstance(AdvisorLogger(), pl.loggers.Logger) and isinstance(AdvisorPruning(), pl.Callback)
        logger = AdvisorLogger("lines", store=sys.argv[1])
        pl.Trainer(logger=logger, callbacks=[AdvisorPruning()], max_epochs=1, accelerator="cpu", log_every_n_steps=1,
                   enable_checkpointing=False, enable_progress_bar=False).fit(
                   Line(), torch.utils.data.DataLoader(torch.ones(3, 1)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(store)], cwd=repository, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (runs()[0].state, len(runs()[0].curve("loss"))) == (RunState.FINISHED, 3)


def test_the_example_runs_and_says_what_it_promises(example: Example) -> None:
    told = example("with_lightning.py")
    assert re.search(r"run #0 is finished: val_loss 0\.\d+, \{'lr': 0\.01, 'hidden': 8\}", told)
    assert "curves: epoch, train_loss, val_loss" in told
