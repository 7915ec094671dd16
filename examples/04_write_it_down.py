"""Write an experiment's report and one run's summary. Every figure in them is computed from the store.

python examples/04_write_it_down.py [STORE [REPORTS]]
"""

import sys
import tempfile

from sklearn.datasets import load_wine
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import advisor

store = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
reports = sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp()
x, y = load_wine(return_X_y=True)
x_train, x_val, y_train, y_val = train_test_split(StandardScaler().fit_transform(x), y, random_state=0)

adv = advisor.open(store, reports=reports)
exp = adv.experiment(
    "wine",
    objective="val_loss",
    space={"alpha": advisor.Float(1e-5, 1, log=True), "eta0": advisor.Float(1e-3, 1, log=True)},
    description="Which cultivar is a wine from? Logistic regression by SGD.",
)
for run in exp.optimize(n_runs=12, seed=0):
    model = SGDClassifier(loss="log_loss", learning_rate="constant", random_state=0, **run.params)
    for epoch in range(20):
        model.partial_fit(x_train, y_train, classes=[0, 1, 2])
        train_loss, val_loss = (
            log_loss(labels, model.predict_proba(images)) for images, labels in ((x_train, y_train), (x_val, y_val))
        )
        run.log({"train_loss": train_loss, "val_loss": val_loss}, step=epoch)
exp.check()

report = exp.report(format="html")  # one file with its pictures inside, to be mailed or archived
summary = exp.summarize(exp.best())  # Markdown
print(f"{report.title}: {report.path}")
print(f"{summary.title}: {summary.path}")
print(f"sentences by: {report.writer}\n")
print("\n".join(summary.text.splitlines()[:12]))
adv.close()
