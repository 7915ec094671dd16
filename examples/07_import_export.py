"""Take runs out of a store and into another one: two Parquet files, nothing lost.

python examples/07_import_export.py [STORE]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_diabetes

import advisor
from advisor.sources import export_folder, import_path

work = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
x, y = load_diabetes(return_X_y=True)
x, y = x * len(x) ** 0.5, (y - y.mean()) / y.std()

here = advisor.open(work / "here")
exp = here.experiment("diabetes", objective="loss")
for lr in (0.01, 0.1, 1e200):  # the last one overflows: infinite and NaN values are kept, and travel
    with exp.start(params={"lr": lr}) as run, np.errstate(all="ignore"):
        weights = np.zeros(x.shape[1])
        for step in range(20):
            error = x @ weights - y
            run.log(loss=np.mean(error**2), step=step)
            weights -= lr * x.T @ error / len(y)

written = export_folder(here, work / "exported")
print(f"exported {written.n_runs} runs and {written.n_curves} curves:")
print("   ", sorted(file.name for file in Path(written.path).iterdir()))

there = advisor.open(work / "there")
read = import_path(there, work / "exported")
again = import_path(there, work / "exported")
print(f"imported {read.n_runs} runs with {read.n_points} values; the second time {again.n_runs}")

# An imported experiment is told what it is about, and then can do all that the others can.
copy = there.experiment("diabetes", objective="loss", direction="minimize")
same = [run.curve("loss") == copy.run(run.id).curve("loss") for run in exp.runs()]
print(f"curves are equal, NaN included: {all(same)}")
print(f"last values: {[float(run.metrics['loss']) for run in copy.runs()]}")
print(f"best of the copy: #{copy.best().number} with lr = {copy.best().params['lr']}")
here.close()
there.close()
