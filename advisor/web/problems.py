"""What is answered where a request cannot be: a problem (RFC 9457) to programs, a sentence to people.

Invariant: an answer says one clear sentence of ours; tracebacks and the words of libraries stay in the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.responses import PlainTextResponse, Response

from advisor.documents.untrusted import one_line
from advisor.errors import AdvisorError, MissingExtraError, ModelUnavailableError, NotEnoughRunsError, NotificationError
from storage.errors import (
    AlreadyThereError,
    CurveDamagedError,
    EmbeddingError,
    ExperimentExistsError,
    ExperimentNotFoundError,
    NothingCalledSoError,
    RunFinishedError,
    RunNotFoundError,
    SchemaTooNewError,
    SpoolError,
    StorageError,
    StoreNotFoundError,
    StoreUnavailableError,
)

API: Final = "/api/"
"""Below it programs ask, and get problems."""
MEDIA_TYPE: Final = "application/problem+json"
MAX_DETAIL: Final = 1_000
"""Letters of a sentence; the text that was given, which it may quote, can have a million."""

STATUSES: Final[tuple[tuple[int, tuple[type[Exception], ...]], ...]] = (
    (404, (ExperimentNotFoundError, RunNotFoundError, NothingCalledSoError)),
    (409, (ExperimentExistsError, RunFinishedError, AlreadyThereError, NotEnoughRunsError)),
    (501, (MissingExtraError,)),
    (503, (StoreUnavailableError, StoreNotFoundError, SchemaTooNewError, ModelUnavailableError, NotificationError)),
    (503, (CurveDamagedError, SpoolError, EmbeddingError)),
    (422, (AdvisorError, StorageError)),
)
"""The first that fits counts. 409: what is stored is in no state for it; 503: the store is the trouble."""


class Refusal(Exception):
    """A request that is not answered, and why."""

    def __init__(self, status: int, why: str, **headers: str) -> None:
        super().__init__(why)
        self.status, self.why, self.headers = status, why, headers


def status_of(error: Exception) -> int:
    """Return the HTTP status that stands for an error of ours."""
    return next(status for status, kinds in STATUSES if isinstance(error, kinds))


def words_of(error: Exception) -> str:
    """Return what an error of ours says."""
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)


def problem(status: int, why: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return a problem as RFC 9457 writes it."""
    body: dict[str, Any] = {"title": HTTPStatus(status).phrase, "status": status}
    body["detail"] = one_line(why, limit=MAX_DETAIL)
    return Response(msgspec.json.encode(body), status, headers, media_type=MEDIA_TYPE)


def refused(path: str, refusal: Refusal) -> Response:
    """Return the answer to a request that is refused."""
    if path.startswith(API):
        return problem(refusal.status, refusal.why, refusal.headers)
    why = one_line(refusal.why, limit=MAX_DETAIL)
    return PlainTextResponse(why + "\n", refusal.status, refusal.headers)
