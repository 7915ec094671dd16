"""Vectors of texts made to tell what happened in a training apart, from those of a general text encoder.

A general encoder sees that all texts of a store are about trainings, and little else. Three things are done with it:

- a text is encoded within a sentence that says what it is about, so that "it crawls" is not read as of an insect;
- what all such texts have in common, the mean over many phrases of trainings, is taken off (Arora et al. 2017,
  "A simple but tough-to-beat baseline for sentence embeddings"; Mu and Viswanath 2018, "All-but-the-top");
- to the vector is added which concept the text is nearest to, as a softmax over concepts, so that two texts that no
  model finds alike are near where both are near to phrases of one concept.

The phrases are those of ``storage.lexicon`` and the ways in which people say the same things without its words
(``sayings.json``: some twenty for each concept, and for twelve concepts that only they have). On the development
paraphrases of ``evals/search`` nDCG@10 of MiniLM was .33 without, .37 with the first two, .45 with all three and the
lexicon, .57 with the sayings. Left out: lexical encoders, of which none of this is true.

The phrases' vectors of the default encoder are shipped (``sayings.npz``, as half floats), since encoding a thousand
phrases takes seven seconds for each new store; ``python evals/search/sayings.py`` writes them anew. A test holds them
against the encoder.

Invariant: a sense is a function of the encoder and the phrases alone, and is applied to vectors as they are read; where
the phrases grow, those that are stored stay good.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from storage.lexicon import CONCEPTS

Floats = NDArray[np.float32]

AT_ONCE: Final = 4_096
"""Texts whose likeness to all phrases is in memory at once: 20 MB."""
CONTEXT: Final = "In this machine learning experiment, "
"""What a text is encoded within. Four wordings were compared, all of them helped."""
SHARPNESS: Final = 12.0
"""Of the softmax over concepts: a concept nearer by 0.1 counts 3.3 times as much."""
CONCEPT_SHARE: Final = 1.5
"""What being of one concept counts beside the cosine. Both were chosen on the development paraphrases, from those that
leave misspelt questions where they were."""
SAYINGS: Final = Path(__file__).with_name("sayings.json")
SHIPPED: Final = Path(__file__).with_name("sayings.npz")
_GROUPS: Final[dict[str, tuple[str, ...]]] = {concept.name: concept.says for concept in CONCEPTS}
for _name, _says in json.loads(SAYINGS.read_text(encoding="utf-8")).items():
    _GROUPS[_name] = (*_GROUPS.get(_name, ()), *_says)
N_CONCEPTS: Final = len(_GROUPS)
PHRASES: Final[tuple[str, ...]] = tuple(phrase for says in _GROUPS.values() for phrase in says)
_OF: Final = np.array([i for i, says in enumerate(_GROUPS.values()) for _ in says])
_STARTS: Final = np.flatnonzero(np.diff(_OF, prepend=-1))


def in_context(text: str) -> str:
    """Return a text as it is encoded."""
    return CONTEXT + text


class Sense:
    """Turns vectors of an encoder into vectors whose products tell what is alike for trainings.

    Parameters
    ----------
    phrases
        Vectors of ``PHRASES`` in context. Shape (n_phrases, d).
    """

    def __init__(self, phrases: Floats) -> None:
        self._mean = phrases.mean(axis=0)
        self._phrases = _unit(phrases - self._mean)

    def __call__(self, vectors: Floats) -> Floats:
        """Return vectors of length 1 at most, of texts whose vectors in context are given.

        Shape (n, d) becomes (n, d + n_concepts).
        """
        if not len(vectors):  # of no known length, where there is no vector yet
            return np.zeros((0, self._mean.size + N_CONCEPTS), dtype=np.float32)
        centred = _unit(vectors - self._mean)
        of_concepts = np.concatenate(
            [
                np.maximum.reduceat(centred[start : start + AT_ONCE] @ self._phrases.T, _STARTS, axis=1)
                for start in range(0, len(centred), AT_ONCE)
            ]
        )
        weights = np.exp(np.float32(SHARPNESS) * (of_concepts - of_concepts.max(axis=1, keepdims=True)))
        weights /= weights.sum(axis=1, keepdims=True)
        both = np.hstack([centred, np.float32(np.sqrt(CONCEPT_SHARE)) * weights])
        return np.asarray(both / np.float32(np.sqrt(1.0 + CONCEPT_SHARE)), dtype=np.float32)


@functools.cache
def shipped_sense(encoder: str) -> Sense | None:
    """Return the sense of an encoder whose phrases' vectors are shipped, None of another."""
    with np.load(SHIPPED, allow_pickle=False) as kept:
        if str(kept["encoder"]) != encoder or str(kept["phrases"]) != phrases_hash():
            return None
        return Sense(kept["vectors"].astype(np.float32))


def phrases_hash() -> str:
    """Return what the phrases are known by, in hexadecimal."""
    return hashlib.sha256("\n".join(map(in_context, PHRASES)).encode()).hexdigest()


def sense_of(places: Sequence[int | None], matrix: Floats) -> Sense | None:
    """Return the sense of an encoder from a matrix with the phrases' vectors, None where one is missing."""
    known = [place for place in places if place is not None]
    return Sense(matrix[known]) if len(known) == len(PHRASES) else None


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.float32(1e-12)), dtype=np.float32)
