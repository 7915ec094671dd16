"""Track one training: its curves, its data, its model. Nothing to set up, no account, no network.

python examples/01_track_a_run.py [STORE]
"""

import sys
import tempfile
from pathlib import Path

import joblib
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import advisor

store = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
x, y = load_breast_cancer(return_X_y=True)
x_train, x_val, y_train, y_val = train_test_split(StandardScaler().fit_transform(x), y, random_state=0)

adv = advisor.open(store)
exp = adv.experiment("tumours", objective="val_loss", description="Is a tumour benign? Logistic regression by SGD.")

with exp.start(params={"alpha": 0.001, "eta0": 0.01}, seed=0, tags=["baseline"]) as run:
    run.use_data("train", x_train)  # a fingerprint is kept, not the data
    model = SGDClassifier(loss="log_loss", alpha=0.001, learning_rate="constant", eta0=0.01, random_state=0)
    for epoch in range(20):
        model.partial_fit(x_train, y_train, classes=[0, 1])
        run.log(
            {
                "train_loss": log_loss(y_train, model.predict_proba(x_train)),
                "val_loss": log_loss(y_val, model.predict_proba(x_val)),
                "val_accuracy": model.score(x_val, y_val),
            },
            step=epoch,
        )
    run.note("First try, with the defaults that the tutorial has.")
    with tempfile.TemporaryDirectory() as folder:
        joblib.dump(model, Path(folder) / "model.joblib")
        run.save(Path(folder) / "model.joblib")

# What was kept: everything above, and what nobody had to ask for.
kept = exp.run(0)
print(f"run #{kept.number} is {kept.state}: val_loss {kept.objective:.4f} after {len(kept.curve('val_loss'))} epochs")
print("first and last training loss:", [round(float(v), 4) for v in kept.curve("train_loss").values[[0, -1]]])
print("data:", [(data["name"], data["shape"]) for data in kept.data])
print("saved:", [(file["name"], file["size"] > 0) for file in kept.artifacts])
print("captured as well:", ", ".join(sorted(kept.environment)))
adv.close()
