"""Write the fixtures of TensorBoard with the writers themselves, and what its ``EventAccumulator`` says of them.

In an environment of its own, once a writer (``-P``, since this file has the name of a package)::

    pip install torch==2.13.0 tensorboard==2.21.0        # torch
    pip install tensorboardX==2.6.5 tensorboard==2.21.0  # tensorboardX
    pip install tensorboardX==2.1 tensorboard==2.10.1 'numpy<1.24' 'protobuf<3.21'
    pip install tensorflow-cpu==2.21.0                   # tensorflow
    python -P tests/data/sources/make/tensorboard.py torch tests/data/sources

Folders: ``tensorboard-<writer>-<release>``. The machine's name in the names of files becomes ``box``.
"""

from __future__ import annotations

import json
import math
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any

ODD = [1.0, math.nan, math.inf, -math.inf, 1e-30, 0.0]


def main(writer: str, out: str) -> None:
    """Write one folder of fixtures."""
    module = __import__(writer)
    folder = Path(out).resolve() / f"tensorboard-{writer.lower()}-{module.__version__.partition('+')[0]}"
    shutil.rmtree(folder, ignore_errors=True)
    logs = folder / "logs"
    logs.mkdir(parents=True)
    if writer == "tensorflow":
        write_tensorflow(logs)
    else:
        write_like_torch(logs, writer)
    for path in sorted(logs.rglob("*tfevents*")):
        path.rename(path.with_name(path.name.replace(socket.gethostname(), "box")))
    killed = next((logs / "killed").glob("*tfevents*"))
    killed.write_bytes(killed.read_bytes()[:-7])
    (folder / "expected.json").write_text(json.dumps({"runs": list(said(logs))}, ensure_ascii=False))
    print(folder, sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))


def write_like_torch(logs: Path, writer: str) -> None:
    """Log runs with PyTorch's writer, or tensorboardX's, which it was made from."""
    if writer == "torch":
        from torch.utils.tensorboard import SummaryWriter
    else:
        from tensorboardX import SummaryWriter
    n_points = 2_100 if writer == "torch" else 200
    with SummaryWriter(str(logs / "long")) as log:
        for step in range(n_points):
            log.add_scalar("loss", 1 / (step + 1), step)
        for step, value in enumerate(ODD):
            log.add_scalar("odd/wérte 値", value, step * 1000)
            log.add_scalar("val/loss", value, 2**31 + step)
        log.add_histogram("weights", __import__("numpy").arange(10.0), 0)
        log.add_text("hyperparameters", "|param|value|\n|-|-|\n|lr|0.1|\n|seed|7|\n|env|CartPole-v1|")
        log.add_text("remark", "first try \x1b[2J <b>")
        if writer == "torch":
            for step in range(5):
                log.add_scalar("new/single", step / 3, step, new_style=True)
                log.add_scalar("new/double", step / 3, step, new_style=True, double_precision=True)
        log.add_hparams({"batch": 32, "opt": "adam", "nesterov": True, "wd": 1e-4}, {"hparam/accuracy": 0.5})
    write_restarts(logs, SummaryWriter)
    with SummaryWriter(str(logs / "group" / "a")) as log:
        log.add_scalar("x", 1.0, 0)
        log.add_scalars("both", {"one": 1.0, "two": 2.0}, 0)
    with SummaryWriter(str(logs / "killed")) as log:
        for step in range(20):
            log.add_scalar("loss", step, step)


def write_restarts(logs: Path, writer: Any) -> None:
    """Log a run that was begun again at step 6, and one that simply went on."""
    for purge in (None, 6):
        with writer(str(logs / "restarted"), purge_step=purge) as log:
            for step in range(purge or 0, 10):
                log.add_scalar("loss", step + 100 * (purge is not None), step)
                log.add_scalar("acc", step, 2 * step)
        time.sleep(1.1)
    for first in (0, 5):
        with writer(str(logs / "continued")) as log:
            for step in range(first, first + 8):
                log.add_scalar("loss", step + first, step)
        time.sleep(1.1)


def write_tensorflow(logs: Path) -> None:
    """Log runs with TensorFlow 2, whose scalars are tensors, and with its old writer, which puts many into a record."""
    import tensorflow as tf
    from tensorboard.plugins.hparams import api as hp

    with tf.summary.create_file_writer(str(logs / "long")).as_default():
        hp.hparams({"lr": 0.1, "opt": "adam", "layers": 3, "nesterov": False}, trial_id="trial-1")
        for step in range(500):
            tf.summary.scalar("loss", 1 / (step + 1), step)
        for step, value in enumerate(ODD):
            tf.summary.scalar("odd/wérte 値", value, step * 1000)
            tf.summary.scalar("float64", tf.constant(value, tf.float64), step)
            tf.summary.scalar("int", tf.constant(step, tf.int64), step)
            tf.summary.scalar("half", tf.constant(value, tf.float16), step)
            tf.summary.scalar("bfloat", tf.constant(step / 3, tf.bfloat16), step)
        tf.summary.text("remark", "first try", 0)
        tf.summary.histogram("weights", tf.range(10.0), 0)
        tf.summary.image("picture", tf.zeros([1, 2, 2, 3]), 0)
    write_old_tensorflow(logs, tf)
    with tf.summary.create_file_writer(str(logs / "killed")).as_default():
        for step in range(20):
            tf.summary.scalar("loss", float(step), step)
    keras = tf.keras
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    xs, ys = tf.ones([8, 2]), tf.ones([8, 1])
    folder = str(logs / "keras")
    calls = [
        keras.callbacks.TensorBoard(folder, write_graph=False),
        hp.KerasCallback(folder, {"units": 1, "rate": 0.01}),
    ]
    model.fit(xs, ys, validation_data=(xs, ys), epochs=3, verbose=0, callbacks=calls)


def write_old_tensorflow(logs: Path, tf: Any) -> None:
    """Log a run with several values a record, and one that TensorFlow 1 restarted."""
    v1 = tf.compat.v1
    with tf.Graph().as_default():
        log = v1.summary.FileWriter(str(logs / "many"))
        for step in range(50):
            values = [v1.Summary.Value(tag=f"m{i}", simple_value=step * i) for i in range(4)]
            log.add_summary(v1.Summary(value=values), step)
        log.close()
        for first in (0, 5):
            log = v1.summary.FileWriter(str(logs / "restarted"))
            log.add_session_log(v1.SessionLog(status=v1.SessionLog.START), first)
            for step in range(first, 8):
                log.add_summary(v1.Summary(value=[v1.Summary.Value(tag="loss", simple_value=step + first)]), step)
            log.close()
            time.sleep(1.1)


def said(logs: Path) -> Any:
    """Yield what TensorBoard says of each folder with event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util import tensor_util

    everything = dict.fromkeys(("scalars", "tensors", "histograms", "images", "audio", "compressedHistograms"), 0)
    for folder in sorted({path.parent for path in logs.rglob("*tfevents*")}):
        events = EventAccumulator(str(folder), size_guidance=everything)
        events.Reload()
        began = events.FirstEventTimestamp()
        curves: dict[str, Any] = {}
        for tag in events.Tags()["scalars"]:
            points = [(p.step, p.value, p.wall_time) for p in events.Scalars(tag)]
            curves[tag] = points
        for tag in events.Tags()["tensors"]:
            if events.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
                some = events.Tensors(tag)
                curves[tag] = [(p.step, float(tensor_util.make_ndarray(p.tensor_proto)), p.wall_time) for p in some]
        yield {
            "name": str(folder.relative_to(logs)),
            "curves": {
                tag: {
                    "steps": [step for step, _, _ in points],
                    "values": [value for _, value, _ in points],
                    "times": [round(wall - began, 6) for _, _, wall in points],
                }
                for tag, points in curves.items()
            },
        }


if __name__ == "__main__":
    main(*sys.argv[1:])
