"""Vectors of texts, each text once: kept in a table of their own, computed in pieces, read into one matrix.

A text is known by its hash, so runs that say the same share a vector, and whatever is written of a run changes no other
vector. The table is derived and only ever appended to; an interrupted computation goes on where it ended.

Invariant: all vectors of the table are of one encoder, and vectors of two encoders are never compared.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from storage.errors import StoreUnavailableError
from storage.lance import Database
from storage.migrations import Columns
from storage.ranking import text_hash

if TYPE_CHECKING:
    from storage.embed import Embedder

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]

TABLE: Final = "vectors"
COLUMNS: Final[Columns] = MappingProxyType({"hash": "string", "encoder": "string", "vector": "vector"})
AT_ONCE: Final = 32
"""Texts encoded between two looks at the clock: MiniLM takes some 20 to 200 texts a second on one core."""
HASHED: Final = "hashing"
"""How the identity of a lexical encoder begins."""
WRITE_EVERY_S: Final = 2.0
"""What an interruption may cost."""


class Vectors:
    """The vectors of one store. Not thread-safe by itself."""

    def __init__(self, database: Database, embedder: Callable[[], Embedder]) -> None:
        self._database, self._embedder = database, embedder
        self._version = -1
        self._encoder: str | None = None
        self.matrix: NDArray[np.float32] = np.zeros((0, 0), dtype=np.float32)
        """Shape (n, dimension)."""
        self._place: dict[str, int] = {}

    def encoder(self) -> str | None:
        """Return the identity of the encoder whose vectors the table holds, None where it holds none."""
        self._load()
        return self._encoder

    def compatible(self) -> bool:
        """Return whether they are the present encoder's."""
        return self.encoder() in (None, self._embedder().identity)

    def identity(self) -> str:
        """Return the identity of the encoder whose vectors there are or, where there are none, would be."""
        return self.encoder() or self._embedder().identity

    def is_lexical(self) -> bool:
        """Return whether the encoder sees letters only, no meaning."""
        return is_lexical(self._embedder())

    def places(self) -> Mapping[str, int]:
        """Return the row of the matrix that holds the vector of a text, by the text's hash."""
        self._load()
        return self._place

    def embed(self, texts: Sequence[str], *, budget_s: float | None = None, progress: Progress | None = None) -> int:
        """Compute the vectors that are missing, in this order; return how many are still missing.

        One process at a time computes; the others go on with what there is.

        Parameters
        ----------
        budget_s
            Seconds after which to stop. None takes as long as it takes.
        progress
            Called with the number of texts that are done, of all.
        """
        known = self.places()
        wanted = list(dict.fromkeys(texts))
        missing = [text for text in wanted if text_hash(text) not in known]
        if not missing or not self.compatible():
            return len(missing)
        with self._database.lease("embed") as mine:
            if not mine:
                return len(missing)
            return self._compute(missing, len(wanted) - len(missing), budget_s=budget_s, progress=progress)

    def drop(self) -> None:
        """Remove all vectors."""
        if self._database.has(TABLE):
            self._database.drop(TABLE)
        self.forget()

    def forget(self) -> None:
        """Let go of what is in memory."""
        self._version, self._encoder, self._place = -1, None, {}
        self.matrix = np.zeros((0, 0), dtype=np.float32)

    def keep_only(self, texts: Sequence[str]) -> None:
        """Remove the vectors of texts that nobody says any more, where they are many."""
        used = {text_hash(text) for text in texts}
        self._load()
        unused = [each for each in self._place if each not in used]
        if len(unused) > max(1_000, len(self._place) // 2):
            rows = [(each, self.matrix[at]) for each, at in self._place.items() if each in used]
            encoder = self._encoder
            self.drop()
            if rows and encoder is not None:
                self._append(encoder, [each for each, _ in rows], np.stack([vector for _, vector in rows]))

    # -- inner workings

    def _compute(
        self, missing: Sequence[str], n_known: int, *, budget_s: float | None, progress: Progress | None
    ) -> int:
        embedder = self._embedder()
        stop_at = math.inf if budget_s is None else time.monotonic() + budget_s
        hashes: list[str] = []
        vectors: list[NDArray[np.float32]] = []
        written_at, n_done = time.monotonic(), 0
        while n_done < len(missing) and time.monotonic() < stop_at:
            batch = missing[n_done : n_done + AT_ONCE]
            vectors.append(embedder.embed(batch))
            hashes += [text_hash(text) for text in batch]
            n_done += len(batch)
            if time.monotonic() - written_at > WRITE_EVERY_S:
                self._append(embedder.identity, hashes, np.concatenate(vectors))
                hashes, vectors, written_at = [], [], time.monotonic()
            if progress is not None:
                progress(n_known + n_done, n_known + len(missing))
        if hashes:
            self._append(embedder.identity, hashes, np.concatenate(vectors))
        return len(missing) - n_done

    def _append(self, encoder: str, hashes: Sequence[str], vectors: NDArray[np.float32]) -> None:
        if not self._database.has(TABLE):
            self._database.create(TABLE, COLUMNS, dimension=vectors.shape[1])
        rows: dict[str, Sequence[Any]] = {
            "hash": hashes,
            "encoder": [encoder] * len(hashes),
            "vector": list(vectors),
        }
        self._database.append(TABLE, rows, COLUMNS, dimension=vectors.shape[1])

    def _load(self) -> None:
        """Read the table anew where it changed."""
        if not self._database.has(TABLE):
            return
        try:
            version = self._database.version(TABLE)
            if version == self._version:
                return
            hashes, encoders, matrix = self._database.vectors(TABLE)
        except StoreUnavailableError:  # another process may have made it anew
            self._database.unpin(TABLE)
            if not self._database.has(TABLE):
                self.forget()
                return
            version = self._database.version(TABLE)
            hashes, encoders, matrix = self._database.vectors(TABLE)
        self._version, self._encoder, self.matrix = version, encoders[0] if encoders else None, matrix
        self._place = {each: i for i, each in enumerate(hashes)}


def is_lexical(embedder: Embedder) -> bool:
    """Return whether an encoder sees letters only, no meaning."""
    return embedder.identity.startswith(HASHED)
