"""Run a program once a suggestion, two at a time; it need not know of the advisor.

python examples/08_optimize_a_command.py [STORE]

On the command line the same is
    advisor optimize ridge -n 6 -j 2 --objective val_loss --space space.yaml --timeout 60 --retries 1 \\
        -- python train.py --lr {lr} --layers {layers}
"""

import sys
import tempfile
from pathlib import Path

import advisor

TRAIN = """
import argparse, json

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--layers", type=int)
given = parser.parse_args()
print(f"training with lr {given.lr:.4f}")  # goes to the run's log file
for step in range(20):
    loss = 0.1 * given.layers + (1 - given.lr) ** step
    print(json.dumps({"step": step, "val_loss": loss}))  # a JSON object with numbers is metrics
"""

store = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
script = Path(tempfile.mkdtemp()) / "train.py"
script.write_text(TRAIN)

adv = advisor.open(store)
space = {"lr": advisor.Float(1e-3, 0.9, log=True), "layers": advisor.Int(1, 4)}
exp = adv.experiment("ridge", objective="val_loss", space=space)

command = [sys.executable, str(script), "--lr", "{lr}", "--layers", "{layers}"]
summary = exp.optimize_command(command, n_runs=6, jobs=2, timeout_s=60, retries=1)
n_finished = summary.count(advisor.RunState.FINISHED)
print(f"{summary.n_done} of {summary.n_wanted} trials are done, {n_finished} finished")

best = summary.best
print(f"best: #{best.number}, val_loss {best.objective:.4f} with {dict(best.params)}")
print("said by the command:", summary.attempts[0].log.read_text().splitlines()[0])

again = exp.optimize_command(command, n_runs=6)
print(f"the same command again starts {len(again.attempts)} more")
adv.close()
