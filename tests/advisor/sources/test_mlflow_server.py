from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from advisor.errors import SourceError
from advisor.sources.mlflow import MLflowReader
from advisor.sources.port import Options
from storage.records import RunState
from tests.advisor.sources.recorded import DATA, assert_same_curves, expected
from tests.advisor.sources.test_mlflow import as_mlflow_says

FOLDER = DATA / "mlflow-3.18.0-server"
READER = MLflowReader()
Answer = Callable[[BaseHTTPRequestHandler, str, dict[str, Any]], tuple[int, dict[str, str], bytes]]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """Serve answers on loopback; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self._reply(parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()})

        def do_POST(self) -> None:
            self._reply(self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _reply(self, path: str, question: dict[str, Any]) -> None:
            status, headers, body = answer(self, path.removeprefix("/api/2.0/mlflow/"), question)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):  # who asked may have gone
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def recorded(_: BaseHTTPRequestHandler, what: str, question: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """Answer as a real server did to the same question, whatever number of results is asked for."""
    for each in json.loads((FOLDER / "exchange.json").read_text()):
        asked = {name: value for name, value in each["question"].items() if name != "max_results"}
        if each["what"] == what and asked == {n: value for n, value in question.items() if n != "max_results"}:
            return 200, {}, json.dumps(each["answer"]).encode()
    return 404, {}, b"{}"


def read(address: str, **options: Any) -> dict[str, Any]:
    found = READER.find_address(address)
    assert found is not None
    with READER.open(found, Options(**options)) as source:
        runs = [entry.load() for entry in source.entries()]
        return {run.key: (run, run.read(None)) for run in runs}


def constant(status: int, content: Any = b"", **headers: str) -> Answer:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda *_: (status, headers, body)


def test_all_runs_and_points_of_a_server_come_over_all_pages() -> None:
    with serving(recorded) as address:
        found = read(f"{address}/")
    wanted = {run["id"]: run for run in expected(FOLDER)}
    assert found.keys() == wanted.keys()
    for key, (run, piece) in found.items():
        said = wanted[key]
        assert_same_curves(piece, as_mlflow_says(said["curves"]))
        assert (run.experiment, run.name) == (said["experiment"], said["name"])
        assert sorted(run.params) == sorted(said["params"])
        assert [f"{name}@{digest}" for name, digest in said["datasets"]] == run.meta.get("datasets", [])
    (full,) = [run for run, _ in found.values() if run.name == "long run"]
    assert (full.params["lr"], full.seed, full.environment["git_commit"]) == (0.1, 7, "a" * 40)
    assert {run.state for run, _ in found.values()} >= {RunState.FAILED, RunState.CRASHED, RunState.RUNNING}


def test_stamps_are_the_same_until_something_changes() -> None:
    found = READER.find_address("http://127.0.0.1:1")
    assert found is not None
    with serving(recorded) as address, READER.open(READER.find_address(address) or found, Options()) as source:
        assert [entry.stamp for entry in source.entries()] == [entry.stamp for entry in source.entries()]


def test_the_address_of_an_experiments_page_means_that_experiment() -> None:
    asked = []

    def answer(_: Any, what: str, question: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        asked.append((what, question))
        return 200, {}, json.dumps({"experiment": {"experiment_id": "3", "name": "e"}}).encode()

    with serving(answer) as address:
        assert read(f"{address}/#/experiments/3/runs?x=1") == {}
    assert asked[0] == ("experiments/get", {"experiment_id": "3"})
    assert asked[1][1]["experiment_ids"] == ["3"]


def test_credentials_come_from_the_environment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def answer(request: BaseHTTPRequestHandler, *_: Any) -> tuple[int, dict[str, str], bytes]:
        seen.append(request.headers.get("Authorization"))
        return 200, {}, b"{}"

    with serving(answer) as address:
        read(address)
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
        read(address)
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "pass")
        read(address)
    assert seen == [None, "Bearer t0ken", "Basic YW5uOnBhc3M="]
    with pytest.raises(SourceError, match="leave them out and set MLFLOW_TRACKING_USERNAME") as refused:
        READER.find_address("https://ann:hunter2@example.org")
    assert "hunter2" not in str(refused.value)
    found = READER.find_address("https://example.org/mlflow?token=hunter2#/experiments/3")
    assert found is not None
    assert found.path == "https://example.org/mlflow#/experiments/3"


def test_an_answer_that_points_to_another_host_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
    seen = []

    def elsewhere(request: BaseHTTPRequestHandler, *_: Any) -> tuple[int, dict[str, str], bytes]:
        seen.append(dict(request.headers))
        return 200, {}, b"{}"

    with serving(elsewhere) as other, serving(constant(302, Location=f"{other}/api")) as address:
        with pytest.raises(SourceError, match="sends to another host"):
            read(address)
        with pytest.raises(SourceError, match="sends to another host"):
            read(f"{address}/#/experiments/1")
    assert seen == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (constant(401), "set MLFLOW_TRACKING_USERNAME"),
        (constant(404), "there is no MLflow tracking server at this address"),
        (constant(400, {"message": "bad\nthing"}), "answered 400: bad thing"),
        (constant(200, b"<html>"), "is no JSON"),
        (constant(200, [1]), "is no MLflow server's"),
        (constant(200, {"experiments": [], "next_page_token": "x"}), "same page again and again"),
        (constant(200, b'{"experiments": [', **{"Content-Length": "100"}), "is no JSON"),
    ],
)
def test_what_a_server_answers_wrongly_is_one_sentence(answer: Answer, message: str) -> None:
    with serving(answer) as address, pytest.raises(SourceError, match=message):
        read(address)


def test_a_server_that_is_busy_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advisor.sources.mlflow_server.PAUSE_S", 0.0)
    left = [503, 429]

    def answer(*_: Any) -> tuple[int, dict[str, str], bytes]:
        return (left.pop(), {}, b"") if left else (200, {}, b"{}")

    with serving(answer) as address:
        assert read(address) == {}
    with serving(constant(503)) as address, pytest.raises(SourceError, match="answered 503"):
        read(address)


def test_a_server_that_is_silent_or_not_there_is_left_after_the_deadline() -> None:
    done = threading.Event()

    def silent(*_: Any) -> tuple[int, dict[str, str], bytes]:
        done.wait(5)
        return 200, {}, b"{}"

    with serving(silent) as address:
        with pytest.raises(SourceError, match="no answer in time"):
            read(address, deadline_s=0.1)
        done.set()
    with pytest.raises(SourceError, match="does not answer"):
        read(address)


def test_hostile_answers_are_left_out() -> None:
    run = {"info": {"run_id": "r", "start_time": "x", "status": 7}, "data": {"metrics": [{"key": "m"}, 3], "params": 5}}

    def answer(_: Any, what: str, question: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        answers = {
            "experiments/search": {"experiments": [{"experiment_id": "1", "name": None, "tags": "none"}]},
            "runs/search": {"runs": [run, {"info": None}, "text"]},
            "metrics/get-history": {"metrics": [{"value": "high"}, {"value": 1, "timestamp": "5", "step": 2}]},
        }
        return 200, {}, json.dumps(answers[what]).encode()

    with serving(answer) as address:
        ((found, piece),) = read(address).values()
    assert (found.experiment, found.state, found.started) == ("1", None, None)
    assert piece.curves["m"].values.tolist() == [1.0]
    assert piece.notes == ("1 point without a number was left out",)


def test_addresses_of_other_trackers_and_schemes_are_not_mlflows() -> None:
    for address in ("https://wandb.ai/a/b", "https://api.wandb.ai/x", "postgresql://h/db", "http://h:port/", "http://"):
        assert READER.find_address(address) is None
