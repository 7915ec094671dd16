"""How runs end, and what is there afterwards."""

import importlib
import os

wandb = importlib.import_module(os.environ["TRACKER"])

try:
    with wandb.init(project="ends", name="raised") as run:
        run.log({"x": 1})
        raise ZeroDivisionError
except ZeroDivisionError:
    print("raised", wandb.run)
run = wandb.init(project="ends", name="code")
run.finish(exit_code=3)
first = wandb.init(project="ends", name="again", config={"a": 1})
second = wandb.init(project="ends", name="other", config={"a": 2, "b": 1})
print(second is first, second.name, dict(second.config))
third = wandb.init(project="ends", name="third", reinit=True)
print(third is first, third.name)
third.finish()
third.finish()
wandb.finish()
off = wandb.init(mode="disabled", project="ends", config={"a": 1})
off.log({"x": 1})
off.config.b = 2
print(float(off.summary.get("x")), off.config.b, off.disabled, wandb.run is off)
off.finish()
