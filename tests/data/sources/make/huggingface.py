"""Write the fixtures of Hugging Face's Trainer with a model of a few parameters, and what its own class reads of them.

In an environment of its own, once a release::

    pip install torch transformers==5.23.0 accelerate tensorboard
    pip install 'torch<2.3' 'numpy<2' transformers==4.36.2 accelerate==0.25.0 tensorboard
    python -P tests/data/sources/make/huggingface.py tests/data/sources

Folders: ``huggingface-<release>``. Weights and optimizers are deleted; ``training_args.bin`` becomes a few words.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import TrainerState


class Rows(torch.utils.data.Dataset):
    """Sixteen sentences of four words."""

    def __len__(self) -> int:
        return 16

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {"input_ids": torch.arange(4) + i % 4, "attention_mask": torch.ones(4).long(), "labels": i % 2}


class Stop(TrainerCallback):
    """Ends the process at a step, as a signal would."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """End."""
        if state.global_step == 7:
            raise KeyboardInterrupt


def train(folder: Path, *, lr: float = 1e-3, callbacks: Any = (), is_diverging: bool = False, **options: Any) -> None:
    """Train."""
    torch.manual_seed(1)
    config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    model = BertForSequenceClassification(config)
    if is_diverging:
        model.classifier.weight.data[:] = float("nan")
    word = "eval_strategy" if transformers.__version__ >= "4.41" else "evaluation_strategy"
    arguments = TrainingArguments(
        str(folder),
        per_device_train_batch_size=4,
        num_train_epochs=3,
        logging_steps=1,
        save_steps=4,
        save_strategy="steps",
        learning_rate=lr,
        seed=7,
        report_to=["tensorboard"],
        use_cpu=True,
        disable_tqdm=True,
        **{word: "steps", "eval_steps": 4},
        **options,
    )
    trainer = Trainer(model, arguments, train_dataset=Rows(), eval_dataset=Rows(), callbacks=list(callbacks))
    try:
        trainer.train()
        trainer.save_state()
        trainer.save_model()
        trainer.save_metrics("eval", trainer.evaluate())
        trainer.create_model_card(model_name="tiny")
    except KeyboardInterrupt:
        return


def main(out: str) -> None:
    """Write one folder of fixtures."""
    top = Path(out).resolve() / f"huggingface-{transformers.__version__}"
    shutil.rmtree(top, ignore_errors=True)
    top.mkdir(parents=True)
    os.chdir(top)  # so that no file names a folder of this machine
    best = {"metric_for_best_model": "loss", "greater_is_better": False, "load_best_model_at_end": True}
    train(Path("whole"), **best)
    train(Path("killed"), callbacks=[Stop()])
    train(Path("diverged"), is_diverging=True)
    for path in top.rglob("*"):
        if path.name == "training_args.bin":
            path.write_text("a pickle that is never opened")
        elif path.suffix in (".pt", ".bin", ".pth", ".safetensors"):
            path.unlink()
    for path in sorted(top.rglob("*" + socket.gethostname() + "*"), reverse=True):
        path.rename(path.with_name(path.name.replace(socket.gethostname(), "box")))
    runs = []
    for name in ("whole", "killed", "diverged"):
        states = [*(top / name).glob("trainer_state.json"), *(top / name).glob("checkpoint-*/trainer_state.json")]
        state = max((TrainerState.load_from_json(str(path)) for path in states), key=lambda s: s.global_step)
        runs.append({"name": name, "steps": state.global_step, "rows": state.log_history})
    (top / "expected.json").write_text(json.dumps({"runs": runs}))


if __name__ == "__main__":
    main(*sys.argv[1:])
