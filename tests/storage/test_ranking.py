"""What a text is worth for a question."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from storage.embed import HashingEmbedder
from storage.ranking import LEXICAL, WORDS_ONLY, Coded, Corpus, Field, nearest, text_hash


def corpus_of(*runs: Sequence[str], config: str = "digits, optimizer adam") -> Corpus:
    """Return a corpus of runs, each told by its notes."""
    texts = [["experiment digits", *(f"note {note}" for note in notes)] for notes in runs]
    return Corpus(
        np.array([f"r{i}" for i in range(len(runs))], dtype=object),
        np.arange(len(runs)),
        text=Coded.of(texts),
        written=Coded.of([f"note: {note}" for note in notes] for notes in runs),
        config=Coded.of([config] for _ in runs),
        facets={"state": Coded.of(["finished"] for _ in runs)},
    )


RUNS = corpus_of(["the loss exploded"], ["overfits badly, stop early"], ["a calm run"], [], ["learning rate too high"])


def best_for(text: str, corpus: Corpus = RUNS) -> int:
    return int(np.argmax(corpus.words(corpus.question(text), weights=WORDS_ONLY)))


def test_lists_are_kept_as_they_were_with_each_text_once() -> None:
    coded = Coded.of([["a", "b"], [], ["b", "b"]])
    assert [coded[i] for i in range(3)] == [["a", "b"], [], ["b", "b"]]
    assert coded.values == ["a", "b"]
    assert coded.counts(np.array([True, True, True])) == {"b": 2, "a": 1}
    assert coded.counts(np.array([False, True, False])) == {}


def test_a_field_counts_a_word_where_it_stands() -> None:
    field = Field(Coded.of([["loss loss", "rate"], ["loss"], []]))
    rows, impacts = field.of("loss")
    assert rows.tolist() == [0, 1]
    assert impacts[0] > impacts[1] > 0
    assert field.of("nothing")[0].size == 0


def test_a_field_without_texts_can_be_asked() -> None:
    assert Field(Coded.of([])).frequency("loss") == Field(Coded.of([[]])).frequency("loss") == 0
    assert corpus_of().words(RUNS.question("loss"), weights=WORDS_ONLY).shape == (0,)


@pytest.mark.parametrize(
    ("text", "run"), [("exploding", 0), ("exploeded", 0), ("overfiting", 1), ("leerning raet to hihg", 4), ("calm", 2)]
)
def test_words_are_found_inflected_and_misspelt(text: str, run: int) -> None:
    assert best_for(text) == run


def test_a_phrase_of_a_concept_finds_the_others_but_weaker() -> None:
    exact, synonym = (
        RUNS.words(RUNS.question(text), weights=WORDS_ONLY)[0] for text in ("exploded", "diverged to infinity")
    )
    assert exact > synonym > 0


def test_a_word_that_nobody_knows_lowers_what_the_others_are_worth() -> None:
    known, unknown = (RUNS.words(RUNS.question(t), weights=WORDS_ONLY)[0] for t in ("exploded", "exploded zyxwvutsr"))
    assert known > unknown > 0


def test_scores_lie_between_zero_and_one_and_do_not_depend_on_who_else_is_there() -> None:
    few = corpus_of(["the loss exploded"])
    encoder = HashingEmbedder()
    texts = few.encoded_in("")
    few.set_vectors(encoder.embed(texts), {text_hash(text): i for i, text in enumerate(texts)})
    question = RUNS.question("the loss exploded")
    alone, _ = few.scores(question, encoder.embed(["the loss exploded"])[0], weights=LEXICAL, statistics=RUNS)
    assert 0 < alone[0] <= 1
    assert few.words(question, weights=WORDS_ONLY, statistics=RUNS)[0] == pytest.approx(
        RUNS.words(question, weights=WORDS_ONLY)[0], rel=0.2
    )


def test_the_nearest_of_several_texts_counts_and_none_is_zero() -> None:
    near = nearest(np.array([0.2, 0.9, -0.5], dtype=np.float32), Coded.of([["a", "b"], [], ["c"]]))
    np.testing.assert_allclose(near, [0.9, 0.0, 0.0])


def test_texts_without_a_vector_are_named_and_count_nothing() -> None:
    corpus = corpus_of(["one"], ["two"])
    corpus.set_vectors(np.eye(2, dtype=np.float32)[:1], {text_hash("one"): 0})
    assert corpus.without_vector() == ["two", "digits, optimizer adam"]
    assert corpus.lacks_vectors().tolist() == [True, True]
    written, config = corpus.meaning(np.array([1.0, 0.0], dtype=np.float32))
    assert (written.tolist(), config.tolist()) == ([1.0, 0.0], [0.0, 0.0])


def test_an_encoder_reads_a_misspelt_question_put_right() -> None:
    assert RUNS.respelled("the los exploeded adam") == "the los exploded adam"
