"""An Optuna program as it always was; only its storage is the advisor's store.

python examples/05_optuna_study.py [STORE]
"""

import sys
import tempfile

import optuna
from sklearn.datasets import load_wine
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import advisor
from advisor.optuna import AdvisorStorage

store = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
x, y = load_wine(return_X_y=True)


def objective(trial: optuna.Trial) -> float:
    kernel = trial.suggest_categorical("kernel", ["linear", "rbf"])
    c = trial.suggest_float("C", 1e-3, 1e3, log=True)
    gamma = trial.suggest_float("gamma", 1e-4, 1, log=True)
    return cross_val_score(make_pipeline(StandardScaler(), SVC(C=c, kernel=kernel, gamma=gamma)), x, y, cv=3).mean()


optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study(
    study_name="wine-svm",
    direction="maximize",
    storage=AdvisorStorage(store),
    sampler=optuna.samplers.TPESampler(seed=0),
    load_if_exists=True,
)
study.optimize(objective, n_trials=20)
print(f"Optuna says:  best trial #{study.best_trial.number}, accuracy {study.best_value:.4f}, {study.best_params}")

# The same trials are runs of an experiment: search them, check them, ask what to try next, write a report.
adv = advisor.open(store)
exp = adv.experiment("wine-svm")
best = exp.best()
print(f"advisor says: best run #{best.number}, accuracy {best.objective:.4f}, {dict(best.params)}")
suggestion = exp.suggest(seed=0)[0]
print(f"try next: {suggestion.params}")
print(f"because: {suggestion.why}")
adv.close()
