"""Ways to deliver a message: the console, a webhook, a program, and every service that Apprise knows.

Sole importer of apprise.

A channel sends one message when told to, and waits for nothing else: what is sent, when, and how often it is tried is
the outbox's business. Addresses carry secrets (a webhook's address *is* its password), so they are never stored, logged
or shown: a channel is named by the hash of its address, and described by scheme and host.

Invariant: no error of this module, and nothing in its traceback, repeats an address.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import re
import subprocess
import sys
import time
import warnings
from base64 import b64encode
from datetime import datetime
from typing import Any, Protocol, TextIO
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from advisor.errors import ConfigError, MissingExtraError, NotificationError
from advisor.notify.render import Message
from storage.records import Severity

TIMEOUT_S = 10.0
"""How long a webhook may take to answer."""

PROGRAM_TIMEOUT_S = 30.0
"""How long a program may take to deliver; then it and all that it started are killed."""
SECRET_VARIABLE = "ADVISOR_WEBHOOK_SECRET"
"""Signs what webhooks get, unless the address has a secret of its own after ``#``."""
TIMESTAMP_HEADER, SIGNATURE_HEADER = "X-Advisor-Timestamp", "X-Advisor-Signature"
KEY_HEADER = "Idempotency-Key"
"""The same at every try of a message: a receiver that has seen it drops the message and answers 2xx."""

_RETRIED_STATUS = (408, 425, 429)  # a client's mistake for ever, except for these and every 5xx
_MAX_RETRY_AFTER_S = 3600.0


class DeliveryError(NotificationError):
    """A message did not get through.

    Attributes
    ----------
    is_final : bool
        Whether trying again would be of no use.
    retry_after_s : float or None
        How long the receiver asked to be left alone, in seconds.
    is_doubtful : bool
        Whether it may have got through all the same: nobody answered in time.
    """

    def __init__(
        self,
        message: str,
        *,
        is_final: bool = False,
        retry_after_s: float | None = None,
        is_doubtful: bool = False,
    ) -> None:
        super().__init__(message)
        self.is_final = is_final
        self.retry_after_s = retry_after_s
        self.is_doubtful = is_doubtful


class Channel(Protocol):
    """Somewhere that messages go. ``send`` may be slow; one thread at a time calls it."""

    @property
    def id(self) -> str:
        """Identity across processes; tells nothing of the address."""

    @property
    def takes_pictures(self) -> bool:
        """Whether it sends ``Message.picture`` along."""

    def describe(self) -> str:
        """Return the channel for people: scheme and host, no secret."""

    def send(self, message: Message) -> None:
        """Deliver a message.

        Raises
        ------
        NotificationError
            If it did not get through; a ``DeliveryError`` says whether to try again.
        """


def check_address(address: str) -> None:
    """Refuse what cannot be the address of a channel, without opening one.

    Raises
    ------
    ConfigError
        If it is neither ``console`` nor has a scheme.
    """
    if address.strip() == "console":
        return
    scheme, separator, rest = address.strip().partition("://")
    if not separator or not rest or not scheme:
        raise ConfigError(
            "an address of a channel must be 'console' or like scheme://…, "
            "for instance https://example.org/hook, slack://… or mailto://…"
        )


def open_channel(address: str) -> Channel:
    """Return the channel at an address; nothing is sent or connected yet.

    Parameters
    ----------
    address
        ``console`` (standard error); ``http://…`` or ``https://…`` (a webhook, see ``WebhookChannel``);
        ``exec:///path/to/program?arg=…`` (see ``ProgramChannel``); anything else is given
        to Apprise (``slack://…``, ``discord://…``, ``tgram://…``, ``mailto://…``, ``ntfy://…``, ``json://…``).

    Raises
    ------
    ConfigError
        If the address cannot be understood.
    MissingExtraError
        If it needs Apprise, which is not installed.
    """
    address = address.strip()
    check_address(address)
    if address == "console":
        return ConsoleChannel()
    scheme = address.partition("://")[0]
    if scheme.lower() in ("http", "https"):
        return WebhookChannel(address, secret=os.environ.get(SECRET_VARIABLE) or None)
    if scheme.lower() == "exec":
        return ProgramChannel(address)
    return AppriseChannel(address)


def channel_id(address: str) -> str:
    """Return the identity of an address: 12 hexadecimal digits of its SHA-256.

    A webhook's secret is not part of it, so that who changes the secret is not told everything again.
    """
    if address.partition("://")[0].lower() in ("http", "https"):
        address = address.partition("#")[0]
    return hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()[:12]


class ConsoleChannel:
    """Writes to standard error, as plain text."""

    takes_pictures = False

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    @property
    def id(self) -> str:
        """``console``."""
        return "console"

    def describe(self) -> str:
        """Return ``console``."""
        return "console"

    def send(self, message: Message) -> None:
        """Write the message in one piece, so that lines of other threads do not get between.

        Raises
        ------
        DeliveryError
            If the stream is closed or full.
        """
        stream = self._stream or sys.stderr
        indented = "".join(f"  {line}\n" for line in message.text.splitlines() if line)
        text = f"{message.title}\n{indented}"
        try:
            stream.write(text.encode(stream.encoding or "utf-8", "replace").decode(stream.encoding or "utf-8"))
            stream.flush()
        except (OSError, ValueError, AttributeError) as exc:  # closed, or None in a windowed program
            raise DeliveryError(f"the console takes no message: {exc}", is_final=True) from exc


class WebhookChannel:
    """Posts JSON to an address.

    The body is an object: ``version`` (1), ``source`` (``experiment-advisor``), ``title``, ``text``, ``severity``
    (``info``, ``warning`` or ``error``), ``experiment``, ``run_id``, ``findings`` (a list of the objects that
    ``advisor check --json`` prints), and where the run is at hand ``run_number`` and ``params``. Any 2xx answer means
    delivered. Redirects are not followed, since the message would be lost on the way. User and password in
    the address are sent as basic authorization.

    A message of the outbox also has an ``id``, which is repeated in the header ``Idempotency-Key``: it is the same at
    every try, so that a receiver can drop repetitions. Where a secret is known, the header ``X-Advisor-Signature`` is
    ``sha256=`` and the hexadecimal HMAC-SHA256, under that secret, of the header ``X-Advisor-Timestamp`` (seconds since
    1970), a full stop and the body. A receiver works it out anew, compares, and refuses timestamps that are old.
    """

    takes_pictures = False

    def __init__(self, address: str, *, timeout_s: float = TIMEOUT_S, secret: str | None = None) -> None:
        """Check the address; a secret after ``#`` in it comes before the one given.

        Raises
        ------
        ConfigError
            If it has no host, or a port that is none.
        """
        try:
            parts = urlsplit(address)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host:
            raise ConfigError("an address of a webhook must be like https://host[:port]/path") from None
        self.id = channel_id(address)
        self._timeout_s = timeout_s
        self._shown = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
        self._headers = {"Content-Type": "application/json", "User-Agent": "experiment-advisor"}
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {b64encode(user.encode()).decode()}"
        self._secret = (unquote(parts.fragment) or secret or "").encode("utf-8", "surrogatepass")
        self._url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))

    def describe(self) -> str:
        """Return scheme, host and port."""
        return self._shown

    def send(self, message: Message) -> None:
        """Post the message.

        Raises
        ------
        DeliveryError
            If it was refused, or nobody answered in time.
        """
        from http.client import HTTPException
        from urllib.error import HTTPError
        from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

        class NoRedirect(HTTPRedirectHandler):
            def redirect_request(self, *args: object) -> None:
                return None

        body = {"version": 1, "source": "experiment-advisor", "title": message.title, "text": message.text}
        body |= {"id": message.id} if message.id else {}
        content = json.dumps(body | {"severity": str(message.severity)} | dict(message.fields)).encode()
        headers = self._headers | ({KEY_HEADER: message.id} if message.id else {})
        if self._secret:
            timestamp = str(int(time.time()))
            headers |= {TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: signature(self._secret, timestamp, content)}
        # From None, because these exceptions hold the address.
        try:
            request = Request(self._url, data=content, headers=headers, method="POST")
            # A proxy cannot reach this machine's own receiver.
            direct = [ProxyHandler({})] if _is_loopback(self._url) else []
            with build_opener(NoRedirect, *direct).open(request, timeout=self._timeout_s) as answer:
                answer.read(1_000)
        except HTTPError as exc:
            with exc:
                raise self._refused(exc.code, exc.headers.get("Retry-After")) from None
        except (OSError, HTTPException, ValueError) as exc:
            why = f"no answer within {self._timeout_s:g} s" if _is_timeout(exc) else _cause(exc)
            raise DeliveryError(f"{self.describe()} was not reached: {why}", is_doubtful=_is_timeout(exc)) from None

    def _refused(self, status: int, retry_after: str | None) -> DeliveryError:
        is_final = status < 500 and status not in _RETRIED_STATUS
        return DeliveryError(
            f"{self.describe()} answered with HTTP status {status}",
            is_final=is_final,
            retry_after_s=_retry_after_s(retry_after),
        )


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """Return what the header ``X-Advisor-Signature`` must say.

    >>> signature(b"key", "1760000000", b"{}")[:15]
    'sha256=5f2db4fb'
    """
    return "sha256=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class ProgramChannel:
    """Starts a program and gives it the message as JSON on its standard input; no shell has a part in it.

    ``exec:///usr/local/bin/page?arg=--team&arg=ml`` starts ``/usr/local/bin/page --team ml``. The JSON is what a
    webhook gets. Exit code 0 means delivered; with any other, the message is tried again later. What the program prints
    is ignored.
    """

    takes_pictures = False

    def __init__(self, address: str, *, timeout_s: float = PROGRAM_TIMEOUT_S) -> None:
        """Check the address; the program need not be there yet.

        Raises
        ------
        ConfigError
            If it names no program by its whole path, or has parts that mean nothing.
        """
        rest, _, query = address.partition("://")[2].partition("?")
        path = unquote(rest)
        pairs = parse_qsl(query, keep_blank_values=True)
        if not path.startswith("/") or path.endswith("/") or "\0" in path or any(name != "arg" for name, _ in pairs):
            raise ConfigError("an address of a program must be like exec:///whole/path/to/program?arg=first&arg=second")
        self.id = channel_id(address)
        self._command = [path, *(value for _, value in pairs)]
        self._timeout_s = timeout_s

    def describe(self) -> str:
        """Return ``exec://`` and the name of the program; its arguments may be secret."""
        return f"exec://…/{os.path.basename(self._command[0])}"

    def send(self, message: Message) -> None:
        """Run the program.

        Raises
        ------
        DeliveryError
            If it is not there, takes too long, or says that it failed.
        """
        body = {"version": 1, "source": "experiment-advisor", "id": message.id, "title": message.title}
        body |= {"text": message.text, "severity": str(message.severity)} | dict(message.fields)
        hidden = {name: value for name, value in os.environ.items() if name not in (SECRET_VARIABLE, "ADVISOR_NOTIFY")}
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=hidden,
                start_new_session=True,
            )
        except (OSError, ValueError) as exc:
            raise DeliveryError(f"{self.describe()} could not be started: {_cause(exc)}") from None
        try:
            process.communicate(json.dumps(body).encode() + b"\n", timeout=self._timeout_s)
        except subprocess.TimeoutExpired:
            _kill_group(process)
            why = f"{self.describe()} did not end within {self._timeout_s:g} s"
            raise DeliveryError(why, is_doubtful=True) from None
        if process.returncode:
            raise DeliveryError(f"{self.describe()} ended with exit code {process.returncode}")


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a program that was started in a session of its own, and what it started."""
    import signal

    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # it has just ended
        pass
    process.communicate()


class AppriseChannel:
    """Sends by Apprise; see https://appriseit.com/services/ for its addresses."""

    takes_pictures = True

    def __init__(self, address: str) -> None:
        """Let Apprise check the address.

        Raises
        ------
        MissingExtraError
            If Apprise is not installed.
        ConfigError
            If it does not know the service or finds the address incomplete.
        """
        try:
            import apprise
        except ImportError as exc:
            raise MissingExtraError.of("notification by other services than console and webhook", "notify") from exc
        self.id = channel_id(address)
        scheme = address.partition("://")[0].lower()
        # In most schemes the place of the host is a token; it is shown only where it is certainly a host.
        self._shown = f"{scheme}://{_host(address) if scheme in _WITH_HOST else '…'}"
        self._apprise = apprise.Apprise()
        _keep_out_of_logs(address)
        with warnings.catch_warnings():
            # Apprise loads its plugins now, and on Python 3.11 and 3.12 one of them imports the deprecated imghdr.
            warnings.simplefilter("ignore", DeprecationWarning)
            is_known = self._apprise.add(address)
        if not is_known:
            raise ConfigError(
                f"the channel {scheme}://… cannot be used: Apprise does not know the service, or the address "
                "lacks a part; see https://appriseit.com/services/"
            )

    def describe(self) -> str:
        """Return the scheme, and the host where the address has one."""
        return self._shown

    def send(self, message: Message) -> None:
        """Hand the message to the service; Apprise keeps each service's own pace, which can take seconds.

        Raises
        ------
        DeliveryError
            If the service did not take it.
        """
        kinds = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.ERROR: "failure"}
        options: dict[str, Any] = {"notify_type": kinds[message.severity], "body_format": "text"}
        if message.picture is not None:
            from apprise.attachment.memory import AttachMemory

            attachment: Any = AttachMemory
            options["attach"] = attachment(content=message.picture, name="curve.png", mimetype="image/png")
        try:
            taken = self._apprise.notify(title=message.title, body=message.text, **options)
        except Exception as exc:  # noqa: BLE001  # 170 plugins by as many authors; their errors may hold the address
            raise DeliveryError(f"{self.describe()} failed: {type(exc).__name__}") from None
        if not taken:
            raise DeliveryError(f"{self.describe()} did not take the message")


_hidden: set[str] = set()
_MIN_HIDDEN = 6  # shorter parts of an address are words such as "hook", which would silence too much


def _names_no_address(record: logging.LogRecord) -> bool:
    text = record.getMessage()
    return not any(part in text for part in _hidden)


def _keep_out_of_logs(address: str) -> None:
    """Drop log records that repeat a part of an address: Apprise and the library below it log tokens and paths.

    Apprise sends in threads of its own, so the records can only be told by what they say.
    """
    scheme, _, rest = address.partition("://")
    host = _host(address) if scheme.lower() in _WITH_HOST else ""
    words = {*re.split(r"[/:@?&=#,]+", rest), *re.split(r"[/:@?&=#,]+", unquote(rest))}
    _hidden.update(word for word in words if len(word) >= _MIN_HIDDEN and word != host)
    for name in ("apprise", "urllib3.connectionpool"):
        logging.getLogger(name).addFilter(_names_no_address)  # adding it again changes nothing


_WITH_HOST = ("json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos", "syslog")


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or "…"
    except ValueError:
        return "…"


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _is_timeout(exc: BaseException) -> bool:
    return isinstance(exc, TimeoutError) or isinstance(getattr(exc, "reason", None), TimeoutError)


def _cause(exc: BaseException) -> str:
    """Return what the operating system says; other texts may repeat the address."""
    reason = getattr(exc, "reason", exc)
    return str(getattr(reason, "strerror", None) or type(reason).__name__)


def _retry_after_s(value: str | None) -> float | None:
    """Read a Retry-After header: seconds, or a date."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            until = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (until - datetime.now(until.tzinfo)).total_seconds()
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_S) if seconds == seconds else None
