from __future__ import annotations

import json
import logging
import math
import operator
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from storage import SchemaTooNewError, StoreNotFoundError, StoreUnavailableError, folding, journal, open_store
from storage.embed import HashingEmbedder
from storage.entries import sealed
from storage.index import CHECKPOINT_ID, COLUMNS, TABLE, KeptFold, Question, RunIndex
from storage.journal import Base
from storage.lance import Database, mapped
from storage.lance_store import LanceRunStore
from storage.migrations import MIGRATIONS_TABLE, SCHEMA_VERSION
from storage.query import Names, compile_filter
from storage.records import Event
from storage.store import RunStore
from storage.testing import add_experiment, add_finished, add_run, chunk


def opened(path: Path, **how: bool) -> RunStore:
    return open_store(path, embedder=HashingEmbedder(), **how)


class OtherEncoder:
    """Another encoder, of another dimension."""

    identity = "other"
    dimension = 8

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.ones((len(texts), 8), dtype=np.float32) / np.float32(np.sqrt(8))


# -- opening


def test_a_store_of_a_newer_version_is_not_opened(tmp_path: Path) -> None:
    opened(tmp_path / "store")
    newer = {"number": [SCHEMA_VERSION + 1], "name": ["m"], "time": [datetime.now(UTC)], "program": ["later"]}
    Database(tmp_path / "store", create=False).append("migrations", newer, MIGRATIONS_TABLE)
    with pytest.raises(
        SchemaTooNewError, match=f"has schema {SCHEMA_VERSION + 1}, this program knows up to {SCHEMA_VERSION}; upgrade"
    ):
        opened(tmp_path / "store")


def test_a_verdict_that_an_earlier_version_passed_over_is_not_lost(tmp_path: Path) -> None:
    store = opened(tmp_path / "store")
    assert isinstance(store, LanceRunStore)
    add_experiment(store)
    run = add_run(store)
    said = {"finding_id": "f", "code": "ADV102", "title": "t", "severity": "error", "detector": "rules"}
    store.append([Event.new("finding.opened", "digits", run.id, **said)])
    store.reindex()
    store.append([Event.new("finding.judged", "digits", run.id, finding_id="f", verdict="ok")])
    # An earlier version would keep the fold up to here: the run as it was, a checkpoint that does not say its kinds.
    kept = {name: value for name, value in store.state().checkpoint().items() if name != "kinds"}
    checkpoint = {"run_id": CHECKPOINT_ID, "number": -1, "folded": kept["version"]}
    checkpoint["record"] = sealed(json.dumps({"state": kept, "names": {}}).encode())
    rows = {name: [checkpoint.get(name)] for name in COLUMNS}
    store.database.upsert(TABLE, rows, COLUMNS, key="run_id")
    for _ in range(2):
        again = opened(tmp_path / "store")
        (finding,) = again.run(run.id).findings
        assert finding.verdict == "ok"
        again.reindex()
        assert again.verify().problems == ()


def test_a_table_whose_rows_lack_what_was_told_is_made_anew(tmp_path: Path) -> None:
    store = opened(tmp_path / "store")
    assert isinstance(store, LanceRunStore)
    add_experiment(store)
    run = add_run(store, state="finished", values=[0.5])
    # An earlier version would keep the fold up to here: without the value among the metrics, and without its form.
    store.reindex()
    kept, now = store.state().checkpoint(), store.state().base
    assert isinstance(now, KeptFold)
    rows = now.columns({name: name for name in COLUMNS}, where=f"run_id = '{run.id}'")
    record = sealed(json.dumps({"state": kept, "names": {}}).encode())
    checkpoint = {"run_id": CHECKPOINT_ID, "number": -1, "folded": kept["version"], "record": record}
    before: dict[str, Any] = {"run_id": run.id, "exp": 0, "number": 0, "ordinal": 0, "hidden": False, "metrics": "{}"}
    before["record"] = bytes(rows["record"][0])
    both = {name: [before.get(name), checkpoint.get(name)] for name in COLUMNS}
    store.database.upsert(TABLE, both, COLUMNS, key="run_id")
    for _ in range(2):
        again = opened(tmp_path / "store")
        assert [found.id for found in again.runs("digits", where="val_loss < 1")] == [run.id]
        assert again.verify().problems == ()
        again.reindex()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(StoreNotFoundError, match="holds no store; give a new or empty folder"):
        opened(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreNotFoundError, match="is a file; a store is a folder"):
        opened(tmp_path / "file")


def test_looking_for_a_store_makes_none(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFoundError):
        opened(tmp_path / "store", create=False)
    assert not (tmp_path / "store").exists()


def test_a_store_whose_files_are_damaged_says_so_in_one_line(tmp_path: Path) -> None:
    add_experiment(opened(tmp_path / "store"))
    for path in (tmp_path / "store" / "events.lance" / "data").iterdir():
        path.write_bytes(b"not what it was")
    with pytest.raises(StoreUnavailableError, match="cannot read the store") as caught:
        opened(tmp_path / "store").runs()
    assert "\n" not in str(caught.value)


# -- many writers

WRITER = """
    import sys
    from storage import CurveChunk, Event, open_store
    from storage.embed import HashingEmbedder
    store = open_store(sys.argv[1], embedder=HashingEmbedder())
    for i in range(int(sys.argv[3])):
        run_id = f"{sys.argv[2]}-{i}"
        store.append([Event.new("run.created", "exp", run_id)])
        store.append_curves([CurveChunk(run_id, metric="loss", chunk=0, through=1, steps=[0], values=[float(i)])])
        store.append([Event.new("run.state", "exp", run_id, state="finished", values=[float(i)])])
        print(run_id, store.run(run_id).number)
"""


def test_processes_that_write_at_once_get_consecutive_numbers_and_lose_nothing(tmp_path: Path) -> None:
    store = opened(tmp_path / "store")
    add_experiment(store, "exp")
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path / "store")]
    writers = [subprocess.Popen([*command, str(n), "16"], stdout=subprocess.PIPE, text=True) for n in range(3)]
    seen = dict(line.split() for writer in writers for line in writer.communicate()[0].splitlines())
    runs = store.runs("exp")
    assert [run.number for run in runs] == list(range(48))
    assert opened(tmp_path / "store").runs("exp") == runs  # which begins where a writer kept its fold on the way
    assert seen == {run.id: str(run.number) for run in runs}
    assert all(run.state == "finished" and run.curve("loss").last == run.objective for run in runs)


TIDIER = """
    import sys
    from storage import StoreUnavailableError, open_store
    from storage.embed import HashingEmbedder
    store = open_store(sys.argv[1], embedder=HashingEmbedder())
    n = 0
    while "all done" not in {note for run in store.runs("exp") for note in run.notes}:
        store.reindex() if n % 3 == 2 else store.compact()
        store.runs("exp", where="objective >= 0", order_by="loss", limit=5)
        n += 1
    print(n)
"""


def test_writers_and_a_process_that_tidies_up_all_the_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    store = opened(tmp_path / "store")
    add_experiment(store, "exp", objectives=[{"metric": "loss", "direction": "minimize"}])
    add_run(store, "exp", run_id="first")
    tidier = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(TIDIER), str(tmp_path / "store")], stdout=subprocess.PIPE, text=True
    )
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path / "store")]
    writers = [subprocess.Popen([*command, str(n), "8"], stdout=subprocess.PIPE, text=True) for n in range(3)]
    seen = dict(line.split() for writer in writers for line in writer.communicate()[0].splitlines())
    store.append([Event.new("run.noted", "exp", "first", text="all done")])
    assert int(tidier.communicate(timeout=60)[0]) > 1
    assert tidier.returncode == 0
    runs = store.runs("exp")
    assert [run.number for run in runs] == list(range(25))
    assert seen == {run.id: str(run.number) for run in runs[1:]}
    assert all(run.curve("loss").last == run.objective for run in runs[1:])
    found = store.verify(repair=False)
    assert (found.problems, found.n_writers) == ((), 4)


# -- the index


def test_a_filter_is_current_while_another_process_holds_the_index(tmp_path: Path) -> None:
    store = opened(tmp_path / "store")
    add_experiment(store)
    add_finished(store, loss=0.1, params={"lr": 0.1})
    assert len(store.runs(where="params.lr = 0.1")) == 1
    with FileLock(tmp_path / "store" / "locks" / "index.lock"):
        add_finished(store, loss=0.2, params={"lr": 0.1})
        add_finished(store, loss=0.3, params={"lr": "auto", "layers": [1]})
        assert [run.number for run in store.runs(where="params.lr = 0.1 and val_loss > 0.15")] == [1]
    assert [run.number for run in store.runs(where="params.lr = 0.1")] == [0, 1]


CONDITIONS = (
    "params.lr {} {}", "val_loss {} {}", "params.lr between {1} and 1", "not params.lr {} {}", "state = 'finished'",
    "(params.lr {} {} and number < 6)", "(params.lr {} {} or number = 3)", "tag = 'a'", "params.lr is not null",
)  # fmt: skip


@pytest.fixture(scope="module")
def of_all_sorts(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    """Return a store whose runs are kept but for the last two, with numbers, text, NaN, infinities and nothing."""
    store = opened(tmp_path_factory.mktemp("sorts") / "store")
    add_experiment(store)
    values: tuple[Any, ...] = (0.1, 1, -2.5, "auto", "0.1", math.nan, math.inf, -math.inf, True, None, [1], 1e-30)
    for place, value in enumerate(values):
        if place == len(values) - 2:
            store.compact()
        loss = math.nan if place % 3 == 0 else place / 4
        add_finished(store, loss=loss, params={} if value is None else {"lr": value}, tags=["a"] if place % 2 else [])
    return store


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_threshold_means_the_same_among_what_is_remembered(of_all_sorts: RunStore, data: st.DataObject) -> None:
    assert isinstance(of_all_sorts, LanceRunStore)
    operators, numbers = st.sampled_from(("<", "<=", "=", ">=", ">", "!=")), st.sampled_from((0.1, 1, -3, "inf", 0.5))
    one = st.builds(str.format, st.sampled_from(CONDITIONS), operators, numbers)
    text = " and ".join(data.draw(st.lists(one, min_size=1, max_size=3)))
    names = Names(params=frozenset({"lr"}), metrics=frozenset({"val_loss"}))
    by_database = of_all_sorts._ask(Question(compile_filter(text, names=names)))
    assert [run.id for run in of_all_sorts.runs(where=text)] == by_database


def test_a_question_asked_again_is_answered_with_what_came_since(tmp_path: Path) -> None:
    mine, other = opened(tmp_path / "store"), opened(tmp_path / "store")
    add_experiment(mine)
    runs = [add_finished(mine, loss=loss).id for loss in (0.3, 0.2, 0.4)]
    mine.compact()
    assert [run.id for run in mine.runs("digits", order_by="objective", limit=2)] == [runs[1], runs[0]]
    better = add_finished(other, loss=0.1).id
    other.append([Event.new("run.deleted", "digits", runs[1])])
    for _ in range(2):
        assert [run.id for run in mine.runs("digits", order_by="objective", limit=2)] == [better, runs[0]]
        assert mine.count("digits") == 3
        assert [event.kind for event in mine.journal(last=1)] == ["run.deleted"]


def test_runs_of_a_deleted_experiment_are_found_no_more(tmp_path: Path) -> None:
    from storage.records import Event

    store = opened(tmp_path / "store")
    add_experiment(store)
    add_finished(store, loss=0.1, notes=["exploded"])
    assert store.search("exploded")
    store.append([Event.new("experiment.deleted", "digits")])
    assert store.search("exploded") == []
    assert store.runs() == []


class Counting:
    """A kept fold that counts what is asked of it."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self.asked: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        self.asked[name] += 1
        return getattr(self._base, name)


def test_runs_of_several_experiments_are_read_at_once_with_what_has_changed_since(tmp_path: Path) -> None:
    mine, other = opened(tmp_path / "store"), opened(tmp_path / "store")
    runs = {}
    for name in ("a", "b", "c", "gone"):
        add_experiment(mine, name)
        runs[name] = [add_finished(mine, name, loss=loss).id for loss in (0.3, 0.2, 0.4)]
    mine.append([Event.new("experiment.deleted", "gone"), Event.new("run.deleted", "c", runs["c"][2])])
    mine.compact()
    other.append([Event.new("run.deleted", "a", runs["a"][1]), Event.new("run.moved", "a", runs["a"][0], to="b")])
    runs["b"].append(add_finished(other, "b", loss=0.1).id)

    state = opened(tmp_path / "store").state()
    assert state.base is not None
    state.base = counting = Counting(state.base)
    names = ["c", "b", "a", "gone", "unknown"]
    found = state.runs_of_each(names)

    ids = {name: [run.id for run in each] for name, each in found.items()}
    moved = [*runs["b"][:3], runs["a"][0], runs["b"][3]]
    assert ids == {"a": runs["a"][2:], "b": moved, "c": runs["c"][:2], "gone": [], "unknown": []}
    assert (counting.asked["entries_of_each"], counting.asked["entries_of"], counting.asked["ids_of"]) == (1, 0, 0)
    assert found == {name: list(opened(tmp_path / "store").state().runs_of(name)) for name in names}


def test_runs_that_are_learned_from_stay_in_memory_though_there_are_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MAX_CACHED", 1)
    store = opened(tmp_path / "store")
    for name in ("a", "b"):
        add_experiment(store, name)
        ids = [add_finished(store, name, loss=loss).id for loss in (0.3, 0.2)]
    store.compact()
    state = opened(tmp_path / "store").state()
    assert state.base is not None
    state.base = counting = Counting(state.base)

    asked, swept = state.runs_of_each(["a"])["a"], list(state.runs_of("b"))
    state.trim()
    assert all(map(operator.is_, state.runs_of("a"), asked))
    assert not any(map(operator.is_, state.runs_of("b"), swept))
    assert counting.asked["entries_of"] == 2

    for i in range(journal.STAYS_FOR + 1):
        state.fold([Event.new("run.noted", "b", ids[0], text=f"{i}")])
    state.trim()
    assert not any(map(operator.is_, state.runs_of("a"), asked))


def test_vectors_of_two_encoders_are_never_compared(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = opened(tmp_path / "store")
    add_experiment(store)
    add_finished(store, loss=0.1, notes=["exploded"])
    store.search("exploded")
    other = open_store(tmp_path / "store", embedder=OtherEncoder())
    with caplog.at_level(logging.WARNING):
        assert len(other.search("exploded")) == 1
    assert "searching by words only; run 'advisor store reindex'" in caplog.text
    assert other.info().encoder == HashingEmbedder().identity
    other.reindex()
    assert other.info().encoder == "other"
    assert other.info().n_embedded == 1


def test_a_vector_is_computed_again_only_when_the_text_changed(tmp_path: Path) -> None:
    from storage.records import Event

    texts: list[str] = []

    class Counting(HashingEmbedder):
        def embed(self, texts_: Sequence[str]) -> NDArray[np.float32]:
            texts.extend(texts_)
            return super().embed(texts_)

    store = open_store(tmp_path / "store", embedder=Counting())
    add_experiment(store)
    run = add_finished(store, loss=0.1)
    add_finished(store, loss=0.2)
    store.search("a")
    assert texts == ["digits", "a"]  # both runs have the same configuration
    store.search("b")
    assert texts[2:] == ["b"]
    store.append([Event.new("run.noted", "digits", run.id, text="new words")])
    store.search("c")
    assert texts[3:] == ["new words", "c"]
    store.reindex()
    assert len(texts) == 5


def test_many_small_commits_are_compacted_on_the_way(tmp_path: Path) -> None:
    store = opened(tmp_path / "store")
    add_experiment(store)
    for i in range(70):
        add_run(store, run_id=f"r{i:03}")
    assert store.info().n_fragments["events"] < 30
    assert [run.id for run in opened(tmp_path / "store").runs()] == [f"r{i:03}" for i in range(70)]


def test_curves_keep_their_points_through_compaction(tmp_path: Path) -> None:
    store = opened(tmp_path / "store")
    add_experiment(store)
    run = add_run(store)
    for i in range(70):
        store.append_curves([chunk(run.id, float(i), first=i)])
    np.testing.assert_array_equal(store.run(run.id).curve("val_loss").values, np.arange(70.0))
    assert store.info().n_fragments["curves"] < 30


def test_a_fold_that_cannot_be_kept_is_not_tried_at_every_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_experiment(first := opened(tmp_path / "store"))
    run = add_run(first)
    monkeypatch.setattr(folding, "KEEP_EVERY", 3)
    tried: list[int] = []

    def refuse(*_: object, **__: object) -> int:
        tried.append(1)
        raise StoreUnavailableError("read-only")

    monkeypatch.setattr(RunIndex, "save", refuse)
    store = opened(tmp_path / "store")
    store.state()
    for i in range(8):
        store.append([Event.new("run.tagged", "digits", run.id, tags=[str(i)])])
        store.run(run.id)
    assert len(tried) == 1
    assert len(store.run(run.id).tags) == 8


def test_a_panic_of_the_library_is_damage_and_no_mistake_in_a_filter() -> None:
    class RustPanic(Exception):  # its name in the library
        pass

    for error in (RustPanic("rust future panicked"), RuntimeError('task 7 panicked with message "range end index"')):
        with pytest.raises(StoreUnavailableError, match="cannot read the store"), mapped("here", "read", where="n > 0"):
            raise error
