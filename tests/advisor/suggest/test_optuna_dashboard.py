"""optuna-dashboard on ``AdvisorStorage``: its own server, asked over HTTP on loopback."""

from __future__ import annotations

import json
import socketserver
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
import pytest

import advisor
from advisor.optuna import AdvisorStorage

optuna_dashboard = pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is a development dependency")

Ask = Callable[..., Any]


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output clean."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


@pytest.fixture
def address(tmp_path: Path) -> Path:
    """Make a store with an Optuna study, a tracked experiment, and one without an objective."""
    address = tmp_path / "store"
    storage = AdvisorStorage(address)
    study = optuna.create_study(storage=storage, study_name="tuned", direction="maximize")

    def objective(trial: optuna.Trial) -> float:
        x, kind = trial.suggest_float("x", 0, 1), trial.suggest_categorical("kind", ["a", "b"])
        trial.report(x / 2, 0)
        trial.report(x, 1)
        trial.set_user_attr("kind", kind)
        return x

    study.optimize(objective, n_trials=3)
    storage.close()
    with advisor.open(address) as adv:
        tracked = adv.experiment("tracked", objective="loss", direction="minimize")
        for lr in (0.1, 0.01):
            with tracked.start(params={"lr": lr, "layers": 2}) as run:
                for step in range(3):
                    run.log({"loss": lr + 1 / (step + 1)}, step=step)
        with adv.experiment("aimless").start(params={"lr": 1.0}) as run:
            run.log({"loss": 0.5}, step=0)
    return address


@pytest.fixture
def ask(address: Path) -> Iterator[Ask]:
    storage = AdvisorStorage(address)
    app = optuna_dashboard.wsgi(storage)
    server = make_server("127.0.0.1", 0, app, server_class=_Server, handler_class=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()

    def call(path: str, method: str = "GET", body: Any = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.server_port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    yield call
    server.shutdown()
    thread.join()
    server.server_close()
    storage.close()


def _study_ids(ask: Ask) -> dict[str, int]:
    return {study["study_name"]: study["study_id"] for study in ask("/api/studies")["study_summaries"]}


def test_it_lists_experiments_however_they_were_made(ask: Ask) -> None:
    studies = {study["study_name"]: study["directions"] for study in ask("/api/studies")["study_summaries"]}
    assert studies == {"tuned": ["maximize"], "tracked": ["minimize"], "aimless": ["not_set"]}


def test_it_shows_trials_of_an_optuna_study(ask: Ask, address: Path) -> None:
    expected = optuna.load_study(study_name="tuned", storage=AdvisorStorage(address)).trials
    shown = ask(f"/api/studies/{_study_ids(ask)['tuned']}")
    assert [trial["number"] for trial in shown["trials"]] == [0, 1, 2]
    for trial, known in zip(shown["trials"], expected, strict=True):
        assert trial["state"] == "Complete"
        assert trial["values"] == known.values
        params = {param["name"]: param["param_external_value"] for param in trial["params"]}
        assert params == {"x": str(known.params["x"]), "kind": known.params["kind"]}
        steps = {each["step"]: each["value"] for each in trial["intermediate_values"]}
        assert steps == known.intermediate_values
        assert {attr["key"]: attr["value"] for attr in trial["user_attrs"]} == {"kind": known.params["kind"]}
    assert shown["has_intermediate_values"]


def test_it_shows_runs_that_were_tracked_with_their_curves(ask: Ask) -> None:
    shown = ask(f"/api/studies/{_study_ids(ask)['tracked']}")
    (first, second) = shown["trials"]
    assert first["values"] == [pytest.approx(0.1 + 1 / 3)]
    assert {param["name"]: param["param_external_value"] for param in first["params"]}["lr"] == "0.1"
    assert [(each["step"], each["value"]) for each in second["intermediate_values"]] == [
        (step, pytest.approx(0.01 + 1 / (step + 1))) for step in range(3)
    ]
    (aimless,) = ask(f"/api/studies/{_study_ids(ask)['aimless']}")["trials"]
    assert aimless["state"] == "Fail"  # without an objective it has no value, and Optuna asks for one


def test_it_may_create_rename_annotate_and_delete(ask: Ask, address: Path) -> None:
    made = ask("/api/studies", "POST", {"study_name": "new", "directions": ["minimize"]})["study_summary"]["study_id"]
    study = optuna.load_study(study_name="new", storage=AdvisorStorage(address))
    trial = study.ask()
    ask(f"/api/trials/{trial._trial_id}/tell", "POST", {"state": "Complete", "values": [0.5]})
    assert study.best_value == 0.5
    ask(f"/api/studies/{made}/note", "PUT", {"body": "a note", "version": 1})
    assert ask(f"/api/studies/{made}")["note"]["body"] == "a note"
    ask(f"/api/studies/{made}", "DELETE")
    assert "new" not in _study_ids(ask)
