"""Track a training of the Trainer of Hugging Face transformers.

python examples/integrations/with_huggingface.py [STORE]
"""

import sys
import tempfile

from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import advisor
from advisor.integrations.huggingface import AdvisorCallback

store = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()

# Does a sequence of six numbers begin with an odd one? From nothing, so that nothing is downloaded.
data = [{"input_ids": [(i * k + i) % 16 for k in range(1, 7)], "labels": i % 2} for i in range(256)]
model = BertForSequenceClassification(
    BertConfig(vocab_size=16, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
)
arguments = TrainingArguments(
    output_dir=tempfile.mkdtemp(),
    num_train_epochs=3,
    learning_rate=0.01,
    per_device_train_batch_size=32,
    logging_steps=4,
    eval_strategy="epoch",
    report_to="none",
    disable_tqdm=True,
    use_cpu=True,
)

with AdvisorCallback("odd", store=store, objective="eval/loss", prune=True, checks=True) as callback:
    trainer = Trainer(model, arguments, train_dataset=data, eval_dataset=data, callbacks=[callback])
    trainer.train()

run = advisor.open(store).experiment("odd").run(0)
print(f"run #{run.number} is {run.state}: eval/loss {run.objective:.3f}")
print("changed and usual arguments:", {k: v for k, v in run.params.items() if k.startswith(("learning", "num_train"))})
print("the model:", {k: v for k, v in run.params.items() if k in ("model.hidden_size", "model.n_parameters")})
print("curves:", ", ".join(sorted(run.curves)))
print(f"the whole training took {run.user_attrs['training_summary']['train_runtime']:.0f} s")
