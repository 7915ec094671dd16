"""Track a training loop that uses Hugging Face accelerate.

python examples/integrations/with_accelerate.py [STORE]
"""

import sys
import tempfile

import torch
from accelerate import Accelerator

import advisor
from advisor.integrations.accelerate import AdvisorTracker, should_stop

store = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
config = {"lr": 0.1, "steps": 50, "model": {"width": 8}}

accelerator = Accelerator(cpu=True, log_with=AdvisorTracker("waves", store=store, objective="loss"))
accelerator.init_trackers("waves", config=config)

torch.manual_seed(0)
x = torch.linspace(-3, 3, 128)[:, None]
net = torch.nn.Sequential(torch.nn.Linear(1, config["model"]["width"]), torch.nn.Tanh(), torch.nn.Linear(8, 1))
net, optimizer = accelerator.prepare(net, torch.optim.Adam(net.parameters(), lr=config["lr"]))
for step in range(config["steps"]):
    loss = (net(x) - torch.sin(x)).pow(2).mean()
    optimizer.zero_grad()
    accelerator.backward(loss)
    optimizer.step()
    accelerator.log({"loss": loss}, step=step)
    if should_stop(accelerator):  # the same answer in all processes
        break
accelerator.end_training()

run = advisor.open(store).experiment("waves").run(0)
print(f"run #{run.number} is {run.state}: loss {run.objective:.3f} after {len(run.curve('loss'))} steps")
print("parameters:", dict(run.params))
