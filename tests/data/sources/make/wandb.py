"""Write the fixtures ``wandb-<release>``: runs logged offline by the real tool, what was logged as ``expected.json``.

Run it in an environment that has one release of wandb (0.31.0, 0.17.9, or 0.12.21 with ``protobuf<4 setuptools<70``),
from a git repository of its own at a neutral place, since logs hold the paths of programs::

    mkdir -p /srv/train && cp wandb.py /srv/train/train.py && cd /srv/train
    git init -q && git remote add origin https://github.com/example/train.git && git add . && git commit -qm one
    /opt/wandb31/bin/python train.py OUT

Releases before 0.18 have a reader of their own (``wandb.sdk.internal.datastore``): there each point is what that said,
times included, and it is asserted to be what was logged. Later releases have none that reads without a server.
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

import wandb

RELEASE = tuple(int(part) for part in wandb.__version__.split(".")[:2])
LONG = 2_010 if RELEASE == (0, 12) else 200
"""Steps of the longest curve; the latest release writes 400 bytes a step."""
KEPT = ("wandb-metadata.json", "config.yaml", "wandb-summary.json")

CONFIG = {
    "lr": 3e-4,
    "optimizer": {"name": "adamw", "betas": [0.9, 0.999], "nested": {"deep": True}},
    "batch_size": 128,
    "seed": 7,
    "note": "größe \u202e\x1b[31m",
    "nothing": None,
}


def start(run_id, **more):
    settings = wandb.Settings(_disable_stats=True) if RELEASE < (0, 18) else wandb.Settings(x_disable_stats=True)
    return wandb.init(project="toy", id=run_id, dir=str(Path.cwd()), mode="offline", settings=settings, **more)


class Logged:
    """Remembers what was logged, as the history of curves should hold it."""

    def __init__(self):
        self.curves = {}

    def log(self, run, values, step):
        run.log(dict(values), step=step)  # old releases add to what they are given
        self.keep(values, step)

    def keep(self, values, step, prefix=""):
        for name, value in values.items():
            if isinstance(value, dict):
                self.keep(value, step, prefix + name + ".")
            elif isinstance(value, (int, float)):
                curve = self.curves.setdefault(prefix + name, {"steps": [], "values": []})
                curve["steps"].append(step)
                curve["values"].append(float(value))


def finished(logged):
    run = start(
        "fin1shed", name="first one", config=CONFIG, tags=["base", "größe"], notes="what was tried", group="sweep-a",
        job_type="train",
    )  # fmt: skip
    run.define_metric("loss", summary="min", **({"goal": "minimize"} if RELEASE < (0, 18) else {}))
    run.define_metric("val/*", step_metric="epoch")
    for step in range(LONG):
        logged.log(run, {"loss": 2.0 / (step + 1), **({} if step % 10 else {"train/grad": math.sin(step)})}, step)
    logged.log(run, {"loss": math.nan, "größe/верх": math.inf, "epoch": 1}, 2_100)
    logged.log(run, {"loss": -math.inf, "val/acc": 0.5, "epoch": 1, "eval": {"f1": 0.25, "inner": {"auc": 1}}}, 2_150)
    logged.log(
        run,
        {
            "huge": 2**70 if RELEASE > (0, 12) else 2**40,
            "flag": True,
            "tiny": 5e-324,
            "text": "words <b>",
            "nothing": None,
        },
        2_151,
    )
    run.log({"hist": wandb.Histogram([1, 2, 3, 4]), "table": wandb.Table(columns=["a"], data=[[1]])}, step=2_152)
    logged.log(run, {"val/acc": 0.75, "epoch": 2}, 2_152)
    run.alert(title="Loss is low", text="below 0.01", level=wandb.AlertLevel.WARN)
    run.config.update({"lr": 1e-3, "late": "yes"}, allow_val_change=True)
    run.summary["best"] = 0.75
    run.summary["who"] = {"name": "ann"}
    run.finish()


def failed(logged):
    run = start("fa1led", name="fails", config={"lr": 10.0})
    for step in range(30):
        logged.log(run, {"loss": math.exp(step)}, step)
    run.finish(exit_code=3)


def killed(logged):
    run = start("k1lled", name="is killed", config={"lr": 0.1})
    for step in range(180):
        logged.log(run, {"loss": 1.0 / (step + 1)}, step)
    time.sleep(4)  # what is in memory is written
    # The tool's service would note the end of its parent otherwise.
    for line in subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True).stdout.splitlines()[1:]:
        pid, parent = line.split()
        if int(parent) == os.getpid() and int(pid) != os.getpid():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
    Path("logged.json").write_text(json.dumps(logged.curves))
    os.kill(os.getpid(), signal.SIGKILL)


def resumed(logged, part):
    run = start("res0med", name="goes on", config={"lr": 0.5, "part": part}, resume="allow")
    for step in range(40):
        run.log({"loss": part + step / 100})
        logged.keep({"loss": part + step / 100}, 40 * part + step)  # offline the tool counts from 0 again
    run.finish(exit_code=1 if part == 0 else 0)


def by_datastore(path):
    """Return the curves and times of a log as the tool's own reader says."""
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal.datastore import DataStore

    store = DataStore()
    store.open_for_scan(str(path))
    logged, times = Logged(), {}
    while True:
        try:
            data = store.scan_data()
        except AssertionError:  # the torn end of a killed run
            break
        if data is None:
            break
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") != "history":
            continue
        row = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        step, stamp = row.pop("_step", record.history.step.num), row.pop("_timestamp")
        row.pop("_runtime", None)
        row = {k: v for k, v in row.items() if not (isinstance(v, dict) and "_type" in v)}
        logged.keep(row, step)
        for name in logged.curves:
            if len(logged.curves[name]["steps"]) > len(times.setdefault(name, [])):
                times[name].append(stamp)
    return logged.curves, times


def main(out):
    out = Path(out)
    shutil.rmtree(out, ignore_errors=True)
    environment = {
        **os.environ,
        "WANDB_SILENT": "true",
        "WANDB_HOST": "node-7",
        "WANDB_EMAIL": "ann@example.com",
        "LOGNAME": "ann",
        "WANDB_MODE": "offline",
    }
    runs = []
    for scenario in ("finished", "failed", "killed", "resumed 0", "resumed 1"):
        shutil.rmtree("wandb", ignore_errors=True)
        subprocess.run([sys.executable, __file__, "--scenario", *scenario.split()], env=environment)
        curves = json.loads(Path("logged.json").read_text())
        (log,) = Path("wandb").glob("*run-*/*.wandb")
        kept = out / "wandb" / log.parent.name
        kept.mkdir(parents=True)
        shutil.copy(log, kept)
        for name in KEPT:
            if (log.parent / "files" / name).exists():
                (kept / "files").mkdir(exist_ok=True)
                shutil.copy(log.parent / "files" / name, kept / "files")
        run = {"scenario": scenario.split()[0], "curves": curves}
        if RELEASE < (0, 18):
            own, times = by_datastore(log)
            if scenario in ("finished", "failed"):
                assert json.dumps(own, sort_keys=True) == json.dumps(curves, sort_keys=True)
            if scenario == "killed":
                run["curves"] = own
            if scenario == "failed":
                run["curves"]["loss"]["stamps"] = times["loss"]
        if scenario == "resumed 1":
            for name, curve in runs[-1]["curves"].items():
                for field in curve:
                    curve[field] += run["curves"][name][field]
        else:
            runs.append(run)
        time.sleep(1.1)  # folders are named by the second
    (out / "expected.json").write_text(json.dumps({"release": wandb.__version__, "runs": runs}, ensure_ascii=False))


def scenario(name, *arguments):
    logged = Logged()
    globals()[name](logged, *map(int, arguments))
    Path("logged.json").write_text(json.dumps(logged.curves))


if __name__ == "__main__":
    scenario(*sys.argv[2:]) if sys.argv[1] == "--scenario" else main(sys.argv[1])
