"""What can be said about a store's address without opening it: folders, what stands there, which experiments are known.

Only the operating system is asked, never the database, so that a training can start before the database is loaded.
The catalog is a small file derived from the store: safe to delete, and a torn or missing one means "not known".
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from storage.errors import SchemaTooNewError, StoreNotFoundError, StoreUnavailableError
from storage.events import read_objectives, read_time
from storage.migrations import SCHEMA_VERSION
from storage.records import Experiment, utc_now

log = logging.getLogger(__name__)

OURS: Final = frozenset({"locks", "spool", "artifacts", "cache"})
"""What a store keeps beside its tables."""
FIRST_TABLES: Final = frozenset({"events.lance", "curves.lance"})
"""What stands in a folder whose store was being made when its process died."""
PASSING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE})
"""Errors that may pass while a training runs; any other error of a folder is the user's to know at once."""
CATALOG_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Place:
    """The address of a store."""

    uri: str

    @property
    def folder(self) -> Path | None:
        """The store's folder; None where it is not on this machine's file system."""
        return None if "://" in self.uri else Path(self.uri).expanduser().absolute()

    def spool_folder(self) -> Path:
        """Return where live runs of this machine keep their write-ahead logs."""
        return self.work_folder("spool")

    def work_folder(self, name: str) -> Path:
        """Return where this machine keeps files of its own beside the tables, for instance ``logs``."""
        folder = self.folder
        return folder / name if folder is not None else self._state_folder(name)

    def catalog_file(self) -> Path:
        """Return where the experiments of the store are listed."""
        folder = self.folder
        return (folder / "cache" if folder is not None else self._state_folder("cache")) / "experiments.json"

    def holds_tables(self) -> bool | None:
        """Return whether a store has been made here; None where that cannot be told without the database."""
        folder = self.folder
        return None if folder is None else (folder / "migrations.lance").exists()

    def holds_spools(self) -> bool:
        """Return whether write-ahead logs wait here, perhaps of runs that the store has never heard of."""
        with contextlib.suppress(OSError):
            return any(self.spool_folder().glob("*.spool"))
        return False

    def check(self, *, create: bool) -> None:
        """Refuse an address that cannot be a store's, and make its folder where it may be made.

        Raises
        ------
        StoreNotFoundError
            If there is none and ``create`` is false, or what is there is no store.
        StoreUnavailableError
            If the folder cannot be read, or a new store could not be written to it.
        """
        folder = self.folder
        if folder is None:
            return
        self.refuse_wrong_folder(create=create)
        if self.holds_tables():
            return
        if not create and not self.holds_spools():
            raise StoreNotFoundError(f"no store at {self.uri!r}; check the address, or track a first run there")
        try:
            (folder / "spool").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno not in PASSING:
                raise StoreUnavailableError(f"cannot make a store at {self.uri!r}: {error.strerror}") from error
            log.warning("cannot make a store at %r yet: %s", self.uri, error.strerror)
            return
        if not os.access(folder, os.W_OK | os.X_OK):
            raise StoreUnavailableError(f"cannot make a store at {self.uri!r}: the folder cannot be written to")

    def refuse_wrong_folder(self, *, create: bool) -> None:
        """Refuse a file, a folder that holds something else, and where nothing is to be made one that is missing.

        Raises
        ------
        StoreNotFoundError, StoreUnavailableError
        """
        folder = self.folder
        if folder is None:
            return
        try:
            if not folder.exists():
                if create:
                    return
                raise StoreNotFoundError(f"no store at {self.uri!r}; check the path, or track a first run there")
            if not folder.is_dir():
                raise StoreNotFoundError(f"{self.uri!r} is a file; a store is a folder")
            present = {entry.name for entry in folder.iterdir()}
        except OSError as error:
            raise StoreUnavailableError(f"cannot read the folder {self.uri!r}: {error.strerror}") from error
        # The folder of write-ahead logs is made first: with it the place is ours, whatever else a script puts there.
        if not present & {"migrations.lance", "spool"} and not present <= OURS | FIRST_TABLES:
            raise StoreNotFoundError(f"{self.uri!r} is a folder but holds no store; give a new or empty folder")

    def _state_folder(self, name: str) -> Path:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        return state / "experiment-advisor" / name / hashlib.sha256(self.uri.encode()).hexdigest()[:16]


# -- which experiments are known


def read_catalog(place: Place) -> Mapping[str, Experiment] | None:
    """Return the experiments that were there when somebody last wrote them down; None where that is not known.

    Raises
    ------
    SchemaTooNewError
        If a newer version of this program wrote the store.
    """
    try:
        content = json.loads(place.catalog_file().read_text(encoding="utf-8"))
        if content["format"] != CATALOG_FORMAT or content["uri"] != place.uri:
            return None
        schema = int(content["schema"])
        found = {str(item["name"]): _from_json(item) for item in content["experiments"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if schema > SCHEMA_VERSION:
        raise SchemaTooNewError(
            f"the store at {place.uri!r} has schema {schema}, this program knows up to {SCHEMA_VERSION}; "
            "upgrade: pip install -U experiment-advisor"
        )
    return found


def write_catalog(place: Place, experiments: Sequence[Experiment]) -> None:
    """Write down which experiments there are; where that cannot be done, the next start waits for the store instead."""
    content = {
        "format": CATALOG_FORMAT,
        "uri": place.uri,
        "schema": SCHEMA_VERSION,
        "experiments": [_as_json(experiment) for experiment in experiments],
    }
    file = place.catalog_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=".experiments-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as target:
                json.dump(content, target)
            os.replace(name, file)
        finally:
            Path(name).unlink(missing_ok=True)
    except (OSError, TypeError, ValueError) as error:
        file.unlink(missing_ok=True)  # none is better than an old one
        log.debug("the catalog of %r could not be written: %s", place.uri, error)


def _as_json(experiment: Experiment) -> dict[str, Any]:
    space = experiment.space
    return {
        "name": experiment.name,
        "number": experiment.number,
        "objectives": [{"metric": o.metric, "direction": o.direction} for o in experiment.objectives],
        "reduce": experiment.reduce,
        "space": None if space is None else {name: dict(dimension) for name, dimension in space.items()},
        "description": experiment.description,
        "problem": dict(experiment.problem),
        "created": experiment.created.isoformat(),
    }


def _from_json(item: Mapping[str, Any]) -> Experiment:
    space = item["space"]
    return Experiment(
        str(item["name"]),
        number=int(item["number"]),
        objectives=read_objectives(item["objectives"]),
        reduce=str(item["reduce"]),
        space=None if space is None else MappingProxyType({name: dict(dim) for name, dim in space.items()}),
        description=str(item["description"]),
        problem=MappingProxyType(dict(item.get("problem") or {})),
        created=read_time(item["created"]) or utc_now(),
    )
