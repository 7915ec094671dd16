"""Config before, at and after init; what may change and what may not."""

import argparse
import importlib
import os

wandb = importlib.import_module(os.environ["TRACKER"])

run = wandb.init(
    project="shapes",
    name="first",
    notes="a note",
    tags=["a", "b"],
    group="g",
    job_type="train",
    config={"lr": 0.1, "opt": {"name": "adam", "betas": [0.9, 0.99]}, "none": None, "flag": True},
)
wandb.config.new = 5
wandb.config["item"] = "text"
wandb.config.update(argparse.Namespace(z=1, y="s"))
wandb.config.setdefaults({"lr": 1, "q": 2})
try:
    wandb.config.lr = 0.2
    refused = False
except Exception:  # noqa: BLE001  # each has its own
    refused = True
wandb.config.update({"lr": 0.3}, allow_val_change=True)
wandb.config.update({"new": 5})  # the same value is no change
try:
    wandb.config.nothing  # noqa: B018
    missing = ""
except AttributeError:
    missing = "AttributeError"
try:
    wandb.config["nothing"]
except KeyError:
    missing += " KeyError"
run.tags += ("c",)
print(refused, missing, wandb.config.lr, wandb.config["opt"]["name"], "lr" in wandb.config, wandb.config.get("no", 3))
print(sorted(wandb.config.as_dict()), run.name, run.project, run.group, run.job_type, run.notes, run.tags)
wandb.finish()
print(wandb.run)
