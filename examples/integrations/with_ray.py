"""Ray Tune: the process that drives the trials logs them; those that train need nothing of this package.

python examples/integrations/with_ray.py [STORE]
"""

from __future__ import annotations

import os
import sys
import tempfile

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray import tune
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

import advisor
from advisor.integrations.ray import AdvisorLoggerCallback

store = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()


def train(config: dict) -> None:
    x_train, x_valid, y_train, y_valid = train_test_split(*load_digits(return_X_y=True), random_state=0)
    model = SGDClassifier(alpha=config["alpha"], random_state=0)
    for _ in range(5):
        model.partial_fit(x_train, y_train, classes=range(10))
        tune.report({"accuracy": model.score(x_valid, y_valid)})


ray.init(num_cpus=1, include_dashboard=False, object_store_memory=80_000_000, log_to_driver=False)
callback = AdvisorLoggerCallback("digits", store=store, objective="accuracy", direction="maximize")
results = tune.Tuner(
    train,
    param_space={"alpha": tune.grid_search([1e-4, 1e-2, 1.0])},
    tune_config=tune.TuneConfig(metric="accuracy", mode="max", reuse_actors=True),
    # As stop, too, it ends trials that have hardly a chance.
    run_config=tune.RunConfig(callbacks=[callback], stop=callback, storage_path=tempfile.mkdtemp(), verbose=0),
).fit()
ray.shutdown()

for run in advisor.open(store).experiment("digits").runs():
    print(f"#{run.number} {run.state}: alpha {run.params['alpha']}, accuracy {run.objective:.3f}")
print(f"Tune's best: {results.get_best_result().config}")
