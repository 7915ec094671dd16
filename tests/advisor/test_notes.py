"""Notes and tags of runs that are over: what is kept, what is refused, and the same from the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import advisor
from advisor.errors import ConfigError
from advisor.experiment import Experiment
from storage.errors import RunNotFoundError


@pytest.fixture
def exp(tmp_path: Path) -> Iterator[Experiment]:
    with advisor.open(tmp_path / "store", capture=False) as adv:
        exp = adv.experiment("digits", objective="loss")
        exp.tell({"lr": 0.1}, 0.5, notes=["first"])
        yield exp


def test_a_note_and_tags_reach_a_run_that_is_over(exp: Experiment) -> None:
    assert exp.note(0, " second ").notes == ("first", "second")
    assert exp.tag(0, "a", "b  c", "a").tags == ("a", "b c")
    assert exp.untag(0, "a", "never there").tags == ("b c",)
    assert exp.tag(0, "a").tags == ("b c", "a")


def test_the_history_tells_who_took_a_tag_off(exp: Experiment) -> None:
    exp.tag(0, "a")
    exp.untag(0, "a")
    assert any("tag a taken off" in line.text for line in exp._advisor.history(exp.run(0).id))


def test_what_changes_nothing_is_not_written(exp: Experiment) -> None:
    exp.tag(0, "a")
    n_events = len(exp._advisor.store.events())
    exp.tag(0, "a")
    exp.untag(0, "b")
    assert len(exp._advisor.store.events()) == n_events


def test_secrets_are_not_kept_and_words_that_are_none_are_refused(exp: Experiment) -> None:
    assert "abcdefghijklmnop1234" not in exp.note(0, "with sk-proj-abcdefghijklmnop1234").notes[-1]
    for bad in ("", "  ", "x" * 201):
        with pytest.raises(ConfigError):
            exp.tag(0, bad)
    with pytest.raises(ConfigError):
        exp.note(0, " \n")
    with pytest.raises(RunNotFoundError):
        exp.note("nobody", "x")
