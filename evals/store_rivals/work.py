"""The work that every tool does: the same parameters, the same values, the same question.

Imported by the driver and, in each tool's own interpreter, by the worker: standard library only.
Values are rounded to float32, as a training on an accelerator reports them, and noisy, as its losses are.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterator

METRICS = ("train_loss", "val_loss", "accuracy", "grad_norm")
PROJECT = "bench"
POINTS_OF_A_RUN = 5
"""Points of the one curve of each run that is listed and filtered."""
OPTIMIZERS = ("adam", "sgd", "lion", "adagrad")
LIMIT = 20


def float32(value: float) -> float:
    (rounded,) = struct.unpack("f", struct.pack("f", value))
    return float(rounded)


def calls(n: int, seed: int = 0) -> list[dict[str, float]]:
    """Return ``n`` log calls of four metrics."""
    rng = random.Random(seed)
    out = []
    for i in range(n):
        trend = 2.3 * math.exp(-i / 2000) + 0.2
        raw = (
            trend + rng.gauss(0, 0.05),
            trend + 0.1 + rng.gauss(0, 0.02),
            1 - trend / 3 + rng.gauss(0, 0.01),
            abs(rng.gauss(1, 0.3)),
        )
        out.append(dict(zip(METRICS, map(float32, raw), strict=True)))
    return out


def params(k: int) -> dict[str, object]:
    """Return the parameters of run ``k``."""
    rng = random.Random(k)
    return {
        "lr": 10 ** rng.uniform(-4, -1),
        "batch_size": rng.choice((32, 64, 128, 256)),
        "optimizer": OPTIMIZERS[k % len(OPTIMIZERS)],
        "depth": rng.randint(2, 12),
    }


def short_curve(k: int) -> list[float]:
    """Return the ``val_loss`` of run ``k``; its last value is what runs are sorted by."""
    rng = random.Random(-k - 1)
    end = rng.uniform(0.1, 2)
    return [float32(end + (POINTS_OF_A_RUN - 1 - i) * 0.1) for i in range(POINTS_OF_A_RUN)]


def long_curve(k: int, n: int) -> Iterator[float]:
    """Yield the ``val_loss`` of long run ``k``."""
    rng = random.Random(k)
    return (float32(2.3 * math.exp(-i / 2000) + 0.3 + rng.gauss(0, 0.02)) for i in range(n))


def best(n: int) -> list[float]:
    """Return the answer to the question: final ``val_loss`` of the best 20 of ``n`` runs that used adam."""
    return sorted(short_curve(k)[-1] for k in range(0, n, len(OPTIMIZERS)))[:LIMIT]
