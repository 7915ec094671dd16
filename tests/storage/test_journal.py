from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import RecordError
from storage.events import KINDS, decode_body, encode_body
from storage.journal import State, handled_kinds
from storage.records import Event, RunState

START = datetime(2026, 1, 1, tzinfo=UTC)


def event(kind: str, run_id: str = "", *, at_s: float = 0.0, **body: Any) -> Event:
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


def test_every_kind_of_event_has_an_effect() -> None:
    assert handled_kinds() == KINDS
