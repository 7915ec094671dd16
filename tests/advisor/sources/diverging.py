"""A training that knows nothing of us: it writes TensorBoard event files into argv[1], and diverges at step 60."""

import sys
import time

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

rng = np.random.default_rng(0)
x, y = rng.standard_normal((256, 8)), rng.standard_normal(256)
weights, lr = np.zeros(8), 0.05
writer = EventFileWriter(sys.argv[1], flush_secs=1)
for step in range(400):
    if step == 60:
        lr = 9.0  # what a typing mistake in a schedule does
    error = x @ weights - y
    weights = weights - lr * x.T @ error / len(y)
    with np.errstate(all="ignore"):
        loss = float(np.mean((x @ weights - y) ** 2))
    value = Summary.Value(tag="train/loss", simple_value=loss)
    writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=[value])))
    writer.flush()
    if step == 60:
        print(time.time(), flush=True)
    time.sleep(0.02)
    if not np.isfinite(loss):
        break
time.sleep(20)
