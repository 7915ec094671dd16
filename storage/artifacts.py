"""Files that runs keep, named by the SHA-256 of their content: in a folder, or in the bucket of the store.

Leaves out who keeps what and under which name: that is in the journal. Invariant: a file is there whole or not
at all. In a folder it is written beside and renamed; in a bucket what fits in memory is one request, and
what does not is uploaded beside and copied by the service.
"""

from __future__ import annotations

import abc
import hashlib
import io
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from storage.errors import RecordError, StoreUnavailableError
from storage.lance import mapped
from storage.records import new_id
from storage.remote import DEFAULTS, endpoint, persist

if TYPE_CHECKING:
    from pyarrow import fs

BLOCK: Final = 2**20
IN_ONE_REQUEST: Final = 8 * 2**20
"""Bytes that are held in memory and sent at once; a larger file is streamed."""
COPY_MAX: Final = 5 * 2**30
"""The most that S3 copies in one request. A larger file goes straight to its place, after its hash is known."""
ABANDONED_AFTER: Final = timedelta(days=2)
"""An upload that did not end by then was killed."""
FRESH_FOR: Final = timedelta(days=7)
"""A file in a bucket that is older is sent again when it is put again: its age tells who may still need it."""
NO_LINKS: Final = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
"""How a kept file is opened: no link is followed, nothing is waited for; other systems lack some of it."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Artifact:
    """One kept file."""

    sha256: str
    n_bytes: int


class Artifacts(abc.ABC):
    """Files by their content. Putting one twice keeps it once."""

    @abc.abstractmethod
    def put(self, path: Path) -> Artifact:
        """Keep a copy of a file.

        Raises
        ------
        StoreUnavailableError
            If it could not be read, or not be kept; nothing of it is visible then.
        """

    @abc.abstractmethod
    def open(self, sha256: str) -> BinaryIO:
        """Open a kept file for reading, seeking allowed.

        Raises
        ------
        RecordError
            If no file of that hash is kept.
        """

    @abc.abstractmethod
    def kept(self) -> Iterator[Artifact]:
        """Yield what is kept, ordered by hash."""

    @abc.abstractmethod
    def last_put(self, sha256: str) -> datetime | None:
        """Return when a file was put last, None where it is not kept; up to ``FRESH_FOR`` before it was."""

    @abc.abstractmethod
    def delete(self, sha256: str) -> None:
        """Let go of a file; one that is not kept is gone already."""

    @abc.abstractmethod
    def sweep(self) -> int:
        """Remove what uploads left behind that were killed more than two days ago; return how many there were."""

    def verify(self, sha256: str) -> bool:
        """Return whether a kept file still has the content that its name promises.

        Raises
        ------
        RecordError
            If no file of that hash is kept.
        """
        with self.open(sha256) as file:
            digest = hashlib.sha256()
            while block := file.read(BLOCK):
                digest.update(block)
        return digest.hexdigest() == sha256


def artifacts_at(uri: str, folder: Path | None) -> Artifacts:
    """Return the artifacts of the store at an address; ``folder`` is that of a local store."""
    if folder is not None:
        return LocalArtifacts(folder / "artifacts", uri=uri)
    if uri.partition("://")[0] not in _FILE_SYSTEMS:
        return NoArtifacts(uri)
    return RemoteArtifacts(uri)


def files_at(uri: str) -> tuple[fs.FileSystem, str]:
    """Return the file system of an address, and the path in it.

    Raises
    ------
    StoreUnavailableError
        If the address is of a service that keeps no files.
    """
    scheme, mark, place = uri.partition("://")
    if not mark:
        from pyarrow import fs

        return fs.LocalFileSystem(), str(Path(uri).expanduser().absolute())
    if scheme not in _FILE_SYSTEMS:
        raise StoreUnavailableError(
            f"{scheme}:// keeps tables, no files; a store there is copied by 'advisor store merge'"
        )
    return _FILE_SYSTEMS[scheme](os.environ), place.rstrip("/")


class LocalArtifacts(Artifacts):
    """Files in a folder."""

    def __init__(self, folder: Path, *, uri: str) -> None:
        self._folder = folder
        self._uri = uri

    def put(self, path: Path) -> Artifact:
        """See ``Artifacts``."""
        digest, name = hashlib.sha256(), None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._folder, prefix=".incoming-")
            with os.fdopen(handle, "wb") as target, path.open("rb") as source:
                while block := source.read(BLOCK):
                    digest.update(block)
                    target.write(block)
                size = target.tell()
            final = self._path(digest.hexdigest())
            final.parent.mkdir(exist_ok=True)
            os.replace(name, final)
        except OSError as error:
            raise StoreUnavailableError(f"cannot keep {str(path)!r} in the store: {error.strerror}") from error
        finally:
            if name is not None:
                Path(name).unlink(missing_ok=True)
        return Artifact(digest.hexdigest(), size)

    def open(self, sha256: str) -> BinaryIO:
        """See ``Artifacts``."""
        path = self._path(checked(sha256))
        try:
            if path.is_symlink() or path.parent.is_symlink():
                raise RecordError(f"{str(path)!r} is a link, which leads out of the store; links are not followed")
            handle = os.open(path, os.O_RDONLY | NO_LINKS)
        except FileNotFoundError as error:
            raise missing(sha256) from error
        except OSError as error:
            raise StoreUnavailableError(f"cannot open {str(path)!r}: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise missing(sha256)
        return os.fdopen(handle, "rb")

    def kept(self) -> Iterator[Artifact]:
        """See ``Artifacts``."""
        for path in sorted(self._folder.glob("??/*")):
            if _SHA256.fullmatch(path.name):
                yield Artifact(path.name, path.stat().st_size)

    def last_put(self, sha256: str) -> datetime | None:
        """See ``Artifacts``."""
        try:
            return datetime.fromtimestamp(self._path(checked(sha256)).stat().st_mtime, UTC)
        except OSError:
            return None

    def delete(self, sha256: str) -> None:
        """See ``Artifacts``."""
        path = self._path(checked(sha256))
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreUnavailableError(f"cannot delete {str(path)!r}: {error.strerror}") from error

    def sweep(self) -> int:
        """See ``Artifacts``."""
        oldest = (datetime.now(UTC) - ABANDONED_AFTER).timestamp()
        old = [path for path in self._folder.glob(".incoming-*") if path.stat().st_mtime < oldest]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256


class RemoteArtifacts(Artifacts):
    """Files in a bucket, below ``artifacts/`` of the store's own address.

    Parameters
    ----------
    uri
        Address of the store: ``s3://…``, ``gs://…`` or ``az://…``.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        scheme, _, place = uri.partition("://")
        self._folder = f"{place.rstrip('/')}/artifacts"
        self._scheme = scheme
        self._made: fs.FileSystem | None = None

    def put(self, path: Path) -> Artifact:
        """See ``Artifacts``."""
        sha256, size = _digest(path)
        final = self._path(sha256)

        def once() -> None:
            with mapped(self._uri, f"keep {path.name!r} in"):
                there = self._fs.get_file_info(final)
                if there.is_file and there.size == size and datetime.now(UTC) - there.mtime < FRESH_FOR:
                    return
                if size <= IN_ONE_REQUEST:
                    self._send_small(path, sha256, final)
                elif size <= COPY_MAX:
                    self._send_beside(path, sha256, final)
                else:
                    self._send(path, sha256, final)

        persist(once)
        return Artifact(sha256, size)

    def open(self, sha256: str) -> BinaryIO:
        """See ``Artifacts``."""
        final = self._path(checked(sha256))

        def once() -> Any:
            with mapped(self._uri, "open a file of"):
                try:
                    return self._fs.open_input_file(final)
                except FileNotFoundError as error:
                    raise missing(sha256) from error

        return io.BufferedReader(_Reader(persist(once), self._uri), BLOCK)

    def kept(self) -> Iterator[Artifact]:
        """See ``Artifacts``."""
        found = [(entry.base_name, entry.size) for entry in self._entries() if _SHA256.fullmatch(entry.base_name)]
        for name, size in sorted(found):
            yield Artifact(name, size)

    def last_put(self, sha256: str) -> datetime | None:
        """See ``Artifacts``."""
        key = self._path(checked(sha256))

        def once() -> Any:
            with mapped(self._uri, "look for a file of"):
                return self._fs.get_file_info(key)

        found = persist(once)
        return found.mtime if found.is_file else None

    def delete(self, sha256: str) -> None:
        """See ``Artifacts``."""
        self._delete(self._path(checked(sha256)))

    def sweep(self) -> int:
        """See ``Artifacts``."""
        oldest = datetime.now(UTC) - ABANDONED_AFTER
        old = [each for each in self._entries() if "/incoming/" in each.path and each.is_file and each.mtime < oldest]
        for entry in old:
            self._delete(entry.path)
        return len(old)

    # -- inner workings

    @property
    def _fs(self) -> fs.FileSystem:
        if self._made is None:
            self._made = _FILE_SYSTEMS[self._scheme](os.environ)
        return self._made

    def _path(self, sha256: str) -> str:
        return f"{self._folder}/{sha256[:2]}/{sha256}"

    def _entries(self) -> list[Any]:
        from pyarrow import fs

        selector = fs.FileSelector(self._folder, recursive=True, allow_not_found=True)

        def once() -> list[Any]:
            with mapped(self._uri, "list the files of"):
                return [entry for entry in self._fs.get_file_info(selector) if entry.is_file]

        return persist(once)

    def _delete(self, key: str) -> None:
        def once() -> None:
            with mapped(self._uri, "delete a file of"):
                try:
                    self._fs.delete_file(key)
                except FileNotFoundError:
                    pass  # that was the wish

        persist(once)

    def _send_small(self, path: Path, sha256: str, key: str) -> None:
        data = _read_all(path)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise changed(path)
        with self._fs.open_output_stream(key) as target:
            target.write(data)

    def _send_beside(self, path: Path, sha256: str, final: str) -> None:
        beside = f"{self._folder}/incoming/{new_id()}"
        try:
            self._send(path, sha256, beside)
            self._fs.copy_file(beside, final)
        finally:
            self._forget(beside)

    def _send(self, path: Path, sha256: str, key: str) -> None:
        """Stream a file to a key; where what was sent is not what the hash says, take it away again."""
        digest, unread = hashlib.sha256(), None
        with self._fs.open_output_stream(key) as target:
            try:
                for block in _blocks(path):
                    digest.update(block)
                    target.write(block)
            except StoreUnavailableError as error:
                unread = error  # the stream has no way to be given up, only to be closed
        if unread is not None or digest.hexdigest() != sha256:
            self._forget(key)
            raise unread or changed(path)

    def _forget(self, key: str) -> None:
        try:
            self._fs.delete_file(key)
        except OSError:
            pass  # not there, or left for the sweep


class NoArtifacts(Artifacts):
    """What a service offers that keeps tables only: a sentence."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def put(self, path: Path) -> Artifact:
        """Refuse."""
        raise self._refusal()

    def open(self, sha256: str) -> BinaryIO:
        """Refuse."""
        raise self._refusal()

    def kept(self) -> Iterator[Artifact]:
        """Yield nothing."""
        yield from ()

    def last_put(self, sha256: str) -> datetime | None:
        """Return None."""

    def delete(self, sha256: str) -> None:
        """Do nothing."""

    def sweep(self) -> int:
        """Do nothing."""
        return 0

    def _refusal(self) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"the service at {self._uri!r} keeps tables and no files; keep the file elsewhere and note its address"
        )


class _Reader(io.RawIOBase):
    """An Arrow file as Python's own kind, with errors of ours."""

    def __init__(self, file: Any, uri: str) -> None:
        self._file = file
        self._uri = uri

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        position = self._file.tell()

        def once() -> bytes:
            with mapped(self._uri, "read a file of"):
                self._file.seek(position)
                return bytes(self._file.read(len(buffer)))

        data = persist(once)
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._file.tell(), io.SEEK_END: self._file.size()}[whence]
        position = int(start) + offset
        if position < 0:
            raise ValueError(f"cannot seek to {position}, which is before the beginning")
        self._file.seek(position)
        return position

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def checked(sha256: str) -> str:
    """Return a hash as it is, unless it is none.

    Raises
    ------
    RecordError
        If it is not 64 hexadecimal digits, which no kept file is named.
    """
    if not _SHA256.fullmatch(sha256):
        raise missing(sha256)
    return sha256


def missing(sha256: str) -> RecordError:
    """Return the error that says that a file is not kept."""
    return RecordError(f"the store keeps no file with the SHA-256 {sha256!r}")


def changed(path: Path) -> StoreUnavailableError:
    """Return the error that says that a file was written to while it was read."""
    return StoreUnavailableError(f"cannot keep {str(path)!r} in the store: it changed while it was read; save it again")


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as source:
            while block := source.read(BLOCK):
                yield block
    except OSError as error:
        raise StoreUnavailableError(f"cannot keep {str(path)!r} in the store: {error.strerror}") from error


def _read_all(path: Path) -> bytes:
    return b"".join(_blocks(path))


def _digest(path: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for block in _blocks(path):
        digest.update(block)
        size += len(block)
    return digest.hexdigest(), size


# ---------------------------------------------------------------- file systems, from the environment


def _s3(environ: Mapping[str, str]) -> fs.FileSystem:
    from pyarrow import fs

    address = endpoint(environ)
    options: dict[str, Any] = {}
    if address is not None:
        scheme, _, host = address.rpartition("://")
        options |= {"endpoint_override": host.rstrip("/"), "scheme": scheme or "https"}
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if region:
        options["region"] = region
    return fs.S3FileSystem(
        anonymous=_true(environ.get("AWS_SKIP_SIGNATURE")),
        force_virtual_addressing=_true(environ.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST")),
        request_timeout=_seconds(environ, "timeout"),
        connect_timeout=_seconds(environ, "connect_timeout"),
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=int(DEFAULTS["client_max_retries"]) + 1),
        allow_delayed_open=True,  # what is small becomes one request
        **options,
    )


def _gs(environ: Mapping[str, str]) -> fs.FileSystem:
    from pyarrow import fs

    return fs.GcsFileSystem(
        anonymous=_true(environ.get("GOOGLE_SKIP_SIGNATURE")), retry_time_limit=timedelta(seconds=30)
    )


def _az(environ: Mapping[str, str]) -> fs.FileSystem:
    from pyarrow import fs

    name = environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    if not name:
        raise StoreUnavailableError("files on az:// need AZURE_STORAGE_ACCOUNT_NAME, as the tables do; set it")
    return fs.AzureFileSystem(
        name, account_key=environ.get("AZURE_STORAGE_ACCOUNT_KEY"), sas_token=environ.get("AZURE_STORAGE_SAS_TOKEN")
    )


_FILE_SYSTEMS: Final = {"s3": _s3, "gs": _gs, "az": _az}


def _true(text: str | None) -> bool:
    return (text or "").lower() in ("1", "true", "yes", "on")


def _seconds(environ: Mapping[str, str], name: str) -> float:
    """Return a duration such as ``15s``, ``500ms`` or ``1m`` in seconds."""
    given = environ.get(name.upper()) or environ.get(f"AWS_{name.upper()}") or DEFAULTS[name]
    found = re.fullmatch(r"\s*([\d.]+)\s*(ms|s|m|h)?\w*\s*", given)
    if found is None:
        return float(DEFAULTS[name].rstrip("s"))
    return float(found[1]) * {"ms": 0.001, "m": 60.0, "h": 3600.0}.get(found[2] or "s", 1.0)
