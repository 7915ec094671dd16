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
"""Column name → type: ``string``, ``binary``, ``int32``, ``int64``, ``float64``, ``time`` (µs, UTC), ``json``,
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
"""As stores of schema 1 wrote curves; such rows stay readable until they are merged."""

PACKED: Final[Columns] = MappingProxyType(
    {
        "n": "int64",  # points
        "axis": "binary",  # storage.codec: steps and times, in rows whose metric is null
        "packed": "binary",  # storage.codec: values, in the others
        "batch": "int64",  # one number for all rows of one commit; null in rows of schema 1
        "shared": "int32",  # number of the axis within run and batch, from 0
    }
)


def m001_create_tables(database: Database) -> None:
    """Create the journal and the curves."""
    database.create("events", EVENTS, stable_row_ids=True)
    database.create("curves", CURVES)


def m002_pack_curves(database: Database) -> None:
    """Make room for packed curves beside the lists of earlier rows, which compaction rewrites run by run."""
    database.add_columns("curves", PACKED)


def m003_chain_events(database: Database) -> None:
    """Give each event its place in its writer's chain; events from before have none."""
    database.add_columns("events", {name: EVENTS[name] for name in ("writer", "seq", "hash")})


MIGRATIONS: Final[tuple[Callable[[Database], None], ...]] = (m001_create_tables, m002_pack_curves, m003_chain_events)
SCHEMA_VERSION: Final = len(MIGRATIONS)
