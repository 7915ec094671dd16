"""Track a training of Keras.

python examples/integrations/with_keras.py [STORE]
"""

import os
import sys
import tempfile

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from sklearn.datasets import load_digits

import advisor
from advisor.integrations.keras import AdvisorCallback

store = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
x, y = load_digits(return_X_y=True)

keras.utils.set_random_seed(0)
model = keras.Sequential(
    [keras.layers.Input((64,)), keras.layers.Dense(32, activation="relu"), keras.layers.Dense(10, activation="softmax")]
)
model.compile(keras.optimizers.Adam(0.003), loss="sparse_categorical_crossentropy", metrics=["accuracy"])

with AdvisorCallback("digits", store=store, objective="val_loss", prune=True, checks=True) as callback:
    model.fit(x / 16, y, epochs=5, batch_size=64, validation_split=0.2, verbose=0, callbacks=[callback])

run = advisor.open(store).experiment("digits").run(0)
print(f"run #{run.number} is {run.state}: val_loss {run.objective:.3f}, accuracy {run.metrics['accuracy']:.2f}")
print("optimizer:", run.params["optimizer.name"], "with learning rate", round(run.params["optimizer.learning_rate"], 6))
print("model:", run.params["model.layers"], "of", run.params["model.n_parameters"], "parameters")
