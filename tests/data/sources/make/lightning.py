"""Write the fixtures of Lightning's CSVLogger with a model of two parameters, and what its own file says.

In an environment of its own, once a release (``-P``, since this file has the name of a package)::

    pip install torch lightning==2.6.6
    pip install 'torch<2.3' 'numpy<2' pytorch-lightning==1.9.5
    python -P tests/data/sources/make/lightning.py tests/data/sources

Folders: ``lightning-<release>``. The expected points are those that the ``csv`` module finds in the file.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

try:
    import lightning
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.loggers import CSVLogger
except ImportError:
    import pytorch_lightning as lightning
    from pytorch_lightning import LightningModule, Trainer
    from pytorch_lightning.loggers import CSVLogger


class Model(LightningModule):
    """A line."""

    def __init__(self, lr: float = 0.1, seed: int = 7, net: Any = None, is_odd: bool = False) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.line = torch.nn.Linear(1, 1)

    def training_step(self, batch: Any, number: int) -> Any:
        """Log the loss, and later on a further metric."""
        loss = ((self.line(batch) - batch) ** 2).mean()
        self.log("train/loss", math.nan if self.hparams.is_odd and number == 2 else loss, on_step=True, on_epoch=True)
        if self.current_epoch == 1:
            self.log("param_norm", self.line.weight.norm())
        return loss

    def validation_step(self, batch: Any, number: int) -> None:
        """Log the loss."""
        self.log("val_loss", math.inf if self.hparams.is_odd else (self.line(batch) - batch).abs().mean())

    def configure_optimizers(self) -> Any:
        """Return the optimizer."""
        return torch.optim.SGD(self.parameters(), self.hparams.lr)


def main(out: str) -> None:
    """Write one folder of fixtures."""
    top = Path(out).resolve() / f"lightning-{lightning.__version__}"
    shutil.rmtree(top, ignore_errors=True)
    data = torch.utils.data.DataLoader(torch.arange(8.0)[:, None] / 8, batch_size=2)
    for name, options in (
        ("lightning_logs", {}),
        ("lightning_logs", {"is_odd": True, "net": {"depth": 2}}),
        ("mine", {}),
    ):
        trainer = Trainer(
            max_epochs=3,
            logger=CSVLogger(str(top), name=name),
            log_every_n_steps=1,
            enable_checkpointing=False,
            enable_progress_bar=False,
            accelerator="cpu",
        )
        trainer.fit(Model(**options), data, data)
    runs = [said(path.parent, top) for path in sorted(top.rglob("metrics.csv"))]
    (top / "expected.json").write_text(json.dumps({"runs": runs}))


def said(folder: Path, top: Path) -> dict[str, Any]:
    """Return the file's columns, read cell by cell."""
    import csv

    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    curves: dict[str, Any] = {}
    for row in rows:
        for name, cell in row.items():
            if cell and name != "step":
                curve = curves.setdefault(name, {"steps": [], "values": []})
                curve["steps"].append(int(row["step"]))
                curve["values"].append(float(cell))
    return {"name": str(folder.relative_to(top)), "curves": curves}


if __name__ == "__main__":
    main(*sys.argv[1:])
