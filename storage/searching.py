"""Search over a store: what is told of its runs held in memory, kept current, asked, and explained.

Two corpora: the runs as the kept fold has them, read once and kept as long as that is stood on, and those that changed
since, judged with the statistics of the former. Left out: which runs a filter leaves (``storage.index``).

Invariant: a search writes nothing but vectors, and those only within its budget of seconds.
"""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from storage.describe import without_phrases
from storage.hits import DocumentHit, How, Reason
from storage.index import VISIBLE, KeptFold, LiveMetrics, rows_of
from storage.lance import Database
from storage.meaning import CONTEXT, PHRASES, Sense, in_context, sense_of
from storage.ranking import (
    LEXICAL,
    MEANT,
    SEMANTIC,
    WORDS_ONLY,
    Coded,
    Corpus,
    Question,
    Weights,
    nearest,
    text_hash,
    unlabelled,
)
from storage.vectors import Progress, Vectors, is_lexical
from storage.vocabulary import cut, stem

if TYPE_CHECKING:
    from storage.embed import Embedder
    from storage.journal import State

log = logging.getLogger(__name__)

MOST_REASONS: Final = 3
FACETS: Final[Mapping[str, str]] = {"experiment": "experiment", "state": "state", "finding": "codes"}
"""What fitting runs are counted by, and the column that says it."""
COUNTED: Final = 0.5
"""Share of the best score from which a run is counted: with one common word of a question thousands "fit"."""
DIVIDER: Final = " | "


@dataclass(frozen=True, slots=True)
class Found:
    """One run with what it was found for."""

    run_id: str
    score: float
    text: str
    reasons: tuple[Reason, ...]


class Searcher:
    """The searchable part of a store. Not thread-safe by itself: its store calls it under a lock."""

    def __init__(self, database: Database, vectors: Vectors) -> None:
        self._database, self.vectors = database, vectors
        self._kept: tuple[int, Corpus] | None = None
        self._apart: tuple[tuple[int, int], Corpus] | None = None
        self._superseded: frozenset[str] = frozenset()
        self._raw: NDArray[np.float32] | None = None
        self._matrix = np.zeros((0, 0), dtype=np.float32)
        self._context = ""
        self._sense: Sense | None = None

    # -- what there is

    def bring_up_to_date(self, state: State, *, live: LiveMetrics) -> None:
        """Read what a fold tells of runs, as far as it is not in memory."""
        base = state.base if isinstance(state.base, KeptFold) else None
        if base is None:
            self._kept = None
        elif self._kept is None or self._kept[0] != base.at:
            self._kept = None  # before the next one is made: two of 100,000 runs are 0.3 GB
            self._kept = (base.at, _kept_corpus(base))
            self._database.give_back()  # half as much again
        key = (state.version, -1 if base is None else base.at)
        if self._apart is None or self._apart[0] != key:
            changed = state.dirty()
            self._apart = (key, _corpus(rows_of([e for e in changed if not e.hidden], state, live=live)))
            self._superseded = frozenset(entry.run.id for entry in changed)

    @property
    def corpora(self) -> list[Corpus]:
        """The kept runs and those that changed since; the first has the statistics."""
        apart = [] if self._apart is None else [self._apart[1]]
        kept = [] if self._kept is None else [self._kept[1]]
        return [each for each in (*kept, *apart) if len(each)]

    def embed(self, *, budget_s: float | None = None, progress: Progress | None = None) -> int:
        """Compute the vectors that are missing; return how many texts still have none.

        Raises
        ------
        StoreUnavailableError
            If they cannot be written; those that there are are taken.
        """
        try:
            self._take_vectors()
            missing = [text for corpus in self.corpora for text in corpus.without_vector()]
            if self._context and self._sense is None:
                missing = [*map(in_context, PHRASES), *missing]
            return self.vectors.embed(missing, budget_s=budget_s, progress=progress) if missing else 0
        finally:
            self._take_vectors()

    def _take_vectors(self) -> None:
        places, matrix = self.vectors.places(), self.vectors.matrix
        if matrix is not self._raw:
            self._raw = matrix
            self._context = "" if self.vectors.is_lexical() else CONTEXT
            known = [places.get(text_hash(in_context(phrase))) for phrase in PHRASES] if self._context else []
            self._sense = sense_of(known, matrix) if self._context else None
            self._matrix = matrix if self._sense is None else self._sense(matrix)
        for corpus in self.corpora:
            corpus.set_vectors(self._matrix, places, context=self._context)

    def _vector_of(self, text: str, embedder: Embedder) -> NDArray[np.float32] | None:
        """Return the vector of a question, None where those of the texts are not there to be compared with."""
        if self._context and self._sense is None:
            return None
        vector = embedder.embed([self._context + max(self.corpora, key=len).respelled(text)])
        sensed: NDArray[np.float32] = vector if self._sense is None else self._sense(vector)
        return np.asarray(sensed[0])

    def n_embedded(self) -> int:
        """Return how many runs have a vector of each of their texts."""
        self._take_vectors()
        return sum(int((~(corpus.lacks_vectors() | self._is_superseded(corpus))).sum()) for corpus in self.corpora)

    def texts(self) -> list[str]:
        """Return the texts that are encoded."""
        phrases = list(map(in_context, PHRASES)) if self._context else []
        return phrases + [text for corpus in self.corpora for text in corpus.encoded_in(self._context)]

    def _is_superseded(self, corpus: Corpus) -> NDArray[np.bool_]:
        """Return which runs of a corpus are told of anew in the other one, or are hidden by now."""
        gone = np.zeros(len(corpus), dtype=bool)
        if self._kept is not None and corpus is self._kept[1]:
            gone[[corpus.at[run_id] for run_id in self._superseded if run_id in corpus.at]] = True
        return gone

    def forget(self) -> None:
        """Let go of what is in memory."""
        self._kept = self._apart = self._raw = None

    # -- asking

    def find(
        self, words: str, *, embedder: Embedder | None, among: Sequence[str] | None, limit: int
    ) -> tuple[list[Found], int, dict[str, dict[str, int]]]:
        """Return the best runs, how many are at least half as good as the best, and these counted.

        Parameters
        ----------
        words
            What is asked; empty asks for all, the newest first.
        embedder
            What the stored vectors are made by; None searches by words only.
        among
            Ids of the runs that a filter leaves; None for all.
        """
        corpora = self.corpora
        if not corpora:
            return [], 0, {}
        question = corpora[0].question(words, others=corpora[1:])
        vector = None if embedder is None or not words.strip() else self._vector_of(words, embedder)
        weights = weights_for(embedder)
        judged = [
            self._judged(corpus, question if words.strip() else None, vector, weights=weights, among=among)
            for corpus in corpora
        ]
        best = _best(corpora, judged, limit=limit)
        least = COUNTED * max((score for _, _, score in best), default=0.0)
        counted = [fits & (scores >= least) for scores, fits in judged]
        explain = _Explainer(question, vector)
        found = [
            Found(str(corpus.run_ids[at]), score, DIVIDER.join(corpus.text[at]), explain(corpus, at) if words else ())
            for corpus, at, score in best
        ]
        return found, sum(int(each.sum()) for each in counted), _facets(corpora, counted)

    def documents(
        self, words: str, documents: Sequence[Mapping[str, Any]], *, embedder: Embedder | None, limit: int
    ) -> list[DocumentHit]:
        """Return the documents that fit best: their title, kind and what is kept of their text."""
        if not documents or not words.strip():
            return []
        told = [(str(each["kind"]), str(each["title"]), str(each.get("text") or "")) for each in documents]
        lists = [
            [f"document: {title} ({kind})", *([f"document: {text}"] if text else [])] for kind, title, text in told
        ]
        corpus = Corpus(
            np.arange(len(lists)),
            np.arange(len(lists)),
            text=Coded.of(lists),
            written=Coded.of(each[:1] for each in lists),
            config=Coded.of([[] for _ in lists]),
            facets={},
        )
        question = corpus.question(words)
        scores = corpus.words(question, weights=WORDS_ONLY)
        if embedder is not None and (self._sense is not None or not self._context):
            titles = [unlabelled(text) for text in corpus.written.values]
            near = embedder.embed([self._context + text for text in (words, *titles)])
            near = near if self._sense is None else self._sense(near)
            weights = weights_for(embedder)
            cosines = nearest((near[1:] @ near[0]).astype(np.float32), corpus.written)
            meant = (cosines * (cosines >= MEANT)).astype(np.float32)
            scores = np.float32(weights.words) * scores + np.float32(weights.written) * meant
        order = [i for i in np.lexsort((-corpus.ordinals, -scores)).tolist() if scores[i] > 0][:limit]
        return [_document_hit(documents[i], float(scores[i])) for i in order]

    def near(self, run_id: str, *, among: Sequence[str] | None) -> dict[str, float]:
        """Return how near what was written and the configuration of other runs are to one run's, by run id, in [0, 1].

        Cosines of vectors where there are any; otherwise words in common.
        """
        self._take_vectors()
        home = next((c for c in self.corpora if run_id in c.at and not self._is_superseded(c)[c.at[run_id]]), None)
        if home is None:
            return {}
        written, config = home.vectors_of(home.at[run_id])
        words = home.question(" ".join(map(unlabelled, home.written[home.at[run_id]])), synonyms=False)
        out: dict[str, float] = {}
        for corpus in self.corpora:
            near = 0.5 * corpus.nearness(written, config) + 0.5 * corpus.words(
                words, weights=WORDS_ONLY, statistics=home
            )
            stays = ~self._is_superseded(corpus)
            out |= {str(corpus.run_ids[i]): float(near[i]) for i in np.flatnonzero(stays).tolist()}
        allowed = None if among is None else set(among)
        return {each: near for each, near in out.items() if each != run_id and (allowed is None or each in allowed)}

    def _judged(
        self,
        corpus: Corpus,
        question: Question | None,
        vector: NDArray[np.float32] | None,
        *,
        weights: Weights,
        among: Sequence[str] | None,
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the score of each run of a corpus, and which fit: words, filter, and not superseded."""
        if question is None:
            scores, fits = np.ones(len(corpus), np.float32), np.ones(len(corpus), bool)
        else:
            scores, fits = corpus.scores(question, vector, weights=weights, statistics=self.corpora[0])
        if among is not None:
            left = np.zeros(len(corpus), dtype=bool)
            left[[at for at in map(corpus.at.get, among) if at is not None]] = True
            fits = fits & left
        fits = fits & ~self._is_superseded(corpus)
        return scores, fits


def weights_for(embedder: Embedder | None) -> Weights:
    """Return how much words and meaning count, by what computes meaning."""
    if embedder is None:
        return WORDS_ONLY
    return LEXICAL if is_lexical(embedder) else SEMANTIC


def _kept_corpus(base: KeptFold) -> Corpus:
    wanted = {"text": DIVIDER, "config": None, "written": None, "experiment": None, "state": None, "codes": None}
    coded = base.coded(wanted, where=VISIBLE)
    plain = base.columns({"run_id": "run_id", "ordinal": "ordinal"}, where=VISIBLE)
    return _made(plain["run_id"], plain["ordinal"], coded)


def _corpus(rows: Mapping[str, Sequence[Any]]) -> Corpus:
    coded = {name: Coded.of(rows[name]) for name in ("written", "codes")}
    coded |= {name: Coded.of([value] for value in rows[name]) for name in ("config", "experiment", "state")}
    coded["text"] = Coded.of(text.split(DIVIDER) for text in rows["text"])
    ids = np.empty(len(rows["run_id"]), dtype=object)
    ids[:] = rows["run_id"]
    return _made(ids, np.array(rows["ordinal"], dtype=np.int64), coded)


def _made(ids: NDArray[Any], ordinals: NDArray[Any], coded: Mapping[str, Coded]) -> Corpus:
    facets = {name: coded[column] for name, column in FACETS.items()}
    return Corpus(
        ids,
        ordinals.astype(np.int64),
        text=coded["text"],
        written=coded["written"],
        config=coded["config"],
        facets=facets,
    )


def _best(
    corpora: Sequence[Corpus], judged: Sequence[tuple[NDArray[np.float32], NDArray[np.bool_]]], *, limit: int
) -> list[tuple[Corpus, int, float]]:
    """Return the best runs of all corpora; of equal ones the newest first."""
    if limit == 0:
        return []
    pool: list[tuple[float, int, Corpus, int]] = []
    for corpus, (scores, fits) in zip(corpora, judged, strict=True):
        at = np.flatnonzero(fits)
        if at.size > limit:
            worst = np.partition(scores[at], at.size - limit)[at.size - limit]
            at = at[scores[at] >= worst]
        order = at[np.lexsort((-corpus.ordinals[at], -scores[at]))][:limit]
        pool += [(float(scores[i]), int(corpus.ordinals[i]), corpus, int(i)) for i in order]
    pool.sort(key=lambda each: (-each[0], -each[1]))
    return [(corpus, at, score) for score, _, corpus, at in pool[:limit]]


def _facets(corpora: Sequence[Corpus], fits: Sequence[NDArray[np.bool_]]) -> dict[str, dict[str, int]]:
    out: dict[str, dict[str, int]] = {}
    for name in FACETS:
        total: Counter[str] = Counter()
        for corpus, fitting in zip(corpora, fits, strict=True):
            total.update(corpus.facets[name].counts(fitting))
        out[name] = dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))
    return out


class _Explainer:
    """Says why a run was found: the passages with the words asked for, and the one nearest in meaning."""

    def __init__(self, question: Question, vector: NDArray[np.float32] | None) -> None:
        self._question, self._vector = question, vector
        self._found_by = question.words
        self._known: dict[int, NDArray[np.float32]] = {}

    def __call__(self, corpus: Corpus, at: int) -> tuple[Reason, ...]:
        """Return the reasons for one run, the strongest first."""
        reasons: list[tuple[float, Reason]] = []
        for kind, text in _passages(corpus, at):
            marks, weight, how = self._marked(corpus, text)
            if marks:
                shown = _shown(kind, text)
                seen = tuple(mark for mark in marks if mark[1] <= len(shown))
                reasons.append((weight, Reason(kind, shown, how=how if seen else "synonym", marks=seen)))
        reasons.sort(key=lambda pair: -pair[0])
        told = [reason for _, reason in reasons]
        meant = self._meant(corpus, at, {reason.text for reason in told[: MOST_REASONS - 1]})
        return (*told[: MOST_REASONS - len(meant)], *meant)

    def _marked(self, corpus: Corpus, text: str) -> tuple[tuple[tuple[int, int], ...], float, How]:
        marks: list[tuple[str, int, int]] = []
        seen: dict[str, float] = {}
        start = 0
        for word, root in _stemmed(text):
            place = text.casefold().find(word, start)
            if place < 0:  # what case folding or normalisation changed cannot be marked
                continue
            start = place + len(word)
            how = self._found_by.get(root)
            if how is not None:
                marks.append((how, place, start))
                seen[root] = corpus.idf(root) * (0.3 if how == "synonym" else 1.0)
        order: tuple[How, ...] = ("words", "spelling", "synonym")
        best: How = next((how for how in order if any(how == each for each, _, _ in marks)), "words")
        told = tuple((start, end) for how, start, end in marks if (how == "synonym") == (best == "synonym"))
        return told, sum(seen.values()), best

    def _cosines(self, corpus: Corpus) -> NDArray[np.float32]:
        """Return how near each passage of a corpus is to the question; worked out once."""
        if id(corpus) not in self._known and self._vector is not None:
            self._known[id(corpus)] = corpus.cosines(self._vector)[0]
        return self._known[id(corpus)]

    def _meant(self, corpus: Corpus, at: int, told: set[str]) -> list[Reason]:
        if self._vector is None:
            return []
        span = corpus.written.codes[corpus.written.offsets[at] : corpus.written.offsets[at + 1]]
        if not span.size:
            return []
        cosines = self._cosines(corpus)
        best = span[int(np.argmax(cosines[span]))]
        kind, text = _passage_with(corpus, at, *corpus.written.values[int(best)].split(": ", 1))
        if text in told or (told and cosines[best] < MEANT):
            return []
        return [Reason(kind, text, how="meaning")]


@functools.lru_cache(maxsize=50_000)
def _stemmed(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((word, stem(word)) for word in cut(text))


def _passages(corpus: Corpus, at: int) -> list[tuple[str, str]]:
    """Return what is told of a run as (kind, text), what was written first and nothing twice."""
    parts = [part.partition(" ") for part in corpus.text[at]]
    kinds = {"note": "note", "finding": "finding", "error": "error", "tags": "tag", "status": "state", "more": "note"}
    kinds["named"] = "name"
    out = [(kinds[key], text) for key, _, text in parts if key in kinds]
    return out + [("configuration", f"{key} {text}") for key, _, text in parts if key not in kinds]


def _shown(kind: str, text: str) -> str:
    """Return a passage as people are shown it: the phrases that make it found are for the search alone."""
    return without_phrases(text) if kind in ("finding", "error", "state") else text


def _passage_with(corpus: Corpus, at: int, kind: str, phrase: str) -> tuple[str, str]:
    """Return the passage of a run that a phrase stands for, as it is shown; the phrase itself where it is a passage."""
    for found, text in _passages(corpus, at):
        shown = _shown(found, text)
        if (found == kind or kind == "objective") and phrase in text[len(shown) :]:
            return found, shown
    return kind, phrase


def _document_hit(body: Mapping[str, Any], score: float) -> DocumentHit:
    return DocumentHit(
        str(body["document_id"]),
        experiment=str(body["experiment"]),
        run_id=str(body["run_id"]),
        kind=str(body["kind"]),
        title=str(body["title"]),
        path=body.get("path"),
        time=body["time"],
        score=score,
    )
