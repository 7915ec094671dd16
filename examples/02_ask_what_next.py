"""Let the advisor choose the parameters, and ask why.

python examples/02_ask_what_next.py [STORE]
"""

import sys
import tempfile

from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import advisor

store = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
x, y = load_digits(return_X_y=True)
x_train, x_val, y_train, y_val = train_test_split(x / 16, y, train_size=800, random_state=0)

adv = advisor.open(store)
exp = adv.experiment(
    "digits-mlp",
    objective="val_loss",
    space={
        "lr": advisor.Float(1e-4, 1, log=True),
        "hidden": advisor.Int(8, 128, log=True),
        "solver": advisor.Choice("sgd", "adam"),
    },
)

for run in exp.optimize(n_runs=14, seed=0):
    with run:
        model = MLPClassifier(
            run.params["hidden"], solver=run.params["solver"], learning_rate_init=run.params["lr"], random_state=0
        )
        for epoch in range(15):
            model.partial_fit(x_train, y_train, classes=range(10))
            run.log({"train_loss": model.loss_, "val_loss": log_loss(y_val, model.predict_proba(x_val))}, step=epoch)
            if run.should_stop():  # the others were so much better by now
                break
    print(f"#{run.number:<3} {run.state:<9} {run.params}")

best = exp.best()
print(f"\nbest: #{best.number}, val_loss {best.objective:.4f}, {dict(best.params)}")

suggestion = exp.suggest(seed=0)[0]
print(f"try next: {suggestion.params}")
print(f"because: {suggestion.why}")

importances, note = exp.importances()
print("what mattered:", importances.shares if importances else note)
adv.close()
