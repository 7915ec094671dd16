from __future__ import annotations

import subprocess
import sys
import time
from datetime import datetime, timedelta

import numpy as np

from advisor.findings import Monitor, check_experiment
from storage.records import Finding
from tests.advisor.findings.made import EXPERIMENT, NOW, OBJECTIVE, a_loss, a_run, healthy


def a_monitor() -> Monitor:
    return Monitor("r0", "made", OBJECTIVE, clock=lambda: NOW)


def feed(monitor: Monitor, metric: str, values: object, *, batch: int = 7) -> list[Finding]:
    array = np.asarray(values, dtype=np.float64)
    out: list[Finding] = []
    for low in range(0, array.size, batch):
        piece = array[low : low + batch]
        steps = np.arange(low, low + piece.size)
        out += monitor.observe(metric, steps, piece, steps.astype(float))
    return out


def test_a_nan_is_raised_at_once_only_once_and_silences_its_metric() -> None:
    values = a_loss(200)
    values[50:] = np.nan
    monitor = a_monitor()
    assert feed(monitor, "val_loss", values[:50], batch=1) == []
    (finding,) = monitor.observe("val_loss", [50], [np.nan], [50.0])
    assert (finding.code, finding.step) == ("ADV101", 50)
    assert feed(monitor, "val_loss", values[51:]) == []


def test_divergence_and_spikes_are_raised_while_the_run_goes_on() -> None:
    diverging = np.concatenate([a_loss(60), np.linspace(0.3, 12, 60)])
    assert "ADV102" in {finding.code for finding in feed(a_monitor(), "train_loss", diverging)}
    spiky = a_loss(200)
    spiky[120] = 30.0
    said = feed(a_monitor(), "train_loss", spiky)
    assert {(finding.code, finding.step) for finding in said} == {("ADV103", 120)}


def test_loud_faults_are_raised_within_a_twentieth_of_the_run() -> None:
    values = a_loss(1000, noise=0.03)
    spiky, diverged = values.copy(), values.copy()
    spiky[800] *= np.e
    diverged[800:] = 4.0
    assert [f.code for f in feed(a_monitor(), "train_loss", spiky[:801], batch=1)] == ["ADV103"]
    assert "ADV102" in {f.code for f in feed(a_monitor(), "train_loss", diverged[:850], batch=1)}
    monitor, seconds = a_monitor(), np.cumsum(np.where(np.arange(1000) < 700, 0.2, 0.3))
    found: list[Finding] = []
    for low in range(0, 750, 10):
        found += monitor.observe("progress", np.arange(low, low + 10), np.zeros(10), seconds[low : low + 10])
    assert [finding.code for finding in found] == ["ADV108"]


def test_a_spike_that_does_not_pass_is_said_again_as_an_error_and_a_recovery_is_said() -> None:
    values = a_loss(400, floor=0.4, rate=12.0)
    values[200:] *= 2.5
    stays = feed(a_monitor(), "train_loss", values)
    assert [(f.code, str(f.severity)) for f in stays] == [("ADV103", "warning"), ("ADV103", "error")]
    assert stays[0].id == stays[1].id
    values[240:] /= 2.5
    assert str(feed(a_monitor(), "train_loss", values)[-1].severity) == "warning"


def test_a_healthy_run_raises_nothing_while_it_trains() -> None:
    for seed in range(5):
        monitor = a_monitor()
        for metric, curve in healthy(seed, n=300).items():
            assert feed(monitor, metric, curve.values) == []


def test_a_silent_run_is_raised_once_and_not_before_its_time() -> None:
    now = NOW

    def clock() -> datetime:
        return now

    monitor = Monitor("r0", "made", OBJECTIVE, clock=clock)
    assert monitor.tick(now) == []
    feed(monitor, "train_loss", a_loss(40))
    assert monitor.tick(now + timedelta(seconds=60)) == []
    assert [finding.code for finding in monitor.tick(now + timedelta(seconds=200))] == ["ADV107"]
    assert monitor.tick(now + timedelta(seconds=300)) == []


def test_a_live_finding_and_a_later_check_agree_on_the_id() -> None:
    values = a_loss(60)
    values[50:] = np.nan
    (live,) = feed(a_monitor(), "val_loss", values)
    curves = {"r0": {"val_loss": healthy()["val_loss"].__class__.of("val_loss", np.arange(60), values)}}
    later = check_experiment(EXPERIMENT, [a_run("r0")], curves, now=NOW).findings
    assert live.id in {finding.id for finding in later}


def test_a_metric_of_unknown_direction_raises_no_finding_about_its_shape() -> None:
    assert feed(a_monitor(), "temperature", np.linspace(1, 1e6, 500)) == []


def test_a_hundred_thousand_values_cost_little_and_memory_is_bounded() -> None:
    monitor = a_monitor()
    began = time.process_time()
    feed(monitor, "train_loss", a_loss(100_000, noise=0.05), batch=100)
    assert time.process_time() - began < 5


def test_importing_the_monitor_loads_no_scikit_learn() -> None:
    code = "import sys; from advisor.findings import Monitor; assert 'sklearn' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_at_the_end_what_was_raised_is_told_as_a_check_tells_it_and_nothing_else() -> None:
    values = a_loss(200)
    values[50:] = np.nan
    monitor, quiet = a_monitor(), a_monitor()
    feed(monitor, "val_loss", values)
    feed(quiet, "val_loss", a_loss(200))
    (said,) = monitor.ended(NOW)
    assert said.evidence["n_nonfinite"] == 150
    assert said.title.endswith("(150 of 200 values)")
    assert quiet.ended(NOW) == []


def test_at_the_end_a_loss_hidden_behind_zeros_is_counted_in_all() -> None:
    monitor = a_monitor()
    for step in range(20):
        bad = step >= 10
        monitor.observe("grad_norm", [step], [np.inf if bad else 1.0], [float(step)])
        monitor.observe("train_loss", [step], [0.0 if bad else 1.0], [float(step)])
    said = {finding.metric: finding for finding in monitor.ended(NOW)}
    assert (said["train_loss"].evidence["n_nonfinite"], said["train_loss"].evidence["n"]) == (10, 20)
