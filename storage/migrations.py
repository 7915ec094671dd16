"""Numbered changes of the tables, applied in order and recorded in the store.

Tables are described as plain data here; ``storage.lance`` turns them into Arrow. A store whose
number is higher than the last one known here was written by a newer version and is not opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from storage.lance import Database

Columns = Mapping[str, str]
"""Column name → type: ``string``, ``int32``, ``int64``, ``float64``, ``time`` (µs, UTC), ``json``,
``list<…>`` of one of these, or ``vector``."""

MIGRATIONS_TABLE: Final[Columns] = MappingProxyType(
    {"number": "int32", "name": "string", "time": "time", "program": "string"}
)

EVENTS: Final[Columns] = MappingProxyType(
    {
        "id": "string",
        "experiment": "string",
        "run_id": "string",
        "kind": "string",
        "time": "time",
        "actor": "string",
        "body": "string",  # JSON as Python writes it: bare NaN and Infinity, integers of any size
        "pos": "int32",  # position in the batch; with the commit's version it is the total order
        "writer": "string",  # whose chain the event is a link of, see storage/provenance.py
        "seq": "int64",
        "hash": "binary",
    }
)

CURVES: Final[Columns] = MappingProxyType(
    {
        "run_id": "string",
        "metric": "string",
        "chunk": "int64",
        "through": "int64",
        "steps": "list<int64>",
        "values": "list<float64>",
        "times": "list<float64>",
    }
)


def m001_create_tables(database: Database) -> None:
    """Create the journal and the curves."""
    database.create("events", EVENTS, stable_row_ids=True)
    database.create("curves", CURVES)


def m003_chain_events(database: Database) -> None:
    """Give each event its place in its writer's chain; events from before have none."""
    database.add_columns("events", {name: EVENTS[name] for name in ("writer", "seq", "hash")})


MIGRATIONS: Final[tuple[Callable[[Database], None], ...]] = (m001_create_tables, m003_chain_events)
SCHEMA_VERSION: Final = len(MIGRATIONS)
