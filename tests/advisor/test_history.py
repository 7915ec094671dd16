from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.history import LINE_MAX, Context, Line, lines, told_kinds, words
from storage.events import KINDS
from storage.records import Event

RUN3 = Context("run #3", objective="val_loss", by="ana@gpu1", number=7, experiment="cnn", codes={"f": "ADV102"})
FIGURES = {"val_loss": {"n": 25, "last": 0.1734, "last_finite": 0.1734}, "acc": {"n": 25, "last_finite": 0.5}}
ANA = {"user": "ana", "host": "gpu1", "pid": 1, "program": "experiment-advisor 0.1.0"}


def event(kind: str, run_id: str = "r", /, *, actor: str = "", **body: Any) -> Event:
    return Event.new(kind, "digits", run_id, actor=actor, **body)


def test_every_kind_of_event_has_words() -> None:
    assert told_kinds() == KINDS


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("experiment.created", {"objectives": [{"metric": "acc", "direction": "maximize"}], "space": {"lr": {}}},
         "experiment digits created: maximize acc, 1 parameter to search"),
        ("experiment.updated", {"space": {"lr": {"type": "float", "low": 1e-5, "high": 1, "log": False}}},
         "search space changed: lr 1e-05…1"),
        ("experiment.updated", {"space": {"opt": {"choices": ["sgd", "adam"]}}, "reduce": "best"},
         "search space changed: opt sgd | adam; the value of a run is now its best"),
        ("experiment.renamed", {"to": "cnn"}, "digits renamed to cnn"),
        ("experiment.deleted", {}, "experiment digits deleted"),
        ("experiment.restored", {"number": 0}, "experiment digits restored"),
        ("run.created", {"params": {"lr": 0.1, "opt": "adam"}}, "run #3 started with lr=0.1, opt=adam"),
        ("run.created", {"state": "waiting"}, "run #3 queued"),
        ("run.created", {"state": "finished", "values": [float("nan")], "source": "told"},
         "run #3 recorded as finished: val_loss NaN"),
        ("run.created", {"state": "finished", "summary": FIGURES, "source": "import"},
         "run #3 imported as finished: val_loss 0.1734 after 25 steps"),
        ("run.state", {"state": "finished", "summary": FIGURES}, "run #3 finished: val_loss 0.1734 after 25 steps"),
        ("run.state", {"state": "pruned", "summary": {}}, "run #3 stopped early"),
        ("run.state", {"state": "failed", "error": "Traceback\n x\nValueError: a\n"}, "run #3 failed: ValueError: a"),
        ("run.deleted", {}, "run #3 deleted"),
        ("run.restored", {}, "run #3 restored"),
        ("run.moved", {"to": "cnn"}, "run #3 moved to cnn as #7"),
        ("run.moved", {"to": "elsewhere"}, "run #3 moved to elsewhere"),
        ("run.noted", {"text": "calm\nand slow"}, "note on run #3: calm and slow"),
        ("run.tagged", {"tags": ["baseline", "x"]}, "run #3 tagged baseline, x"),
        ("run.untagged", {"tags": ["x"]}, "tag x taken off run #3"),
        ("run.artifact", {"name": "model.bin", "sha256": "0", "size": 1_234_567}, "run #3 saved model.bin (1.23 MB)"),
        ("run.data", {"name": "mnist", "shape": [10, 2]}, "run #3 uses data mnist, shape [10, 2]"),
        ("run.summarized", {"summary": FIGURES}, "figures of run #3 worked out anew: val_loss, acc"),
        ("run.param", {"name": "lr", "value": 0.1}, "run #3: parameter lr = 0.1"),
        ("run.reported", {"step": 3, "value": 0.5}, "run #3 reported 0.5 at step 3"),
        ("run.reported", {"step": 3, "value": 0.5, "reports": {"2": 0.7, "3": 0.5}},
         "run #3 reported 2 values, last 0.5 at step 3"),
        ("finding.opened", {"code": "ADV102", "title": "val_loss is NaN", "severity": "error", "finding_id": "f"},
         "finding ADV102 opened on run #3: val_loss is NaN"),
        ("finding.state", {"finding_id": "f", "state": "resolved"}, "finding ADV102 on run #3 resolved"),
        ("finding.judged", {"finding_id": "f", "verdict": "ok"}, "finding ADV102 on run #3 judged ok, a false alarm"),
        ("finding.judged", {"finding_id": "f", "verdict": "real", "note": "a\nbad batch"},
         "finding ADV102 on run #3 judged real: a bad batch"),
        ("finding.notified", {"finding_id": "f", "channel": "console"}, "finding ADV102 on run #3 sent to console"),
        ("alert.queued", {"channel": "console", "kind": "firing", "alerts": [], "message": {}, "title": "7 diverged"},
         "message for console written: 7 diverged"),
        ("alert.delivery", {"message_id": "0123456789", "channel": "console", "state": "failed", "why": "HTTP 500"},
         "message 01234567 for console failed: HTTP 500"),
        ("alert.muted", {"scope": "code", "target": "ADV103", "until": "2026-01-31T20:00:00+00:00"},
         "code ADV103 muted until 2026-01-31T20:00:00+00:00"),
        ("alert.unmuted", {"scope": "code", "target": "ADV103"}, "code ADV103 no longer muted"),
        ("suggestion.made", {"suggestion_id": "s", "params": {"lr": 0.01}}, "suggestion made: lr=0.01"),
        ("document.written", {"kind": "report", "title": "Digits", "path": "reports/digits.md"},
         "report written to reports/digits.md: Digits"),
        ("writer.joined", ANA, "ana@gpu1 began to write: experiment-advisor 0.1.0, process 1"),
        ("journal.checkpoint", {"n": 1200, "through": 3, "hash": "ab12"}, "checkpoint over 1,200 events: ab12"),
        ("store.purged", {"links": [[], []], "runs": ["a"]}, "2 events of 1 run deleted long ago removed for good"),
        ("store.merged", {"source": "s3://x/y", "n_runs": 2, "n_events": 9},
         "another store merged into this one from s3://x/y: 2 runs, 9 events"),
    ],
)  # fmt: skip
def test_an_event_is_said_in_words_with_its_figures(kind: str, body: dict[str, Any], said: str) -> None:
    assert words(event(kind, **body), RUN3) == said


def test_a_recovered_run_names_who_brought_it_home() -> None:
    crashed = event("run.state", actor="recovery", state="crashed", summary=FIGURES)
    assert words(crashed, RUN3) == "run #3 crashed (recovered by ana@gpu1): val_loss 0.1734 after 25 steps"


def test_a_large_environment_is_summarised() -> None:
    git = {"commit": "0123456789abcdef", "dirty": True, "diff": "x" * 200_000}
    body = {"git": git, "python": {"version": "3.11.9"}, "libraries": {"numpy": "2"}, "host": "gpu1"}
    assert words(event("run.captured", **body), RUN3) == (
        "environment of run #3 captured: commit 012345678 with uncommitted changes (200 kB), Python 3.11.9, "
        "1 library, on gpu1"
    )


def test_an_unknown_kind_is_shown_as_such() -> None:
    assert words(Event("x", kind="run.dreamt", experiment="e", time=event("run.deleted").time)) == (
        "run.dreamt: not known to this version"
    )


def test_an_event_without_effect_says_so() -> None:
    assert words(event("run.deleted"), Context("run #1", refused=True)) == "run #1 deleted (it had no effect)"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    "state",
    "values",
    "summary",
    "params",
    "space",
    "objectives",
    "git",
    "text",
    "tags",
    "to",
    "name",
    "size",
    "links",
)


@given(st.sampled_from(sorted(KINDS)), st.dictionaries(st.sampled_from(FIELDS), anything))
def test_whatever_an_event_holds_it_is_one_visible_line(kind: str, body: dict[str, Any]) -> None:
    text = words(event(kind, **body), RUN3)
    assert 0 < len(text) <= LINE_MAX
    assert text.isprintable()


def test_what_optuna_reports_piece_by_piece_is_one_line() -> None:
    pieces = [event("run.param", f"r{i % 2}", actor="optuna", name="p", value=i) for i in range(8)]
    pieces += [event("run.reported", f"r{i % 2}", actor="optuna", step=i, value=0.5) for i in range(4)]
    both = {"4": 1, "5": 0.5}
    pieces += [event("run.reported", f"r{i}", actor="optuna", step=5, value=0.5, reports=both) for i in range(2)]
    end = event("run.state", "r0", actor="optuna", state="finished", values=[0.5])
    late = event("run.attr", "r0", actor="optuna", key="k", value=1)
    joined = event("writer.joined", "", **ANA)

    def told(*, folded: bool) -> list[Line]:
        events = [joined, *pieces, end, late]
        return lines(events, lambda each: Context(f"run {each.run_id}"), {}, folded=folded)

    assert [(line.text, line.n_events) for line in told(folded=True)] == [
        ("run r0: 4 parameters and 4 values reported through Optuna", 7),
        ("run r1: 4 parameters and 4 values reported through Optuna", 7),
        ("run r0 finished: value 0.5", 1),
        ("run r0: attribute k = 1", 1),
    ]
    assert len(told(folded=False)) == 17
