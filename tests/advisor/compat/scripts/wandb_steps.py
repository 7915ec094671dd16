"""Steps that count by themselves, steps that are given, rows that are put together."""

import importlib
import math
import os

wandb = importlib.import_module(os.environ["TRACKER"])

with wandb.init(project="shapes", config={}) as run:
    steps = [run.step]
    wandb.log({"a": 1})
    wandb.log({"a": 2, "b": {"c": 3, "d": {"e": 4}}})
    steps.append(run.step)
    wandb.log({"a": 3}, commit=False)
    steps.append(run.step)
    wandb.log({"b2": 4})
    wandb.log({"a": 10}, step=10)
    wandb.log({"z": 11}, step=10)
    steps.append(run.step)
    wandb.log({"y": 12}, step=10, commit=True)
    wandb.log({"a": math.nan, "inf": math.inf, "ninf": -math.inf, "flag": True, "none": None})
    steps.append(run.step)
    wandb.log({"late": 1}, step=20)
    wandb.log({"late": 2}, step=21)
    wandb.log({})
    wandb.log({"last": 0.1})
    steps.append(run.step)
    errors = []
    for wrong in ([1], {3: 1}):
        try:
            wandb.log(wrong)
        except TypeError:
            errors.append("TypeError")
    print(steps, errors)
