"""What one ``log()`` of four metrics costs the training, beside the bare cost of the same bytes.

The baseline does what cannot be left out: one checksummed msgpack record and one ``os.write``, in the same
process and loop. Delivery to the store and the watching rules run in their thread meanwhile. The first calls of a
process are a row of their own: beside them the database library is being imported, which takes Python's lock.

    python evals/log_latency.py [--calls 50000] [--out PATH]
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import tempfile
import time
import zlib
from pathlib import Path

import msgspec
import numpy as np

import advisor

METRICS = {"train_loss": 0.5, "val_loss": 0.7, "accuracy": 0.8, "grad_norm": 1.5}


def timed(call: object, n: int) -> dict[str, float]:
    seconds = np.empty(n)
    for i in range(n):
        began = time.perf_counter()
        call(i)  # type: ignore[operator]
        seconds[i] = time.perf_counter() - began
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e6
    return {"p50_us": round(float(p50), 2), "p99_us": round(float(p99), 2), "max_us": round(float(seconds.max() * 1e6))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=50_000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    encode = msgspec.msgpack.Encoder().encode
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        fd = os.open(Path(folder) / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def bare(step: int) -> None:
            payload = encode((step, 0.5, METRICS))
            os.write(fd, struct.pack("<II", len(payload), zlib.crc32(payload)) + payload)

        rows["bare record"] = timed(bare, given.calls)
        os.close(fd)
        with advisor.open(Path(folder) / "store", capture=False) as adv:
            run = adv.experiment("latency", objective="val_loss").start(params={})
            rows["log() from the start"] = timed(lambda step: run.log(METRICS, step=step), given.calls)
            run.finish()
            run = adv.experiment("latency").start(params={})
            assert run.number == 1  # the database is loaded and the run is in the store
            rows["advisor log()"] = timed(lambda step: run.log(METRICS, step=step), given.calls)
            began = time.perf_counter()
            run.finish()
            rows["advisor log()"]["finish_s"] = round(time.perf_counter() - began, 3)
    ratio = rows["advisor log()"]["p50_us"] / rows["bare record"]["p50_us"]
    print(f"{'':22}{'p50 µs':>10}{'p99 µs':>10}{'max µs':>10}")
    for name, row in rows.items():
        print(f"{name:22}{row['p50_us']:>10}{row['p99_us']:>10}{row['max_us']:>10}")
    print(f"median: {ratio:.1f} × the bare record")
    if given.out:
        given.out.write_text(json.dumps({"n_calls": given.calls, "rows": rows, "ratio_p50": ratio}, indent=1))


if __name__ == "__main__":
    main()
