"""Vectors of a general encoder made to tell trainings apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from storage import open_store
from storage.embed import Embedder, HashingEmbedder
from storage.meaning import CONTEXT, PHRASES, SHIPPED, Sense, in_context, sense_of, shipped_sense
from storage.testing import add_experiment, add_finished


@pytest.fixture(scope="module")
def sense(minilm: Embedder) -> Sense:
    found = shipped_sense(minilm.identity)
    assert found is not None, "python evals/search/sayings.py writes the vectors of the phrases anew"
    return found


def test_products_are_at_most_one_and_highest_with_oneself(minilm: Embedder, sense: Sense) -> None:
    vectors = sense(minilm.embed([in_context(text) for text in ("went to NaN", "it crawls", "best so far")]))
    near = vectors @ vectors.T
    assert near.max() <= 1.0 + 1e-6
    assert (near.argmax(axis=1) == [0, 1, 2]).all()
    assert sense(np.zeros((0, minilm.dimension), dtype=np.float32)).shape == (0, vectors.shape[1])


def test_what_is_said_of_one_thing_is_nearer_than_to_a_general_encoder(minilm: Embedder, sense: Sense) -> None:
    said = ["stopped being a real number", "went to NaN, killed it", "best one so far, ship it"]
    plain, sensed = minilm.embed(said), sense(minilm.embed([in_context(text) for text in said]))
    assert sensed[0] @ sensed[1] - sensed[0] @ sensed[2] > plain[0] @ plain[1] - plain[0] @ plain[2]


def test_the_shipped_vectors_are_those_of_the_encoder(minilm: Embedder, sense: Sense) -> None:
    with np.load(SHIPPED) as kept:
        vectors = kept["vectors"].astype(np.float32)
    some = range(0, len(PHRASES), 40)
    made = minilm.embed([in_context(PHRASES[i]) for i in some])
    assert np.abs(vectors[list(some)] - made).max() < 1e-3
    assert len(vectors) == len(PHRASES)
    assert shipped_sense(HashingEmbedder().identity) is None


def test_there_is_no_sense_without_all_phrases() -> None:
    matrix = np.eye(len(PHRASES), dtype=np.float32)
    assert sense_of([*range(len(PHRASES) - 1), None], matrix) is None
    assert sense_of(range(len(PHRASES)), matrix) is not None
    assert CONTEXT.endswith(" ")


def test_a_search_with_the_model_finds_by_meaning_and_says_so(tmp_path: Path, minilm: Embedder) -> None:
    store = open_store(tmp_path / "store", embedder=minilm)
    add_experiment(store)
    wanted = add_finished(store, loss=0.1, notes=["bounces around from one evaluation to the next"])
    add_finished(store, loss=0.2, notes=["best one so far, ship it"])
    store.reindex()  # a search stops computing after some seconds, which a busy machine may need for more
    found = store.search("unsteady measurements")
    assert found[0].run.id == wanted.id
    assert found[0].reasons[-1].how == "meaning"
    assert found[0].reasons[-1].text == "bounces around from one evaluation to the next"
    info = store.info()
    assert (info.encoder, info.n_embedded) == (minilm.identity, 2)


def test_an_encoder_without_shipped_phrases_encodes_them_with_the_texts(tmp_path: Path, minilm: Embedder) -> None:
    class Renamed:
        identity, dimension = "another", minilm.dimension

        def embed(self, texts: Sequence[str]) -> np.ndarray:
            return minilm.embed(texts)

    store = open_store(tmp_path / "store", embedder=Renamed())
    add_experiment(store)
    wanted = add_finished(store, loss=0.1, notes=["bounces around from one evaluation to the next"])
    add_finished(store, loss=0.2, notes=["best one so far, ship it"])
    store.reindex()
    assert store.search("unsteady measurements")[0].run.id == wanted.id
