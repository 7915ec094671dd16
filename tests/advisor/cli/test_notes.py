"""``note`` and ``tag``: what people say of a run after the fact."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.advisor.cli.conftest import Program


@pytest.fixture
def store(made_store: Path, tmp_path: Path) -> Path:
    """Return a copy of the store that a test may change."""
    return Path(shutil.copytree(made_store, tmp_path / "store"))


def test_a_note_is_added_and_shown(program: Program, store: Path) -> None:
    assert program("--store", store, "note", "digits#3", "it was the data").code == 0
    assert "note: it was the data" in program("--store", store, "show", "digits#3").out


def test_tags_are_added_and_taken_off(program: Program, store: Path) -> None:
    program("--store", store, "tag", "digits#3", "odd", "look again")
    left = program("--store", store, "tag", "digits#3", "odd", "--remove", "--json").data["tags"]
    assert "look again" in left
    assert "odd" not in left


def test_a_note_without_words_is_one_line_and_exit_code_2(program: Program, store: Path) -> None:
    done = program("--store", store, "note", "digits#3", " ")
    assert (done.code, done.err) == (2, "error: a note needs some words\n")
