"""Write an Aim repository with the real tool, and hold the reader against it; no fixture is kept.

Run it in an environment that has aim 3.29.1 and what the reader needs (numpy, PyYAML), from an empty folder::

    PYTHONPATH=CHECKOUT python CHECKOUT/tests/data/sources/make/aim_repository.py REPOSITORY

Written and read in processes of their own, as people do. Each point is compared with what was tracked.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path


def start(folder, **more):
    from aim import Run

    return Run(repo=folder, system_tracking_interval=None, capture_terminal_logs=False, log_system_params=False, **more)


def finished(folder):
    run = start(folder, experiment="größe")
    run.name = "first <one>"
    run.description = "what was tried"
    run.add_tag("base")
    run["hparams"] = {"lr": 3e-4, "seed": 7, "opt": {"name": "adamw", "betas": [0.9, 0.99]}, "none": None}
    run["single"] = "text \u202e"
    for step in range(2_050):
        run.track(2.0 / (step + 1), name="loss", step=step, context={"subset": "train"}, epoch=step // 100)
    for step, value in enumerate([1.0, math.nan, math.inf, -math.inf]):
        run.track(value, name="loss", step=step, context={"subset": "val"})
    run.track(5, name="größe/верх", step=3)
    run.track({"acc": 0.5, "f1": 0.25}, step=9, context={"subset": "test", "fold": 2})
    from aim import Text

    run.track(Text("words"), name="words", step=0)
    run.close()


def failed(folder):
    run = start(folder, experiment="toy")
    run["lr"] = 10.0
    for step in range(30):
        run.track(math.exp(step), name="loss", step=step)
    raise RuntimeError("boom")


def killed(folder):
    run = start(folder, experiment="toy")
    run["lr"] = 0.1
    for step in range(300):
        run.track(1.0 / (step + 1), name="loss", step=step)
    time.sleep(3)
    os.kill(os.getpid(), signal.SIGKILL)


WANTED = {
    "größe": {
        "train_loss": [(step, 2.0 / (step + 1)) for step in range(2_050)],
        "val_loss": [(0, 1.0), (1, math.nan), (2, math.inf), (3, -math.inf)],
        "größe/верх": [(3, 5.0)],
        "acc[fold=2,subset=test]": [(9, 0.5)],
        "f1[fold=2,subset=test]": [(9, 0.25)],
    },
    10.0: {"loss": [(step, math.exp(step)) for step in range(30)]},
    0.1: {"loss": [(step, 1.0 / (step + 1)) for step in range(300)]},
}


def listed(folder):
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))}


def compare(folder):
    from advisor.sources.aim import AimReader
    from advisor.sources.port import Found, Options

    before = listed(folder)
    reader = AimReader()
    for again in range(2):
        begun = time.time()
        with reader.open(Found("aim", str(folder)), Options()) as source:
            entries = list(source.entries())
            assert len(entries) == 3, entries
            for entry in entries:
                run = entry.load()
                piece = run.read(None)
                wanted = WANTED[run.experiment if run.experiment == "größe" else run.params["lr"]]
                got = {name: [p.steps.tolist(), p.values.tolist()] for name, p in piece.curves.items()}
                made = {name: list(map(list, zip(*pairs, strict=True))) for name, pairs in wanted.items()}
                # as text, since NaN is not equal to itself
                assert json.dumps(got, sort_keys=True) == json.dumps(made, sort_keys=True), run
                if not again:
                    print(run.key, run.experiment, run.name, run.state, run.params, run.tags, run.notes, run.seed)
                    print("  ", run.started, run.ended, run.active, run.meta, piece.notes)
                    print("  ", {name: (len(p), p.times[:2]) for name, p in piece.curves.items()})
        print("read in", round(time.time() - begun, 2), "s")
    assert listed(folder) == before, "the repository was written to"


if __name__ == "__main__":
    if sys.argv[1] == "--scenario":
        globals()[sys.argv[2]](sys.argv[3])
    else:
        repository = Path(sys.argv[1])
        shutil.rmtree(repository, ignore_errors=True)
        repository.mkdir(parents=True)
        for scenario in ("finished", "failed", "killed"):
            subprocess.run([sys.executable, __file__, "--scenario", scenario, str(repository)])
        compare(repository)
        print("every point is equal, and nothing was written")
