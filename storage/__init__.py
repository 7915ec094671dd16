"""A store of experiments, runs, curves and events; it knows nothing of advice.

>>> from storage import open_store
"""

from __future__ import annotations

from storage.errors import (
    CurveDamagedError,
    EmbeddingError,
    ExperimentExistsError,
    ExperimentNotFoundError,
    FilterError,
    RecordError,
    RunFinishedError,
    RunNotFoundError,
    SchemaTooNewError,
    SpoolError,
    StorageError,
    StoreNotFoundError,
    StoreUnavailableError,
)
from storage.hits import SearchHit, SearchResults
from storage.records import (
    Curve,
    CurveChunk,
    Document,
    Event,
    Experiment,
    Finding,
    FindingState,
    Objective,
    Run,
    RunState,
    Severity,
)
from storage.store import RunStore, StoreInfo, open_store

__all__ = [
    "Curve",
    "CurveChunk",
    "CurveDamagedError",
    "Document",
    "EmbeddingError",
    "Event",
    "Experiment",
    "ExperimentExistsError",
    "ExperimentNotFoundError",
    "FilterError",
    "Finding",
    "FindingState",
    "Objective",
    "RecordError",
    "Run",
    "RunFinishedError",
    "RunNotFoundError",
    "RunState",
    "RunStore",
    "SchemaTooNewError",
    "SearchHit",
    "SearchResults",
    "Severity",
    "SpoolError",
    "StorageError",
    "StoreInfo",
    "StoreNotFoundError",
    "StoreUnavailableError",
    "open_store",
]
