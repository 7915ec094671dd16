"""What all object stores have in common: settings from the environment, words for their errors, patience.

Knows no client library: ``storage.lance`` and ``storage.artifacts`` bring theirs. Credentials are found by those
libraries and never pass through here. Invariant: an explanation is one line and shows no secret.
"""

from __future__ import annotations

import logging
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Final, TypeVar

from storage.errors import StoreUnavailableError

T = TypeVar("T")

log = logging.getLogger(__name__)

DEFAULTS: Final[Mapping[str, str]] = {
    "timeout": "10s",
    "connect_timeout": "3s",
    "client_max_retries": "4",
    "client_retry_timeout": "12",
    "lance_aimd_max_retries": "1",
}
"""Options for the tables. The library's own (30 s, tries for 180 s, repeated four to six times by its outer layers)
would let one append wait for 8 minutes and one read for 12 in front of a service that takes connections and does not
answer; with these it is 40 s and 2 minutes, and a service that is not there is told from it in seconds."""
PERSIST_FOR_S: Final = 40.0
"""How long a commit is tried again, each time after a longer pause; whoever gives up keeps its write-ahead log."""
LONGEST_PAUSE_S: Final = 2.0
"""Between two tries: a writer that waited long must not be the one that looks least often."""


def is_remote(uri: str) -> bool:
    """Return whether an address is one of an object store or a hosted service, not a folder."""
    return "://" in uri


def endpoint(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the address of an S3-compatible service where it is not Amazon's."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_S3_ENDPOINT")
    return next((environ[name] for name in names if environ.get(name)), None)


def table_options(uri: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the options that the tables at an address need beside what the library reads itself.

    Each yields to the variable of its name, with or without ``AWS_`` before it (``TIMEOUT=60s``).
    """
    scheme = uri.partition("://")[0]
    if scheme not in ("s3", "gs", "az", "abfss"):
        return {}
    given = {name.lower().removeprefix("aws_").removeprefix("object_store_") for name in environ}
    options = {name: value for name, value in DEFAULTS.items() if name not in given}
    address = endpoint(environ) if scheme == "s3" else None
    if address is not None:
        options["aws_endpoint"] = address
        if address.startswith("http://"):  # whoever writes http:// means it
            options["allow_http"] = "true"
    return options


# ---------------------------------------------------------------- errors


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an object store did not do what it was asked."""

    reason: str
    """One line without secrets."""
    _: KW_ONLY
    passing: bool
    """Whether trying again may help."""


_STATUS: Final = re.compile(r"\bstatus(?: code)?:? ?(\d{3})\b", re.IGNORECASE)
_CODE: Final = re.compile(r"<Code>(\w+)</Code>|AWS Error ([A-Z_]+)")
_NO_CREDENTIALS: Final = re.compile(
    r"CredentialsNotLoaded|Failed to get \w+ credentials|no providers in chain|Could not find credentials", re.I
)
_REFUSED: Final = re.compile(
    r"Access_?Denied|Invalid_?Access_?Key_?Id|Signature_?Does_?Not_?Match|Expired_?Token|Invalid_?Token|"
    r"Authentication_?Failed|Unauthenticated|Permission ?Denied",
    re.I,
)
_UNKNOWN: Final = re.compile(r"Commit result for version \d+ is unknown", re.I)
_NO_BUCKET: Final = re.compile(r"No_?Such_?Bucket|Container_?Not_?Found|The specified bucket does not exist", re.I)
_CONFLICT: Final = re.compile(
    r"Commit conflict|CommitConflict|Retryable commit|Conditional_?Request_?Conflict|Precondition|"
    r"Too many concurrent writers|TooMuchWriteContention|concurrent(?:ly)? (?:transaction|commit|modif)|"
    r"No_?Such_?Upload",
    re.I,
)
_UNREACHABLE: Final = re.compile(
    r"ConnectionRefused|tcp connect error|dns error|kind: Connect|Could(?:n't| not) (?:connect|resolve)|"
    r"curlCode: [67]\b",
    re.I,
)
_NO_ANSWER: Final = re.compile(
    r"\btimed? ?out\b|error sending request|NETWORK_CONNECTION|connection (?:reset|closed|aborted)|"
    r"HTTP error|error decoding response body|IncompleteBody|Broken pipe",
    re.I,
)


def explain(text: str, uri: str) -> Trouble | None:
    """Return what an error of a client library says about the service; None where it is about something else.

    Parameters
    ----------
    text
        The library's message, all lines of it.
    uri
        Address of the store, for the name of its bucket.

    Examples
    --------
    >>> explain("... in 2ms, after 4 retries ... status code: 503 ...: <Code>SlowDown</Code>", "s3://b/x")
    Trouble(reason='the service answered 503 (SlowDown)', passing=True)
    """
    found = _STATUS.search(text)
    status = int(found[1]) if found else 0
    codes = _CODE.search(text)
    code = (codes[1] or codes[2]) if codes else ""
    answered = f"the service answered {status or 'with an error'}" + (f" ({code})" if code else "")
    if _UNKNOWN.search(text):
        return Trouble("the connection broke before it was known whether the commit went through", passing=True)
    if _NO_CREDENTIALS.search(text):
        return Trouble(f"no credentials were found; set {_credentials(uri)}", passing=False)
    if status in (401, 403) or _REFUSED.search(text):
        return Trouble(f"{answered}; check {_credentials(uri)} and what they may do", passing=False)
    if _NO_BUCKET.search(text):
        bucket = uri.partition("://")[2].partition("/")[0]
        return Trouble(f"there is no bucket {bucket!r}; create it first, or check the address", passing=False)
    if status in (409, 412) or _CONFLICT.search(text):
        return Trouble("other writers were faster", passing=True)
    if status == 429 or status >= 500 or code in ("SLOW_DOWN", "INTERNAL_FAILURE", "SERVICE_UNAVAILABLE"):
        return Trouble(answered, passing=True)
    if _UNREACHABLE.search(text):
        return Trouble(f"cannot connect to {_host(uri)}", passing=True)
    if _NO_ANSWER.search(text):
        return Trouble("the service did not answer in time, or the connection broke", passing=True)
    return None


def _credentials(uri: str) -> str:
    names = {"s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY", "gs": "GOOGLE_APPLICATION_CREDENTIALS"}
    azure = "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY"
    return names.get(uri.partition("://")[0], azure if uri.startswith(("az:", "abfss:")) else "the credentials")


def _host(uri: str) -> str:
    address = endpoint() if uri.startswith("s3:") else None
    return "the service" if address is None else re.sub(r"//[^/@]*@", "//", address)


# ---------------------------------------------------------------- patience


def persist(
    call: Callable[[], T],
    *,
    for_s: float = PERSIST_FOR_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
) -> T:
    """Call until it succeeds, fails for good, or has failed in passing for ``for_s`` seconds.

    Pauses double from 50 ms to ``LONGEST_PAUSE_S`` and are drawn anew each time from half to one and a half of it,
    so that writers who collided once do not collide in step.
    """
    give_up, pause_s = clock() + for_s, 0.05
    while True:
        try:
            return call()
        except StoreUnavailableError as error:
            wait_s = pause_s * (0.5 + jitter())
            if not error.passing or clock() + wait_s > give_up:
                raise
            log.debug("trying again in %.2f s: %s", wait_s, error)
            sleep(wait_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
