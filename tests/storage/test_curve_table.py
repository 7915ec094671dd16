from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import codec
from storage.curve_table import COLUMNS, CurveTable, Damage
from storage.curves import assemble, chunks_of, counted, windows
from storage.errors import CurveDamagedError, RecordError
from storage.lance import Database
from storage.migrations import CURVES, SCHEMA_VERSION
from storage.records import Curve, CurveChunk

Curves = dict[str, dict[str, Curve]]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "store", create=True)


@pytest.fixture
def table(database: Database) -> CurveTable:
    return CurveTable(database)


def piece(run_id: str, first: int, n: int = 10, *, metric: str = "loss", timed: bool = True) -> CurveChunk:
    """Return ``n`` points of a curve whose values tell where they belong."""
    steps = np.arange(first, first + n)
    return CurveChunk(
        run_id,
        metric=metric,
        chunk=first,
        through=first + n,
        steps=steps,
        values=steps + len(metric) / 7,
        times=steps / 4 if timed else (),
    )


def rows_of(database: Database) -> list[tuple[str, str | None, int, int]]:
    rows = database.select("curves", ["run_id", "metric", "chunk", "through"])
    return sorted(tuple(row.values()) for row in rows if row["metric"] is not None)


def n_axes(database: Database) -> int:
    return database.count("curves", "metric is null")


class Interrupted(Database):
    """A database in which something happens just before rows are deleted."""

    before_delete: Callable[[], None]

    def delete(self, name: str, where: str) -> None:
        self.before_delete()
        super().delete(name, where)


def killed() -> None:
    raise KeyboardInterrupt


# -- appending and reading


def test_curves_come_back_as_they_were_appended(table: CurveTable) -> None:
    odd = CurveChunk("a", metric="odd", chunk=0, through=3, steps=[3, 3, -1], values=[np.nan, -0.0, np.inf])
    table.append([piece("a", 0), odd, piece("b", 0, timed=False)])
    found = table.read()
    assert found == assemble([piece("a", 0), odd, piece("b", 0, timed=False)])
    assert np.signbit(found["a"]["odd"].values[1])
    assert list(found["a"]) == ["loss", "odd"]


def test_only_what_is_asked_for_is_returned(table: CurveTable) -> None:
    table.append([piece(run_id, 0, metric=metric) for run_id in "abc" for metric in ("loss", "acc")])
    for _ in range(2):
        found = table.read(["a", "c", "nobody"], ["acc"])
        assert {run_id: list(curves) for run_id, curves in found.items()} == {"a": ["acc"], "c": ["acc"]}
        assert table.read([]) == table.read(metrics=[]) == {}
        table.merge("abc")


def test_a_read_of_more_runs_than_a_filter_names_returns_just_these(table: CurveTable) -> None:
    table.append([piece(run_id, 0) for run_id in "abc"])
    assert set(table.read(["a", "c", *(f"other-{i}" for i in range(2500))])) == {"a", "c"}


def test_metrics_of_one_delivery_share_their_axis_and_those_of_different_runs_do_not(
    table: CurveTable, database: Database
) -> None:
    table.append([piece(run_id, 0, metric=metric) for run_id in "ab" for metric in ("loss", "acc", "lr")])
    assert n_axes(database) == 2


def test_a_piece_that_occurs_twice_in_one_delivery_counts_once(table: CurveTable) -> None:
    table.append([piece("a", 0), piece("a", 0), piece("a", 10)])
    assert table.read() == assemble([piece("a", 0), piece("a", 10)])
    assert table.n_points(["a"]) == 20


def test_what_is_read_cannot_be_changed(table: CurveTable) -> None:
    table.append([piece("a", 0)])
    curve = table.read()["a"]["loss"]
    assert not any(array.flags.writeable for array in (curve.steps, curve.values, curve.times))


def test_points_are_counted_once_and_without_decoding(table: CurveTable, database: Database) -> None:
    table.append([piece("a", 0), piece("a", 0, metric="acc"), piece("b", 0)])
    table.append([piece("a", 10, 5), piece("b", 0)])
    assert table.counts() == {"a": {"loss": 15, "acc": 10}, "b": {"loss": 10}}
    table.merge(["a", "b"])
    assert table.counts() == {"a": {"loss": 15, "acc": 10}, "b": {"loss": 10}}


def test_a_piece_with_fewer_values_than_steps_is_refused(table: CurveTable, database: Database) -> None:
    with pytest.raises(RecordError, match="3 steps and 2 values; they must be equally many"):
        table.append([CurveChunk("a", metric="loss", chunk=0, through=3, steps=[1, 2, 3], values=[1.0, 2.0])])
    assert rows_of(database) == []


# -- merging


def test_merging_makes_one_row_a_metric_and_one_axis_for_the_metrics_that_share_it(
    table: CurveTable, database: Database
) -> None:
    for first in range(0, 100, 10):
        table.append([piece("a", first), piece("a", first, metric="acc")])
    table.append([piece("a", 100, 1, metric="test")])
    before = table.read()
    assert table.merge(["a", "nobody"]) == 1
    assert rows_of(database) == [("a", "acc", 0, 100), ("a", "loss", 0, 100), ("a", "test", 100, 101)]
    assert n_axes(database) == 2
    assert table.read() == before
    assert table.delivered("a") == 101


def test_runs_that_were_not_named_stay_as_they_are(table: CurveTable, database: Database) -> None:
    for first in (0, 10):
        table.append([piece("a", first), piece("b", first)])
    table.merge(["a"])
    assert rows_of(database) == [("a", "loss", 0, 20), ("b", "loss", 0, 10), ("b", "loss", 10, 20)]


def test_what_is_merged_is_not_merged_again_until_something_arrives(table: CurveTable, database: Database) -> None:
    table.append([piece("a", 0), piece("b", 0)])
    assert table.merge(["a", "b"]) == 0
    table.append([piece("a", 10)])
    assert [table.merge(["a", "b"]) for _ in range(2)] == [1, 0]
    assert rows_of(database) == [("a", "loss", 0, 20), ("b", "loss", 0, 10)]


def test_a_run_that_goes_on_is_merged_once_enough_has_gathered(table: CurveTable, database: Database) -> None:
    for first in range(0, 30, 10):
        table.append([piece("a", first)])
        table.merge(["a"], min_commits=3)
    assert rows_of(database) == [("a", "loss", 0, 30)]
    table.append([piece("a", 30)])
    assert table.merge(["a"], min_commits=3) == 0
    assert table.read() == assemble([piece("a", 0, 40)])


def test_a_delivery_that_is_repeated_after_the_merge_counts_once(table: CurveTable, database: Database) -> None:
    for first in (0, 10, 20):
        table.append([piece("a", first)])
    before = table.read()
    table.merge(["a"])
    table.append([piece("a", 10)])
    assert table.read() == before
    assert table.counts() == {"a": {"loss": 30}}
    assert table.merge(["a"]) == 1
    assert rows_of(database) == [("a", "loss", 0, 30)]


def test_a_curve_that_arrives_after_the_run_was_merged_is_kept(table: CurveTable) -> None:
    table.append([piece("a", 0, 50)])
    table.merge(["a"])
    table.append([piece("a", 0, 30, metric="late")])
    for _ in range(2):
        assert table.read() == assemble([piece("a", 0, 50), piece("a", 0, 30, metric="late")])
        table.merge(["a"])


def test_a_piece_that_arrives_out_of_order_after_a_merge_is_kept(table: CurveTable) -> None:
    table.append([piece("a", 0), piece("a", 20)])
    table.merge(["a"])
    table.append([piece("a", 10)])
    for _ in range(2):
        np.testing.assert_array_equal(table.read()["a"]["loss"].steps, np.arange(30))
        table.merge(["a"])


def test_a_merge_that_is_killed_before_it_deletes_loses_and_doubles_nothing(tmp_path: Path) -> None:
    database = Interrupted(tmp_path / "store", create=True)
    database.before_delete = killed
    table = CurveTable(database)
    for first in (0, 10):
        table.append([piece("a", first), piece("a", first, metric="acc")])
    before = table.read()
    for n_rows in (6, 8):
        with pytest.raises(KeyboardInterrupt):
            table.merge(["a"])
        assert len(rows_of(database)) == n_rows
        assert table.read() == before
        assert table.counts() == {"a": {"loss": 20, "acc": 20}}
    database.before_delete = lambda: None
    assert table.merge(["a"]) == 1
    assert rows_of(database) == [("a", "acc", 0, 20), ("a", "loss", 0, 20)]
    assert n_axes(database) == 1
    assert table.read() == before


def test_what_is_appended_while_a_merge_goes_on_is_kept(tmp_path: Path) -> None:
    database = Interrupted(tmp_path / "store", create=True)
    table, other = CurveTable(database), CurveTable(Database(tmp_path / "store", create=False))
    database.before_delete = lambda: (
        other.append([piece("a", 20), piece("a", 10), piece("a", 0, metric="late")]) and None
    )
    for first in (0, 10):
        table.append([piece("a", first)])
    table.merge(["a"])
    expected = assemble([*(piece("a", first) for first in (0, 10, 20)), piece("a", 0, metric="late")])
    assert table.read() == expected
    database.before_delete = lambda: None
    table.merge(["a"])
    assert table.read() == expected


def test_a_reader_beside_a_writer_and_merges_always_sees_a_beginning_of_the_curve(tmp_path: Path) -> None:
    table, writing = (CurveTable(Database(tmp_path / "store", create=True)) for _ in range(2))
    n_deliveries = 30

    def write() -> None:
        for i in range(n_deliveries):
            writing.append([piece("a", 5 * i, 5), piece("a", 5 * i, 5, metric="acc")])

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    while writer.is_alive():
        table.merge(["a"])
        curves = table.read().get("a", {})
        seen.append(len(curves["loss"]) if curves else 0)
        for curve in curves.values():
            np.testing.assert_array_equal(curve.steps, np.arange(seen[-1]))
    writer.join()
    assert seen == sorted(seen)
    assert table.read() == assemble(piece("a", 0, 5 * n_deliveries, metric=metric) for metric in ("loss", "acc"))


def test_two_merges_at_once_leave_what_the_next_one_cleans_up(tmp_path: Path) -> None:
    database = Interrupted(tmp_path / "store", create=True)
    table, other = CurveTable(database), CurveTable(Database(tmp_path / "store", create=False))
    for first in (0, 10):
        table.append([piece("a", first)])
    before = table.read()
    others = iter([lambda: other.merge(["a"])])
    database.before_delete = lambda: [merge() for merge in others] and None
    table.merge(["a"])
    assert table.read() == before
    table.merge(["a"])
    assert table.read() == before
    assert rows_of(database) == [("a", "loss", 0, 20)]


def test_a_damaged_run_does_not_keep_others_from_being_merged(
    table: CurveTable, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    for first in (0, 10):
        table.append([piece("a", first), piece("b", first)])
    spoil(database, "a", chunk=20)
    with caplog.at_level(logging.WARNING):
        assert table.merge(["a", "b"]) == 1
    assert "the curves of run a stay as they are: the piece of 'loss' of run 'a' at log call 20" in caplog.text
    assert [row for row in rows_of(database) if row[0] == "b"] == [("b", "loss", 0, 20)]
    assert len([row for row in rows_of(database) if row[0] == "a"]) == 3


@dataclass
class Story:
    """Deliveries of some runs in an order in which they may happen, merges among them."""

    steps: list[list[CurveChunk] | str]

    def chunks(self) -> Iterator[CurveChunk]:
        for step in self.steps:
            if isinstance(step, list):
                yield from step


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Deliver a few log calls at a time, some of them twice, and merge now and then."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    steps: list[list[CurveChunk] | str] = []
    done = {"a": 0, "b": 0}
    for _ in range(draw(st.integers(1, 8))):
        run_id = draw(st.sampled_from("ab"))
        if steps and rng.random() < 0.3:
            steps.append(run_id)
            continue
        metrics = [name for name in ("loss", "acc", "test") if rng.random() < 0.6] or ["loss"]
        points = [
            (done[run_id] + i, rng.random(), {name: rng.choice([rng.random(), np.nan]) for name in metrics})
            for i in range(rng.randint(1, 4))
        ]
        delivery = chunks_of(run_id, points, first=done[run_id])
        done[run_id] += len(points)
        steps.append(delivery)
        if rng.random() < 0.3:
            steps.insert(rng.randint(steps.index(delivery), len(steps)), delivery)
    return Story(steps)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stories())
def test_merges_at_any_time_change_nothing_that_is_read(tmp_path_factory: pytest.TempPathFactory, story: Story) -> None:
    table = CurveTable(Database(tmp_path_factory.mktemp("story") / "store", create=True))
    for step in story.steps:
        table.append(step) if isinstance(step, list) else table.merge([step])
    expected = assemble(story.chunks())
    assert table.read() == expected
    table.merge(["a", "b"])
    assert table.read() == expected
    assert table.verify() == []


# -- which parts count, and which go together


@dataclass(frozen=True)
class Part:
    chunk: int
    through: int
    n: int = 1


def test_a_part_counts_unless_another_one_covers_it() -> None:
    whole, late = Part(0, 30), Part(30, 40)
    assert counted([Part(10, 20), late, whole, Part(0, 10), whole, Part(29, 30)]) == [whole, late]
    assert counted([Part(0, 0)]) == [Part(0, 0)]


def test_parts_are_merged_only_where_no_log_call_is_missing_between_them() -> None:
    parts = [Part(20, 30), Part(0, 10), Part(10, 20), Part(31, 40)]
    assert windows(parts, lambda part: part.n, str, most=100) == [
        [Part(0, 10), Part(10, 20), Part(20, 30)],
        [Part(31, 40)],
    ]


def test_a_group_is_cut_where_a_curve_would_have_too_many_points() -> None:
    parts = [Part(i, i + 10, n=10) for i in range(0, 60, 10)]
    groups = windows(parts, lambda part: part.n, lambda part: "loss", most=20)
    assert [[part.chunk for part in group] for group in groups] == [[0, 10], [20, 30], [40, 50]]


# -- rows of the first schema


def old_store(path: Path, *chunks: CurveChunk) -> Database:
    """Return a store as schema 1 left it, opened by this program."""
    before = Database(path, create=True)
    before.drop("curves")
    before.create("curves", CURVES)
    before.append("curves", {name: [getattr(chunk, name) for chunk in chunks] for name in CURVES}, CURVES)
    before.delete("migrations", "number > 1")
    return Database(path, create=False)


def test_curves_of_schema_1_are_read_counted_merged_and_checked(tmp_path: Path) -> None:
    chunks = [piece("a", 0), piece("a", 10), piece("a", 0), piece("b", 0, timed=False), piece("a", 0, metric="acc")]
    database = old_store(tmp_path / "store", *chunks)
    table = CurveTable(database)
    assert database.schema_version() == SCHEMA_VERSION
    table.append([piece("a", 20)])
    expected = assemble([*chunks, piece("a", 20)])
    for _ in range(2):
        assert table.read() == expected
        assert table.counts() == {"a": {"loss": 30, "acc": 10}, "b": {"loss": 10}}
        assert table.delivered("a") == 30
        assert table.verify() == []
        table.merge(["a", "b"])
    assert database.count("curves", "steps is not null") == 0
    assert rows_of(database) == [("a", "acc", 0, 10), ("a", "loss", 0, 30), ("b", "loss", 0, 10)]


def test_a_migration_that_was_interrupted_is_completed(tmp_path: Path) -> None:
    database = Database(tmp_path / "store", create=True)
    CurveTable(database).append([piece("a", 0)])
    database.delete("migrations", "number > 1")
    again = Database(tmp_path / "store", create=False)
    assert again.schema_version() == SCHEMA_VERSION
    assert CurveTable(again).read() == assemble([piece("a", 0)])


# -- care


def spoil(database: Database, run_id: str, *, chunk: int, n: int = 10) -> None:
    """Append a piece of a curve that was damaged on its way."""
    packed = bytearray(codec.pack_values(np.arange(n, dtype=float)))
    packed[-1] ^= 4
    axis = codec.pack_axis(np.arange(n))
    steps = (run_id, None, chunk, chunk + n, n, axis, None, 1, 0)
    values = (run_id, "loss", chunk, chunk + n, n, None, bytes(packed), 1, 0)
    database.append("curves", dict(zip(COLUMNS, zip(steps, values, strict=True), strict=True)), COLUMNS)


def test_damage_is_told_by_run_metric_and_position(table: CurveTable, database: Database) -> None:
    table.append([piece("a", 0), piece("b", 0)])
    spoil(database, "a", chunk=10)
    assert table.verify() == [
        Damage("a", "loss", 10, "the checksum of a packed curve of 10 points does not hold"),
    ]
    with pytest.raises(CurveDamagedError, match="the piece of 'loss' of run 'a' at log call 10 cannot be read"):
        table.read()
    assert table.read(["b"]) == assemble([piece("b", 0)])


def test_values_whose_axis_is_gone_are_told(table: CurveTable, database: Database) -> None:
    table.append([piece("a", 0)])
    table.merge(["a"])
    database.delete("curves", "metric is null")
    assert table.verify() == [Damage("a", "loss", 0, "its steps are missing (10 points)")]
    with pytest.raises(CurveDamagedError, match="its steps are missing"):
        table.read()


def test_deleted_runs_are_gone_and_others_stay(table: CurveTable, database: Database) -> None:
    table.append([piece(run_id, 0) for run_id in "abc"])
    table.merge(["a"])
    table.delete_runs(["a", "b", "nobody's"])
    assert table.read() == assemble([piece("c", 0)])
    assert n_axes(database) == 1
    assert table.delivered("a") == 0


def test_an_index_of_runs_changes_nothing_that_is_read(database: Database) -> None:
    table = CurveTable(database)
    table.append([piece(f"r{i:02}", 0, 2) for i in range(40)])
    database.index_column("curves", "run_id")
    database.index_column("curves", "run_id")
    table.append([piece("r01", 2, 2)])
    assert table.read(["r01"]) == assemble([piece("r01", 0, 2), piece("r01", 2, 2)])
    database.optimize("curves")
    assert table.read(["r01", "r39"]) == assemble([piece("r01", 0, 2), piece("r01", 2, 2), piece("r39", 0, 2)])
