"""What is said in the summary beside what was logged."""

import importlib
import os

wandb = importlib.import_module(os.environ["TRACKER"])

run = wandb.init(project="shapes", name="summary")
run.define_metric("val", summary="min")
for value in (3.0, 1.0, 2.0):
    wandb.log({"loss": value, "val": value})
wandb.summary["best"] = 1.5
run.summary.best_epoch = 2
run.summary.update({"bar": {"x": 1}, "words": "good"})
print(wandb.summary["best"], float(run.summary["loss"]), run.summary.get("nothing"))
wandb.finish(exit_code=0)
