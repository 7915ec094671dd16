"""Vectors of texts made to tell what happened in a training apart, from those of a general text encoder.

A general encoder sees that all texts of a store are about trainings, and little else. Three things are done with it:

- a text is encoded within a sentence that says what it is about, so that "it crawls" is not read as of an insect;
- what all such texts have in common, the mean over the phrases of ``storage.lexicon``, is taken off (Arora et al. 2017,
  "A simple but tough-to-beat baseline for sentence embeddings"; Mu and Viswanath 2018, "All-but-the-top");
- to the vector is added which concept of the lexicon the text is nearest to, as a softmax over concepts, so that
  two texts that no model finds alike are near where both are near to phrases of one concept.

On the development paraphrases of ``evals/search`` nDCG@10 of MiniLM was .33 without, .37 with the first two, .44 to .47
with all three. Left out: lexical encoders, of which none of this is true.

Invariant: a sense is a function of the encoder and the lexicon alone, and is applied to vectors as they are read; where
the lexicon grows, those that are stored stay good.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from storage.lexicon import CONCEPTS

Floats = NDArray[np.float32]

CONTEXT: Final = "In this machine learning experiment, "
"""What a text is encoded within. Four wordings were compared, all of them helped."""
SHARPNESS: Final = 10.0
"""Of the softmax over concepts: a concept nearer by 0.1 counts 2.7 times as much."""
CONCEPT_SHARE: Final = 0.75
"""What being of one concept counts beside the cosine."""
PHRASES: Final[tuple[str, ...]] = tuple(phrase for concept in CONCEPTS for phrase in concept.says)
_OF: Final = np.array([i for i, concept in enumerate(CONCEPTS) for _ in concept.says])


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
        if not len(vectors):
            return np.zeros((0, self._mean.size + len(CONCEPTS)), dtype=np.float32)
        centred = _unit(vectors - self._mean)
        near = centred @ self._phrases.T
        of_concepts = np.stack([near[:, i == _OF].max(axis=1) for i in range(len(CONCEPTS))], axis=1)
        weights = np.exp(np.float32(SHARPNESS) * (of_concepts - of_concepts.max(axis=1, keepdims=True)))
        weights /= weights.sum(axis=1, keepdims=True)
        both = np.hstack([centred, np.float32(np.sqrt(CONCEPT_SHARE)) * weights])
        return np.asarray(both / np.float32(np.sqrt(1.0 + CONCEPT_SHARE)), dtype=np.float32)


def sense_of(places: Sequence[int | None], matrix: Floats) -> Sense | None:
    """Return the sense of an encoder from a matrix with the phrases' vectors, None where one is missing."""
    known = [place for place in places if place is not None]
    return Sense(matrix[known]) if len(known) == len(PHRASES) else None


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.float32(1e-12)), dtype=np.float32)
