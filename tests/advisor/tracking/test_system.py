from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import advisor
from advisor.cli import main
from advisor.config import resolve
from advisor.errors import ConfigError
from advisor.tracking.run import LiveRun
from advisor.tracking.system import Gpus, Machine, Sampler, visible
from storage.curves import is_of_machine
from storage.records import RunState


def wait_until(true: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def size(run: LiveRun) -> int:
    """Return how much the run's write-ahead log holds."""
    return run._ahead.size()


@pytest.fixture
def exp(tmp_path: Path) -> advisor.Experiment:
    adv = advisor.open(tmp_path / "store", capture=False, system_metrics=0.02)
    return adv.experiment("digits", objective="loss")


def test_the_machine_is_recorded_beside_the_training(exp: advisor.Experiment) -> None:
    with exp.start(params={}) as run:
        for i in range(3):
            before = size(run)
            wait_until(lambda before=before: size(run) > before + 500)
            run.log({"loss": 1.0 / (i + 1)})
    kept = exp.run(0)
    curves = kept.curves
    np.testing.assert_array_equal(curves["loss"].steps, [0, 1, 2])  # the run's own steps are as they would be
    machine = {metric for metric in curves if is_of_machine(metric)}
    assert {"system/cpu_percent", "system/memory_percent", "system/process_memory_gib"} <= machine
    memory = curves["system/process_memory_gib"]
    assert len(memory) >= 3
    assert 0 < memory.values.min() < 1_000
    assert memory.steps.max() <= 60  # seconds
    assert set(kept.metrics) == set(kept.summary) == {"loss"}  # tables, filters and objectives know the training only


def test_sampling_ends_with_the_run_and_is_off_where_it_is_switched_off(tmp_path: Path) -> None:
    def samplers() -> list[str]:
        names = [thread.name for thread in threading.enumerate() if thread.name.startswith("advisor-system")]
        return [name for name in names if name not in others]

    others: list[str] = []
    others = samplers()  # of runs that other tests left open
    for setting, n in (("off", 0), (15, 1)):
        run = advisor.open(tmp_path / "store", capture=False, system_metrics=setting).experiment("e").start(params={})
        assert len(samplers()) == n
        run.finish()
        wait_until(lambda: not samplers())
    assert not any(map(is_of_machine, run_curves(tmp_path)))


def run_curves(folder: Path) -> list[str]:
    return [metric for run in advisor.open(folder / "store").runs() for metric in run.curves]


def test_trouble_of_the_machine_never_reaches_the_training(exp: advisor.Experiment) -> None:
    asked = []

    def broken() -> dict[str, float]:
        asked.append(1)
        raise RuntimeError("no such sensor")

    run = exp.start(params={})
    run.sample_machine(0)
    sampler = Sampler(run, 0.005, broken)
    sampler._thread.join(10)
    run.log({"loss": 1.0})
    run.finish()
    assert len(asked) == 3  # then the machine is left alone
    assert exp.run(0).state is RunState.FINISHED


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_samples_nothing(exp: advisor.Experiment) -> None:
    with exp.start(params={}) as run:
        before = size(run)
        wait_until(lambda: size(run) > before + 500)
        child = os.fork()
        if child == 0:
            run._log_aside({"system/cpu_percent": -1.0}, 0)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        run.log({"loss": 1.0})
    assert exp.run(0).curves["system/cpu_percent"].values.min() >= 0


def test_findings_take_none_of_it_for_a_training(exp: advisor.Experiment) -> None:
    odd = {"system/cpu_percent": float("nan"), "system/memory_available_gib": float("inf")}
    run = exp.start(params={})
    run.sample_machine(0)
    for step in range(30):
        run.log({"loss": 1.0 / (step + 1)}, step=step)
        run._log_aside(odd, step)
    run.finish()
    assert run.findings == []
    assert [finding.title for finding in exp.check().findings] == []
    text = str(exp.summarize(0, write=False))
    assert "system/" not in text


def test_show_tells_it_in_a_few_lines(
    exp: advisor.Experiment, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = exp.start(params={})
    run.sample_machine(0)
    run.log({"loss": 1.0})
    for value in (10.0, 30.0):
        run._log_aside({"system/cpu_percent": value}, int(value))
    run.finish()
    assert main(["--store", str(tmp_path / "store"), "show", "digits#0"]) == 0
    out = capsys.readouterr().out
    assert "20 (at most 30)" in out
    assert "system/cpu_percent" not in out


def test_a_training_that_optimize_started_samples_itself(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(repository))
    monkeypatch.setenv("ADVISOR_SYSTEM_METRICS", "0.02")
    monkeypatch.setenv("ADVISOR_CAPTURE", "0")
    space = {"lr": advisor.Float(0.1, 1)}
    exp = advisor.open(tmp_path / "store").experiment("digits", objective="loss", space=space)
    program = (
        "import advisor, os, time\n"
        "run = advisor.init()\n"
        "hold = bytearray(300 * 2**20)\n"
        "time.sleep(0.5)\n"
        "advisor.log(loss=1)\n"
    )
    script = tmp_path / "train.py"
    script.write_text(program)
    command = [sys.executable, str(script)]
    run = exp.optimize_command(command, n_runs=1, sampler="random", grace_s=5.0).attempts[0].run
    assert run.curve("loss").steps.tolist() == [0]
    assert run.curve("system/process_memory_gib").values.max() > 0.28  # the training's memory, not the sweep's


# -- GPUs, by a stand-in of NVML: there is none here


class NVMLError(Exception):
    pass


def fake_nvml(n: int = 2, *, broken: str = "") -> SimpleNamespace:
    def ask(value: object, what: str) -> object:
        if what == broken:
            raise NVMLError(what)
        return value

    return SimpleNamespace(
        NVMLError=NVMLError,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: ask(None, "init"),
        nvmlDeviceGetCount=lambda: n,
        nvmlDeviceGetHandleByIndex=lambda i: i,
        nvmlDeviceGetUtilizationRates=lambda i: ask(SimpleNamespace(gpu=90 + i, memory=1), "percent"),
        nvmlDeviceGetMemoryInfo=lambda i: ask(SimpleNamespace(used=(i + 1) * 2**30, total=2**40), "memory"),
        nvmlDeviceGetTemperature=lambda i, kind: ask(60 + i, "temperature"),
        nvmlDeviceGetPowerUsage=lambda i: ask(250_000, "power"),
    )


def test_gpus_are_asked_through_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert (
        Machine().sample().items()
        >= {
            "system/gpu_1_percent": 91.0,
            "system/gpu_1_memory_gib": 2.0,
            "system/gpu_1_temperature_c": 61.0,
            "system/gpu_1_power_w": 250.0,
        }.items()
    )
    assert not any("gpu_0" in name for name in Machine().sample())


@pytest.mark.parametrize(("broken", "n"), [("init", 0), ("power", 3), ("", 4)])
def test_what_nvml_does_not_tell_is_left_out(monkeypatch: pytest.MonkeyPatch, broken: str, n: int) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(1, broken=broken))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert len(Gpus().sample()) == n


def test_without_nvml_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Gpus().sample() == {}


def test_visible_gpus_are_those_named_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, expected in (("0,2", {0, 2}), ("", set()), ("GPU-1234", {0, 1, 2}), (" 1 ", {1})):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
        assert visible(3) == expected


@pytest.mark.parametrize(("given", "seconds"), [("off", 0), ("0", 0), ("on", 15), ("60", 60), (False, 0), (2.5, 2.5)])
def test_the_setting_is_a_word_or_seconds(tmp_path: Path, given: object, seconds: float) -> None:
    assert resolve(cwd=tmp_path, environ={}, system_metrics=given).system_metrics == seconds
    with pytest.raises(ConfigError, match="a positive number of seconds, 'on' or 'off', not 'often'"):
        resolve(cwd=tmp_path, environ={"ADVISOR_SYSTEM_METRICS": "often"})
