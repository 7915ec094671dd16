"""Everything that can go wrong in the advisor itself; the store's own errors are in ``storage.errors``.

The tree::

    AdvisorError
    ├── ConfigError            (also a ValueError) a setting that cannot be used
    ├── SpaceError             (also a ValueError) a search space, or parameters that do not fit it
    ├── ImportFormatError      (also a ValueError) a folder or file that cannot be read
    │   └── SourceError        something in another tool's data, which is left out
    ├── NotEnoughRunsError     a question that the runs at hand cannot answer
    ├── MissingExtraError      an optional part that is not installed
    ├── ModelUnavailableError  a language model that did not answer usefully
    └── NotificationError      a channel that did not take a message

A message says what was given, what is allowed and what to do next, in one line.
"""

from __future__ import annotations

from typing import Self


class AdvisorError(Exception):
    """Base of all errors that this package raises on purpose."""


class ConfigError(AdvisorError, ValueError):
    """A setting that cannot be used."""

    @classmethod
    def no_objective(cls, experiment: str) -> Self:
        """Return the error of an experiment that is to be improved and does not say in what."""
        return cls(
            f"experiment {experiment!r} has no objective to improve; set one with "
            f"'advisor experiment {experiment} --objective METRIC --direction minimize'"
        )


class SpaceError(AdvisorError, ValueError):
    """A search space that makes no sense, or parameters that do not fit it."""


class ImportFormatError(AdvisorError, ValueError):
    """A folder or file that is not what it should be."""


class SourceError(ImportFormatError):
    """Something in another tool's data that cannot be read: it is left out, and the rest goes on."""


class NotEnoughRunsError(AdvisorError):
    """The runs at hand cannot answer the question."""


class MissingExtraError(AdvisorError):
    """An optional part of the program is not installed."""

    @classmethod
    def of(cls, what: str, extra: str) -> MissingExtraError:
        """Return the error that names the exact command to install an extra."""
        return cls(f"{what} needs the extra {extra!r}: pip install 'experiment-advisor[{extra}]'")


class ModelUnavailableError(AdvisorError):
    """A language model could not be reached, or its answer could not be used."""


class NotificationError(AdvisorError):
    """A channel did not take a message."""
