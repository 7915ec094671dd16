"""Small materials built by hand, and a loopback server that speaks OpenAI's chat completions."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from advisor.documents import ExperimentMaterial, RunMaterial
from storage.records import Curve, Experiment, Finding, Objective, Run, RunState, Severity

START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
NOW = datetime(2026, 3, 2, 12, 30, tzinfo=UTC)


def curve(metric: str, *values: float) -> Curve:
    return Curve.of(metric, range(len(values)), values)


def make_run(number: int, value: float | None, *, state: RunState = RunState.FINISHED, **fields: Any) -> Run:
    curves = {"val_loss": curve("val_loss", 2.0, 1.0, value)} if value is not None else {}
    given: dict[str, Any] = {
        "number": number,
        "experiment": "digits",
        "state": state,
        "params": {"lr": 0.1 / (number + 1), "optimizer": "sgd" if number % 2 else "adam"},
        "values": () if value is None else (value,),
        "metrics": {name: one.last for name, one in curves.items()},
        "summary": {name: one.summary() for name, one in curves.items()},
        "created": START,
        "started": START + timedelta(minutes=number),
        "ended": START + timedelta(minutes=number, seconds=30),
        "seed": 7,
    }
    return Run(f"{number:032x}", **(given | fields))


def make_experiment(**fields: Any) -> Experiment:
    given: dict[str, Any] = {"number": 0, "objectives": (Objective("val_loss"),), "created": START}
    return Experiment("digits", **(given | fields))


def make_material(runs: list[Run] | None = None, **fields: Any) -> ExperimentMaterial:
    if runs is None:
        runs = [make_run(n, value) for n, value in enumerate((0.9, 0.5, 0.31, 0.62, 0.4, 0.35))]
    given: dict[str, Any] = {
        "runs": runs,
        "curves": {
            run.id: {"val_loss": curve("val_loss", 2.0, 1.0, run.objective)}
            for run in runs
            if run.objective is not None
        },
        "generated": NOW,
        "version": "0.1.0",
        "store_uri": "experiments",
    }
    experiment = fields.pop("experiment", None) or make_experiment()
    return ExperimentMaterial(experiment, **(given | fields))


def make_run_material(run: Run, siblings: list[Run], **fields: Any) -> RunMaterial:
    base = make_material([*siblings, run])
    given: dict[str, Any] = {
        "experiment": base.experiment,
        "siblings": siblings,
        "curves": base.curves,
        "generated": NOW,
        "version": "0.1.0",
        "store_uri": "experiments",
    }
    return RunMaterial(run, **(given | fields))


def make_finding(run: Run, **fields: Any) -> Finding:
    given: dict[str, Any] = {
        "run_id": run.id,
        "experiment": "digits",
        "code": "ADV102",
        "title": "val_loss diverged",
        "severity": Severity.ERROR,
        "detector": "rules",
        "metric": "val_loss",
        "step": 1,
    }
    return Finding(f"finding-{run.number}", **(given | fields))


@dataclass(frozen=True)
class Make:
    """The builders above, for tests to ask for."""

    run: Callable[..., Run] = make_run
    experiment: Callable[..., Experiment] = make_experiment
    material: Callable[..., ExperimentMaterial] = make_material
    run_material: Callable[..., RunMaterial] = make_run_material
    finding: Callable[..., Finding] = make_finding
    curve: Callable[..., Curve] = curve
    replace: Callable[..., Any] = replace


@pytest.fixture
def make() -> Make:
    return Make()


@dataclass
class Server:
    """A server whose answers a test decides."""

    url: str
    answer: str | bytes = "{}"
    """Content of the model's message, or the raw body."""
    status: int = 200
    delay_s: float = 0.0
    drip_s: float = 0.0
    """Seconds between single bytes of the body; 0 sends it at once."""
    fail_first: int = 0
    """How many requests get status 500 before the answer."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def body(self) -> bytes:
        if isinstance(self.answer, bytes):
            return self.answer
        message = {"role": "assistant", "content": self.answer}
        return json.dumps(
            {
                "id": "x",
                "object": "chat.completion",
                "created": 1,
                "model": "m",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        ).encode()


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            state.requests.append(json.loads(request))
            state.headers.append(dict(self.headers))
            state.stopping.wait(state.delay_s)
            status = 500 if len(state.requests) <= state.fail_first else state.status
            body = state.body()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if not state.drip_s:
                    self.wfile.write(body)
                    return
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    if state.stopping.wait(state.drip_s):
                        return
            except OSError:
                pass  # the client has given up, which is what some tests are about

        def log_message(self, format: str, *args: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    state.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield state
    state.stopping.set()
    http.shutdown()
    http.server_close()
    thread.join()


ADVERSARIAL = Path(__file__).parents[3] / "evals" / "documents_adversarial"


@pytest.fixture(scope="session")
def adversarial() -> Iterator[SimpleNamespace]:
    """Import the modules of the evaluation by name, and forget them afterwards: their names are plain words."""
    names = [path.stem for path in ADVERSARIAL.glob("*.py") if path.stem != "__main__"]
    sys.path.insert(0, str(ADVERSARIAL))
    yield SimpleNamespace(**{name: import_module(name) for name in names})
    sys.path.remove(str(ADVERSARIAL))
    for name in names:
        del sys.modules[name]


@pytest.fixture
def loopback(adversarial: SimpleNamespace) -> Iterator[Any]:
    """A server that speaks three dialects."""
    with adversarial.loopback.serving() as state:
        yield state


@pytest.fixture(scope="session")
def litellm_loaded(adversarial: SimpleNamespace) -> float:
    """Load litellm once, as the model does it, with what a first call loads; return the seconds it took."""
    from advisor.documents import LiteLLMModel

    began = time.monotonic()
    with adversarial.loopback.serving() as state:
        LiteLLMModel("openai/warm", api_base=state.url).complete([], schema={})
    return time.monotonic() - began
