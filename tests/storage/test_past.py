"""A store as it was: later events, renames and points of running runs change nothing of what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.embed import HashingEmbedder
from storage.errors import ExperimentNotFoundError, RecordError, RunNotFoundError
from storage.past import PastStore
from storage.records import CurveChunk, Event
from storage.store import RunStore, open_store
from storage.testing import add_experiment


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    opened = open_store(tmp_path / "store", embedder=HashingEmbedder())
    add_experiment(opened, "digits")
    summary = {"val_loss": {"n": 1, "last": 0.5, "last_finite": 0.5}}
    opened.append([Event.new("run.created", "digits", "a" * 32, state="finished", summary=summary)])
    opened.append([Event.new("run.created", "digits", "b" * 32, state="running")])
    chunk = CurveChunk("b" * 32, metric="val_loss", chunk=0, through=2, steps=[0, 1], values=[1.0, 0.5])
    opened.append_curves([chunk])
    return opened


def test_what_comes_later_is_not_seen(store: RunStore) -> None:
    past = PastStore(store, store.state().version)
    before = (past.runs("digits"), past.experiments(), past.count(), past.best("digits"), past.curves(["b" * 32]))
    store.append([Event.new("run.created", "digits", "c" * 32, state="finished", values=[0.1])])
    store.append([Event.new("run.state", "digits", "b" * 32, state="finished")])
    store.append_curves([CurveChunk("b" * 32, metric="val_loss", chunk=2, through=3, steps=[2], values=[0.2])])
    store.append([Event.new("experiment.renamed", "digits", to="ciphers")])
    again = PastStore(store, past.version, lengths=past.lengths)
    for one in (past, again):
        assert one.runs("digits") == before[0]
        assert one.runs("ciphers") == before[0]
        assert one.experiments() == before[1]
        assert (one.count(), one.best("digits"), one.curves(["b" * 32])) == before[2:]
        assert len(one.run("b" * 32).summary["val_loss"]) == len(before[0][1].summary["val_loss"])
        assert [event.kind for event in one.journal(last=1)] == ["run.created"]
        assert all(event.version <= past.version for event in one.events())
    assert len(store.runs("ciphers")) == 3


def test_the_past_is_only_read(store: RunStore) -> None:
    past = PastStore(store, store.state().version)
    past.append([])
    for call in (
        lambda: past.append([Event.new("run.noted", "digits", "a" * 32, text="late")]),
        lambda: past.runs("digits", where="params.lr > 0"),
        lambda: past.search("x"),
        past.info,
    ):
        with pytest.raises(RecordError, match="only read"):
            call()
    with pytest.raises(RunNotFoundError, match="there was no run"):
        past.run("zz")
    with pytest.raises(ExperimentNotFoundError, match="there was no experiment"):
        past.experiment("other")
