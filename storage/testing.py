"""The contract of ``RunStore`` as tests that ship with the package: every back end passes the same ones.

A back end's test suite subclasses ``RunStoreContract`` and gives two fixtures::

    class TestLocalFolder(RunStoreContract):
        @pytest.fixture
        def uri(self, tmp_path):
            return str(tmp_path / "store")

``open_store`` may be overridden where opening needs more than an address.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.embed import HashingEmbedder
from storage.errors import (
    ExperimentNotFoundError,
    FilterError,
    RecordError,
    RunNotFoundError,
    StoreNotFoundError,
)
from storage.records import CurveChunk, Event, Run, RunState, new_id
from storage.store import RunStore, open_store


def add_experiment(store: RunStore, name: str = "digits", **body: Any) -> str:
    """Create an experiment that minimises ``val_loss``, unless ``body`` says otherwise."""
    body.setdefault("objectives", [{"metric": "val_loss", "direction": "minimize"}])
    store.append([Event.new("experiment.created", name, **body)])
    return name


def add_run(
    store: RunStore, experiment: str = "digits", *, run_id: str | None = None, state: str = "running", **body: Any
) -> Run:
    """Create a run."""
    event = Event.new("run.created", experiment, run_id or new_id(), state=state, **body)
    store.append([event])
    return store.run(event.run_id)


def add_finished(
    store: RunStore, experiment: str = "digits", *, loss: float, params: Mapping[str, Any] | None = None, **body: Any
) -> Run:
    """Create a run that is over, with a curve of one point."""
    figures = {"val_loss": {"n": 1, "last": loss, "last_finite": loss if math.isfinite(loss) else None}}
    return add_run(store, experiment, state="finished", params=params or {}, summary=figures, **body)


def chunk(run_id: str, *values: float, metric: str = "val_loss", first: int = 0) -> CurveChunk:
    """Return consecutive points of one curve."""
    steps = range(first, first + len(values))
    return CurveChunk(
        run_id, metric=metric, chunk=first, through=first + len(values), steps=list(steps), values=list(values)
    )


class RunStoreContract:
    """What ``RunStore`` promises, one promise a test."""

    @pytest.fixture
    def uri(self, tmp_path: Path) -> str:
        """Address of a store that does not exist yet."""
        return str(tmp_path / "store")

    def open_store(self, uri: str, *, create: bool = True) -> RunStore:
        """Open the store under test, with an encoder that needs no weights."""
        return open_store(uri, create=create, embedder=HashingEmbedder())

    @pytest.fixture
    def store(self, uri: str) -> RunStore:
        """Return an empty store."""
        return self.open_store(uri)

    # -- opening

    def test_opening_where_nothing_is_fails_unless_it_may_create(self, uri: str) -> None:
        with pytest.raises(StoreNotFoundError, match="no store"):
            self.open_store(uri, create=False)

    def test_a_store_can_be_opened_again(self, store: RunStore, uri: str) -> None:
        add_experiment(store)
        assert [e.name for e in self.open_store(uri, create=False).experiments()] == ["digits"]

    # -- experiments

    def test_experiments_keep_the_order_of_their_creation(self, store: RunStore) -> None:
        for name in ("b", "a", "c"):
            add_experiment(store, name)
        assert [(e.name, e.number) for e in store.experiments()] == [("b", 0), ("a", 1), ("c", 2)]

    def test_an_unknown_experiment_is_named_with_the_closest(self, store: RunStore) -> None:
        add_experiment(store, "digits-mlp")
        with pytest.raises(ExperimentNotFoundError, match="did you mean 'digits-mlp'"):
            store.experiment("digit-mlp")

    def test_creating_an_experiment_twice_keeps_the_first(self, store: RunStore) -> None:
        add_experiment(store, description="first")
        add_experiment(store, description="second")
        assert store.experiment("digits").description == "first"

    def test_the_number_of_a_deleted_experiment_is_not_used_again(self, store: RunStore) -> None:
        add_experiment(store, "a")
        store.append([Event.new("experiment.deleted", "a")])
        add_experiment(store, "b")
        assert [(e.name, e.number) for e in store.experiments()] == [("b", 1)]

    # -- runs

    def test_run_numbers_are_consecutive_within_an_experiment(self, store: RunStore) -> None:
        add_experiment(store, "a")
        add_experiment(store, "b")
        runs = [add_run(store, name) for name in ("a", "b", "a", "a", "b")]
        assert [(run.experiment, run.number) for run in runs] == [("a", 0), ("b", 0), ("a", 1), ("a", 2), ("b", 1)]

    def test_numbers_stay_consecutive_when_threads_create_runs(self, store: RunStore, uri: str) -> None:
        add_experiment(store)
        stores = [self.open_store(uri) for _ in range(4)]

        def work(mine: RunStore) -> None:
            for _ in range(5):
                mine.append([Event.new("run.created", "digits", new_id())])

        threads = [threading.Thread(target=work, args=(mine,)) for mine in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        orders = [[(run.number, run.id) for run in mine.runs("digits")] for mine in [store, *stores]]
        assert [number for number, _ in orders[0]] == list(range(20))
        assert all(order == orders[0] for order in orders)

    def test_a_read_sees_what_another_store_object_wrote(self, store: RunStore, uri: str) -> None:
        other = self.open_store(uri)
        add_experiment(store)
        run = add_run(store)
        assert other.run(run.id) == run

    def test_what_was_read_does_not_change(self, store: RunStore) -> None:
        add_experiment(store)
        run = add_run(store)
        store.append([Event.new("run.tagged", "digits", run.id, tags=["x"])])
        assert (run.tags, store.run(run.id).tags) == ((), ("x",))

    def test_a_repeated_event_counts_once(self, store: RunStore) -> None:
        add_experiment(store)
        run = add_run(store)
        note = Event.new("run.noted", "digits", run.id, text="once")
        store.append([note])
        store.append([note])
        store.append([Event.new("run.noted", "digits", run.id, text="twice")])
        store.append([note])
        assert store.run(run.id).notes == ("once", "twice")
        assert [event.body.get("text") for event in store.events(run_id=run.id)] == [None, "once", "twice"]

    def test_the_first_end_of_a_run_stands(self, store: RunStore) -> None:
        add_experiment(store)
        run = add_run(store)
        store.append([Event.new("run.state", "digits", run.id, state="finished", values=[1.0])])
        late = Event.new("run.state", "digits", run.id, state="failed", error="late")
        store.append([late])
        assert store.run(run.id).state is RunState.FINISHED
        assert late.id in store.state().refused

    def test_notes_and_tags_are_taken_after_the_end(self, store: RunStore) -> None:
        add_experiment(store)
        run = add_finished(store, loss=1.0)
        store.append([Event.new("run.noted", "digits", run.id, text="afterthought")])
        assert store.run(run.id).notes == ("afterthought",)

    def test_a_run_is_found_by_the_beginning_of_its_id(self, store: RunStore) -> None:
        add_experiment(store)
        add_run(store, run_id="abc1")
        add_run(store, run_id="abd1")
        assert store.run("abc").id == "abc1"
        with pytest.raises(RunNotFoundError, match="2 runs begin with 'ab'"):
            store.run("ab")
        with pytest.raises(RunNotFoundError, match="no run 'zzz'"):
            store.run("zzz")

    def test_the_objective_is_the_last_finite_value(self, store: RunStore) -> None:
        add_experiment(store)
        run = add_run(
            store,
            state="finished",
            summary={"val_loss": {"n": 3, "last": math.nan, "last_finite": 0.5, "min": 0.4, "max": 0.9}},
        )
        assert run.objective == 0.5
        store.append([Event.new("experiment.updated", "digits", reduce="best")])
        assert store.run(run.id).objective == 0.4

    def test_a_told_nan_is_kept(self, store: RunStore) -> None:
        add_experiment(store)
        run = add_run(store, state="finished", values=[math.nan])
        assert run.objective is not None
        assert math.isnan(run.objective)

    def test_odd_values_come_back_as_they_were(self, store: RunStore) -> None:
        add_experiment(store)
        params = {
            "big": 2**80,
            "nan": math.nan,
            "inf": -math.inf,
            "nested": {"a.b": [1, None, True]},
            "quote": 'it\'s "so"',
            "line\nbreak": "\x00\u202e😀",
            "lone": "\ud800",
            "": "",
        }
        got = dict(add_run(store, params=params).params)
        assert math.isnan(got.pop("nan"))
        del params["nan"]
        assert got == params

    def test_a_value_that_is_no_json_is_refused_and_nothing_is_written(self, store: RunStore) -> None:
        add_experiment(store)
        events = [
            Event.new("run.created", "digits", "good"),
            Event.new("run.created", "digits", "bad", params=object()),
        ]
        with pytest.raises(RecordError, match="object"):
            store.append(events)
        assert store.runs() == []

    @pytest.mark.parametrize(
        ("kind", "body"),
        [
            ("run.created", {"state": "runing"}),
            ("run.created", {"values": ["abc"]}),
            ("run.created", {"seed": "abc"}),
            ("run.state", {"values": [1.0]}),
            ("experiment.updated", {"objectives": [{"metrc": "loss"}]}),
            ("experiment.updated", {"objectives": [{"metric": "loss", "direction": "down"}]}),
        ],
    )
    def test_an_event_that_nobody_could_fold_is_refused(self, store: RunStore, kind: str, body: dict[str, Any]) -> None:
        add_experiment(store)
        with pytest.raises(RecordError):
            store.append([Event.new(kind, "digits", "r", **body)])
        assert store.runs() == []

    def test_a_negative_limit_is_refused(self, store: RunStore) -> None:
        with pytest.raises(FilterError, match="limit = -1"):
            store.runs(limit=-1)

    def test_nothing_of_a_deleted_experiment_is_left_to_read(self, store: RunStore) -> None:
        add_experiment(store)
        run = add_run(store)
        store.append_curves([chunk(run.id, 1.0)])
        store.append([Event.new("suggestion.made", "digits", suggestion_id="s", params={})])
        store.append([Event.new("experiment.deleted", "digits")])
        assert (store.runs(), store.curves(), store.info().n_points, store.state().suggestions) == ([], {}, 0, {})

    def test_an_unknown_kind_of_event_is_refused(self, store: RunStore) -> None:
        with pytest.raises(RecordError, match=r"run\.noted"):
            store.append([Event.new("run.note", "digits")])

    # -- the life of experiments and runs

    @pytest.fixture(params=["never", "reindexed", "many events"])
    def kept(self, request: pytest.FixtureRequest) -> str:
        """How the fold came to be kept, before what a test does."""
        return str(request.param)

    def keep(self, store: RunStore, run: Run, how: str) -> None:
        """Have the fold kept, so that what comes next is folded on top of it."""
        if how == "reindexed":
            store.reindex()
        elif how == "many events":
            store.append([Event.new("run.attr", run.experiment, run.id, key=str(i % 7)) for i in range(1_100)])
            store.runs()

    def views(self, store: RunStore, uri: str) -> Iterator[RunStore]:
        """Yield the store as it is, as another process sees it, and as it is once its fold was kept anew."""
        yield store
        yield self.open_store(uri)
        store.reindex()
        yield store
        yield self.open_store(uri)

    def test_a_renamed_experiment_keeps_its_runs_numbers_and_findings(
        self, store: RunStore, uri: str, kept: str
    ) -> None:
        add_experiment(store)
        runs = [add_run(store, params={"lr": 0.1 * i}) for i in range(3)]
        opened: dict[str, Any] = {"finding_id": "f", "code": "ADV102", "title": "t", "severity": "error"}
        store.append([Event.new("finding.opened", "digits", runs[1].id, **opened)])
        self.keep(store, runs[0], kept)
        store.append([Event.new("experiment.renamed", "digits", to="cnn")])
        late = [  # from writers that know the old name only
            Event.new("run.created", "digits", "late", params={"lr": 9.0}),
            Event.new("run.noted", "digits", runs[0].id, text="late"),
            Event.new("experiment.updated", "digits", description="late"),
        ]
        store.append(late)
        for view in self.views(store, uri):
            assert [(e.name, e.number, e.description) for e in view.experiments()] == [("cnn", 0, "late")]
            assert [(run.id, run.number, run.experiment) for run in view.runs("cnn")] == [
                (run_id, i, "cnn") for i, run_id in enumerate([*(run.id for run in runs), "late"])
            ]
            assert [run.id for run in view.runs("cnn", where="params.lr > 0.15")] == [runs[2].id, "late"]
            assert [(f.code, f.experiment) for f in view.run(runs[1].id).findings] == [("ADV102", "cnn")]
            assert view.run(runs[0].id).notes == ("late",)
            with pytest.raises(ExperimentNotFoundError, match="is called 'cnn' now"):
                view.experiment("digits")

    def test_a_name_that_is_taken_is_not_given_twice(self, store: RunStore, uri: str) -> None:
        for name in ("a", "b"):
            add_experiment(store, name)
        renamed = Event.new("experiment.renamed", "a", to="b")
        store.append([renamed])
        assert renamed.id in store.state().refused
        for view in self.views(store, uri):
            assert [e.name for e in view.experiments()] == ["a", "b"]

    def test_a_deleted_run_is_hidden_from_every_read_until_it_is_restored(
        self, store: RunStore, uri: str, kept: str
    ) -> None:
        add_experiment(store)
        first, gone = (add_finished(store, loss=loss, notes=["exploded"]) for loss in (2.0, 1.0))
        live = add_run(store)
        store.append_curves([chunk(run.id, 1.0, 2.0) for run in (first, gone, live)])
        self.keep(store, first, kept)
        store.append([Event.new("run.deleted", "digits", run.id) for run in (gone, live)])
        store.append([Event.new("run.tagged", "digits", gone.id, tags=["late"])])
        for view in self.views(store, uri):
            assert [run.id for run in view.runs()] == [first.id]
            assert [run.id for run in view.runs("digits", where="val_loss < 9")] == [first.id]
            assert view.count() == view.count("digits", where="val_loss < 9") == view.info().n_runs == 1
            assert [hit.run.id for hit in view.search("exploded")] == [first.id]
            assert view.best("digits") == view.run(first.id)
            assert list(view.curves()) == [first.id]
            assert view.curves([gone.id, live.id]) == {}
            with pytest.raises(RunNotFoundError, match=f"'advisor restore {gone.id}'"):
                view.run(gone.id[:20])
            assert [entry.run.id for entry in view.state().hidden()] == [gone.id, live.id]
        store.append([Event.new("run.restored", "digits", run.id) for run in (gone, live)])
        assert add_run(store).number == 3
        for view in self.views(store, uri):
            assert [(run.id, run.number) for run in view.runs("digits")][:3] == [
                (first.id, 0),
                (gone.id, 1),
                (live.id, 2),
            ]
            assert view.best("digits") == view.run(gone.id)
            assert view.run(gone.id).tags == ("late",)
            assert len(view.curves([gone.id])[gone.id]["val_loss"]) == 2

    def test_the_number_of_a_deleted_run_is_not_used_again(self, store: RunStore, kept: str) -> None:
        add_experiment(store)
        runs = [add_run(store) for _ in range(2)]
        self.keep(store, runs[0], kept)
        store.append([Event.new("run.deleted", "digits", runs[1].id)])
        assert add_run(store).number == 2

    def test_an_experiment_is_restored_with_its_runs(self, store: RunStore, uri: str, kept: str) -> None:
        add_experiment(store)
        runs = [add_finished(store, loss=float(i)) for i in range(3)]
        self.keep(store, runs[0], kept)
        store.append([Event.new("run.deleted", "digits", runs[1].id)])
        store.append([Event.new("experiment.deleted", "digits")])
        for view in self.views(store, uri):
            assert (view.experiments(), view.runs(), view.count()) == ([], [], 0)
            with pytest.raises(RunNotFoundError, match="'advisor restore digits'"):
                view.run(runs[0].id)
            with pytest.raises(ExperimentNotFoundError, match="'advisor restore digits'"):
                view.runs("digits")
        store.append([Event.new("experiment.restored", "digits")])
        for view in self.views(store, uri):
            assert [run.number for run in view.runs("digits")] == [0, 2]
            assert view.count("digits", where="val_loss >= 0") == 2
        assert add_run(store).number == 3

    def test_a_new_experiment_under_a_deleted_ones_name_keeps_it_from_being_restored(
        self, store: RunStore, uri: str, kept: str
    ) -> None:
        add_experiment(store)
        old = add_run(store)
        self.keep(store, old, kept)
        store.append([Event.new("experiment.deleted", "digits")])
        add_experiment(store)
        new = add_run(store)
        too_late = Event.new("experiment.restored", "digits", number=0)
        store.append([too_late])
        assert too_late.id in store.state().refused
        for view in self.views(store, uri):
            assert [(e.name, e.number) for e in view.experiments()] == [("digits", 1)]
            assert [(run.id, run.number) for run in view.runs()] == [(new.id, 0)]
        store.append([Event.new("experiment.renamed", "digits", to="newer")])
        store.append([Event.new("experiment.restored", "digits", number=0)])
        for view in self.views(store, uri):
            assert [(e.name, e.number) for e in view.experiments()] == [("digits", 0), ("newer", 1)]
            assert [(run.id, run.experiment) for run in view.runs()] == [(old.id, "digits"), (new.id, "newer")]

    def test_a_moved_run_gets_the_next_number_of_its_new_experiment(self, store: RunStore, uri: str, kept: str) -> None:
        add_experiment(store, "a")
        add_experiment(store, "b", objectives=[{"metric": "acc", "direction": "maximize"}])
        figures = {metric: {"n": 1, "last": x, "last_finite": x} for metric, x in (("val_loss", 1.0), ("acc", 0.5))}
        moved = add_run(store, "a", state="finished", summary=figures, params={"lr": 0.1})
        stays, there = add_run(store, "a"), add_run(store, "b")
        self.keep(store, there, kept)
        store.append([Event.new("run.moved", "a", moved.id, to="b")])
        store.append([Event.new("run.noted", "a", moved.id, text="late")])
        assert (add_run(store, "b").number, add_run(store, "a").number) == (2, 2)
        for view in self.views(store, uri):
            assert [run.number for run in view.runs("a")] == [1, 2]
            assert [(run.number, run.id) for run in view.runs("b")][:2] == [(0, there.id), (1, moved.id)]
            assert (view.count("a"), view.count("b"), view.count()) == (2, 3, 5)
            run = view.run(moved.id)
            assert (run.experiment, run.objective, run.notes) == ("b", 0.5, ("late",))
            assert [found.id for found in view.runs("b", where="params.lr = 0.1")] == [moved.id]
            assert view.runs("a", where="number = 0") == []
            assert (view.state().id_of("a", 0), view.state().id_of("a", 1)) == (None, stays.id)
            best = view.best("b")
            assert best is not None
            assert best.id == moved.id

    def test_the_journal_is_filtered_by_experiment_run_and_kind(self, store: RunStore) -> None:
        add_experiment(store, "a")
        add_experiment(store, "it's")
        run = add_run(store, "it's")
        store.append([Event.new("run.noted", "it's", run.id, text="x")] * 2)
        texts = [(event.kind, event.body.get("text")) for event in store.journal(run_ids=[run.id])]
        assert texts == [("run.created", None), ("run.noted", "x"), ("run.noted", "x")]
        assert [event.kind for event in store.journal(experiments=["a"])] == ["experiment.created"]
        assert len(store.journal(experiments=["a"], run_ids=[run.id])) == 4
        assert len(store.journal(experiments=["it's"], kinds=["run.noted", "run.tagged"])) == 2
        assert store.journal(after=store.state().version) == []
        assert store.journal(last=2) == store.journal()[-2:]
        assert [event.kind for event in store.journal(run_ids=[run.id], last=1)] == ["run.noted"]
        assert store.journal(run_ids=["nobody"], last=1) == []

    def test_each_event_says_who_wrote_it(self, store: RunStore, uri: str) -> None:
        add_experiment(store)
        add_run(self.open_store(uri))
        events = store.journal(experiments=["digits"])
        writers = store.writers([event.writer for event in events])
        assert len(writers) == 2
        assert all(writers[event.writer]["pid"] == os.getpid() for event in events)
        assert store.writers(["nobody"]) == {}

    # -- filters

    def test_filters_see_parameters_metrics_tags_and_state(self, store: RunStore) -> None:
        add_experiment(store)
        add_finished(store, loss=0.1, params={"lr": 0.1, "opt": "adam"}, tags=["kept"])
        add_finished(store, loss=0.2, params={"lr": 1e-3, "opt": "sgd"})
        add_finished(store, loss=math.nan, params={"lr": "auto", "opt": "sgd", "layers": [1, 2]})
        add_run(store, params={"lr": 1e-4})

        def numbers(where: str) -> list[int]:
            return [run.number for run in store.runs("digits", where=where)]

        assert numbers("params.lr < 0.01") == [1, 3]
        assert numbers("params.lr < 0.01 and state = 'finished'") == [1]
        assert numbers("params.opt = 'sgd' and not metrics.val_loss > 0.15") == [2]  # NaN is not above 0.15
        assert numbers("val_loss <= 0.2") == [0, 1]
        assert numbers("tag = 'kept'") == [0]
        assert numbers("params.lr = 'auto'") == [2]
        assert numbers("objective is null") == [3]

    def test_an_objective_that_was_told_and_has_no_curve_is_among_the_metrics(
        self, store: RunStore, uri: str, kept: str
    ) -> None:
        ways = [{"metric": "acc", "direction": "maximize"}, {"metric": "leaves", "direction": "minimize"}]
        add_experiment(store, objectives=ways)
        figures = {"acc": {"n": 2, "last": 0.6, "last_finite": 0.6}}
        told = add_run(store, state="finished", values=[0.9, 2.0])
        logged = add_run(store, state="finished", values=[0.8, math.nan], summary=figures)
        add_run(store)
        self.keep(store, told, kept)
        self.keep(store, logged, kept)
        for view in self.views(store, uri):
            assert dict(view.run(told.id).metrics) == {"acc": 0.9, "leaves": 2.0}
            assert view.run(logged.id).metrics["acc"] == 0.6  # what was logged stays what is shown as its last value
            assert math.isnan(view.run(logged.id).metrics["leaves"])
            assert [run.id for run in view.runs("digits", where="leaves <= 2 and metrics.acc > 0.7")] == [told.id]
            assert [run.number for run in view.runs("digits", order_by="acc", descending=True)] == [0, 1, 2]
            assert view.columns("digits", ["leaves"])["leaves"].tolist()[:1] == [2.0]
        ways[1]["metric"] = "nodes"
        store.append([Event.new("experiment.updated", "digits", objectives=ways)])
        for view in self.views(store, uri):
            assert dict(view.run(told.id).metrics) == {"acc": 0.9, "nodes": 2.0}
            assert [run.id for run in view.runs("digits", where="nodes <= 2")] == [told.id]

    def test_a_filter_sees_changes_at_once(self, store: RunStore) -> None:
        add_experiment(store)
        run = add_run(store)
        assert store.runs(where="tag = 'x'") == []
        store.append([Event.new("run.tagged", "digits", run.id, tags=["x"])])
        assert [found.id for found in store.runs(where="tag = 'x'")] == [run.id]

    def test_a_filter_sees_what_a_live_run_has_logged(self, store: RunStore) -> None:
        add_experiment(store)
        run = add_run(store)
        store.append_curves([chunk(run.id, 3.0, 2.0)])
        assert [found.id for found in store.runs(where="metrics.val_loss < 2.5")] == [run.id]
        store.append_curves([chunk(run.id, 9.0, first=2)])
        assert store.runs(where="metrics.val_loss < 2.5") == []

    @pytest.mark.parametrize("where", ["lr <", "params.lr << 1", "nope = 1", "(state = 'x'", "'; drop table runs", ""])
    def test_a_filter_that_cannot_be_understood_is_refused(self, store: RunStore, where: str) -> None:
        add_experiment(store)
        add_finished(store, loss=1.0, params={"lr": 0.1})
        if where:
            with pytest.raises(FilterError):
                store.runs("digits", where=where)
        else:
            assert len(store.runs("digits", where=where)) == 1

    def test_runs_without_a_value_come_last_in_either_direction(self, store: RunStore) -> None:
        add_experiment(store)
        for loss in (2.0, math.nan, 1.0, math.inf, 3.0):
            add_finished(store, loss=loss)
        add_run(store)
        assert [run.number for run in store.runs("digits", order_by="val_loss")] == [2, 0, 4, 1, 3, 5]
        assert [run.number for run in store.runs("digits", order_by="val_loss", descending=True)][:3] == [4, 0, 2]
        assert [run.number for run in store.runs("digits", order_by="val_loss", limit=1)] == [2]

    # -- columns

    def test_columns_give_numbers_texts_and_times_in_the_order_of_the_numbers(self, store: RunStore) -> None:
        add_experiment(store)
        for loss, params in ((2.0, {"lr": 0.1, "opt": "sgd"}), (math.nan, {"lr": 1}), (math.inf, {"opt": None})):
            add_finished(store, loss=loss, params=params, started="2026-01-31T00:00:00+00:00")
        add_run(store, state="waiting", params={"lr": 0.5, "opt": "adam"})
        wanted = ("number", "state", "objective", "ranks", "params.lr", "params.opt", "val_loss", "started")
        found = store.columns("digits", wanted)
        assert list(found) == list(wanted)
        assert found["number"].tolist() == [0, 1, 2, 3]
        assert found["state"].tolist() == ["finished"] * 3 + ["waiting"]
        assert found["ranks"].tolist() == [1, 0, 0, 0]
        assert found["params.opt"].tolist() == ["sgd", None, None, "adam"]
        np.testing.assert_array_equal(found["params.lr"], [0.1, 1.0, math.nan, 0.5])
        np.testing.assert_array_equal(found["val_loss"], [2.0, math.nan, math.inf, math.nan])
        np.testing.assert_array_equal(found["started"], [1769817600.0] * 3 + [math.nan])
        assert all(each.dtype in (np.float64, object) for each in found.values())

    @pytest.mark.parametrize("kept", ["in the journal", "in the table"])
    def test_columns_are_those_of_the_runs_that_fit_and_exist(self, store: RunStore, kept: str) -> None:
        add_experiment(store)
        add_finished(store, add_experiment(store, "other"), loss=9.0)
        runs = [add_finished(store, loss=loss) for loss in (3.0, 1.0, 2.0)]
        store.append([Event.new("run.deleted", "digits", runs[0].id)])
        if kept == "in the table":
            store.reindex()
        assert store.columns("digits", ["objective"])["objective"].tolist() == [1.0, 2.0]
        store.append([Event.new("run.restored", "digits", runs[0].id)])
        assert store.columns("digits", ["objective"], where="objective > 1.5")["objective"].tolist() == [3.0, 2.0]
        assert store.columns("digits", ["objective"], where="objective > 5")["objective"].tolist() == []
        everywhere = store.columns(None, ["experiment", "objective"])
        assert everywhere["experiment"].tolist() == ["other", "digits", "digits", "digits"]
        assert everywhere["objective"].tolist() == [9.0, 3.0, 1.0, 2.0]

    def test_a_parameter_that_is_sometimes_a_word_comes_as_texts(self, store: RunStore) -> None:
        add_experiment(store)
        for value in (1, "auto", None):
            add_finished(store, loss=1.0, params={"depth": value})
        assert store.columns("digits", ["params.depth"])["params.depth"].tolist() == ["1", "auto", None]

    def test_a_column_that_no_run_has_is_refused(self, store: RunStore) -> None:
        add_experiment(store)
        add_finished(store, loss=1.0, params={"lr": 0.1})
        with pytest.raises(FilterError, match="did you mean"):
            store.columns("digits", ["params.l"])
        with pytest.raises(ExperimentNotFoundError):
            store.columns("digit", ["number"])

    def test_the_names_that_a_filter_may_use_are_told(self, store: RunStore) -> None:
        add_experiment(store)
        add_finished(store, loss=1.0, params={"lr": 0.1, "net": {"width": 3}})
        names = store.names("digits")
        assert (set(names.params), set(names.metrics)) == ({"lr", "net.width"}, {"val_loss"})

    # -- curves

    def test_curves_are_put_together_from_chunks_and_repetitions_count_once(self, store: RunStore) -> None:
        add_experiment(store)
        run = add_run(store)
        later, earlier = chunk(run.id, 3.0, math.nan, first=2), chunk(run.id, 1.0, math.inf)
        for piece in (later, earlier, later):
            store.append_curves([piece])
        curve = store.run(run.id).curve("val_loss")
        np.testing.assert_array_equal(curve.steps, [0, 1, 2, 3])
        np.testing.assert_array_equal(curve.values, [1.0, math.inf, 3.0, math.nan])
        assert store.delivered(run.id) == 4

    def test_how_much_of_several_runs_has_come_is_told_in_one_call(self, store: RunStore, uri: str) -> None:
        add_experiment(store)
        first, second, silent = (add_run(store) for _ in range(3))
        store.append_curves([chunk(first.id, 1.0, 2.0, metric=m) for m in ("a", "b")] + [chunk(second.id, 1.0)])
        ids = [first.id, second.id, silent.id, "nobody"]
        assert store.delivered_of(ids) == {first.id: 2, second.id: 1}
        self.open_store(uri).append_curves([chunk(second.id, 0.5, first=1), chunk(second.id, 0.2, first=2)])
        assert store.delivered_of(ids) == {first.id: 2, second.id: 3}
        assert store.delivered_of([second.id]) == {second.id: 3}
        assert store.delivered_of([]) == {}

    def test_curves_of_several_runs_come_in_one_call(self, store: RunStore) -> None:
        add_experiment(store)
        runs = [add_run(store) for _ in range(3)]
        store.append_curves([chunk(run.id, 1.0, metric=m) for run in runs for m in ("a", "b")])
        found = store.curves([run.id for run in runs[:2]], metrics=["a"])
        assert {run_id: list(curves) for run_id, curves in found.items()} == {run.id: ["a"] for run in runs[:2]}

    def test_long_curves_are_thinned_on_request_and_keep_what_stands_out(self, store: RunStore) -> None:
        add_experiment(store)
        run = add_run(store)
        values = np.sin(np.arange(3000) / 300)
        values[1234], values[2222] = 50.0, math.nan
        store.append_curves([chunk(run.id, *values), chunk(run.id, 1.0, math.inf, metric="short")])
        thin = store.curves([run.id], max_points=40)[run.id]
        assert len(thin["val_loss"]) <= 40
        assert {0, 1234, 2222, 2999} <= set(thin["val_loss"].steps.tolist())
        np.testing.assert_array_equal(thin["val_loss"].values, values[thin["val_loss"].steps])
        assert thin["short"] == store.run(run.id).curve("short")
        assert len(store.run(run.id).curve("val_loss")) == 3000
        with pytest.raises(RecordError, match="max_points"):
            store.curves([run.id], max_points=1)

    def test_points_come_back_bit_for_bit_before_and_after_compaction(self, store: RunStore) -> None:
        add_experiment(store)
        run = add_run(store)
        values = [0.1, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1.7976931348623157e308, 1 / 3]
        pieces = [chunk(run.id, *values, first=first) for first in (0, 8, 16)]
        for piece in (*pieces, pieces[1]):
            store.append_curves([piece])
        store.append([Event.new("run.state", "digits", run.id, state="finished")])
        for _ in range(2):
            found = store.run(run.id).curve("val_loss")
            assert found.steps.tolist() == list(range(24))
            assert found.values.tobytes() == np.array(values * 3).tobytes()
            store.compact()
        store.append_curves([pieces[2]])
        assert len(store.run(run.id).curve("val_loss")) == store.info().n_points == 24

    def test_pieces_of_different_lengths_are_refused(self, store: RunStore) -> None:
        torn = CurveChunk("r", metric="loss", chunk=0, through=2, steps=[0, 1], values=[0.5])
        with pytest.raises(RecordError, match="equally many"):
            store.append_curves([torn])

    def test_a_missing_curve_is_named_with_those_there_are(self, store: RunStore) -> None:
        add_experiment(store)
        run = add_run(store)
        store.append_curves([chunk(run.id, 1.0)])
        with pytest.raises(RecordError, match="did you mean 'val_loss'"):
            run.curve("val_los")

    def test_what_was_reported_through_optuna_is_a_curve(self, store: RunStore) -> None:
        add_experiment(store)
        run = add_run(store)
        for step, value in ((0, 5.0), (1, 4.0), (1, 3.0)):
            store.append([Event.new("run.reported", "digits", run.id, step=step, value=value)])
        np.testing.assert_array_equal(store.run(run.id).curve("val_loss").values, [5.0, 3.0])

    # -- search

    def test_search_finds_words_and_respects_the_filter(self, store: RunStore) -> None:
        add_experiment(store)
        noted = add_finished(store, loss=0.1, params={"lr": 0.1}, notes=["overfits badly on the small set"])
        add_finished(store, loss=0.2, params={"lr": 0.2}, notes=["a calm run"])
        assert store.search("overfitting on small data", limit=1)[0].run.id == noted.id
        assert noted.id not in [hit.run.id for hit in store.search("overfits", where="params.lr > 0.15")]

    def test_search_scores_lie_between_zero_and_one_best_first(self, store: RunStore) -> None:
        add_experiment(store)
        for i in range(6):
            add_finished(store, loss=float(i), notes=[f"note {i} about learning"])
        scores = [hit.score for hit in store.search("learning note 3")]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)

    def test_search_finds_misspelt_words_and_reads_conditions_in_the_line(self, store: RunStore) -> None:
        add_experiment(store)
        exploded = add_finished(store, loss=0.1, params={"lr": 0.1}, notes=["the loss exploded"])
        other = add_finished(store, loss=0.2, params={"lr": 0.2}, notes=["exploded as well"])
        assert {hit.run.id for hit in store.search("explodde")} >= {exploded.id, other.id}
        found = store.search('"explodde" params.lr<0.15 state:finished')
        assert [hit.run.id for hit in found] == [exploded.id]
        assert (found.words, found.where) == ("explodde", "params.lr < 0.15 and state = 'finished'")
        assert [hit.run.id for hit in store.search("params.lr>=0.1")] == [other.id, exploded.id]

    def test_a_search_says_why_and_counts(self, store: RunStore) -> None:
        add_experiment(store)
        run = add_finished(store, loss=0.1, notes=["the loss exploded at once"])
        add_finished(store, loss=0.2)
        found = store.search("exploded")
        reason = found[0].reasons[0]
        start, end = reason.marks[0]
        assert (found[0].run.id, reason.kind, reason.how) == (run.id, "note", "words")
        assert reason.text[start:end] == "exploded"
        assert (found.n_fitting, found.facets["state"]) == (1, {"finished": 1})

    def test_runs_are_found_by_the_code_and_the_phrases_of_a_finding(self, store: RunStore) -> None:
        add_experiment(store)
        run, _ = (add_finished(store, loss=loss) for loss in (0.1, 0.2))
        said: dict[str, Any] = {"finding_id": "f", "code": "ADV106", "title": "t", "severity": "info"}
        said["detector"] = "rules"
        store.append([Event.new("finding.opened", "digits", run.id, **said)])
        assert [each.id for each in store.runs(where="finding = 'ADV106'")] == [run.id]
        assert [hit.run.id for hit in store.search("finding:overfitting")] == [run.id]
        hits = store.search("memorized the training data")
        assert hits[0].run.id == run.id
        assert hits.facets["finding"] == {"ADV106": 1}
        store.append([Event.new("finding.judged", "digits", run.id, finding_id="f", verdict="ok")])
        assert store.runs(where="finding = 'ADV106'") == []
        assert store.search("finding:overfitting") == []

    def test_a_search_finds_what_came_and_not_what_went(self, store: RunStore, uri: str) -> None:
        add_experiment(store)
        run = add_finished(store, loss=0.1)
        store.reindex()
        assert all("exploded" not in hit.text for hit in store.search("exploded"))
        store.append([Event.new("run.noted", "digits", run.id, text="exploded")])
        assert [hit.run.id for hit in store.search("exploded")] == [run.id]
        assert [hit.run.id for hit in self.open_store(uri).search("exploded")] == [run.id]
        store.append([Event.new("run.deleted", "digits", run.id)])
        assert store.search("exploded") == []

    def test_an_empty_store_and_a_limit_of_none_give_nothing(self, store: RunStore) -> None:
        assert store.search("exploded") == []
        add_experiment(store)
        assert store.search("exploded") == store.search("state:failed") == []
        add_finished(store, loss=0.1, notes=["exploded"])
        assert store.search("exploded", limit=0) == []
        assert store.search("exploded").n_fitting == 1

    def test_documents_are_found_by_their_title_and_text(self, store: RunStore) -> None:
        add_experiment(store)
        run = add_finished(store, loss=0.1)
        said: dict[str, Any] = {
            "document_id": "d1",
            "kind": "run-summary",
            "title": "Why the loss exploded",
            "format": "md",
            "facts_hash": "0",
            "writer": "template",
            "path": None,
        }
        store.append([Event.new("document.written", "digits", run.id, **said)])
        (found,) = store.search("explodde").documents
        assert (found.document_id, found.run_id, found.kind) == ("d1", run.id, "run-summary")
        assert store.search("zebra").documents == ()

    def test_the_run_most_like_one_comes_first(self, store: RunStore) -> None:
        add_experiment(store)
        runs = [add_finished(store, loss=0.1, params={"lr": lr, "opt": "adam"}) for lr in (0.1, 0.12, 10.0)]
        found = store.similar(runs[0].id)
        assert [hit.run.id for hit in found] == [runs[1].id, runs[2].id]
        assert all(0 <= hit.score <= 1 for hit in found)
        assert "1 of 2 parameters equal; lr 0.1 → 0.12" in found[0].reasons[0].text
        assert [hit.run.id for hit in store.similar(runs[0].id, where="params.lr > 1")] == [runs[2].id]
        with pytest.raises(RunNotFoundError):
            store.similar("nobody")

    def test_text_that_is_no_unicode_breaks_neither_search_nor_filter(self, store: RunStore) -> None:
        add_experiment(store)
        add_finished(store, loss=1.0, notes=["torn \ud800 emoji"], params={"a\udfff": "\ud800"}, tags=["\ud800"])
        assert [hit.run.number for hit in store.search("torn emoji")] == [0]
        assert len(store.runs(where="note like '%torn%'")) == 1

    def test_a_finding_that_is_stated_again_replaces_what_was_said(self, store: RunStore) -> None:
        add_experiment(store)
        run = add_run(store)
        for severity in ("info", "error"):
            body: dict[str, Any] = {
                "finding_id": "f",
                "code": "ADV102",
                "title": severity,
                "severity": severity,
                "detector": "rules",
            }
            store.append([Event.new("finding.opened", "digits", run.id, **body)])
        store.append([Event.new("finding.state", "digits", run.id, finding_id="f", state="resolved")])
        assert [(f.title, f.severity, f.state) for f in store.run(run.id).findings] == [("error", "error", "resolved")]

    def test_the_last_verdict_on_a_finding_counts_and_a_false_alarm_stays_resolved(self, store: RunStore) -> None:
        add_experiment(store)
        run = add_run(store)
        said = {"code": "ADV102", "title": "t", "severity": "error", "detector": "rules"}

        def tell(kind: str, **body: Any) -> tuple[str | None, str]:
            store.append([Event.new(f"finding.{kind}", "digits", run.id, finding_id="f", **body)])
            (finding,) = store.run(run.id).findings
            return finding.verdict, finding.state

        assert tell("opened", **said) == (None, "open")
        assert tell("judged", verdict="real", note="a bad batch") == ("real", "open")
        assert tell("judged", verdict="ok") == ("ok", "resolved")
        assert tell("state", state="open") == ("ok", "resolved")
        assert tell("opened", **said | {"title": "worse"}) == ("ok", "resolved")
        store.reindex()  # what is kept has it too
        (kept,) = store.run(run.id).findings
        assert (kept.verdict, kept.state) == ("ok", "resolved")
        assert tell("judged", verdict="real") == ("real", "open")
        assert tell("state", state="resolved") == ("real", "resolved")
        with pytest.raises(RecordError, match="no verdict 'rael'; did you mean 'real'"):
            tell("judged", verdict="rael")

    def test_the_index_can_be_dropped_and_built_again(self, store: RunStore) -> None:
        add_experiment(store)
        add_finished(store, loss=0.1, notes=["exploded"])
        before = [hit.run.id for hit in store.search("exploded")]
        assert store.reindex() == 1
        assert [hit.run.id for hit in store.search("exploded")] == before

    # -- files and care

    def test_artifacts_are_kept_by_content(self, store: RunStore, tmp_path: Path) -> None:
        for name in ("a.bin", "b.bin"):
            (tmp_path / name).write_bytes(b"weights")
        first, second = store.put_artifact(tmp_path / "a.bin"), store.put_artifact(tmp_path / "b.bin")
        assert first == second
        with store.open_artifact(first[0]) as file:
            assert file.read() == b"weights"
        with pytest.raises(RecordError, match="keeps no file"):
            store.open_artifact("../../etc/passwd")

    def test_the_stamp_is_another_one_after_each_change_in_any_process(self, store: RunStore, uri: str) -> None:
        other = self.open_store(uri)
        seen = [other.stamp()]
        add_experiment(store)
        seen.append(other.stamp())
        run = add_run(store)
        seen.append(other.stamp())
        store.append_curves([chunk(run.id, 1.0)])  # the journal does not change with it
        seen.append(other.stamp())
        store.append([Event.new("run.state", "digits", run.id, state="finished")])
        seen.append(other.stamp())
        assert len(set(seen)) == len(seen)
        assert store.stamp() == seen[-1]

    def test_the_stamp_stays_while_only_reads_happen(self, store: RunStore) -> None:
        add_experiment(store)
        run = add_finished(store, loss=0.1)
        store.append_curves([chunk(run.id, 0.1)])
        before = store.stamp()
        _ = (store.runs(), store.experiments(), store.curves(), store.best("digits"), store.count("digits"))
        assert store.stamp() == before

    def test_compaction_changes_nothing_that_is_read(self, store: RunStore, uri: str) -> None:
        add_experiment(store)
        for i in range(10):
            run = add_finished(store, loss=float(i), params={"i": i})
            store.append_curves([chunk(run.id, float(i))])
        before = (store.runs(), store.curves(), store.events())
        store.compact()
        again = self.open_store(uri)
        assert (again.runs(), again.curves(), again.events()) == before

    def test_info_counts_what_there_is(self, store: RunStore) -> None:
        add_experiment(store)
        run = add_finished(store, loss=0.1)
        store.append_curves([chunk(run.id, 1.0, 2.0)])
        info = store.info()
        assert (info.n_experiments, info.n_runs, info.n_points, info.n_events) == (1, 1, 2, 2)
