"""Stores written by every earlier schema are opened, read, written to and tidied up by this one."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from storage import RunState, open_store
from storage.embed import HashingEmbedder
from storage.lance_store import LanceRunStore
from storage.migrations import MIGRATIONS, SCHEMA_VERSION
from storage.testing import add_run, chunk

STORES = Path(__file__).parent / "stores"
EARLIER = range(1, SCHEMA_VERSION)


@pytest.fixture(params=EARLIER, ids=lambda schema: f"schema {schema}")
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LanceRunStore:
    """Return a store that was written by an earlier version, opened by this one."""
    shutil.unpack_archive(STORES / f"schema{request.param}.zip", tmp_path)
    store = open_store(tmp_path / "store", create=False, embedder=HashingEmbedder())
    assert isinstance(store, LanceRunStore)
    return store


def check(store: LanceRunStore) -> None:
    """Compare what is read with what ``stores/write.py`` wrote."""
    (experiment,) = store.experiments()
    assert (experiment.name, experiment.description) == ("digits", "MLP on the UCI digits")
    runs = store.runs()[:3]
    assert [(run.id, run.number, run.state, run.values) for run in runs] == [
        ("run0", 0, RunState.FINISHED, (0.1,)),
        ("run1", 1, RunState.FAILED, (0.2,)),
        ("run2", 2, RunState.PRUNED, (0.1 * 3,)),
    ]
    for i, run in enumerate(runs):
        params = dict(run.params)
        assert math.isnan(params.pop("nan"))
        assert params == {"lr": 10.0**-i, "big": 2**80, "nested": {"a": [1, None]}, "torn": "\ud800"}
        assert (run.seed, run.tags, run.notes) == (i, ("old",), ("größer 😀",))
        assert [(finding.id, finding.code) for finding in run.findings] == [(f"f{i}", "ADV102")]
        curve = run.curve("loss")
        np.testing.assert_array_equal(curve.steps, range(6))
        np.testing.assert_array_equal(curve.values, [2.0, 1.5, 1.0 / 3, -1.0, math.nan, 1.0 / 3])
        np.testing.assert_array_equal(curve.times, [0.0, 0.5, 1.0, 3.0, 3.5, 4.0])
    assert list(store.state().suggestions) == ["s1"]
    assert [run.id for run in store.runs("digits", where="params.lr < 0.05")] == ["run2"]
    assert {hit.run.id for hit in store.search("digits größer")} >= {"run0", "run1", "run2"}


def test_there_is_a_store_of_every_earlier_schema() -> None:
    assert [path.name for path in sorted(STORES.glob("*.zip"))] == [f"schema{number}.zip" for number in EARLIER]
    assert len(MIGRATIONS) == SCHEMA_VERSION


def test_an_earlier_store_is_read_as_it_was_written(store: LanceRunStore) -> None:
    check(store)


def test_an_earlier_store_is_written_to_and_tidied_up(store: LanceRunStore, tmp_path: Path) -> None:
    new = add_run(store)
    store.append_curves([chunk(new.id, 1.0), chunk("run0", 0.25, metric="late", first=6)])
    store.compact()
    assert new.number == 3
    for seen in (store, open_store(tmp_path / "store", create=False, embedder=HashingEmbedder())):
        assert isinstance(seen, LanceRunStore)
        check(seen)
        assert seen.run("run0").curve("late").last == 0.25
        assert seen.verify().problems == ()
