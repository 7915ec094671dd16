"""Files of lines that somebody may still append to, read in blocks of whole lines and from where a reading ended.

A last line that has no end yet is never given out. Whether a file is still the one that was read before is told by its
number, its length, and checksums of its beginning and of what stands before the place.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from advisor.errors import SourceError
from advisor.sources.reading import open_file

BLOCK_BYTES: Final = 4 * 2**20
LINE_MAX_BYTES: Final = 32 * 2**20
"""A longer line is no record of any tool."""
CHECKED_BYTES: Final = 64
"""Bytes of the beginning, and before the place, that must be as they were."""


class GrowingFile:
    """An open file of lines. A context manager."""

    def __init__(self, path: Path | str) -> None:
        """Open a file at its beginning.

        Raises
        ------
        SourceError
            If it cannot be opened.
        """
        self._file = open_file(path)
        self.offset = 0
        """Bytes of whole lines given out so far."""

    def goes_on_from(self, mark: Any) -> bool:
        """Go to where an earlier reading ended, if the file is still the one that was read; return whether it is."""
        if not (isinstance(mark, list) and len(mark) == 3 and all(isinstance(part, int) for part in mark)):
            return False
        seen = os.fstat(self._file.fileno())
        offset = mark[0]
        if not 0 <= offset <= seen.st_size or mark[1] != seen.st_ino or mark[2] != self._checksum(offset):
            return False
        self.offset = offset
        return True

    def mark(self) -> list[int]:
        """Return where reading has come to, as JSON."""
        return [self.offset, os.fstat(self._file.fileno()).st_ino, self._checksum(self.offset)]

    def blocks(self) -> Iterator[bytes]:
        """Yield what follows, some whole lines at a time.

        Raises
        ------
        SourceError
            If it cannot be read, or a line is no line.
        """
        left = b""
        while True:
            read = self._read(self.offset + len(left), BLOCK_BYTES)
            if not read:
                return
            end = read.rfind(b"\n") + 1
            if not end:
                left += read
                if len(left) > LINE_MAX_BYTES:
                    raise SourceError(f"has a line of more than {LINE_MAX_BYTES:,} bytes")
                continue
            block, left = left + read[:end], b""
            self.offset += len(block)
            yield block

    def last_line(self, *, quiet_s: float) -> bytes:
        """Return a last line that has no end, once nothing has been written to the file for a while."""
        seen = os.fstat(self._file.fileno())
        if seen.st_size == self.offset or not quiet_s < time.time() - seen.st_mtime:
            return b""
        line = self._read(self.offset, LINE_MAX_BYTES)
        self.offset += len(line)
        return line

    def _checksum(self, offset: int) -> int:
        head = self._read(0, min(CHECKED_BYTES, offset))
        start = max(offset - CHECKED_BYTES, 0)
        return zlib.crc32(self._read(start, offset - start), zlib.crc32(head))

    def _read(self, offset: int, n: int) -> bytes:
        try:
            self._file.seek(offset)
            return self._file.read(n)
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
