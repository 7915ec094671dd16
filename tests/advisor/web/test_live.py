"""Changes told to whoever listens: all viewers by one poller, none after the end, no memory for who does not read."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from advisor.app import Advisor
from advisor.web.live import MOST_NAMED, Change, Looker
from storage.records import Event
from tests.advisor.web.conftest import Served

PARAMS = {"lr": 0.1, "hidden": 16, "optimizer": "sgd"}
N_VIEWERS = 50
WITHIN_S = 20.0


@contextmanager
def listening(address: str, client: httpx.Client | None = None) -> Iterator[Iterator[tuple[str, Any]]]:
    """Listen for changes; gives the events as names and data."""
    with ExitStack() as stack:
        chosen = client or stack.enter_context(httpx.Client(verify=False))
        answer = stack.enter_context(chosen.stream("GET", f"{address}/live", timeout=WITHIN_S))
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in answer.headers
        yield _events(answer.iter_lines())


def _events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])


def test_who_listens_hears_which_run_and_experiment_changed(adv: Advisor, served: Served) -> None:
    with listening(served.address) as events:
        name, data = next(events)
        assert (name, data["version"]) == ("hello", adv.store.state().version)
        run = adv.experiment("digits").start(params=PARAMS)
        name, data = next(events)
        assert name == "changed"
        assert data["journal"]
        assert run.id in data["runs"]
        assert "digits" in data["experiments"]
        run.finish()


def test_fifty_viewers_hear_the_same_and_others_may_come_after_them(adv: Advisor, served: Served) -> None:
    with ExitStack() as stack:
        client = stack.enter_context(httpx.Client(verify=False, limits=httpx.Limits(max_connections=N_VIEWERS + 1)))
        viewers = [stack.enter_context(listening(served.address, client)) for _ in range(N_VIEWERS)]
        for events in viewers:
            assert next(events)[0] == "hello"
        adv.experiment("another")
        for events in viewers:
            assert "another" in next(events)[1]["experiments"]
        assert client.get(served.address + "/", timeout=WITHIN_S).status_code == 200
    with listening(served.address) as events:
        assert next(events)[0] == "hello"
        adv.experiment("a third")
        assert any("a third" in data["experiments"] for _, data in events)


def test_log_calls_of_a_run_that_goes_on_are_noticed_without_the_journal(adv: Advisor) -> None:
    run = adv.experiment("digits").start(params=PARAMS)
    looker = Looker(lambda: adv.store)
    run.log({"val_loss": 1.0}, step=0)
    _wait_for(lambda: adv.store.delivered(run.id) == 1)
    looker.begin()
    assert not looker.look()
    run.log({"val_loss": 0.5}, step=1)
    _wait_for(lambda: adv.store.delivered(run.id) == 2)
    change = looker.look()
    assert (change.runs, change.experiments, change.journal) == ({run.id}, {"digits"}, False)
    assert not looker.look()
    run.finish()


def test_too_much_at_once_is_told_as_everything(adv: Advisor) -> None:
    looker = Looker(lambda: adv.store)
    looker.begin()
    run = adv.experiment("digits").run(0)
    adv.store.append([Event.new("run.tagged", "digits", run.id, tags=[str(i)]) for i in range(MOST_NAMED + 1)])
    change = looker.look()
    assert change.everything
    assert not change.runs


def test_changes_that_nobody_takes_stay_small() -> None:
    news = Change()
    for i in range(20_000):
        news.add(Change(i, runs={f"run {i}"}, experiments={f"experiment {i}"}, journal=True))
    assert news.everything
    assert len(news.event()) < 200


def test_serving_ends_at_once_though_somebody_listens(store: Path) -> None:
    command = [sys.executable, "-m", "advisor", "--store", str(store), "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().strip().rstrip("/")
        with listening(address) as events:
            next(events)
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert list(events) == []
            assert time.monotonic() - begun < 2.0
        process.wait(WITHIN_S)
        assert "Cancel" not in process.stderr.read()


def test_a_head_request_ends(served: Served) -> None:
    with httpx.Client(verify=False) as client:
        assert client.head(served.address + "/live", timeout=WITHIN_S).status_code == 200


def _wait_for(condition: Any) -> None:
    end = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
