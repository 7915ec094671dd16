"""A store with everything that the command line can meet, and a way to call it in this process."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import advisor
from advisor.cli import main
from storage.curves import summaries
from storage.embed import HashingEmbedder
from storage.records import Curve, CurveChunk, Event
from storage.store import open_store
from storage.testing import add_experiment

BEGIN = datetime(2026, 1, 31, 18, tzinfo=UTC)
NASTY = "[red]loud[/red] \u202egnp.exe \x1b[31m note"


@dataclass(frozen=True)
class Done:
    """What a call of the program did."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What stdout says, as strict JSON."""

        def refuse(word: str) -> Any:
            raise AssertionError(f"{word} is no JSON")

        return json.loads(self.out, parse_constant=refuse)

    @property
    def error(self) -> str:
        """The one line that a mistake of the user gives; nothing else was printed."""
        assert (self.code, self.out) == (2, "")
        last = self.err.splitlines()[-1]
        assert last.startswith("error: ")
        assert "Traceback" not in self.err
        return last


Program = Callable[..., Done]


@pytest.fixture
def program(capsys: pytest.CaptureFixture[str]) -> Program:
    """Return the program, called in this process."""

    def call(*arguments: object) -> Done:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return call


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Work in an empty folder, with the encoder that needs no weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADVISOR_EMBEDDER", "hashing")
    monkeypatch.setenv("ADVISOR_CAPTURE", "no")
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


def curves_of(i: int) -> dict[str, Curve]:
    """Return the curves of run ``i``: a calm training, run 3 becomes NaN."""
    steps = np.arange(24)
    noise = np.random.default_rng(i).normal(0, 0.003, steps.size)
    loss = np.exp(-steps / 6) + 0.1 + 0.02 * i + noise
    if i == 3:
        loss[12:] = math.nan
    return {
        "val_loss": Curve.of("val_loss", steps, loss, steps * 0.5),
        "train_loss": Curve.of("train_loss", steps, 0.9 * loss, steps * 0.5),
    }


@pytest.fixture(scope="session")
def made_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the store: ``digits`` with 16 runs, ``bare`` with one, ``empty`` with none."""
    path = tmp_path_factory.mktemp("made") / "store"
    store = open_store(path, embedder=HashingEmbedder())
    space = {"lr": advisor.Float(1e-4, 1, log=True), "opt": advisor.Choice("sgd", "adam")}
    add_experiment(store, "digits", space={name: d.to_json() for name, d in space.items()}, description="MLP on digits")
    add_experiment(store, "bare", objectives=[])
    add_experiment(store, "empty")
    events, chunks = [], []
    for i in range(14):
        run_id = f"{i:02d}ab{i:028x}"
        curves = curves_of(i)
        chunks += [
            CurveChunk(run_id, metric=name, chunk=0, through=24, steps=c.steps, values=c.values, times=c.times)
            for name, c in curves.items()
        ]
        body = {"state": "finished", "params": {"lr": 10 ** -(i / 5), "opt": ("sgd", "adam")[i % 2], "epochs": 24}}
        started = BEGIN + timedelta(minutes=i)
        body |= {"seed": i, "source": "tracked", "notes": [NASTY] if i == 0 else [], "tags": ["first"] * (i == 0)}
        body |= {"started": started.isoformat(), "ended": (started + timedelta(seconds=75)).isoformat()}
        events.append(Event.new("run.created", "digits", run_id, **body, summary=summaries(curves)))
    told = {"state": "finished", "params": {"lr": 0.5, "opt": "sgd"}, "values": [math.nan], "source": "told"}
    events.append(Event.new("run.created", "digits", "told-nan", **told))
    failed = {"state": "failed", "params": {"lr": 0.9, "opt": "adam"}, "error": 'Traceback\n  File "x"\nOOM \x1b[2J'}
    events.append(Event.new("run.created", "digits", "failed-one", **failed, source="tracked"))
    short = {"acc": Curve.of("acc", [0, 1], [0.1, math.inf])}
    events.append(Event.new("run.created", "bare", "bare-run", state="finished", summary=summaries(short)))
    chunks.append(CurveChunk("bare-run", metric="acc", chunk=0, through=2, steps=[0, 1], values=[0.1, math.inf]))
    store.append(events)
    store.append_curves(chunks)
    return path


@pytest.fixture
def store(made_store: Path, tmp_path: Path) -> Path:
    """Return a copy of the store that a test may change."""
    return Path(shutil.copytree(made_store, tmp_path / "store"))
