"""Searching through the front door and from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from advisor.findings.codes import CODES
from storage.lexicon import CONCEPTS, PHRASES


def test_each_finding_code_carries_words_that_people_use() -> None:
    assert set(CODES) == set(PHRASES)
    assert all(len(says) >= 2 for says in PHRASES.values())
    names = [concept.name for concept in CONCEPTS]
    assert len(names) == len(set(names))


def test_a_search_as_json_says_why_and_with_facets_counts(program: Any, store: Path) -> None:
    (hit, *_) = program("--store", store, "search", "lowd note", "--json").data
    assert {"kind", "text", "how", "words"} == set(hit["reasons"][0])
    found = program("--store", store, "search", "lowd note state:finished", "--json", "--facets").data
    assert set(found) == {"hits", "documents", "n_fitting", "facets", "words", "where"}
    assert (found["words"], found["where"]) == ("lowd note", "state = 'finished'")
    assert set(found["facets"]) == {"experiment", "state", "finding"}


def test_runs_like_one_are_found(program: Any, store: Path) -> None:
    (first, *_) = program("--store", store, "runs", "--json").data
    found = program("--store", store, "search", "--like", first["run_id"], "--json").data
    assert found
    assert first["run_id"] not in [hit["run_id"] for hit in found]
    assert found[0]["reasons"][0]["kind"] == "parameters"
    assert "parameters equal" in program("--store", store, "search", "--like", first["run_id"]).out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give TEXT to search for, or --like RUN"),
        (("a", "--like", "b"), "give TEXT to search for, or --like RUN"),
        (("--like", "nobody"), "no run 'nobody'"),
        (("params.nope<3",), "no run has params.nope"),
        (("x state:faild",), "did you mean 'failed'"),
    ],
)
def test_a_mistake_is_one_line(program: Any, store: Path, arguments: tuple[str, ...], said: str) -> None:
    done = program("--store", store, "search", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in " ".join(done.err.split())
