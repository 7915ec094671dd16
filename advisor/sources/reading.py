"""Other programs' files, read with bounds: nothing is executed, and no file takes more memory than it may.

Everything raises ``SourceError`` with the reason in one sentence; what calls it names the file.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import yaml

from advisor.errors import SourceError

HEAD_MAX_BYTES: Final = 32 * 2**20
"""Of a file that is read whole: settings, parameters, states. The largest seen, a trainer_state.json of an epoch of
logging every step, has 20 MB."""
PARAMS_AT_MOST: Final = 2_000
"""Parameters of one run; a configuration of more is a data set."""
DEPTH_AT_MOST: Final = 20
"""Of nested settings."""
TEXT_AT_MOST: Final = 8_000
"""Characters of one value; MLflow keeps as many."""
LIST_AT_MOST: Final = 64
"""Values of a list that is kept as one parameter."""


def open_file(path: Path | str) -> BinaryIO:
    """Open a plain file to be read: no pipe, device or socket, which would never end.

    Raises
    ------
    SourceError
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SourceError("is no plain file")
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path | str, *, most: int = HEAD_MAX_BYTES) -> bytes:
    """Return a file's content.

    Raises
    ------
    SourceError
        If it cannot be read, or is larger than ``most`` bytes.
    """
    with open_file(path) as file:
        try:
            content = file.read(most + 1)
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror}") from error
    if len(content) > most:
        raise SourceError(f"is larger than {most:,} bytes")
    return content


def read_text(path: Path, *, most: int = HEAD_MAX_BYTES) -> str:
    """Return a file's content as text: UTF-8, or UTF-16 where it says so; bytes that are neither become ``�``."""
    return as_text(read_bytes(path, most=most))


def as_text(content: bytes) -> str:
    """Return bytes as text, see ``read_text``."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    return content.decode("utf-8-sig", errors="replace")


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text, Python's NaN and Infinity included.

    Raises
    ------
    SourceError
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"is no JSON: {_short(error)}") from error


def read_json(path: Path, *, most: int = HEAD_MAX_BYTES) -> Any:
    """Return a JSON file's value, see ``parse_json``."""
    return parse_json(read_text(path, most=most))


class _PlainLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # chosen at run time
    """Reads values only: a tag of Python's makes no object."""


def _untagged(loader: Any, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return node.value or suffix.rpartition(":")[2]
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True)


_PlainLoader.add_multi_constructor("tag:", _untagged)
_PlainLoader.add_multi_constructor("!", _untagged)


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML text; tags of objects are ignored, nothing is executed.

    Aliases are refused, since few bytes of them unfold to any amount of memory.

    Raises
    ------
    SourceError
    """
    try:
        # The loader in C composes by itself, so aliases are looked for beforehand, where there can be any.
        has_aliases = "&" in text and "*" in text and any(map(_is_alias, yaml.parse(text, Loader=_PlainLoader)))
        value = None if has_aliases else yaml.load(text, Loader=_PlainLoader)  # makes plain values only
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError, OverflowError) as error:
        raise SourceError(f"is no YAML: {_short(error)}") from error
    if has_aliases:
        raise SourceError("holds YAML aliases, which are not followed")
    return value


def _is_alias(event: yaml.Event) -> bool:
    return isinstance(event, yaml.AliasEvent)


def read_yaml(path: Path, *, most: int = 2**20) -> Any:
    """Return a YAML file's value, see ``parse_yaml``; 1 MiB at most, since YAML is read slowly."""
    return parse_yaml(read_text(path, most=most))


def flat(nested: Mapping[Any, Any], *, separator: str = ".") -> dict[str, Any]:
    """Return nested settings as one level, ``{"optimizer.lr": 0.1}``, every value one that a parameter may have.

    Lists of plain values stay lists up to ``LIST_AT_MOST``; of anything else the beginning of its text is kept. What is
    beyond ``PARAMS_AT_MOST`` or ``DEPTH_AT_MOST`` is left out.
    """
    out: dict[str, Any] = {}
    for name, value in _leaves(nested, "", separator, 0):
        if len(out) >= PARAMS_AT_MOST:
            break
        out[name] = plain(value)
    return out


def _leaves(nested: Mapping[Any, Any], prefix: str, separator: str, depth: int) -> Iterator[tuple[str, Any]]:
    for key, value in nested.items():
        name = f"{prefix}{str(key)[:500]}"
        if isinstance(value, Mapping) and value and depth < DEPTH_AT_MOST:
            yield from _leaves(value, f"{name}{separator}", separator, depth + 1)
        else:
            yield name, value


def plain(value: Any) -> Any:
    """Return a value as one that a parameter may have: a number, text, a truth value, None or a short list of these."""
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else float(value) if abs(value) < 10**300 else str(value)[:40]
    if isinstance(value, str):
        return value if len(value) <= TEXT_AT_MOST else value[:TEXT_AT_MOST] + "…"
    if isinstance(value, (list, tuple)) and len(value) <= LIST_AT_MOST and all(map(_is_plain, value)):
        return [plain(one) for one in value]
    return _head_of(value)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _head_of(value: Any) -> str:
    try:
        text = json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):
        text = f"<{type(value).__name__}>"
    return text if len(text) <= TEXT_AT_MOST else text[:TEXT_AT_MOST] + "…"


NON_FINITE: Final[Mapping[str, float]] = {
    **dict.fromkeys(("nan", "+nan", "-nan"), math.nan),
    **dict.fromkeys(("inf", "+inf", "infinity", "+infinity"), math.inf),
    **dict.fromkeys(("-inf", "-infinity"), -math.inf),
}
"""How programs write the values that JSON lacks, in lower case."""


def number(value: Any) -> float | None:
    """Return a number, also one that is written as text (``"NaN"``, ``"1e-3"``); None for anything else."""
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if isinstance(value, str):
        text = value.strip().lower()
        if text in NON_FINITE:
            return NON_FINITE[text]
        try:
            return float(text) if len(text) < 400 and "_" not in text else None
        except ValueError:
            return None
    return None


def whole(value: Any) -> int | None:
    """Return a whole number that a step may be, None for anything else."""
    found = number(value)
    if found is None or not math.isfinite(found) or abs(found) >= 2**62:
        return None
    return value if isinstance(value, int) and not isinstance(value, bool) else int(found)


def from_seconds(seconds: Any) -> datetime | None:
    """Return the time of seconds since 1970, None for what is none."""
    value = number(seconds)
    if value is None or not math.isfinite(value) or not -6e10 < value < 2.5e11:
        return None
    return datetime.fromtimestamp(value, UTC)


def from_iso(text: Any) -> datetime | None:
    """Return an ISO time, taken as UTC where it names no zone; None for what is none."""
    if isinstance(text, datetime):
        found = text
    else:
        try:
            found = datetime.fromisoformat(str(text).strip())
        except ValueError:
            return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def stamp_of(*paths: Path | str) -> str:
    """Return a text that changes when one of some files does: sizes, times and numbers; missing ones count too."""
    parts = []
    for path in paths:
        try:
            seen = os.stat(path)
            parts.append(f"{seen.st_size}.{seen.st_mtime_ns}.{seen.st_ino}")
        except (OSError, ValueError):
            parts.append("-")
    return " ".join(parts)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
