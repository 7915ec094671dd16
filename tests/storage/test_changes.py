"""Which runs have changed since a place in the journal: what a follower of a fold asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import journal
from storage.lance_store import LanceRunStore
from storage.records import Event
from storage.store import open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LanceRunStore]:
    opened = open_store(tmp_path / "store")
    assert isinstance(opened, LanceRunStore)
    opened.append([Event.new("experiment.created", "e"), Event.new("run.created", "e", "r0")])
    yield opened
    opened.close()


def _note(run_id: str) -> Event:
    return Event.new("run.noted", "e", run_id, text="x")


def test_runs_that_events_are_about_have_changed(store: LanceRunStore) -> None:
    mark = store.state().mark()
    assert store.state().changed_since(mark) == set()
    store.append([Event.new("run.created", "e", "r1"), _note("r0"), Event.new("experiment.attr", "e", key="k")])
    later = store.state().mark()
    assert store.state().changed_since(mark) == {"r0", "r1"}
    assert store.state().changed_since(later) == set()


@pytest.mark.parametrize(
    "event",
    [
        Event.new("experiment.updated", "e", reduce="best"),
        Event.new("experiment.renamed", "e", to="f"),
        Event.new("experiment.deleted", "e"),
    ],
    ids=lambda event: event.kind,
)
def test_after_an_event_about_a_whole_experiment_anything_may_have_changed(store: LanceRunStore, event: Event) -> None:
    mark = store.state().mark()
    store.append([event])
    assert store.state().changed_since(mark) is None
    later = store.state().mark()
    store.append([_note("r0")])
    assert store.state().changed_since(later) == {"r0"}


def test_too_long_ago_or_of_another_history_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "N_CHANGES", 4)
    one, two = open_store(tmp_path / "one"), open_store(tmp_path / "two")
    for store in (one, two):
        store.append([Event.new("experiment.created", "e"), Event.new("run.created", "e", "r0")])
    mark, foreign = one.state().mark(), two.state().mark()
    one.append([_note("r0")])
    assert one.state().changed_since(mark) == {"r0"}
    assert one.state().changed_since(foreign) is None
    one.append([_note("r0") for _ in range(4)])
    assert one.state().changed_since(mark) is None


def test_a_mark_holds_for_a_fold_that_begins_at_a_kept_one(store: LanceRunStore, tmp_path: Path) -> None:
    assert store._folding.keep()
    kept = store.state().mark()
    store.append([_note("r0")])
    other = open_store(tmp_path / "store", create=False)
    assert other.state().changed_since(kept) == {"r0"}
    other.close()
