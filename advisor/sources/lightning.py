"""Runs of Lightning's ``CSVLogger``: ``<name>/version_<N>/{metrics.csv,hparams.yaml}``.

A row is one call of the logger, so most cells are empty; metrics of one step stand in several rows. The file is
written anew when a metric is seen for the first time, by older releases each time: then it is read whole again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from advisor.errors import SourceError
from advisor.sources.naming import experiment_of, root_of, run_name, shown
from advisor.sources.port import Entry, Found, Listing, Options, Reader, Source, SourceRun
from advisor.sources.reading import stamp_of
from advisor.sources.table_columns import Roles
from advisor.sources.table_files import look
from advisor.sources.tables import run_of_table
from advisor.sources.tensorboard_folders import is_events

METRICS: Final = "metrics.csv"
PARAMETERS: Final = "hparams.yaml"
STEP: Final = "step"
DEFAULT_NAMES: Final = frozenset({"lightning_logs", "default"})
"""Folders that Lightning makes where nobody gives a name."""
_VERSION: Final = re.compile(r"version_([0-9]{1,9})")


class LightningReader(Reader):
    """Knows versions by their table and the file with parameters beside it."""

    tool = "lightning"
    title = "Lightning CSVLogger"

    def find(self, at: Listing) -> Sequence[Found]:
        """Claim the versions below a folder of logs as one source, or a version given by itself."""
        if METRICS in at.files and (PARAMETERS in at.files or _VERSION.fullmatch(at.path.name)):
            if not _is_table(at.path / METRICS):
                return ()
            events = frozenset(name for name in at.files if is_events(name))
            claims = (at.files & {METRICS, PARAMETERS}) | events
            return [Found(self.tool, str(at.path), n_runs=1, what="version", claims=claims)]
        versions = frozenset(name for name in at.folders if _VERSION.fullmatch(name) and _is_version(at.path / name))
        if not versions:
            return ()
        return [Found(self.tool, str(at.path), n_runs=len(versions), what="versions", claims=versions)]

    def find_file(self, path: Path) -> Found | None:
        """Return the version that a table is of."""
        is_named = path.name == METRICS and (
            (path.parent / PARAMETERS).is_file() or _VERSION.fullmatch(path.parent.name)
        )
        if not is_named or not _is_table(path):
            return None
        return Found(self.tool, str(path.parent), n_runs=1, what="version")

    def open(self, found: Found, options: Options) -> Source:
        """Open a folder of versions, or a version."""
        return LightningSource(Path(found.path), options)


class LightningSource(Source):
    """Versions of one name."""

    def __init__(self, folder: Path, options: Options) -> None:
        super().__init__()
        self._folder, self._options = folder, options
        self._root = root_of(folder, options)

    def entries(self) -> Iterator[Entry]:
        """Yield versions by their numbers."""
        self.notes.clear()
        for folder in self._versions():
            stamp = stamp_of(folder / METRICS, folder / PARAMETERS)
            yield Entry(shown(folder.name), stamp=stamp, load=partial(self._load, folder))

    def _versions(self) -> list[Path]:
        if (self._folder / METRICS).is_file():
            return [self._folder]
        try:
            names = [path.name for path in self._folder.iterdir() if path.is_dir() and not path.is_symlink()]
        except OSError:
            return []
        numbered = [(int(match[1]), name) for name in names if (match := _VERSION.fullmatch(name))]
        there = [self._folder / name for _, name in sorted(numbered)]
        return [folder for folder in there if _is_version(folder)]

    def _load(self, folder: Path) -> SourceRun:
        path = folder / METRICS
        _, head = look(path)
        roles = Roles(STEP, None, (), has_params=False)
        run = run_of_table(path, head, roles, self._options, names=(PARAMETERS,))
        name = shown(folder.parent.name)
        is_named = name not in DEFAULT_NAMES and _VERSION.fullmatch(folder.name)
        return replace(
            run,
            key=str(folder),
            name=run_name(folder, self._root),
            experiment=name if is_named and folder != self._root else experiment_of(self._root),
        )


def _is_version(folder: Path) -> bool:
    path = folder / METRICS
    return path.is_file() and not path.is_symlink()


def _is_table(path: Path) -> bool:
    try:
        form, _ = look(path)
    except SourceError:
        return False
    return STEP in form.names
