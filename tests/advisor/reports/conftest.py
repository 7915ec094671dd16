"""A small store with a diverged run, a failed one, notes and findings; and every kind of document about it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import advisor
from advisor.app import Advisor
from storage.curves import summaries
from storage.embed import HashingEmbedder
from storage.records import Curve, CurveChunk, Event
from storage.store import open_store
from storage.testing import add_experiment

BEGIN = datetime(2026, 3, 1, 9, tzinfo=UTC)
NOW = datetime(2026, 3, 3, 12, 30, 15, 123456, tzinfo=UTC)


def curves_of(i: int) -> dict[str, Curve]:
    steps = np.arange(60)
    loss = np.exp(-steps / 9) + 0.1 + 0.02 * i + np.random.default_rng(i).normal(0, 0.003, steps.size)
    train = Curve.of("train_loss", steps, 0.9 * loss)
    if i == 2:
        loss[30:] = math.nan
    return {"val_loss": Curve.of("val_loss", steps, loss), "train_loss": train}


def fill(path: Path) -> None:
    store = open_store(path, embedder=HashingEmbedder())
    events, chunks = [], []
    for name, n in (("digits", 5), ("wines", 3)):
        add_experiment(store, name, description=f"MLP on {name}")
        for i in range(n):
            run_id = f"{i:02d}{name[0]}b{i:028x}".replace("w", "e")
            curves = curves_of(i)
            chunks += [
                CurveChunk(run_id, metric=metric, chunk=0, through=60, steps=c.steps, values=c.values)
                for metric, c in curves.items()
            ]
            started = BEGIN + timedelta(hours=i)
            body: dict[str, Any] = {"state": "finished", "params": {"lr": 10 ** -(i / 2 + 1), "opt": "sgd"}, "seed": i}
            body |= {"started": started.isoformat(), "ended": (started + timedelta(seconds=75 + i)).isoformat()}
            body |= {"notes": ["loss went up after 30"] if i == 2 else [], "summary": summaries(curves)}
            events.append(Event.new("run.created", name, run_id, **body))
    ended = (BEGIN + timedelta(hours=9)).isoformat()
    failed: dict[str, Any] = {"state": "failed", "params": {"lr": 0.9, "opt": "adam"}, "started": BEGIN.isoformat()}
    failed |= {"ended": ended, "error": 'File "x.py", line 7\nOOM at 24 GB'}
    events.append(Event.new("run.created", "digits", "f0" * 16, **failed))
    store.append(events)
    store.append_curves(chunks)
    store.close()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store that was looked through for findings; tests get copies."""
    path = tmp_path_factory.mktemp("documents") / "store"
    fill(path)
    with advisor.open(path, capture=False) as opened:
        opened.clock = lambda: NOW - timedelta(hours=1)
        opened.experiment("digits", create=False).check()
    return path


@pytest.fixture
def adv(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Advisor]:
    """An advisor on a store of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADVISOR_EMBEDDER", "hashing")
    path = shutil.copytree(made, tmp_path / "store")
    with advisor.open(path, reports=tmp_path / "reports", capture=False) as opened:
        opened.clock = lambda: NOW
        yield opened
