from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import advisor
from advisor.compat import current, unsupported
from storage.records import Run
from tests.advisor.compat.helpers import HERE, Play


@pytest.fixture(autouse=True)
def a_program_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Begin in an empty folder with no run, and everything to be said again; leave no run behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADVISOR_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("ADVISOR_CAPTURE", "0")
    monkeypatch.setattr(current, "_run", None)
    unsupported.forget_said()
    yield
    run = current.going_on()
    if run is not None:
        run.finish()


@pytest.fixture
def runs() -> Callable[[], list[Run]]:
    """Return what reads all runs of the test's store."""
    return lambda: advisor.open().runs()


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Play:
    """Return what runs a script that was recorded, with our modules; it gives back the lines that were printed."""

    def run(name: str) -> list[str]:
        monkeypatch.setenv("TRACKER", "advisor" if name.startswith("wandb") else "advisor.compat.mlflow")
        runpy.run_path(str(HERE / "scripts" / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run
