"""Vectors of texts: computed in pieces, kept, never of two encoders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from numpy.typing import NDArray

from storage.embed import HashingEmbedder
from storage.lance import Database
from storage.ranking import text_hash
from storage.vectors import AT_ONCE, Vectors

TEXTS = [f"note {i}" for i in range(3 * AT_ONCE)]


class Interrupted(Exception):
    """Somebody pressed a key."""


class Counting(HashingEmbedder):
    """Counts its texts, and stops after some."""

    def __init__(self, at_most: int = 10**9) -> None:
        self.seen: list[str] = []
        self._at_most = at_most

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if len(self.seen) + len(texts) > self._at_most:
            raise Interrupted
        self.seen += texts
        return super().embed(texts)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    return Database(tmp_path / "store", create=True)


def test_each_text_is_encoded_once_and_progress_is_told(database: Database) -> None:
    encoder, told = Counting(), []
    vectors = Vectors(database, lambda: encoder)
    assert vectors.embed([*TEXTS, *TEXTS], progress=lambda done, n: told.append((done, n))) == 0
    assert sorted(encoder.seen) == sorted(TEXTS)
    assert told == [(AT_ONCE, 3 * AT_ONCE), (2 * AT_ONCE, 3 * AT_ONCE), (3 * AT_ONCE, 3 * AT_ONCE)]
    again = Vectors(database, lambda: encoder)
    assert again.embed(TEXTS) == 0
    assert len(encoder.seen) == len(TEXTS)
    place = again.places()[text_hash(TEXTS[5])]
    np.testing.assert_array_equal(again.matrix[place], HashingEmbedder().embed([TEXTS[5]])[0])


def test_an_interrupted_computation_goes_on_where_it_ended(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.vectors.WRITE_EVERY_S", 0.0)
    first = Counting(at_most=AT_ONCE)
    with pytest.raises(Interrupted):
        Vectors(database, lambda: first).embed(TEXTS)
    second = Counting()
    assert Vectors(database, lambda: second).embed(TEXTS) == 0
    assert second.seen == TEXTS[AT_ONCE:]


def test_a_budget_that_is_spent_leaves_the_rest(database: Database) -> None:
    vectors = Vectors(database, HashingEmbedder)
    assert vectors.embed(TEXTS, budget_s=0.0) == len(TEXTS)
    assert vectors.encoder() is None


def test_while_another_process_computes_nothing_is_done_twice(database: Database, tmp_path: Path) -> None:
    vectors = Vectors(database, HashingEmbedder)
    (tmp_path / "store" / "locks").mkdir(exist_ok=True)
    with FileLock(tmp_path / "store" / "locks" / "embed.lock"):
        assert vectors.embed(TEXTS) == len(TEXTS)
    assert vectors.embed(TEXTS) == 0


def test_what_another_process_dropped_and_made_anew_is_read_anew(database: Database, tmp_path: Path) -> None:
    mine, theirs = Vectors(database, HashingEmbedder), Vectors(Database(tmp_path / "store", create=False), Counting)
    mine.embed(TEXTS[:2])
    theirs.drop()
    theirs.embed(TEXTS[2:7])
    assert set(mine.places()) == {text_hash(text) for text in TEXTS[2:7]}
    assert mine.matrix.shape == (5, 1024)
