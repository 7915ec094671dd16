"""Find the trainings that went wrong, with the evidence.

python examples/03_find_what_went_wrong.py [STORE]
"""

import sys
import tempfile

import numpy as np
from sklearn.datasets import load_diabetes

import advisor
from advisor.findings import CODES

store = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
x, y = load_diabetes(return_X_y=True, scaled=True)
x, y = x * len(x) ** 0.5, (y - y.mean()) / y.std()

adv = advisor.open(store)  # notify=["console"], or a webhook's address, sends what is found
exp = adv.experiment("diabetes", objective="val_loss", description="Linear regression by full-batch gradient descent.")


def train(lr: float) -> None:
    with exp.start(params={"lr": lr}) as run:
        weights = np.zeros(x.shape[1])
        for step in range(60):
            with np.errstate(all="ignore"):  # overflow is what this example is about
                error = x @ weights - y
                weights -= lr * x[:300].T @ error[:300] / 300
                run.log(train_loss=np.mean(error[:300] ** 2), val_loss=np.mean(error[300:] ** 2), step=step)
            if not np.isfinite(weights).all():
                raise FloatingPointError(f"the weights are not finite at step {step}")


for lr in (0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4):
    train(lr)
train(0.9)  # too high: the loss grows with each step
train(1e-7)  # too low: nothing happens
try:
    train(1e9)  # so high that it raises; the run is marked failed and keeps the traceback
except FloatingPointError as error:
    print(f"the training raised: {error}\n")

checked = exp.check()
for finding in exp.findings():  # the gravest first
    if finding.severity == "info":
        break
    print(f"run #{exp.run(finding.run_id).number} {finding.severity:<7} {finding.code} {finding.title}")
    print(f"    what to do: {CODES[finding.code].what_to_do}")

failed = exp.runs(where="state = 'failed'")[0]
print(f"\nrun #{failed.number} failed: {failed.error.splitlines()[-1]}")
# Not judged is not the same as healthy.
print(f"{len(checked.not_judged)} checks could not be made, for instance: {checked.not_judged[0].reason}")
adv.close()
