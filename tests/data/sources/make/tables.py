"""Write a training twice, as its table and as its event files, in the way of AlgoPerf's submission runner.

In an environment of its own (``-P``, since a file beside this one has the name of a package)::

    pip install tensorflow-cpu==2.21.0
    python -P tests/data/sources/make/tables.py tests/data/sources

Folder: ``tables-algoperf-pair``. The figures are made up.
"""

from __future__ import annotations

import csv
import json
import math
import random
import shutil
import socket
import sys
from pathlib import Path

import tensorflow as tf


def main(out: str) -> None:
    """Write one folder of fixtures."""
    folder = Path(out).resolve() / "tables-algoperf-pair"
    shutil.rmtree(folder, ignore_errors=True)
    for trial in (1, 2):
        write(folder / f"trial_{trial}", random.Random(trial))


def write(folder: Path, rng: random.Random) -> None:
    """Write one trial."""
    folder.mkdir(parents=True)
    rows = []
    with tf.summary.create_file_writer(str(folder), filename_suffix=".v2").as_default():
        for step in range(0, 600, 10):
            row = {"global_step": step, "grad_norm": rng.random() * 4, "loss": rng.expovariate(1 + step / 100)}
            if step == 590:
                row["loss"] = math.nan
            rows.append(row)
            if step % 100 == 0:
                rows.append(
                    {
                        "global_step": step + 1,
                        **{f"{split}/loss": rng.random() for split in ("train", "validation", "test")},
                        "validation/num_examples": 43_793,
                        "total_duration": step * 1.37 + rng.random(),
                    }
                )
        for row in rows:
            for name, value in row.items():
                tf.summary.scalar(name, value, row["global_step"])
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name, some in (("measurements", rows), ("eval_measurements", [row for row in rows if "train/loss" in row])):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, names if name == "measurements" else sorted(some[0]))
            writer.writeheader()
            writer.writerows(some)
    params = {"dropout_rate": 0.0, "learning_rate": rng.random() / 100, "beta2": 0.998, "warmup_factor": 0.1}
    (folder / "hparams.json").write_text(json.dumps(params, indent=2))
    (folder / "meta_data_0.json").write_text(json.dumps({"workload.step_hint": 52_000, "gpu.count": 8}, indent=2))
    for path in folder.glob("*tfevents*"):
        path.rename(path.with_name(path.name.replace(socket.gethostname(), "box")))


if __name__ == "__main__":
    main(*sys.argv[1:])
