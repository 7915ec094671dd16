"""A run in words: what is told, in which order, and what is left out."""

from __future__ import annotations

import math
import string
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.describe import MAX_PARAMS, NOTE_TAIL, band, bucket, configuration, describe, number, words, written
from storage.ranking import text_hash
from storage.records import Experiment, Finding, Objective, Run, RunState, Severity

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EXPERIMENT = Experiment(
    "digits-mlp", number=0, objectives=(Objective("val_loss"),), description="MLP on the UCI digits", created=NOW
)


def a_run(**fields: Any) -> Run:
    fields = {"state": RunState.FINISHED, **fields}
    return Run("a1", number=0, experiment="digits-mlp", created=NOW, **fields)


def told(**fields: Any) -> str:
    return describe(a_run(**fields), EXPERIMENT)


def a_finding(title: str, code: str = "ADV101") -> Finding:
    return Finding(
        "f1", run_id="a1", experiment="digits-mlp", code=code, title=title, severity=Severity.ERROR, detector="rules"
    )


def test_a_run_is_told_in_a_fixed_order() -> None:
    text = told(
        params={"optimizer": "adam", "lr": 0.00123, "batch_size": 64, "useBias": True},
        metrics={"acc": 0.912345, "val_loss": 0.25},
        tags=("baseline",),
        notes=("looks good",),
        data=({"name": "train", "shape": [1797, 64]},),
    )
    assert text == (
        "experiment digits mlp | status finished | tags baseline | note looks good | batch size 64 batch_size_64 | "
        "learning rate 0.0012 lr_1e-3 | optimizer adam | use bias yes | validation loss 0.25 | accuracy 0.91 | "
        "data train 1797 x 64 rows, small data | about MLP on the UCI digits"
    )


def test_the_order_of_parameters_does_not_matter() -> None:
    assert told(params={"a": 1, "b": 2}) == told(params={"b": 2, "a": 1})


@pytest.mark.parametrize(
    "params",
    [
        {"seed": 7},
        {"data.seed": 7},
        {"output_dir": "somewhere"},
        {"checkpointPath": "x"},
        {"run_id": 12},
        {"init": "/data/models/a.pt"},
        {"init": "s3://bucket/a.pt"},
        {"init": "C:\\models\\a.pt"},
        {"init": "~/a.pt"},
        {"sha": "0123456789abcdef0123"},
        {"token": "7f0c2a9e-1111-2222-3333-444455556666"},
        {"when": "2026-01-01T10:00:00"},
        {"nothing": None},
    ],
)
def test_what_says_nothing_about_a_run_is_left_out(params: dict[str, Any]) -> None:
    assert told(params=params) == told()


@pytest.mark.parametrize("params", [{"init": "a/b"}, {"time_steps": 5}, {"video": "mp4"}, {"activation": "relu"}])
def test_what_only_looks_like_a_path_is_told(params: dict[str, Any]) -> None:
    assert told(params=params) != told()


def test_a_diverged_run_is_found_by_the_words_people_use() -> None:
    text = told(values=(math.nan,), findings=(a_finding("train_loss is not finite from step 12 on (3 of 40 values)"),))
    for word in ("nan", "blew up", "exploded", "diverged", "train_loss is not finite from step 12 on"):
        assert word in text


def test_an_overfitting_run_says_overfit() -> None:
    title = "val_loss rose from 0.23456 at step 8 to 0.61 while train_loss kept falling"
    text = told(findings=(a_finding(title, "ADV106"),))
    assert "overfit" in text
    assert "rose from 0.23 at step 8" in text


def test_one_kind_of_trouble_is_told_once() -> None:
    findings = tuple(a_finding(f"m{i} is not finite from step {i} on") for i in range(30))
    assert told(findings=findings).count("finding ") == 1


def test_a_false_alarm_is_not_told() -> None:
    finding = a_finding("train_loss is not finite from step 12 on")
    assert "finding" not in told(findings=(replace(finding, verdict="ok"),))
    assert "finding" in told(findings=(replace(finding, verdict="real"),))


def test_a_failed_run_tells_the_last_line_of_its_error() -> None:
    text = told(state=RunState.FAILED, error="Traceback…\n  File …\nRuntimeError: CUDA out of memory\n")
    assert "status failed with an error" in text
    assert "RuntimeError: CUDA out of memory, out of memory, OOM" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("state", list(RunState))
def test_every_state_has_words(state: RunState) -> None:
    assert f"status {state}" in told(state=state)


def test_the_rank_among_siblings_is_told_as_a_band() -> None:
    run = a_run(metrics={"val_loss": 0.1, "acc": 0.9})
    text = describe(run, EXPERIMENT, siblings_rank={"val_loss": (1, 40), "acc": (4, 40)})
    assert "validation loss 0.1 best of the experiment" in text
    assert "accuracy 0.9 top 10%" in text


def test_bands_need_five_siblings() -> None:
    assert [band(1, n) for n in (1, 4, 5)] == ["", "", "best of the experiment"]
    assert band(5, 5) == "bottom quarter"


def test_long_notes_are_told_in_two_pieces_and_capped() -> None:
    note = " ".join(f"word{i}" for i in range(1000))
    text = told(notes=(note,))
    assert text.index("note word0 ") < text.index("more notes")
    assert len(text) < NOTE_TAIL + 300


def test_many_parameters_are_counted_rather_than_told() -> None:
    assert f"| and {40 - MAX_PARAMS} more parameters" in told(params={f"p{i:02}": i for i in range(40)})


def test_text_of_a_run_cannot_look_like_another_part() -> None:
    assert "| status crashed" not in told(tags=("x | status crashed\n| finding nan",))


def test_numbers_have_two_digits_and_a_word_of_their_magnitude() -> None:
    assert [number(v) for v in (0.00123, 64, 1234567.0, math.inf, 0.0)] == ["0.0012", "64", "1.2e+06", "infinity", "0"]
    assert bucket("optim.lr", 0.0029) == bucket("lr", 0.0031) == "lr_3e-3"
    assert bucket("lr", math.nan) == ""
    assert bucket("n", 10**400) == ""


def test_names_are_split_into_words_and_spelled_out() -> None:
    assert words("optim.baseLR") == "optimizer base learning rate"
    assert words("HTTPServer_val-acc/x") == "http server validation accuracy x"


def test_the_hash_follows_the_text() -> None:
    assert text_hash("a") == text_hash("a") != text_hash("b")
    assert set(text_hash("a")) <= set(string.hexdigits)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    params=st.dictionaries(st.text(), VALUES, max_size=5),
    metrics=st.dictionaries(st.text(), st.floats(), max_size=3),
    text=st.text(),
    value=st.floats(),
)
def test_any_run_can_be_told_in_one_line(
    params: dict[str, Any], metrics: dict[str, float], text: str, value: float
) -> None:
    run = a_run(
        params=params,
        metrics=metrics,
        notes=(text,),
        tags=(text,),
        error=text,
        values=(value,),
        findings=(a_finding(text),),
        data=({"name": text, "shape": None}, {}),
    )
    line = describe(run, EXPERIMENT)
    assert line.isprintable()
    assert describe(run, EXPERIMENT) == line
    assert all(passage.isprintable() for passage in [*written(run), configuration(run, EXPERIMENT)])
