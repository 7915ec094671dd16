from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.entries import Entry, decode, encode
from storage.errors import RecordError
from storage.events import KINDS, decode_body, encode_body
from storage.journal import State, handled_kinds, passed_over
from storage.records import Event, RunState

START = datetime(2026, 1, 1, tzinfo=UTC)


def event(kind: str, run_id: str = "", /, *, at_s: float = 0.0, **body: Any) -> Event:
    return Event.new(kind, "exp", run_id, time=START + timedelta(seconds=at_s), **body)


def folded(events: Sequence[Event]) -> State:
    state = State()
    state.fold(events)
    return state


CREATED = event("experiment.created", objectives=[{"metric": "loss", "direction": "minimize"}])

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), json_values, max_size=6))
def test_a_body_is_read_back_as_it_was_written(body: dict[str, Any]) -> None:
    assert decode_body(encode_body(body)) == body


@given(st.lists(st.floats(), max_size=8))
def test_nan_and_infinity_survive_in_a_body(values: list[float]) -> None:
    got = decode_body(encode_body({"values": values}))["values"]
    assert [(math.isnan(a) and math.isnan(b)) or a == b for a, b in zip(got, values, strict=True)] == [True] * len(
        values
    )


def test_a_body_is_one_line_of_ascii() -> None:
    text = encode_body({"name": "größe\n\u2028\ud800"})
    assert text.isascii()
    assert "\n" not in text


def test_a_value_that_is_no_json_is_named() -> None:
    with pytest.raises(RecordError, match="object is not a JSON value"):
        encode_body({"x": object()})


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Histories of a few runs, in an order that one writer could have appended."""
    events = [CREATED]
    for n in range(draw(st.integers(1, 4))):
        run_id = f"run{n}"
        events.append(event("run.created", run_id, params={"n": n}))
        for _ in range(draw(st.integers(0, 5))):
            kind = draw(st.sampled_from(["run.noted", "run.tagged", "run.reported", "run.state", "run.param"]))
            bodies: dict[str, dict[str, Any]] = {
                "run.noted": {"text": draw(st.text(max_size=3))},
                "run.tagged": {"tags": [draw(st.sampled_from("ab"))]},
                "run.reported": {"step": draw(st.integers(0, 3)), "value": 1.0},
                "run.state": {"state": draw(st.sampled_from(["finished", "failed"])), "values": [2.0]},
                "run.param": {"name": "p", "value": draw(st.integers(0, 3))},
            }
            events.append(event(kind, run_id, **bodies[kind]))
    return events


@given(histories(), st.data())
def test_repeated_events_change_nothing(events: list[Event], data: st.DataObject) -> None:
    repeated = list(events)
    for again in data.draw(st.lists(st.sampled_from(events), max_size=6)):
        first = repeated.index(again)
        repeated.insert(data.draw(st.integers(first + 1, len(repeated))), again)
    a, b = folded(events), folded(repeated)
    assert (a.experiments, a.runs, a.refused, a.n_events) == (b.experiments, b.runs, b.refused, b.n_events)


@given(histories(), st.integers(0, 20))
def test_folding_in_two_parts_is_folding_at_once(events: list[Event], cut: int) -> None:
    parts = State()
    parts.fold(events[:cut])
    parts.fold(events[cut:])
    assert parts.runs == folded(events).runs


# -- several writers, a whole life, and folds that are kept on the way

NAMES = ("exp", "b", "c")
RUNS = ("r0", "r1", "r2")


FINDING = {"code": "ADV102", "title": "t", "severity": "warning"}
OF_EXPERIMENTS: list[tuple[str, dict[str, Any]]] = [
    ("experiment.created", {"objectives": [{"metric": "loss"}]}),
    ("experiment.updated", {"objectives": [{"metric": "acc"}], "reduce": "best"}),
    *(("experiment.renamed", {"to": name}) for name in NAMES),
    ("experiment.deleted", {}),
    ("experiment.restored", {}),
    ("experiment.restored", {"number": 0}),
    ("experiment.attr", {"key": "k", "value": 1}),
    ("suggestion.made", {"suggestion_id": "s", "params": {}}),
    ("document.written", {}),
    ("alert.queued", {"channel": "console", "kind": "firing", "alerts": [], "message": {}}),
    ("alert.delivery", {"message_id": "m", "channel": "console", "state": "sent"}),
    ("alert.muted", {"scope": "code", "target": "ADV103"}),
    ("alert.unmuted", {"scope": "code", "target": "ADV103"}),
]
OF_RUNS: list[tuple[str, dict[str, Any]]] = [
    ("run.created", {"params": {"lr": 0.1}}),
    ("run.created", {"state": "waiting"}),
    ("run.param", {"name": "p", "value": 3}),
    ("run.reported", {"step": 1, "value": 1.0}),
    ("run.reported", {"step": 1, "value": 1.0, "reports": {"0": float("nan"), "1": 1.0}}),
    ("run.attr", {"key": "k", "value": 1}),
    ("run.state", {"state": "running"}),
    ("run.state", {"state": "failed", "error": "e"}),
    ("run.state", {"state": "finished", "summary": {"loss": {"n": 1, "last": 2.0, "last_finite": 2.0}}}),
    ("run.deleted", {}),
    ("run.restored", {}),
    *(("run.moved", {"to": name}) for name in NAMES),
    ("run.captured", {"python": {"version": "3"}}),
    ("run.summarized", {"summary": {"acc": {"n": 1, "last": 0.5, "last_finite": 0.5, "min": 0.2, "max": 0.5}}}),
    ("run.noted", {"text": "n"}),
    ("run.tagged", {"tags": ["a"]}),
    ("run.untagged", {"tags": ["a", "c"]}),
    ("run.data", {"name": "d"}),
    ("run.artifact", {"name": "f", "sha256": "0", "size": 1}),
    ("finding.opened", {"finding_id": "f", **FINDING}),
    ("finding.state", {"finding_id": "f", "state": "resolved"}),
    ("finding.judged", {"finding_id": "f", "verdict": "ok"}),
    ("finding.judged", {"finding_id": "f", "verdict": "real", "note": "n"}),
    ("finding.notified", {"finding_id": "f", "channel": "console"}),
]
DEEDS = [
    *((kind, name, "", body) for kind, body in OF_EXPERIMENTS for name in NAMES),
    *((kind, name, run_id, body) for kind, body in OF_RUNS for name, run_id in zip(NAMES, RUNS, strict=True)),
]
"""What a writer may append, sensible or not."""


@st.composite
def lives(draw: st.DrawFn) -> list[Event]:
    """Events of several writers, each in its own order, in some order of all."""
    writers = draw(st.lists(st.lists(st.sampled_from(DEEDS), max_size=10), min_size=1, max_size=3))
    queues = [
        [replace(event(kind, run_id, **body), experiment=name) for kind, name, run_id, body in each] for each in writers
    ]
    queues.append([CREATED, event("run.created", "r0"), event("run.created", "r1")])
    turns = draw(st.permutations([i for i, queue in enumerate(queues) for _ in queue]))
    return [queues[i].pop(0) for i in turns]


def committed(events: Sequence[Event]) -> list[Event]:
    """Return events as they come back from the journal, two in each commit."""
    return [replace(each, version=1 + i // 2) for i, each in enumerate(events)]


class Kept:
    """A fold that was kept, in memory: what ``storage.index.KeptFold`` is on disk."""

    def __init__(self, rows: Mapping[str, bytes], checkpoint: str) -> None:
        self._rows, self._checkpoint = rows, checkpoint

    @classmethod
    def of(cls, state: State) -> Self:
        before = state.base._rows if isinstance(state.base, Kept) else {}
        rows = {**before, **{entry.run.id: encode(entry) for entry in state.dirty()}}
        return cls(rows, json.dumps(state.checkpoint()))

    def checkpoint(self) -> Mapping[str, Any]:
        return json.loads(self._checkpoint)

    def entries(self, run_ids: Sequence[str]) -> dict[str, Entry]:
        return {run_id: decode(self._rows[run_id]) for run_id in run_ids if run_id in self._rows}

    def entries_of(self, exp: int | None) -> list[Entry]:
        return [entry for entry in map(decode, self._rows.values()) if exp is None or entry.exp == exp]

    def ids_of(self, exp: int | None) -> list[tuple[int, str]]:
        entries = self.entries_of(exp)
        return [(entry.run.ordinal if exp is None else entry.run.number, entry.run.id) for entry in entries]

    def id_at(self, ordinal: int) -> str | None:
        return next((entry.run.id for entry in self.entries_of(None) if entry.run.ordinal == ordinal), None)

    def hidden(self) -> list[Entry]:
        return [entry for entry in self.entries_of(None) if entry.hidden]

    def n_visible(self) -> dict[int, int]:
        visible = [entry.exp for entry in self.entries_of(None) if not entry.hidden]
        return {exp: visible.count(exp) for exp in visible}


def all_of(state: State) -> dict[str, Any]:
    """Return everything that anybody can ask a state about experiments and runs."""
    books = state.books()
    names = list(state.experiments)
    return {
        "experiments": dict(state.experiments),
        "books": {n: (b.record, b.next_number, b.deleted) for n, b in books.items()},
        "runs": dict(state.runs),
        "entries": [(e.run, e.exp, e.told, e.deleted, e.hidden) for e in state.entries_of(None)],
        "hidden": [entry.run.id for entry in state.hidden()],
        "ids": (state.all_ids(), [state.id_at(i) for i in range(4)]),
        "members": {n: [(e.run.id, e.run.number) for e in state.entries_of(n)] for n in books},
        "numbers": {(name, i): state.id_of(name, i) for name in names for i in range(5)},
        "counts": (state.n_runs(), {name: state.n_runs_of(name) for name in names}),
        "old names": {name: state.number_of(name) for name in NAMES},
        "running": set(state.running),
        "refused": list(state.refused),
        "n_events": state.n_events,
        "suggestions": state.suggestions,
        "documents": state.documents,
        "notified": state.notified,
    }


@given(lives(), st.data())
def test_repetitions_change_nothing_however_late_they_come(events: list[Event], data: st.DataObject) -> None:
    repeated = list(events)
    for again in data.draw(st.lists(st.sampled_from(events), max_size=8)):
        first = repeated.index(again)
        repeated.insert(data.draw(st.integers(first + 1, len(repeated))), again)
    # Each event keeps its commit, as in the sequence without repetitions: names are looked up at a commit.
    version = {each.id: each.version for each in committed(events)}
    plain, doubled = (folded([replace(e, version=version[e.id]) for e in each]) for each in (events, repeated))
    assert all_of(doubled) == all_of(plain)
    assert doubled.n_rows == len(repeated)


def later(kind: str, run_id: str = "", *, name: str = "exp", **body: Any) -> Event:
    return replace(event(kind, run_id, **body), experiment=name)


DELETED = event("experiment.deleted")
RESTORED = event("experiment.restored")
EARLY_NOTE = event("run.noted", "r", text="too early")
RENAMED_TO_B = event("experiment.renamed", to="b")


@pytest.mark.parametrize(
    ("events", "again"),
    [
        ([CREATED, DELETED], CREATED),
        ([CREATED, DELETED, RESTORED], DELETED),
        ([CREATED, DELETED, RESTORED, event("experiment.deleted")], RESTORED),
        ([CREATED, DELETED, event("experiment.created"), event("experiment.deleted")], RESTORED),
        ([CREATED, RENAMED_TO_B, event("experiment.created"), later("experiment.deleted", name="b")], RENAMED_TO_B),
        ([EARLY_NOTE, CREATED, event("run.created", "r")], EARLY_NOTE),
    ],
)
@pytest.mark.parametrize("kept", [False, True])
def test_an_event_that_comes_again_when_its_name_is_another_experiments_has_no_effect(
    events: list[Event], again: Event, kept: bool
) -> None:
    events = events if again in events else [*events, again]
    state = folded(events)
    if kept:
        state = State(base=Kept.of(state))
    state.fold([again])
    assert all_of(state) == all_of(folded(events))


def test_a_run_can_be_moved_to_an_experiment_that_has_none() -> None:
    created = [CREATED, later("experiment.created", name="b"), event("run.created", "r")]
    state = folded([*created, event("run.moved", "r", to="b")])
    assert [run.id for run in state.runs_of("b")] == ["r"]
    assert (state.id_of("b", 0), list(state.runs_of("exp"))) == ("r", [])


@given(lives(), st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=4), st.data())
def test_a_fold_that_was_kept_on_the_way_is_the_fold_at_once(
    events: list[Event], cuts: list[tuple[int, bool]], data: st.DataObject
) -> None:
    repeated = [*events, *data.draw(st.lists(st.sampled_from(events), max_size=4))]
    journal = committed(repeated)

    def load_kind(kind: str, through: int) -> list[Event]:
        return [each for each in journal[: state.n_rows] if each.kind == kind and each.version <= through]

    state, done = State(load_kind=load_kind), 0
    for cut, opens_anew in sorted(cuts):
        state.fold(journal[done:cut])
        done = max(done, cut)
        kept = Kept.of(state)
        if opens_anew:
            state = State(base=kept, load_kind=load_kind)
        else:
            state.stand_on(kept)
    state.fold(journal[done:])
    at_once = folded(journal)
    assert all_of(state) == all_of(at_once)
    assert (state.prefix, state.n_rows, state.last) == (at_once.prefix, at_once.n_rows, at_once.last)


@given(histories())
def test_a_run_that_is_over_changes_by_notes_and_tags_only(events: list[Event]) -> None:
    state, over = State(), {}
    for each in events:
        state.apply(each)
        run = state.runs.get(each.run_id)
        if run is not None and run.id in over:
            before = over[run.id]
            assert (run.state, run.values, run.params, run.reports) == (
                before.state,
                before.values,
                before.params,
                before.reports,
            )
        if run is not None and run.state.is_over:
            over.setdefault(run.id, run)


def test_events_of_unknown_kinds_are_passed_over() -> None:
    state = folded([CREATED, Event("x", kind="run.dreamt", experiment="exp", time=START)])
    assert state.n_events == 2
    assert state.runs == {}


def test_only_one_of_two_claims_to_a_waiting_run_takes_effect() -> None:
    claims = [event("run.state", "r", state="running", at_s=i) for i in (1, 2)]
    state = folded([CREATED, event("run.created", "r", state="waiting"), *claims])
    assert set(state.refused) == {claims[1].id}
    assert state.runs["r"].started == claims[0].time


def test_a_waiting_run_has_not_started() -> None:
    run = folded([CREATED, event("run.created", "r", state="waiting")]).runs["r"]
    assert (run.state, run.started, run.values) == (RunState.WAITING, None, ())


def test_the_objective_follows_a_change_of_the_experiment() -> None:
    summary = {
        "loss": {"n": 2, "last": 3.0, "last_finite": 3.0, "min": 1.0, "max": 3.0},
        "acc": {"n": 1, "last": 0.5, "last_finite": 0.5},
    }
    events = [CREATED, event("run.created", "r", state="finished", summary=summary)]
    assert folded(events).runs["r"].values == (3.0,)
    changed = [*events, event("experiment.updated", objectives=[{"metric": "acc", "direction": "maximize"}])]
    assert folded(changed).runs["r"].values == (0.5,)
    assert folded([*events, event("experiment.updated", reduce="best")]).runs["r"].values == (1.0,)


def test_a_curve_without_a_finite_value_makes_the_objective_nan() -> None:
    summary = {"loss": {"n": 2, "last": math.inf, "last_finite": None}}
    run = folded([CREATED, event("run.created", "r", state="finished", summary=summary)]).runs["r"]
    assert math.isnan(run.values[0])


def test_bodies_are_plain_json() -> None:
    assert json.loads(encode_body({"when": START, "path": __import__("pathlib").Path("a/b")})) == {
        "when": "2026-01-01T00:00:00+00:00",
        "path": "a/b",
    }


def test_a_kept_fold_says_which_kinds_it_knew_and_one_from_before_that_may_lack_verdicts() -> None:
    kept = folded([CREATED]).checkpoint()
    assert passed_over(kept) == frozenset()
    assert passed_over({**kept, "kinds": [kind for kind in kept["kinds"] if kind != "run.moved"]}) == {"run.moved"}
    assert passed_over({name: kept[name] for name in kept if name != "kinds"}) == {"finding.judged", "run.untagged"}


def test_every_kind_of_event_has_an_effect() -> None:
    assert handled_kinds() == KINDS
