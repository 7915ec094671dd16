"""What a text is worth for a question: BM25 over words that may be misspelt, cosine over meaning, and their sum.

Everything is in memory and in arrays: one question over 100,000 runs takes some milliseconds. Left out: where texts and
vectors are kept (``storage.index``, ``storage.vectors``), filters, and which words a run has (``storage.describe``).

Invariant: a score lies in [0, 1] and higher is better. Each part of it is absolute, not divided by the best of the
moment: where no word of a question is known, words count for little and meaning decides.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from storage.lexicon import CONCEPTS
from storage.vocabulary import STOP_WORDS, Speller, asked, cut, expanded, stem, terms

Floats = NDArray[np.float32]

K1: Final = 1.2
B: Final = 0.3
"""Of BM25 (Robertson and Zaragoza 2009). The usual b of 0.75 punishes runs for having many parameters."""
SYNONYM: Final = 0.35
"""What a word of a touched concept counts beside one that was asked for."""


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each part counts; they sum to 1."""

    words: float
    """BM25 over all that is told of a run."""
    written: float
    """Cosine to the nearest of what was written: notes, findings, errors, tags."""
    config: float
    """Cosine to the configuration."""
    least: float = 0.0
    """Likeness to what was written from which a run fits without a word in common."""
    written_words: float = 1.0
    """How much more a word counts in what was written than elsewhere."""


POWER: Final = 1.5
"""To which what words are worth is raised beside meaning: a question whose words are all found is sure of them, while
one common word of many says little."""
SEMANTIC: Final = Weights(words=0.5, written=0.47, config=0.03, least=0.05)
"""Where the vectors are a language model's. Chosen by ``make evals-search`` on its development questions."""
LEXICAL: Final = Weights(words=0.8, written=0.15, config=0.05, least=0.25)
"""Where they are hashed n-grams."""
MOST_PASSAGES: Final = 8
"""Of one run, that others are compared with."""
SURE: Final = 0.7
"""How like a known word must be to an unknown one to be read in its place."""
SAID_OF_MUCH: Final = 4
"""Concepts of which a word may be, to stand for none of them."""
WORDS_ONLY: Final = Weights(words=1.0, written=0.0, config=0.0)
MEANT: Final = 0.25
"""Likeness, as ``storage.meaning`` has it, from which a text is told as near in meaning."""


@dataclass(frozen=True, slots=True)
class Coded:
    """Lists of texts, each different text once: list ``i`` is ``values[codes[offsets[i]:offsets[i + 1]]]``."""

    values: Sequence[str]
    codes: NDArray[np.int64]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, lists: Iterable[Sequence[str]]) -> Coded:
        """Code some lists."""
        known: dict[str, int] = {}
        codes: list[int] = []
        offsets = [0]
        for texts in lists:
            codes += [known.setdefault(text, len(known)) for text in texts]
            offsets.append(len(codes))
        return cls(list(known), np.array(codes, dtype=np.int64), np.array(offsets, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, at: int) -> list[str]:
        return [self.values[code] for code in self.codes[self.offsets[at] : self.offsets[at + 1]].tolist()]

    @property
    def owners(self) -> NDArray[np.int64]:
        """Number of the list that each code belongs to."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def counts(self, among: NDArray[np.bool_]) -> dict[str, int]:
        """Return how many of some lists have each text, most first."""
        n, sizes = max(len(self.values), 1), np.diff(self.offsets)
        if (sizes == 1).all():  # as of an experiment or a state
            codes = self.codes[among]
        else:
            here = np.repeat(among, sizes)
            codes = np.unique(self.owners[here] * n + self.codes[here]) % n
        found = np.bincount(codes, minlength=n)
        order = sorted(np.flatnonzero(found).tolist(), key=lambda i: (-found[i], self.values[i]))
        return {self.values[i]: int(found[i]) for i in order}


class Field:
    """An inverted index of one field: for each word the rows that have it, and how much it tells of them."""

    def __init__(self, coded: Coded) -> None:
        self.n = len(coded)
        words: dict[str, int] = {}
        cut = [[words.setdefault(term, len(words)) for term in terms(text)] for text in coded.values]
        self.words = words
        sizes = np.array([len(each) for each in cut], dtype=np.int64)
        flat = np.array([term for each in cut for term in each], dtype=np.int64)
        starts = np.cumsum(sizes) - sizes
        n_each = sizes[coded.codes]
        rows = np.repeat(coded.owners, n_each)
        within = np.arange(n_each.sum()) - np.repeat(np.cumsum(n_each) - n_each, n_each)
        found = flat[np.repeat(starts[coded.codes], n_each) + within]
        self._invert(rows, found)

    def _invert(self, rows: NDArray[np.int64], found: NDArray[np.int64]) -> None:
        n = max(self.n, 1)
        pairs, times = np.unique(found * n + rows, return_counts=True)
        lengths = np.bincount(rows, minlength=n)[:n]
        mean = float(lengths[lengths > 0].mean()) if rows.size else 1.0
        self._rows = (pairs % n).astype(np.int32)
        count = times.astype(np.float32)
        size = (1.0 - B + B * lengths / mean).astype(np.float32)[self._rows]
        self._impacts = count * np.float32(K1 + 1.0) / (count + np.float32(K1) * size)
        self._starts = np.searchsorted(pairs // n, np.arange(len(self.words) + 1))

    def of(self, word: str) -> tuple[NDArray[np.int32], Floats]:
        """Return the rows that have a word, and its impact on each, up to ``K1 + 1``."""
        at = self.words.get(word)
        span = slice(0, 0) if at is None else slice(int(self._starts[at]), int(self._starts[at + 1]))
        return self._rows[span], self._impacts[span]

    def frequency(self, word: str) -> int:
        """Return how many rows have a word."""
        at = self.words.get(word)
        return 0 if at is None else int(self._starts[at + 1] - self._starts[at])


@dataclass(frozen=True, slots=True)
class Question:
    """A question's words as they are looked for."""

    groups: tuple[Mapping[str, float], ...]
    """For each word asked for, the known words that it may stand for, and how like they are."""
    synonyms: frozenset[str] = frozenset()
    """Words of the concepts that it touches."""

    @property
    def words(self) -> dict[str, str]:
        """Known words that were asked for, and how each was found: ``words``, ``spelling`` or ``synonym``."""
        out = dict.fromkeys(sorted(self.synonyms), "synonym")
        for group in self.groups:
            out |= {word: "words" if like == 1.0 else "spelling" for word, like in group.items()}
        return out


class Corpus:
    """What is told of some runs, ready to be asked.

    Parameters
    ----------
    run_ids, ordinals
        The runs, and their places among all of the store. Shape (n,).
    text
        All that is told of each run, in parts.
    written
        What was written of it: ``kind: text`` of each.
    config
        Its configuration as it is encoded, one text a run.
    facets
        By name, what each run may be counted by.
    """

    def __init__(
        self,
        run_ids: NDArray[Any],
        ordinals: NDArray[np.int64],
        *,
        text: Coded,
        written: Coded,
        config: Coded,
        facets: Mapping[str, Coded],
    ) -> None:
        self.run_ids, self.ordinals = run_ids, ordinals
        self.text, self.written, self.config, self.facets = text, written, config, facets
        self._text, self._written = Field(text), Field(written)
        self._vectors: Floats | None = None
        self._context = ""
        self._hashes: dict[str, list[str]] = {}
        self._places = np.empty(0, dtype=np.int64)

    @functools.cached_property
    def at(self) -> dict[str, int]:
        """Place of each run."""
        return {run_id: i for i, run_id in enumerate(self.run_ids.tolist())}

    def __len__(self) -> int:
        return len(self.run_ids)

    @functools.cached_property
    def speller(self) -> Speller:
        """Knows the words of these runs and of the lexicon."""
        said = dict.fromkeys(sorted({word for concept in _phrases() for phrase in concept for word in phrase}))
        return Speller(list({**self._text.words, **self._written.words, **said}))

    def idf(self, word: str) -> float:
        """Return how telling a word is: high where few runs have it."""
        n, n_with = len(self), max(self._text.frequency(word), self._written.frequency(word))
        return math.log(1.0 + (n - n_with + 0.5) / (n_with + 0.5))

    # -- words

    def question(self, text: str, *, others: Sequence[Corpus] = (), synonyms: bool = True) -> Question:
        """Read a question: its words, what unknown ones may be a misspelling of, and what else is said for them."""
        corpora = [self, *others]
        groups = []
        for word in asked(text):
            if any(word in corpus.speller.at for corpus in corpora):
                groups.append({word: 1.0})
            else:
                guesses = [corpus.speller.guesses(word) for corpus in corpora]
                groups.append({known: like for found in guesses for known, like in found.items()} or {word: 1.0})
        if not synonyms:
            return Question(tuple(groups))
        stems = {word for group in groups for word, like in group.items() if like > 0.7}
        return Question(tuple(groups), frozenset(expanded(stems, _phrases())) - _said_of_much())

    def respelled(self, text: str) -> str:
        """Return a question as an encoder should read it: unknown words replaced by the known ones that they resemble.

        Encoders cut misspelt words into pieces that mean nothing; on typos nDCG of MiniLM alone was .43, so .82.
        """
        out = []
        for word in cut(text):
            guesses = {} if stem(word) in self.speller.at or word in STOP_WORDS else self.speller.guesses(stem(word))
            best = max(guesses, key=guesses.__getitem__, default="")
            out.append(self._spelling[best] if best and guesses[best] >= SURE else word)
        return " ".join(out)

    @functools.cached_property
    def _spelling(self) -> Mapping[str, str]:
        """The most frequent whole word of each stem."""
        told = (*self.written.values, *self.text.values, *(phrase for each in CONCEPTS for phrase in each.says))
        counts = Counter(word for text in told for word in cut(text))
        return {stem(word): word for word, _ in reversed(counts.most_common())}

    def words(self, question: Question, *, weights: Weights, statistics: Corpus | None = None) -> Floats:
        """Return what the words of each run are worth, in [0, 1]. Shape (n,)."""
        told = statistics or self
        total = np.zeros(len(self), dtype=np.float32)
        possible = 0.0
        for group in question.groups:
            part = np.zeros(len(self), dtype=np.float32)
            for word, like in group.items():
                np.maximum(part, self._impact(word, weights) * np.float32(like * told.idf(word)), out=part)
            total += part
            possible += max(told.idf(word) for word in group)
        if question.synonyms:
            part = np.zeros(len(self), dtype=np.float32)
            for word in question.synonyms:
                np.maximum(part, self._impact(word, weights) * np.float32(told.idf(word)), out=part)
            total += np.float32(SYNONYM) * part
            possible += 0.0 if possible else 1.0
        most = possible * (K1 + 1.0) * (1.0 + weights.written_words)
        out: Floats = np.minimum(total / np.float32(max(most, 1e-9)), np.float32(1.0))
        return out

    def _impact(self, word: str, weights: Weights) -> Floats:
        out = np.zeros(len(self), dtype=np.float32)
        rows, impacts = self._text.of(word)
        out[rows] = impacts
        rows, impacts = self._written.of(word)
        out[rows] += np.float32(weights.written_words) * impacts
        return out

    # -- meaning

    def encoded_in(self, context: str) -> list[str]:
        """Return the different texts that have vectors or should: what was written first, then configurations."""
        return [context + text for text in (*map(unlabelled, self.written.values), *self.config.values)]

    def _hashes_in(self, context: str) -> list[str]:
        """Return what the texts are known by; worked out once."""
        if context not in self._hashes:
            self._hashes = {context: [text_hash(text) for text in self.encoded_in(context)]}
        return self._hashes[context]

    def set_vectors(self, matrix: Floats, place_of: Mapping[str, int], *, context: str = "") -> None:
        """Take the vectors of the texts: rows of a matrix by the texts' hashes; nothing to do where it is the same.

        Parameters
        ----------
        context
            What the texts are encoded within: they follow it.
        """
        if self._vectors is not matrix:
            self._vectors, self._context = matrix, context
            self._places = np.array([place_of.get(each, -1) for each in self._hashes_in(context)], dtype=np.int64)

    def without_vector(self) -> list[str]:
        """Return the texts that have no vector; what was written comes first, since it matters most."""
        texts = self.encoded_in(self._context) if (self._places < 0).any() else []
        return [texts[i] for i in np.flatnonzero(self._places < 0).tolist()]

    def lacks_vectors(self) -> NDArray[np.bool_]:
        """Return which runs have a text without a vector. Shape (n,)."""
        lacks = np.zeros(len(self), dtype=bool)
        missing = self._places < 0
        n = len(self.written.values)
        for coded, without in ((self.written, missing[:n]), (self.config, missing[n:])):
            lacks[coded.owners[without[coded.codes]]] = True
        return lacks

    def cosines(self, vector: Floats) -> tuple[Floats, Floats]:
        """Return how near each text is to a vector, of what was written and of configurations; 0 where unknown."""
        if self._vectors is None or not len(self._vectors) or not self._places.size:
            return np.zeros(len(self.written.values), np.float32), np.zeros(len(self.config.values), np.float32)
        near: Floats = np.append(self._vectors @ vector, np.float32(0.0))[self._places]
        return near[: len(self.written.values)], near[len(self.written.values) :]

    def vectors_of(self, at: int) -> tuple[Floats, Floats]:
        """Return the vectors of what was written of one run and of its configuration. Shapes (k, dimension)."""
        n = len(self.written.values)
        spans = []
        for coded, first in ((self.written, 0), (self.config, n)):
            codes = coded.codes[coded.offsets[at] : coded.offsets[at + 1]] + first
            places = self._places[codes] if self._places.size else np.empty(0, dtype=np.int64)
            spans.append(places[places >= 0])
        matrix = np.zeros((0, 0), dtype=np.float32) if self._vectors is None else self._vectors
        return matrix[spans[0]], matrix[spans[1]]

    def nearness(self, written: Floats, config: Floats) -> Floats:
        """Return how near each run is to what was written of another and to its configuration. Shape (n,)."""
        total, parts = np.zeros(len(self), dtype=np.float32), 0
        for vector in written[:MOST_PASSAGES]:
            total += nearest(self.cosines(vector)[0], self.written)
            parts += 1
        for vector in config:
            total += nearest(self.cosines(vector)[1], self.config)
            parts += 1
        out: Floats = np.clip(total / np.float32(max(parts, 1)), 0.0, 1.0)
        return out

    def meaning(self, vector: Floats) -> tuple[Floats, Floats]:
        """Return the cosine to the nearest of what was written of each run, and to its configuration. Shape (n,)."""
        written, config = self.cosines(vector)
        return nearest(written, self.written), nearest(config, self.config)

    def scores(
        self, question: Question, vector: Floats | None, *, weights: Weights, statistics: Corpus | None = None
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Return what each run is worth, and whether it fits at all. Shapes (n,)."""
        words = self.words(question, weights=weights, statistics=statistics)
        if vector is None:
            return words, words > 0
        written, config = self.meaning(vector)
        total = np.float32(weights.words) * words ** np.float32(POWER)
        total += np.float32(weights.written) * written + np.float32(weights.config) * config
        return np.clip(total, 0.0, 1.0), (words > 0) | (written >= weights.least)


def nearest(cosines: Floats, coded: Coded) -> Floats:
    """Return the highest of each list's cosines, at least 0; 0 for an empty list. Shape (n,)."""
    out = np.zeros(len(coded), dtype=np.float32)
    if coded.codes.size:
        filled = np.flatnonzero(np.diff(coded.offsets) > 0)
        out[filled] = np.maximum.reduceat(cosines[coded.codes], coded.offsets[:-1][filled])
    return np.maximum(out, np.float32(0.0))


def text_hash(text: str) -> str:
    """Return what a text is known by: 128 bits of its SHA-256, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def unlabelled(passage: str) -> str:
    """Return a passage of ``written`` without its kind.

    >>> unlabelled("note: loss: bad")
    'loss: bad'
    """
    return passage.partition(": ")[2]


@functools.cache
def _said_of_much() -> frozenset[str]:
    """Return the words of several concepts, as "loss", which say nothing of one."""
    counts = Counter(word for phrases in _phrases() for word in frozenset().union(*phrases))
    return frozenset(word for word, n in counts.items() if n >= SAID_OF_MUCH)


@functools.cache
def _phrases() -> tuple[tuple[frozenset[str], ...], ...]:
    return tuple(tuple(frozenset(asked(phrase)) for phrase in concept.says) for concept in CONCEPTS)
