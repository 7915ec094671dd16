"""Removal for good, verification, copies and merging, on real stores."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from storage import CurveDamagedError, Event, RecordError, RunNotFoundError, StoreNotFoundError
from storage.copying import copy_store, merge_store
from storage.embed import HashingEmbedder
from storage.lance_store import LanceRunStore
from storage.records import utc_now
from storage.testing import add_experiment, add_finished, add_run, chunk

AT_ONCE = timedelta(0)


def opened(path: Path | str) -> LanceRunStore:
    return LanceRunStore(path, create=True, embedder=HashingEmbedder())


@pytest.fixture
def store(tmp_path: Path) -> LanceRunStore:
    """Return a store of three runs with curves, the second with a saved file of its own."""
    store = opened(tmp_path / "store")
    add_experiment(store)
    for i in range(3):
        run = add_finished(store, loss=float(i), params={"lr": 10.0**-i}, run_id=f"run{i}")
        store.append_curves([chunk(run.id, float(i), float(i) / 2)])
    (tmp_path / "model").write_bytes(b"weights")
    sha256, size = store.put_artifact(tmp_path / "model")
    store.append([Event.new("run.artifact", "digits", "run1", name="model", sha256=sha256, size=size)])
    return store


def tell(store: LanceRunStore, kind: str, run_id: str = "", experiment: str = "digits", **body: Any) -> Event:
    event = Event.new(kind, experiment, run_id, **body)
    store.append([event])
    return event


def problems(store: LanceRunStore, **how: Any) -> list[tuple[str, bool]]:
    return [(problem.part, problem.repaired) for problem in store.verify(**how).problems]


def reading(store: LanceRunStore) -> tuple[object, ...]:
    return (store.experiments(), store.runs(), store.curves(), store.events())


# -- removal for good


def test_a_journal_whose_checkpoint_follows_a_compaction_verifies(tmp_path: Path) -> None:
    store = opened(tmp_path / "store")
    add_experiment(store)
    run = add_run(store)
    for _ in range(2):
        store.append([Event.new("run.attr", "digits", run.id, key=str(i)) for i in range(550)])
    store.database.optimize("events")  # a commit that holds no event
    store.runs()  # so many events that the fold is kept, and what came up to here claimed
    (claim,) = store.journal(kinds=["journal.checkpoint"])
    assert claim.body["through"] not in {event.version for event in store.journal()}
    assert store.verify().problems == ()


def test_a_deleted_run_can_be_restored_until_the_grace_period_is_over(store: LanceRunStore) -> None:
    tell(store, "run.deleted", "run1")
    assert store.compact().n_runs == 0
    tell(store, "run.restored", "run1")
    assert store.run("run1").curve("val_loss").last == 0.5


def test_what_was_deleted_is_removed_with_its_curves_files_and_events(store: LanceRunStore, tmp_path: Path) -> None:
    tell(store, "run.noted", "run1", text="secret idea")
    tell(store, "run.deleted", "run1")
    purged = store.compact(grace=AT_ONCE)
    assert (purged.n_runs, purged.n_files) == (1, 1)
    for seen in (store, opened(tmp_path / "store")):
        assert [(run.id, run.number) for run in seen.runs()] == [("run0", 0), ("run2", 2)]
        assert [event for event in seen.events() if event.run_id == "run1"] == []
        assert "run1" not in seen.curves()
        assert seen.verify().problems == ()
    assert "secret idea" not in str(store.events())
    assert store.compact(grace=AT_ONCE).n_runs == 0


def test_numbers_after_a_removal_go_on_as_if_nothing_had_happened(store: LanceRunStore, tmp_path: Path) -> None:
    add_experiment(store, "other")
    tell(store, "run.moved", "run0", to="other")
    for run_id in ("run0", "run2"):
        tell(store, "run.deleted", run_id)
    store.compact(grace=AT_ONCE)
    added = [add_run(seen, name) for seen in (store, opened(tmp_path / "store")) for name in ("digits", "other")]
    assert [(run.experiment, run.number, run.ordinal) for run in added] == [
        ("digits", 3, 3),
        ("other", 1, 4),
        ("digits", 4, 5),
        ("other", 2, 6),
    ]
    store.reindex()  # folds the journal from its start
    assert [(run.id, run.number, run.ordinal) for run in store.runs()] == [
        ("run1", 1, 1),
        *((run.id, run.number, run.ordinal) for run in added),
    ]
    assert store.verify().problems == ()


def test_an_experiment_is_removed_and_its_name_and_number_stay_sound(store: LanceRunStore, tmp_path: Path) -> None:
    tell(store, "experiment.deleted")
    add_experiment(store)
    add_run(store, run_id="new")
    purged = store.compact(grace=AT_ONCE)
    assert (purged.n_experiments, purged.n_runs) == (1, 3)
    store.reindex()
    for seen in (store, opened(tmp_path / "store")):
        assert [(each.name, each.number) for each in seen.experiments()] == [("digits", 1)]
        assert [(run.id, run.number, run.ordinal) for run in seen.runs()] == [("new", 0, 3)]
        assert seen.verify().problems == ()
        refused = tell(seen, "experiment.restored", number=0)
        assert refused.id in seen.state().refused


def test_a_removal_that_was_interrupted_is_finished_by_the_next(store: LanceRunStore, tmp_path: Path) -> None:
    tell(store, "run.deleted", "run1")

    class Interrupted(LanceRunStore):
        def remove_physically(self, *, run_ids: Sequence[str], places: Collection[tuple[int, int]]) -> int:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Interrupted(tmp_path / "store", create=False, embedder=HashingEmbedder()).compact(grace=AT_ONCE)
    again = opened(tmp_path / "store")
    assert [run.id for run in again.runs()] == ["run0", "run2"]
    purged = again.compact(grace=AT_ONCE)
    assert (purged.n_runs, purged.n_files, purged.n_events) == (1, 1, 3)
    assert again.database.select("events", ["id"], where="run_id = 'run1'") == []
    assert again.database.select("curves", ["metric"], where="run_id = 'run1'") == []
    assert again.verify().problems == ()
    assert add_run(again).number == 3
    assert again.compact(grace=AT_ONCE).n_events == 0


def test_a_file_that_was_just_saved_survives_a_removal(store: LanceRunStore, tmp_path: Path) -> None:
    """The event that names it may come after the removal."""
    (tmp_path / "new").write_bytes(b"saved by a run whose event is on its way")
    on_its_way, _ = store.put_artifact(tmp_path / "new")
    tell(store, "run.deleted", "run1")
    assert store.compact(grace=AT_ONCE).n_files == 1
    tell(store, "run.artifact", "run0", name="new", sha256=on_its_way, size=1)
    assert store.verify().problems == ()


def test_a_file_that_was_saved_again_since_the_cut_off_stays(store: LanceRunStore, tmp_path: Path) -> None:
    again, _ = store.put_artifact(tmp_path / "model")
    deleted = Event.new("run.deleted", "digits", "run1", time=utc_now() - timedelta(days=40))
    store.append([deleted])
    purged = store.compact()
    assert (purged.n_runs, purged.n_files) == (1, 0)
    assert store.artifacts.verify(again)


# -- verification


def test_a_sound_store_verifies(store: LanceRunStore) -> None:
    store.compact()
    found = store.verify()
    assert found.ok
    assert (found.problems, found.n_runs, found.n_files, found.n_writers) == ((), 3, 1, 1)


@pytest.mark.parametrize("change", ['body = \'{"text":"forged"}\'', "actor = 'somebody'"])
def test_a_changed_event_is_noticed(store: LanceRunStore, change: str) -> None:
    note = tell(store, "run.noted", "run0", text="true")
    column, _, value = change.partition(" = ")
    store.database._table("events").update(where=f"id = '{note.id}'", values_sql={column: value})
    found = store.verify(repair=False)
    assert [(problem.part, note.id in problem.where) for problem in found.problems] == [("journal", True)]


def test_a_removed_event_is_noticed(store: LanceRunStore) -> None:
    note = tell(store, "run.noted", "run0", text="inconvenient")
    tell(store, "run.tagged", "run0", tags=["later"])
    store.database.delete("events", f"id = '{note.id}'")
    assert ("journal", False) in problems(store, repair=False)


def test_a_removed_end_of_a_chain_is_noticed_through_a_checkpoint(store: LanceRunStore, tmp_path: Path) -> None:
    other = opened(tmp_path / "store")
    last = tell(other, "run.noted", "run0", text="the last that this writer wrote")
    for i in range(300):
        tell(store, "run.tagged", "run0", tags=[f"t{i}"])
    store.compact()
    assert store.verify().n_checkpoints >= 1
    store.database.delete("events", f"id = '{last.id}'")
    found = [problem for problem in store.verify(repair=False).problems if problem.part == "journal"]
    assert [problem.what.split(";")[0] for problem in found][:1] != []
    assert "now there are" in found[0].what


def test_a_derived_row_that_is_wrong_is_built_again(store: LanceRunStore) -> None:
    store.reindex()
    store.database.delete("runs", "run_id = 'run1'")
    assert problems(store, repair=False) == [("index", False)]
    assert problems(store) == [("index", True)]
    assert problems(store) == []


def test_a_changed_file_and_a_missing_one_are_named(store: LanceRunStore, tmp_path: Path) -> None:
    (sha256,) = [kept.sha256 for kept in store.artifacts.kept()]
    path = tmp_path / "store" / "artifacts" / sha256[:2] / sha256
    path.chmod(0o644)
    path.write_bytes(b"other weights")
    assert problems(store) == [("files", False)]
    store.artifacts.delete(sha256)
    (missing,) = store.verify().problems
    assert (missing.part, "run1" in missing.where, sha256 in missing.what) == ("files", True, True)


# -- copies


def test_a_copy_is_the_same_store_and_goes_its_own_way(store: LanceRunStore, tmp_path: Path) -> None:
    store.search("x")
    copied = copy_store(str(tmp_path / "store"), str(tmp_path / "copy"))
    copy = opened(tmp_path / "copy")
    assert copied.n_files > 5
    assert reading(copy) == reading(store)
    assert copy.verify().problems == ()
    with copy.open_artifact(store.run("run1").artifacts[0]["sha256"]) as file:
        assert file.read() == b"weights"
    assert (add_run(copy).number, len(store.runs())) == (3, 3)


def test_a_store_is_not_copied_over_something_or_from_nothing(store: LanceRunStore, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="something at"):
        copy_store(str(tmp_path / "store"), str(tmp_path))
    with pytest.raises(StoreNotFoundError):
        copy_store(str(tmp_path / "nothing"), str(tmp_path / "copy"))


def copied_while_written(store: LanceRunStore, copy: Callable[[], object]) -> int:
    """Copy while another thread writes and compacts; return how many notes were there when the copy began."""
    stop, n = threading.Event(), 0

    def write() -> None:
        nonlocal n
        while not stop.is_set():
            store.append([Event.new("run.noted", "digits", "run0", text=str(n))])
            store.append_curves([chunk("run0", 1.0, first=2 + n)])
            n += 1
            if n % 25 == 0:
                store.compact()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while n < 30:
            stop.wait(0.01)
        before = n
        copy()
    finally:
        stop.set()
        writer.join()
    return before


def test_a_copy_made_while_the_store_is_written_is_whole(store: LanceRunStore, tmp_path: Path) -> None:
    before = copied_while_written(store, lambda: copy_store(str(tmp_path / "store"), str(tmp_path / "copy")))
    copy = opened(tmp_path / "copy")
    notes = copy.run("run0").notes
    assert notes == tuple(map(str, range(len(notes))))
    assert len(notes) >= before
    assert copy.verify().problems == ()


def test_a_back_up_by_plain_copying_is_taken_back_to_its_newest_whole_version(
    store: LanceRunStore, tmp_path: Path
) -> None:
    def worst_order() -> None:
        """Copy the data of each table first and its list of versions last, as a program that knows nothing may."""
        # Files that are being written come and go under names with a dot, which a copying program may stumble over.
        ignored = shutil.ignore_patterns("_versions", "spool", ".tmp*")
        shutil.copytree(tmp_path / "store", tmp_path / "copy", ignore=ignored)
        store.append([Event.new("run.noted", "digits", "run1", text="after the data were copied")])
        for versions in (tmp_path / "store").glob("*.lance/_versions"):
            shutil.copytree(versions, tmp_path / "copy" / versions.parent.name / "_versions", ignore=ignored)

    before = copied_while_written(store, worst_order)
    copy = LanceRunStore(tmp_path / "copy", create=False, embedder=HashingEmbedder())
    untouched = copy.verify()
    assert not untouched.ok
    assert all("--step-back" in problem.what for problem in untouched.problems if problem.part == "table")
    found = copy.verify(step_back=True)
    assert found.ok
    assert {problem.part for problem in found.problems} <= {"table", "index"}
    assert any(problem.part == "table" for problem in found.problems)
    notes = copy.run("run0").notes
    assert notes == tuple(map(str, range(len(notes))))
    assert len(notes) >= before
    assert copy.verify().problems == ()
    assert add_run(copy).number == 3


# -- merging


def test_merging_takes_in_runs_curves_and_files_once(store: LanceRunStore, tmp_path: Path) -> None:
    other = opened(tmp_path / "other")
    add_experiment(other)
    add_experiment(other, "theirs", description="only there")
    kept = add_finished(other, loss=9.0, run_id="kept", notes=["from there"])
    gone = add_finished(other, loss=8.0, run_id="gone")
    other.append_curves([chunk(run.id, 4.0, 5.0) for run in (kept, gone)])
    (tmp_path / "plot").write_bytes(b"picture")
    sha256, size = other.put_artifact(tmp_path / "plot")
    tell(other, "run.artifact", "kept", name="plot", sha256=sha256, size=size)
    tell(other, "run.deleted", "gone")
    tell(other, "suggestion.made", suggestion_id="s", params={"lr": 1})

    merged = merge_store(store, other)
    assert (merged.n_runs, merged.n_experiments, merged.n_points, merged.n_files) == (1, 1, 2, 1)
    run = store.run("kept")
    assert (run.number, run.notes, run.curve("val_loss").last, run.objective) == (3, ("from there",), 5.0, 9.0)
    assert store.experiment("theirs").description == "only there"
    assert list(store.state().suggestions) == ["s"]
    with pytest.raises(RunNotFoundError):
        store.run("gone")
    again = merge_store(store, other)
    assert (again.n_runs, again.n_events, again.n_points, again.n_files) == (0, 0, 0, 0)
    assert store.verify().problems == ()


def test_merging_brings_two_branches_of_one_store_together(store: LanceRunStore, tmp_path: Path) -> None:
    copy_store(str(tmp_path / "store"), str(tmp_path / "branch"))
    branch = opened(tmp_path / "branch")
    tell(store, "run.noted", "run0", text="here")
    tell(branch, "run.noted", "run0", text="there")
    tell(branch, "experiment.renamed", to="numbers")
    add_finished(branch, "numbers", loss=0.1, run_id="theirs")
    merge_store(store, branch)
    assert store.run("run0").notes == ("here", "there")
    assert [(run.id, run.experiment, run.number) for run in store.runs()][3:] == [("theirs", "digits", 3)]


def test_merging_says_where_the_stores_differ(store: LanceRunStore, tmp_path: Path) -> None:
    other = opened(tmp_path / "other")
    add_experiment(other, objectives=[{"metric": "acc", "direction": "maximize"}])
    add_run(other)
    merged = merge_store(store, other)
    assert merged.notes == ("'digits' differs in objectives there; what is said here stands",)
    assert [objective.metric for objective in store.experiment("digits").objectives] == ["val_loss"]


def test_runs_removed_for_good_are_not_taken_in_again(store: LanceRunStore, tmp_path: Path) -> None:
    copy_store(str(tmp_path / "store"), str(tmp_path / "back-up"))
    tell(store, "run.deleted", "run1")
    store.compact(grace=AT_ONCE)
    merged = merge_store(store, opened(tmp_path / "back-up"))
    assert merged.notes == ("1 runs were removed for good here, and are not taken in again",)
    assert (merged.n_runs, [run.id for run in store.runs()]) == (0, ["run0", "run2"])


def test_a_store_is_neither_merged_with_nor_copied_into_itself(store: LanceRunStore, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="is this store itself"):
        merge_store(store, opened(tmp_path / "store"))
    with pytest.raises(RecordError, match="within the store itself"):
        copy_store(str(tmp_path / "store"), str(tmp_path / "store" / "inner"))
    (tmp_path / "file").write_text("x")
    with pytest.raises(RecordError, match="something at"):
        copy_store(str(tmp_path / "store"), str(tmp_path / "file"))


def test_a_run_that_still_runs_is_removed_only_after_its_end(store: LanceRunStore) -> None:
    add_run(store, run_id="live")
    tell(store, "run.deleted", "live")
    assert store.compact(grace=AT_ONCE).n_runs == 0
    tell(store, "run.state", "live", state="finished")
    assert store.compact(grace=AT_ONCE).n_runs == 1


def test_an_event_whose_body_is_damaged_has_no_effect_and_is_named(store: LanceRunStore, tmp_path: Path) -> None:
    note = tell(store, "run.noted", "run0", text="whole")
    store.database._table("events").update(where=f"id = '{note.id}'", values={"body": '{"text":"whole'})
    again = opened(tmp_path / "store")
    assert again.run("run0").notes == ()
    found = again.verify(repair=False)
    assert [(problem.part, note.id in problem.where) for problem in found.problems] == [("journal", True)]


def test_damage_in_a_file_is_reported_and_nothing_is_taken_back(store: LanceRunStore, tmp_path: Path) -> None:
    store.compact()
    version = store.database.version("curves")
    for path in (tmp_path / "store" / "curves.lance" / "data").iterdir():
        content = bytearray(path.read_bytes())
        content[-40:] = bytes(40)  # the footer
        path.write_bytes(content)
    found = opened(tmp_path / "store").verify(step_back=True)
    assert not found.ok
    assert "table curves" in {problem.where for problem in found.problems}
    assert opened(tmp_path / "store").database.version("curves") == version


def test_curves_that_are_gone_are_missed(store: LanceRunStore) -> None:
    store.database.delete("curves", "run_id = 'run2'")
    (problem,) = store.verify().problems
    assert (problem.part, problem.where) == ("curves", "run run2, val_loss")
    assert problem.what == "it had 1 points when the run ended, and has 0"


@pytest.mark.parametrize("at", [0.1, 0.3, 0.5, 0.65, 0.9])
def test_damage_in_the_derived_table_is_found_and_built_again(store: LanceRunStore, tmp_path: Path, at: float) -> None:
    store.compact()
    before = reading(store)
    for path in (tmp_path / "store" / "runs.lance" / "data").iterdir():
        content = bytearray(path.read_bytes())
        start = int(at * len(content))
        while b"H" in content[start : start + 8]:  # what Lance pads with: nobody reads it
            start += 8
        content[start : start + 8] = bytes(byte ^ 0xFF for byte in content[start : start + 8])
        path.write_bytes(content)
    damaged = opened(tmp_path / "store")
    assert [run.id for run in damaged.runs()] == ["run0", "run1", "run2"]
    assert problems(damaged) == [("index", True)]
    again = opened(tmp_path / "store")
    assert again.verify().problems == ()
    assert reading(again) == before
    assert len(again.search("digits")) == 3


def test_a_changed_value_in_the_derived_table_is_found_and_built_again(store: LanceRunStore, tmp_path: Path) -> None:
    store.compact()
    store.database._table("runs").update(where="run_id = 'run1'", values={"objective": -5.0})
    changed = opened(tmp_path / "store")
    assert problems(changed) == [("index", True)]
    best = changed.best("digits")
    assert best is not None
    assert best.id == "run0"


def test_a_damaged_curve_does_not_keep_the_others_from_being_read(
    store: LanceRunStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.database._table("curves").update(where="run_id = 'run1' and metric is not null", values={"packed": b"broken"})
    again = opened(tmp_path / "store")
    assert sorted(again.curves()) == ["run0", "run2"]
    assert "run1" in caplog.text
    with pytest.raises(CurveDamagedError, match="run1"):
        again.curves(["run1"])
    assert problems(again) == [("curves", False)]


def test_a_second_merge_has_nothing_to_say_of_names(store: LanceRunStore, tmp_path: Path) -> None:
    other = opened(tmp_path / "other")
    add_experiment(other)
    add_run(other, run_id="theirs")
    tell(store, "experiment.renamed", to="mine")
    merge_store(store, other)
    assert [each.name for each in store.experiments()] == ["mine", "digits"]
    assert merge_store(store, other).notes == ()
