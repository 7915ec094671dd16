from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import advisor
from advisor.errors import ConfigError


@pytest.fixture
def hook() -> Iterator[tuple[str, list[Any]]]:
    """Return the address of a webhook receiver and what it got."""
    received: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/hook", received
    server.shutdown()
    thread.join()
    server.server_close()


def broken_run(adv: advisor.Advisor) -> advisor.Experiment:
    exp = adv.experiment("toy", objective="loss")
    with exp.start(params={}) as run:
        for step in range(20):
            run.log({"loss": float("nan") if step > 10 else 1.0 / (step + 1)}, step=step)
    return exp


def test_a_finding_is_sent_once_however_often_and_by_whomever_it_is_found(
    tmp_path: Path, hook: tuple[str, list[Any]]
) -> None:
    address, received = hook
    for _ in range(2):
        with advisor.open(tmp_path / "store", capture=False, notify=[address]) as adv:
            exp = adv.experiment("toy") if adv.experiments() else broken_run(adv)
            exp.check()
            exp.check()
    titles = [message["title"] for message in received]
    assert len(titles) == len(set(titles)) >= 1
    assert any("not finite" in message["text"] + message["title"] for message in received)


def test_a_finding_that_a_dead_channel_did_not_take_is_sent_by_the_next_check(
    tmp_path: Path, hook: tuple[str, list[Any]]
) -> None:
    address, received = hook
    with advisor.open(tmp_path / "store", capture=False, notify=["http://127.0.0.1:9/hook"]) as adv:
        broken_run(adv)
    with advisor.open(tmp_path / "store", capture=False, notify=[address]) as adv:
        adv.experiment("toy").check()
    assert received


def test_a_training_waits_for_no_channel_and_what_it_leaves_is_told_by_the_next_one(tmp_path: Path) -> None:
    patient, received = threading.Event(), []

    class Slow(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.headers["Idempotency-Key"])
            patient.wait(30)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        options: dict[str, Any] = {"capture": False, "notify": [f"http://127.0.0.1:{server.server_address[1]}/hook"]}
        adv = advisor.open(tmp_path / "store", **options)
        adv.store.state()
        begun = time.monotonic()
        broken_run(adv)
        took_s = time.monotonic() - begun
        assert adv.drain_notifications(0.2) is False
        adv.close()
        patient.set()
        with advisor.open(tmp_path / "store", **options) as adv, adv.experiment("toy").start(params={"a": 1}):
            adv.drain_notifications(20)
            assert len(adv.store.state().notified) == 1
        assert took_s < 5
        assert len(set(received)) == 1
        server.shutdown()
        thread.join()


def test_runs_of_one_program_with_the_same_trouble_share_a_message_and_a_watcher_adds_nothing(
    tmp_path: Path, hook: tuple[str, list[Any]]
) -> None:
    from advisor.findings.alerting import Policy
    from advisor.notify import open_channel
    from advisor.notify.desk import Desk
    from advisor.watching import Watcher

    address, received = hook
    with advisor.open(tmp_path / "store", capture=False, notify=[address]) as adv:
        broken_run(adv)
        assert adv.drain_notifications(20)
        for _ in range(3):
            broken_run(adv)
    told = [message["run_ids"] for message in received]
    assert [len(runs) for runs in told] == [1, 3]
    assert len({run_id for runs in told for run_id in runs}) == 4
    with advisor.open(tmp_path / "store", capture=False, notify=()) as adv:
        desk = Desk(adv.store, [open_channel(address)], policy=Policy(), clock=adv.clock)
        assert Watcher(adv, desk, compare=False).once().n_firing == 4
    assert len(received) == 2


def test_a_script_that_fails_is_reported_before_it_is_gone(tmp_path: Path, hook: tuple[str, list[Any]]) -> None:
    address, received = hook
    code = f"""
import advisor
advisor.init("script", store={str(tmp_path / "store")!r}, capture=False, notify=[{address!r}])
raise RuntimeError("CUDA out of memory")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "CUDA out of memory" in done.stderr
    assert ["it failed: RuntimeError: CUDA out of memory" in str(message) for message in received] == [True]


def test_an_address_that_is_none_is_refused_when_the_store_is_opened(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="address of a channel must be 'console' or like scheme"):
        advisor.open(tmp_path / "store", notify=["blafasel"])
    assert not (tmp_path / "store").exists()


def test_a_metric_keeps_its_direction_when_the_experiment_is_reopened(tmp_path: Path) -> None:
    adv = advisor.open(tmp_path / "store", capture=False)
    exp = adv.experiment("toy", objective="acc", direction="maximize")
    for value in (0.1, 0.9):
        exp.tell({"v": value}, value)
    again = adv.experiment("toy", objective="acc")
    best = again.best()
    assert best is not None
    assert best.objective == 0.9


def test_an_only_objective_that_is_called_otherwise_keeps_its_direction(tmp_path: Path) -> None:
    adv = advisor.open(tmp_path / "store", capture=False)

    def objectives(**given: Any) -> list[tuple[str, str]]:
        return [(each.metric, each.direction) for each in adv.experiment("toy", **given).record.objectives]

    assert objectives(objective="accuracy", direction="maximize") == [("accuracy", "maximize")]
    assert objectives(objective="val_acc") == [("val_acc", "maximize")]
    assert objectives(objective="val_loss", direction="minimize") == [("val_loss", "minimize")]
    assert objectives(objective=["val_acc", "val_loss"]) == [("val_acc", "minimize"), ("val_loss", "minimize")]


def test_a_change_of_the_objective_is_told_where_there_are_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    adv = advisor.open(tmp_path / "store", capture=False)
    adv.experiment("toy", objective="acc").tell({"v": 1}, 0.5)
    with caplog.at_level(logging.WARNING):
        adv.experiment("toy", objective="other")
    assert "changes from minimize acc to minimize other; its one run is valued anew" in caplog.text


def test_a_run_that_never_logged_its_objective_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    exp = advisor.open(tmp_path / "store", capture=False).experiment("toy", objective="val_loss")
    with caplog.at_level(logging.WARNING), exp.start(params={}) as run:
        run.log({"valloss": 1.0})
    assert "ended without 'val_loss', its objective; did you mean 'valloss'?" in caplog.text


def imported_from(folder: Path) -> subprocess.CompletedProcess[str]:
    repository = Path(advisor.__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(repository)])}
    code = "import advisor, storage.records; print(storage.records.__file__)"
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, cwd=folder
    )


def test_a_folder_of_data_called_storage_does_not_hide_the_package(tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "model.ckpt").touch()
    done = imported_from(tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_module_called_storage_that_hides_the_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "storage.py").touch()
    done = imported_from(tmp_path)
    assert done.returncode == 1
    assert f"is hidden by {tmp_path / 'storage.py'}; rename that file" in done.stderr
