"""Track a training of PyTorch Lightning, and stop it where it is hopeless.

python examples/integrations/with_lightning.py [STORE]
"""

import sys
import tempfile

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

import advisor
from advisor.integrations.lightning import AdvisorLogger, AdvisorPruning

store = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
x, y = load_breast_cancer(return_X_y=True)
x = torch.tensor(StandardScaler().fit_transform(x), dtype=torch.float32)
data = TensorDataset(x, torch.tensor(y, dtype=torch.float32))
train, val = torch.utils.data.random_split(data, [0.8, 0.2], torch.Generator().manual_seed(0))


class Tumours(pl.LightningModule):
    def __init__(self, lr=0.01, hidden=8):
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Sequential(torch.nn.Linear(30, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 1))

    def loss(self, batch):
        return torch.nn.functional.binary_cross_entropy_with_logits(self.net(batch[0])[:, 0], batch[1])

    def training_step(self, batch):
        loss = self.loss(batch)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch):
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


with AdvisorLogger("tumours", store=store, objective="val_loss") as logger:
    trainer = pl.Trainer(
        max_epochs=5,
        accelerator="cpu",
        logger=logger,
        callbacks=[AdvisorPruning(stop_on_error=True, checks=True)],
        log_every_n_steps=5,
        default_root_dir=tempfile.mkdtemp(),
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Tumours(), DataLoader(train, batch_size=32, shuffle=True), DataLoader(val, batch_size=200))

run = advisor.open(store).experiment("tumours").run(0)
print(f"run #{run.number} is {run.state}: val_loss {run.objective:.3f}, {dict(run.params)}")
print("curves:", ", ".join(sorted(run.curves)))
