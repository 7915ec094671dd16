"""Files that scripts written for W&B hand over: patterns, the folder of a run, artifacts."""

from __future__ import annotations

import glob
import logging
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from advisor.compat.unsupported import say_once

log = logging.getLogger(__name__)

Keep = Callable[[str | Path, str], object]
"""Keeps a file under a name."""


class Files:
    """Which files a run was asked to keep, and how they looked when they were kept.

    Parameters
    ----------
    parent
        Where the run's folder is made, once somebody asks for it.
    """

    def __init__(self, parent: str | None = None) -> None:
        self._parent = parent
        self._folder: str | None = None
        self._live: list[tuple[str, Path]] = []
        self._kept: dict[Path, tuple[int, int]] = {}

    def folder(self) -> str:
        """Return the folder, made now where there is none."""
        if self._folder is None:
            parent = self._parent if self._parent and os.path.isdir(self._parent) else None
            self._folder = tempfile.mkdtemp(prefix="advisor-run-", dir=parent)
        return self._folder

    def save(self, pattern: str, base: Any, keep: Keep, *, live: bool) -> list[str]:
        """Keep the files that a pattern names by their paths under ``base``; return these paths."""
        root = Path(base) if base else Path(pattern).parent if os.path.isabs(pattern) else Path()
        if live:
            self._live.append((pattern, root))
        return self._keep(pattern, root, keep)

    def keep_rest(self, keep: Keep) -> None:
        """Keep what changed or came since, and all of the run's folder."""
        for pattern, root in self._live:
            self._keep(pattern, root, keep)
        if self._folder is not None:
            folder = Path(self._folder)
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                self._keep_one(path, folder, keep)
            self.forget()

    def forget(self) -> None:
        """Remove the run's folder."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _keep(self, pattern: str, root: Path, keep: Keep) -> list[str]:
        paths = [Path(found) for found in sorted(glob.glob(pattern, recursive=True))]
        return [str(path) for path in paths if path.is_file() and self._keep_one(path, root, keep)]

    def _keep_one(self, path: Path, root: Path, keep: Keep) -> bool:
        about = path.stat()
        looks = (about.st_mtime_ns, about.st_size)
        if self._kept.get(path.absolute()) != looks:
            keep(path, _under(path, root))
            self._kept[path.absolute()] = looks
        return True


class Artifact:
    """A named set of files; ``log_artifact`` keeps them with the run. What else W&B's artifacts do is not there."""

    def __init__(self, name: str, type: str = "", description: str | None = None, metadata: Any = None, **_: Any):
        self.name, self.type, self.description, self.metadata = name, type, description, metadata or {}
        self._files: list[tuple[Path, str]] = []

    @classmethod
    def of(cls, path: Any, name: str | None, kind: str | None) -> Artifact:
        """Return the artifact that holds one file or folder."""
        source = Path(str(path))
        artifact = cls(name or source.name, kind or "")
        if source.is_dir():
            artifact.add_dir(source)
        elif source.is_file():
            artifact.add_file(source)
        else:
            say_once(f"artifact {source}", f"log_artifact({str(path)!r}): there is no such file, so nothing is kept")
        return artifact

    def add_file(self, local_path: str | Path, name: str | None = None, **_: Any) -> None:
        """Add one file."""
        self._files.append((Path(local_path), name or Path(local_path).name))

    def add_dir(self, local_path: str | Path, name: str | None = None, **_: Any) -> None:
        """Add all files of a folder."""
        folder = Path(local_path)
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            self._files.append((path, "/".join(filter(None, [name, path.relative_to(folder).as_posix()]))))

    @contextmanager
    def new_file(self, name: str, mode: str = "w", encoding: str | None = None) -> Iterator[IO[Any]]:
        """Open a file to be written, which is added."""
        folder = tempfile.mkdtemp(prefix="advisor-artifact-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        path = Path(folder) / Path(name).name
        with open(path, mode, encoding=encoding) as file:
            yield file
        self.add_file(path, name)

    def add(self, obj: Any, name: str, **_: Any) -> None:
        """Leave out a table or a medium, and say so once."""
        say_once("artifact add", f"Artifact.add({name!r}): a {type(obj).__name__} is not kept; add_file keeps files")

    def add_reference(self, uri: Any, *_: Any, **__: Any) -> None:
        """Leave out an address, and say so once."""
        say_once("artifact reference", f"Artifact.add_reference({str(uri)!r}) is not kept; run.note(…) keeps a text")

    def files(self) -> list[tuple[Path, str]]:
        """Return paths and names."""
        return list(self._files)

    def wait(self, *_: Any, **__: Any) -> Artifact:
        """Return itself: there is nothing to wait for."""
        return self


def _under(path: Path, root: Path) -> str:
    try:
        return path.absolute().relative_to(root.absolute()).as_posix()
    except ValueError:
        return path.name
