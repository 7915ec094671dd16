"""What the tests of all callbacks share: a store, no launcher's variables, and the runs that came to be."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")  # read once, when keras is imported

import advisor
from advisor.compat import current
from advisor.integrations import common, session

Runs = Callable[[], list[advisor.Run]]
Example = Callable[[str], str]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Work in an empty folder, as the only process; nothing of one test is open in the next."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADVISOR_CAPTURE", "no")
    monkeypatch.setenv("ADVISOR_EMBEDDER", "hashing")
    for name in common.RANKS:
        monkeypatch.delenv(name, raising=False)
    yield
    for left in list(session._open.values()):
        left.finish()
    if (run := current.going_on()) is not None:
        run.finish()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def runs(store: Path) -> Runs:
    """Return what reads all runs of the store, the oldest first."""

    def read() -> list[advisor.Run]:
        return advisor.open(store, capture=False).runs() if store.exists() else []

    return read


@pytest.fixture
def better(store: Path) -> Callable[[str, str], None]:
    """Return what makes an experiment whose 30 runs of 400 steps came down at once, lower than any test's own run."""

    def make(experiment: str, metric: str) -> None:
        exp = advisor.open(store, capture=False).experiment(experiment, objective=metric)
        for i in range(30):
            with exp.start(params={"lr": 0.1 + i / 100}) as run:
                for step in range(0, 400, 8):
                    run.log({metric: 1e-6 * (1 + i) / (1 + step)}, step=step)

    return make


@pytest.fixture
def example(
    repository: Path, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Example:
    """Return what runs an example in this process, which has imported its framework, and returns what it printed."""

    def run(script: str) -> str:
        path = repository / "examples" / "integrations" / script
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 80
        assert f"python examples/integrations/{script} [STORE" in text
        monkeypatch.setattr(sys, "argv", [str(path), str(store)])
        runpy.run_path(str(path), run_name="__main__")
        return capsys.readouterr().out

    return run
