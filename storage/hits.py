"""What a search returns: runs with reasons, documents, counts. Frozen, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal

from storage.records import Run

How = Literal["words", "spelling", "synonym", "meaning", "parameters", "curve", "filter"]


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing for which a run was found."""

    kind: str
    """Where it is said: ``note``, ``finding``, ``error``, ``tag``, ``state``, ``configuration``, ``curve``, …"""
    text: str
    """What is said there."""
    _: KW_ONLY
    how: How
    """By the same words, by words that may be misspelt, by a synonym, by meaning; or what is alike."""
    marks: tuple[tuple[int, int], ...] = ()
    """Beginning and end of each word of ``text`` that was asked for, as positions of characters."""

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        words = [self.text[start:end] for start, end in self.marks]
        return {"kind": self.kind, "text": self.text, "how": self.how, "words": words}


@dataclass(frozen=True, slots=True)
class SearchHit:
    """One run that a search found."""

    run: Run
    _: KW_ONLY
    score: float
    """Relevance in [0, 1], higher is better; comparable within one search only."""
    text: str
    """The text of the run that was searched."""
    reasons: tuple[Reason, ...] = ()
    """Why it was found, the strongest first."""


@dataclass(frozen=True, slots=True)
class DocumentHit:
    """One document that a search found."""

    document_id: str
    _: KW_ONLY
    experiment: str
    run_id: str
    """Empty where it is about an experiment."""
    kind: str
    title: str
    path: str | None
    time: datetime
    score: float
    """As of a run."""

    def as_json(self) -> dict[str, Any]:
        """Return the public JSON form."""
        names = ("document_id", "experiment", "run_id", "kind", "title", "path", "score")
        return {**{name: getattr(self, name) for name in names}, "time": self.time.isoformat()}


class SearchResults(list[SearchHit]):
    """The runs that a search found, best first, and what else there is to say of it."""

    def __init__(
        self,
        hits: Iterable[SearchHit] = (),
        *,
        words: str = "",
        where: str | None = None,
        n_fitting: int = 0,
        facets: Mapping[str, Mapping[str, int]] = MappingProxyType({}),
        documents: Iterable[DocumentHit] = (),
    ) -> None:
        super().__init__(hits)
        self.words = words
        """What was searched as words."""
        self.where = where
        """What was read as a filter."""
        self.n_fitting = n_fitting
        """Runs that are at least half as good as the best one."""
        self.facets = facets
        """How many of these there are by ``experiment``, ``state`` and ``finding`` (its code), most first."""
        self.documents = tuple(documents)
        """Documents whose title or text fits, best first."""

    def _repr_html_(self) -> str:
        from storage import notebook

        return notebook.search_results(self)
