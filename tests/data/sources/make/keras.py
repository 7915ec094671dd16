"""Write the fixtures of Keras with a model of two parameters: the table of ``CSVLogger``, and histories as JSON.

In an environment of its own, once a release (``-P``, since this file has the name of a package)::

    pip install torch keras==3.15.1
    KERAS_BACKEND=torch python -P tests/data/sources/make/keras.py tests/data/sources
    pip install tensorflow-cpu==2.15.1  # Keras 2
    python -P tests/data/sources/make/keras.py tests/data/sources

Folders: ``keras-<release>``.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import keras
import numpy as np


def main(out: str) -> None:
    """Write one folder of fixtures."""
    top = Path(out).resolve() / f"keras-{keras.__version__}"
    shutil.rmtree(top, ignore_errors=True)
    runs = []
    for name, rate in (("a", 0.01), ("b", 1e30)):  # the second one diverges
        (top / name).mkdir(parents=True)
        model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(rate), "mse", metrics=["mae"])
        xs, ys = np.ones((8, 2), np.float32), np.zeros((8, 1), np.float32)
        schedule = keras.callbacks.ReduceLROnPlateau(monitor="val_loss", patience=1)
        log = keras.callbacks.CSVLogger(str(top / name / "training.log"))
        told = model.fit(xs, ys, validation_data=(xs, ys), epochs=5, verbose=0, callbacks=[schedule, log])
        history = {key: [float(value) for value in values] for key, values in told.history.items()}
        (top / name / "history.json").write_text(json.dumps(history))
        whole = {"history": history, "epoch": told.epoch, "params": told.params}
        (top / f"{name}.json").write_text(json.dumps(whole))
        runs.append({"name": name, "history": history})
    (top / "expected.json").write_text(json.dumps({"runs": runs}))


if __name__ == "__main__":
    main(*sys.argv[1:])
