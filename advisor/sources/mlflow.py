"""MLflow: folders ``mlruns/``, SQLite databases, tracking servers. None of MLflow's packages is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from advisor.errors import SourceError
from advisor.sources import databases
from advisor.sources.mlflow_files import META, TRASH, FilesSource, is_experiment, is_run
from advisor.sources.mlflow_server import ServerSource
from advisor.sources.mlflow_sqlite import TABLES, SqliteSource
from advisor.sources.port import Found, Listing, Options, Reader, Source

LOOKED_AT: Final = 50
"""Folders of a folder that are looked into; experiments have numbers for names, so few others are."""
OTHERS: Final = ("wandb.ai", "comet.com", "huggingface.co", "neptune.ai", "clear.ml")
"""Hosts of other trackers."""
FILES: Final = "folder of runs"
DATABASE: Final = "SQLite database"
SERVER: Final = "tracking server"


class MLflowReader(Reader):
    """Reads what MLflow kept."""

    tool = "mlflow"
    title = "MLflow"

    def find(self, at: Listing) -> Sequence[Found]:
        """Return a folder of experiments, one experiment or one run, and databases."""
        if META in at.files and (is_run(at.path) or is_experiment(at.path)):
            return [Found(self.tool, str(at.path), what=FILES)]
        found = []
        experiments = self._experiments(at)
        if experiments:
            claims = frozenset(experiments) | ({TRASH} & at.folders)
            found.append(Found(self.tool, str(at.path), what=FILES, claims=claims))
        for name in sorted(at.files):
            if name.endswith(databases.SUFFIXES) and _is_database(at.path / name):
                beside = {name, *(f"{name}{ending}" for ending in ("-wal", "-shm", "-journal"))} & at.files
                path = str(at.path / name)
                found.append(Found(self.tool, path, what=DATABASE, claims=frozenset(beside)))
        return found

    def find_file(self, path: Path) -> Found | None:
        """Return a database, or a run by its ``meta.yaml``."""
        if path.name == META and (is_run(path.parent) or is_experiment(path.parent)):
            return Found(self.tool, str(path.parent), what=FILES)
        return Found(self.tool, str(path), what=DATABASE) if _is_database(path) else None

    def find_address(self, address: str) -> Found | None:
        """Return a tracking server, which is not asked yet, or the file that ``sqlite:///mlflow.db`` means.

        Raises
        ------
        SourceError
            If the address holds a password: what is kept of a source is its address.
        """
        path = databases.path_of_address(address)
        if path is not None:
            return Found(self.tool, str(path), what=DATABASE) if _is_database(path) else None
        try:
            parts = urlsplit(address)
            host = parts.hostname or ""
            parts.port  # noqa: B018  # a port that is no number is told here
        except ValueError:
            return None
        if parts.scheme not in ("http", "https") or not host or _is_other(host):
            return None
        if parts.username is not None or parts.password is not None:
            raise SourceError(
                "the address holds a user or a password; leave them out and set MLFLOW_TRACKING_USERNAME "
                "and MLFLOW_TRACKING_PASSWORD"
            )
        # What follows a question mark is no part of a server's place, and may be a secret.
        return Found(self.tool, parts._replace(query="").geturl(), what=SERVER)

    def open(self, found: Found, options: Options) -> Source:
        """Open what was found."""
        if found.what == SERVER:
            return ServerSource(found.path, deadline_s=options.deadline_s)
        return SqliteSource(Path(found.path)) if found.what == DATABASE else FilesSource(Path(found.path))

    def _experiments(self, at: Listing) -> list[str]:
        """Return the folders that are experiments, all where one of the first is."""
        likely = sorted(at.folders, key=lambda name: (not name.isdigit(), name))
        if not any(is_experiment(at.path / name) for name in likely[:LOOKED_AT]):
            return []
        return [name for name in likely if is_experiment(at.path / name)]


def _is_database(path: Path) -> bool:
    tables = databases.tables_of(path)
    return tables.keys() >= TABLES and "run_uuid" in tables["metrics"]


def _is_other(host: str) -> bool:
    return any(host == other or host.endswith(f".{other}") for other in OTHERS)
