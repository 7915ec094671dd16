"""Optuna: a study stays in a storage of its own, and each trial becomes a run as well.

python examples/integrations/with_optuna.py [STORE]
"""

from __future__ import annotations

import sys
import tempfile

import optuna
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

import advisor
from advisor.integrations.optuna import AdvisorCallback

store = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
x_train, x_valid, y_train, y_valid = train_test_split(*load_digits(return_X_y=True), random_state=0)
optuna.logging.set_verbosity(optuna.logging.WARNING)


def objective(trial: optuna.Trial) -> float:
    alpha = trial.suggest_float("alpha", 1e-6, 1, log=True)
    model = SGDClassifier(alpha=alpha, penalty=trial.suggest_categorical("penalty", ["l1", "l2"]), random_state=0)
    for step in range(5):
        model.partial_fit(x_train / 16, y_train, classes=range(10))
        trial.report(model.score(x_valid / 16, y_valid), step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return model.score(x_valid / 16, y_valid)


study = optuna.create_study(study_name="digits", direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
study.optimize(objective, n_trials=5)  # before anybody thought of a callback
study.optimize(objective, n_trials=10, callbacks=[AdvisorCallback(store=store)])

experiment = advisor.open(store).experiment("digits")
runs = experiment.runs()
print(f"{len(runs)} runs of {len(study.trials)} trials, {sum(run.state == 'pruned' for run in runs)} pruned")
best = experiment.best()
print(f"Optuna's best:  trial {study.best_trial.number}, {study.best_value:.4f}")
print(f"advisor's best: run #{best.number}, {best.objective:.4f}")
