"""The derived ``runs`` table: one row a run, for filters, full text and vectors.

Nothing in it is the truth: it is safe to drop and is built again from the journal. One process at
a time writes it, whoever gets the lease; a reader that does not get it evaluates the stale runs
apart, with the same filter in the same engine. A vector is only ever compared with vectors of the
same encoder.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from storage.describe import describe, text_hash
from storage.lance import Database, quoted
from storage.migrations import Columns
from storage.query import Names
from storage.records import Experiment, Run, RunState, valid_text

if TYPE_CHECKING:
    from storage.embed import Embedder
    from storage.journal import Snapshot

log = logging.getLogger(__name__)

TABLE: Final = "runs"
COLUMNS: Final[Columns] = MappingProxyType(
    {
        "run_id": "string",
        "experiment": "string",
        "number": "int64",
        "state": "string",
        "source": "string",
        "objective": "float64",
        "seed": "int64",
        "created": "time",
        "started": "time",
        "ended": "time",
        "duration_s": "float64",
        "params": "json",
        "metrics": "json",
        "environment": "json",
        "meta": "json",
        "tags": "list<string>",
        "notes": "list<string>",
        "text": "string",
        "text_hash": "string",
        "encoder": "string",
        "vector": "vector",
        "folded": "int64",  # number of the last event that went into the row
    }
)
VECTORS: Final[Columns] = MappingProxyType({name: COLUMNS[name] for name in ("run_id", "encoder", "vector")})
EMBED_BATCH: Final = 32
"""Texts encoded between two writes; an interrupted embedding keeps what was written. MiniLM takes some 10 to 100
texts a second on two cores, a write 10 ms."""
WORDS_WEIGHT: Final = 0.5
"""Share of BM25 in the fused score, the rest is cosine. Convex fusion, not reciprocal ranks: BM25 on run
texts is full of ties, and ranks made of ties lowered nDCG in a trial (.65 against .96 on typos)."""
ON_TOPIC: Final = 1e-9

LiveMetrics = Callable[[Iterable[Run]], list[Run]]
"""Fills in what runs that still go on have logged so far."""


class RunIndex:
    """Keeps the ``runs`` table in step with a folded state.

    Not thread-safe by itself: its store calls it under a lock.
    """

    def __init__(self, database: Database, embedder: Callable[[], Embedder]) -> None:
        self._database = database
        self._embedder = embedder
        self._folded: dict[str, int] | None = None
        self._folded_version = -1

    # -- keeping up

    def stale(self, state: Snapshot) -> list[Run]:
        """Return the runs whose row is missing or older than the state."""
        folded = self._rows_folded()
        return [run for run in state.runs.values() if folded.get(run.id, -1) < state.touched[run.id]]

    def sync(self, state: Snapshot, *, live: LiveMetrics) -> bool:
        """Bring the table up to date without computing vectors; return whether that was possible now."""
        stale = self.stale(state)
        gone = [run_id for run_id in self._rows_folded() if run_id not in state.runs]
        if not stale and not gone:
            return True
        with self._database.lease("index") as mine:
            if not mine:
                return False
            if not self._database.has(TABLE):
                self._database.create(TABLE, COLUMNS, dimension=self._embedder().dimension)
            if gone:
                self._database.delete(TABLE, f"run_id in ({', '.join(map(quoted, gone))})")
            dimension = self._database.dimension(TABLE)
            known = self._vectors_of([run.id for run in stale])
            if stale:
                rows = rows_of(stale, state, live=live, vectors=known)
                self._database.upsert(TABLE, rows, COLUMNS, key="run_id", dimension=dimension)
            self._folded = None
        return True

    def embed(self, *, budget_s: float | None = None, progress: Callable[[int, int], None] | None = None) -> int:
        """Compute the vectors that are missing or belong to another text; return how many are still missing.

        Parameters
        ----------
        budget_s
            Seconds after which to stop; the rest is done another time. None takes as long as it takes.
        """
        if not self._database.has(TABLE):
            return 0
        with self._database.lease("index", wait_s=10.0) as mine:  # so that no text changes under its vector
            return self._embed(self._embedder(), budget_s=budget_s, progress=progress) if mine else 0

    def _embed(self, embedder: Embedder, *, budget_s: float | None, progress: Callable[[int, int], None] | None) -> int:
        if self.encoder() is None:
            self._fit_dimension(embedder)
        elif not self.compatible():
            return 0
        done = f"encoder = {quoted(embedder.identity)}"
        rows = self._database.select(TABLE, ["run_id", "text"], where=f"encoder is null or not ({done})")
        waiting: dict[str, list[str]] = {}  # runs that differ in their seed alone share their text
        for row in rows:
            waiting.setdefault(row["text"], []).append(row["run_id"])
        texts, stop_at = list(waiting), math.inf if budget_s is None else time.monotonic() + budget_s
        n_done = 0
        for start in range(0, len(texts), EMBED_BATCH):
            if time.monotonic() > stop_at:
                break
            batch = texts[start : start + EMBED_BATCH]
            pairs = list(zip(batch, embedder.embed(batch), strict=True))
            runs = [(run_id, vector) for text, vector in pairs for run_id in waiting[text]]
            columns = {
                "run_id": [run_id for run_id, _ in runs],
                "encoder": [embedder.identity] * len(runs),
                "vector": [vector for _, vector in runs],
            }
            self._database.upsert(TABLE, columns, VECTORS, key="run_id", dimension=embedder.dimension)
            n_done += len(runs)
            if progress is not None:
                progress(n_done, len(rows))
        return len(rows) - n_done

    def compatible(self) -> bool:
        """Return whether the table's vectors are the present encoder's."""
        stored = self.encoder()
        return stored is None or stored == self._embedder().identity

    def encoder(self) -> str | None:
        """Return the identity of the encoder whose vectors the table holds."""
        if not self._database.has(TABLE):
            return None
        rows = self._database.select(TABLE, ["encoder"], where="encoder is not null and encoder <> ''", limit=1)
        return str(rows[0]["encoder"]) if rows else None

    def rebuild(self, state: Snapshot, *, live: LiveMetrics) -> bool:
        """Build the table anew; vectors of texts that are still the same are kept where the encoder is."""
        kept = self._vectors_of(list(state.runs)) if self._database.has(TABLE) and self.compatible() else {}
        with self._database.lease("index", wait_s=10.0) as mine:
            if not mine:
                return False
            dimension = self._embedder().dimension
            self._database.drop(TABLE)
            self._database.create(TABLE, COLUMNS, dimension=dimension)
            rows = rows_of(state.runs.values(), state, live=live, vectors=kept)
            if rows["run_id"]:
                self._database.upsert(TABLE, rows, COLUMNS, key="run_id", dimension=dimension)
            self._folded = None
        return True

    # -- asking

    def matching(self, state: Snapshot, sql: str, *, live: LiveMetrics) -> set[str]:
        """Return the ids of the runs that fit a compiled filter.

        Runs that go on change without an event: they are judged apart by what they have logged, and so is
        whatever is stale while another process holds the index.
        """
        apart = [run for run in state.runs.values() if run.state is RunState.RUNNING]
        if not self.sync(state, live=live):
            apart += [run for run in self.stale(state) if run.state is not RunState.RUNNING]
        indexed: set[str] = set()
        if self._database.has(TABLE):
            indexed = {row["run_id"] for row in self._database.select(TABLE, ["run_id"], where=sql)}
        if not apart:
            return indexed
        rows = rows_of(apart, state, live=live, vectors={})
        fresh = self._database.select_among(rows, COLUMNS, where=sql, dimension=1, key="run_id")
        return (indexed - {run.id for run in apart}).union(fresh)

    def refresh_words(self) -> None:
        """Make or refresh the index of words."""
        if self._database.has(TABLE):
            self._database.index_words(TABLE, "text")

    def search(self, text: str, *, where: str, limit: int) -> list[tuple[str, float]]:
        """Return ``(run_id, score in [0, 1])``, best first: words and meaning together."""
        if not self._database.has(TABLE) or not text.strip():
            return []
        pool = max(50, 5 * limit)
        words = dict(self._database.match_words(TABLE, "text", text, where=where, limit=pool))
        best = max(words.values(), default=0.0)
        near: dict[str, float] = {}
        if self.compatible():
            vector = self._embedder().embed([text])[0]
            near = dict(
                self._database.nearest(
                    TABLE, [float(x) for x in vector], where=f"({where}) and encoder <> ''", limit=pool
                )
            )
        else:
            log.warning(
                "the store's vectors are of %s and this program has %s: searching by words only; "
                "run 'advisor store reindex' to make them agree",
                self.encoder(),
                self._embedder().identity,
            )
        weight = WORDS_WEIGHT if near else 1.0
        scores = {
            run_id: weight * (words.get(run_id, 0.0) / best if best > 0 else 0.0)
            + (1 - weight) * max(0.0, near.get(run_id, 0.0))
            for run_id in words.keys() | near.keys()
        }
        ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
        return [(run_id, score) for run_id, score in ranked[:limit] if score > ON_TOPIC]

    def texts(self, run_ids: Sequence[str]) -> dict[str, str]:
        """Return the described text of some runs."""
        if not run_ids:
            return {}
        where = f"run_id in ({', '.join(map(quoted, run_ids))})"
        return {row["run_id"]: row["text"] for row in self._database.select(TABLE, ["run_id", "text"], where=where)}

    # -- inner workings

    def _rows_folded(self) -> Mapping[str, int]:
        if not self._database.has(TABLE):
            return {}
        version = self._database.version(TABLE)
        if self._folded is None or version != self._folded_version:
            rows = self._database.select(TABLE, ["run_id", "folded"])
            self._folded = {row["run_id"]: row["folded"] for row in rows}
            self._folded_version = version
        return self._folded

    def _vectors_of(self, run_ids: Sequence[str]) -> dict[str, tuple[str, str, Any]]:
        """Return ``{run_id: (text_hash, encoder, vector)}`` of rows that have a vector."""
        if not run_ids:
            return {}
        columns = ["run_id", "text_hash", "encoder", "vector"]
        wanted = set(run_ids)
        rows = self._database.select(TABLE, columns, where="encoder is not null and encoder <> ''")
        return {
            row["run_id"]: (row["text_hash"], row["encoder"], row["vector"]) for row in rows if row["run_id"] in wanted
        }

    def _fit_dimension(self, embedder: Embedder) -> None:
        """Make the still empty vector column as wide as the encoder's vectors."""
        if self._database.dimension(TABLE) == embedder.dimension:
            return
        rows = self._database.select(TABLE, [name for name in COLUMNS if name != "vector"])
        self._database.drop(TABLE)
        self._database.create(TABLE, COLUMNS, dimension=embedder.dimension)
        data = {name: [row.get(name) for row in rows] for name in COLUMNS}
        self._database.upsert(TABLE, data, COLUMNS, key="run_id", dimension=embedder.dimension)


def rows_of(
    runs: Iterable[Run], state: Snapshot, *, live: LiveMetrics, vectors: Mapping[str, tuple[str, str, Any]]
) -> dict[str, list[Any]]:
    """Return the rows of some runs as columns; a vector is kept where the text is still the same."""
    out: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for run in live(runs):
        row = _row(run, state.experiments[run.experiment])
        hash_, encoder, vector = vectors.get(run.id, ("", "", None))
        same = hash_ == row["text_hash"]
        row |= {
            "encoder": encoder if same else "",
            "vector": vector if same else None,
            "folded": state.touched[run.id],
        }
        for name, values in out.items():
            values.append(row[name])
    return out


def names_in(runs: Iterable[Run]) -> Names:
    """Return the names that a filter on these runs may use."""
    params: set[str] = set()
    metrics: set[str] = set()
    environment: set[str] = set()
    meta: set[str] = set()
    for run in runs:
        params.update(flat(run.params))
        metrics.update(run.metrics)
        environment.update(flat(run.environment))
        meta.update(flat({**run.meta, **run.user_attrs}))
    return Names(
        params=frozenset(params), metrics=frozenset(metrics), environment=frozenset(environment), meta=frozenset(meta)
    )


def flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one level of dotted names; lists become their JSON text.

    Only scalars can be filtered by the database, which refuses a whole query over one list.
    """
    out: dict[str, Any] = {}
    for key, value in mapping.items():
        name = valid_text(f"{prefix}{key}")
        if isinstance(value, Mapping):
            out |= flat(value, f"{name}.")
        elif isinstance(value, float) and not math.isfinite(value):
            out[name] = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        elif isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
            out[name] = str(value)
        elif isinstance(value, str):
            out[name] = valid_text(value)
        elif value is None or isinstance(value, (bool, int, float)):
            out[name] = value
        else:
            out[name] = json.dumps(value, default=str)
    return out


def _row(run: Run, experiment: Experiment) -> dict[str, Any]:
    text = valid_text(describe(run, experiment))
    seed = run.seed if isinstance(run.seed, int) and abs(run.seed) < 2**63 else None
    return {
        "run_id": run.id,
        "experiment": run.experiment,
        "number": run.number,
        "state": str(run.state),
        "source": run.source,
        "objective": run.objective,
        "seed": seed,
        "created": run.created,
        "started": run.started,
        "ended": run.ended,
        "duration_s": run.duration_s,
        "params": json.dumps(flat(run.params)),
        "metrics": json.dumps(flat(run.metrics)),
        "environment": json.dumps(flat(run.environment)),
        "meta": json.dumps(flat({**run.meta, **run.user_attrs})),
        "tags": [valid_text(tag) for tag in run.tags],
        "notes": [valid_text(note) for note in run.notes],
        "text": text,
        "text_hash": text_hash(text),
    }
