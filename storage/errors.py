"""Everything that can go wrong in a store.

The tree (every name is importable from ``storage``)::

    StorageError
    ├── StoreNotFoundError       nothing that looks like a store at that address
    ├── StoreUnavailableError    the address exists but cannot be read or written now
    ├── SchemaTooNewError        the store was written by a newer version of this program
    ├── ExperimentNotFoundError  (also a KeyError)
    ├── ExperimentExistsError
    ├── RunNotFoundError         (also a KeyError)
    ├── RunFinishedError         the run has ended; what it holds no longer changes
    ├── FilterError              (also a ValueError) a filter that cannot be understood
    ├── RecordError              (also a ValueError) a value that the store cannot keep
    │   ├── NothingCalledSoError  no finding, document or suggestion of that id
    │   └── AlreadyThereError     it was written before, and would be there twice
    ├── CurveDamagedError        a packed piece of a curve that is not what was written
    ├── SpoolError               a write-ahead log that cannot be read at all
    └── EmbeddingError           a text encoder that cannot be had or does not match the store

A message says what was given, what is allowed and what to do next, in one line.
Errors of the database library never leave ``storage.lance``: they are mapped there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches


class StorageError(Exception):
    """Base of all errors that this package raises on purpose."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0]) if self.args else self.__class__.__name__


class StoreNotFoundError(StorageError):
    """There is no store at the given address."""


class StoreUnavailableError(StorageError):
    """The store cannot be reached, read or written at the moment."""

    passing: bool = False
    """Whether trying again may help: another writer was faster, or the service hiccuped."""


class SchemaTooNewError(StorageError):
    """The store was written by a newer version of this program."""


class ExperimentNotFoundError(StorageError, KeyError):
    """No experiment of that name."""


class ExperimentExistsError(StorageError):
    """An experiment of that name exists already."""


class RunNotFoundError(StorageError, KeyError):
    """No run of that id."""


class RunFinishedError(StorageError):
    """The run has ended: it takes no more points and cannot end a second time."""


class FilterError(StorageError, ValueError):
    """A ``where`` or ``order_by`` that cannot be understood."""


class RecordError(StorageError, ValueError):
    """A value that the store cannot keep as it is."""


class NothingCalledSoError(RecordError):
    """No finding, document or suggestion of that id."""


class AlreadyThereError(RecordError):
    """It was written before, and would be there twice."""


class CurveDamagedError(StorageError):
    """A packed piece of a curve whose bytes are not what was written."""


class SpoolError(StorageError):
    """A write-ahead log whose beginning cannot be read."""


class EmbeddingError(StorageError):
    """A text encoder that cannot be had, or vectors of two encoders that would be mixed."""


def did_you_mean(given: str, allowed: Iterable[str], *, show: int = 8, written: Callable[[str], str] = str) -> str:
    """Return the end of a sentence that names what is allowed, the closest first.

    >>> did_you_mean("val_lss", ["val_loss", "train_loss"])
    "did you mean 'val_loss'?"
    >>> did_you_mean("x", [])
    'there is none yet.'
    >>> did_you_mean("lrr", ["lr"], written="params.{}".format)
    "did you mean 'params.lr'?"
    """
    names = sorted(set(allowed))
    if not names:
        return "there is none yet."
    close = [name for name in names if name.casefold() == given.casefold()]
    close = close or get_close_matches(given, names, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(written(name)) for name in close) + "?"
    more = f" … ({len(names)} in all)" if len(names) > show else ""
    verb = "there are " if len(names) > 1 else "there is "
    return verb + ", ".join(repr(written(name)) for name in names[:show]) + more + "."
