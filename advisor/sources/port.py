"""What a reader of another tracker's data promises, and what it hands over.

A **reader** recognises one tool's data in a folder, a file or behind an address. What it recognised is a ``Found``;
opened, it is a ``Source``: a sequence of ``Entry``, one a run, each with a stamp that is cheap to get and changes with
the run, so that whoever imports again loads only what changed. A loaded run is a ``SourceRun``: what the tool knew of
it, and a way to read its curves, whole or from where the last reading ended.

Invariant: readers only read. They open nothing outside of what was found, follow no link out of it, execute nothing
(no pickles, no YAML tags), hold the curves of one run at a time, and raise ``SourceError`` where something cannot be
read: that run, or that file, is left out with its reason, and the rest goes on.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from storage.records import RunState

Cursor: TypeAlias = Mapping[str, Any]
"""Where a reading ended, as JSON; only the reader that made it understands it."""


@dataclass(frozen=True, slots=True)
class Points:
    """Points of one metric, in the order in which they were written."""

    steps: NDArray[np.int64]
    """Shape (T,)."""
    values: NDArray[np.float64]
    """Shape (T,); NaN and ±inf as the tool recorded them."""
    times: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """Shape (T,), seconds since the run's start; empty where unknown."""

    def __len__(self) -> int:
        return int(self.steps.size)


@dataclass(frozen=True, slots=True)
class Piece:
    """What was read of a run's curves."""

    curves: Mapping[str, Points]
    """By metric."""
    _: KW_ONLY
    is_whole: bool = True
    """Whether the curves begin at the run's start; otherwise they go on where the cursor given stood."""
    cursor: Cursor | None = None
    """Where to go on next time; None where only a whole reading is possible."""
    notes: tuple[str, ...] = ()
    """What of the curves could not be read and was left out, in plain sentences."""


@dataclass(frozen=True, slots=True)
class SourceExperiment:
    """What a tool knows of an experiment beside its runs."""

    objectives: Sequence[tuple[str, str]] = ()
    """(metric, ``minimize`` or ``maximize``); empty where the tool does not say."""
    description: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRun:
    """One run as another tool recorded it."""

    key: str
    """What the tool tells it from all others by, wherever its files lie: a UUID where the tool has one, else the
    absolute path. Runs of the same tool and key are the same run."""
    experiment: str
    """As the tool calls it; for files without such a notion, a name made from the folder that was given."""
    read: Callable[[Cursor | None], Piece]
    """Read the curves, from a cursor where one is given and still fits, else whole; raises ``SourceError``."""
    about: SourceExperiment = field(default_factory=SourceExperiment)
    name: str | None = None
    """What people call the run."""
    state: RunState | None = RunState.FINISHED
    """None where the tool does not record it: then it is finished once nothing has been written for a while."""
    active: datetime | None = None
    """When something was written last, where ``state`` is None or ``running``."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Flat: numbers, text, booleans, None, or short lists of them."""
    tags: Sequence[str] = ()
    notes: Sequence[str] = ()
    seed: int | None = None
    started: datetime | None = None
    """With its zone; times of the curves count from here."""
    ended: datetime | None = None
    values: Sequence[float] | None = None
    """One an objective, where the tool keeps them apart from curves (an Optuna trial has them)."""
    error: str | None = None
    """Why it failed, where the tool says so."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """Code and machine, in our words where there are any: ``git_commit``, ``git_branch``, ``git_remote``,
    ``git_dirty``, ``python``, ``hostname``, ``user``, ``command``, ``gpu`` …"""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What else the tool says: group, job type, address of its page, parent run …"""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Values of the run that are no curves: final summaries, the user's own attributes."""
    artifacts: Sequence[Mapping[str, Any]] = ()
    """Files as the tool names them: ``name``, ``uri``, perhaps ``size``; links, nothing is opened or copied."""
    distributions: Mapping[str, str] = field(default_factory=dict)
    """Optuna's distribution of each parameter as its JSON."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A run before it is loaded."""

    place: str
    """Where it is in its source, unique there and stable: a relative path, a row's id."""
    _: KW_ONLY
    stamp: str
    """Changes when anything of the run changes; made without reading it, of its files' sizes and times for instance."""
    load: Callable[[], SourceRun]
    """Raises ``SourceError`` where the run cannot be read."""


@dataclass(frozen=True, slots=True)
class Found:
    """Data of one tool, recognised and not yet opened."""

    tool: str
    """The reader's ``tool``."""
    path: str
    """Folder, file or address."""
    _: KW_ONLY
    n_runs: int | None = None
    """How many runs, where that is known without reading; None otherwise."""
    what: str = ""
    """Which of the tool's formats, in a few words: ``SQLite database``."""
    claims: frozenset[str] | None = None
    """Names in the folder ``path`` that are this tool's; None: the whole folder, with all that is below it."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A folder as the search for data sees it; links to elsewhere are left out."""

    path: Path
    folders: frozenset[str]
    files: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a person said about how to read."""

    root: Path | None = None
    """The folder or file that was given, absolute: names of experiments are made from it where files have none."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Roles of a table's columns, name → ``step``, ``time``, ``run``, ``param``, ``metric`` or ``ignore``."""
    deadline_s: float = 60.0
    """For one request, where data is read over a network."""


class Source(abc.ABC):
    """Found data, opened. A context manager."""

    notes: list[str]
    """What was left out so far, in plain sentences; grows while entries are read."""

    def __init__(self) -> None:
        self.notes = []

    @abc.abstractmethod
    def entries(self) -> Iterator[Entry]:
        """Yield every run there is now, in a stable order, oldest first where that is known.

        May be called again: what is new or changed since is seen.

        Raises
        ------
        SourceError
            If nothing at all can be read.
        """

    def close(self) -> None:
        """Let go of what is held. Closing twice is fine."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Reader(abc.ABC):
    """Knows the data of one tool. Has no state; made once."""

    tool: ClassVar[str]
    """Short name, as in ``--from``: lower case."""
    title: ClassVar[str]
    """As its makers write it."""

    def find(self, at: Listing) -> Sequence[Found]:
        """Return what of this tool lies in a folder, decided by names and at most the first bytes of a few files.

        Called for the folder given and, where nobody claims those whole, for the folders below it.
        """
        del at
        return ()

    def find_file(self, path: Path) -> Found | None:
        """Return what one file that was given by name is to this tool."""
        del path
        return None

    def find_address(self, address: str) -> Found | None:
        """Return what an address (``http://…``, ``postgresql://…``) is to this tool."""
        del address
        return None

    @abc.abstractmethod
    def open(self, found: Found, options: Options) -> Source:
        """Open what was found.

        Raises
        ------
        SourceError
            If it cannot be opened.
        MissingExtraError
            If reading it needs a package that is not installed.
        """
