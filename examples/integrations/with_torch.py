"""Track a plain loop of PyTorch: gradient norm, learning rate, and checks of what curves do not show.

python examples/integrations/with_torch.py [STORE]
"""

import sys
import tempfile

import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

import advisor
from advisor.integrations.torch import track

store = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
x, y = load_digits(return_X_y=True)
data = TensorDataset(torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y))

torch.manual_seed(0)
train, val = torch.utils.data.random_split(data, [0.8, 0.2])
model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Dropout(0.1), torch.nn.Linear(32, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
loader = DataLoader(train, batch_size=64)  # and nobody said shuffle=True

with track("digits", store=store, objective="val_loss", model=model, optimizer=optimizer, loader=loader) as run:
    for _ in run.epochs(4):
        for images, labels in run.batches():
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.log(train_loss=loss)
        with run.evaluating():  # evaluation mode, no gradients, and back
            images, labels = val[:]
            run.log(val_loss=torch.nn.functional.cross_entropy(model(images), labels))
    checkpoint = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "advisor": run.state_dict()}

kept = advisor.open(store).experiment("digits").run(0)
print(f"run #{kept.number} is {kept.state}: val_loss {kept.objective:.3f}")
print("curves:", ", ".join(sorted(kept.curves)))
print("found:", "; ".join(f"{finding.code} {finding.title}" for finding in kept.findings))
print(
    "to go on from the checkpoint:", checkpoint["advisor"]["step"], "steps,", checkpoint["advisor"]["epoch"], "epochs"
)
