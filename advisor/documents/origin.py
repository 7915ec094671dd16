"""Where a document comes from, written into it so that it can be derived again and compared.

A comment at the end of the file (a key of the JSON form) says what the document is about, at which commit of the
journal it was written, and the hash of its facts; a checksum covers every character of the file, this one's included.
Leaves out deriving it again (see ``advisor.reports``). Invariant: no character of a sealed text can change without the
seal being broken, and nothing in the block can end the comment that it stands in.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any, Final

from advisor.errors import AdvisorError
from storage.records import EMPTY, valid_text

MARK: Final = "advisor:document"
_UNSEALED: Final = "0" * 64
_BLOCK: Final = re.compile(rf"<!-- {MARK} (\{{.*?\}}) -->\s*\Z", re.DOTALL)
_SEAL: Final = re.compile(r'("seal": ?")([0-9A-Za-z]{64})(")')
MAX_BLOCK: Final = 200_000
"""Characters of a block that is read; a longer one was not written by this program."""


def _nothing() -> Mapping[str, Any]:
    return EMPTY


@dataclass(frozen=True, slots=True)
class Origin:
    """What is needed to write a document once more."""

    kind: str
    """One of ``advisor.documents.KINDS``."""
    _: KW_ONLY
    id: str = ""
    """Of the document; empty where it is not kept in the store."""
    experiment: str = ""
    run_id: str = ""
    about: Mapping[str, Any] = field(default_factory=_nothing)
    """What else names the subject: ``finding``, ``other``, ``since``, ``until``."""
    format: str = "md"
    generated: str = ""
    """ISO time."""
    commit: int | None = None
    """Commit of the journal up to which it was read; None where that is not known."""
    lengths: Mapping[str, Mapping[str, int]] = field(default_factory=_nothing)
    """Points of the curves of runs that went on: ``{run_id: {metric: points}}``."""
    store: str = ""
    advisor: str = ""
    """Version of the program."""
    facts: str = ""
    """SHA-256 of the fact sheet."""
    writer: str = "template"
    notes: tuple[str, ...] = ()
    """What the reader was told of how it was written."""
    paragraph: str = ""
    """A model's verified sentences with their placeholders; empty where the program's own stand."""
    opinions: tuple[str, ...] = ()
    pictures: Mapping[str, str] = field(default_factory=_nothing)
    """SHA-256 of each picture beside a Markdown document, by file name."""

    def as_json(self) -> dict[str, Any]:
        """Return what is not empty, as JSON values."""
        found = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "_"}
        plain = {key: dict(value) if isinstance(value, Mapping) else value for key, value in found.items()}
        return {key: value for key, value in plain.items() if value not in ("", None, (), {})}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Origin:
        """Return what ``as_json`` gave; unknown keys, of a later version, are passed over.

        Raises
        ------
        OriginError
            If a part is not what it should be.
        """
        known = {each.name: each for each in fields(cls) if each.name != "_"}
        found = {key: value for key, value in given.items() if key in known}
        for key in ("notes", "opinions"):
            if key in found:
                found[key] = tuple(_checked(key, found[key], list))
        for key in ("about", "lengths", "pictures"):
            if key in found:
                _checked(key, found[key], dict)
        if "kind" not in found:
            raise OriginError("it does not say what kind of document it is")
        for key in ("kind", "id", "experiment", "run_id", "format", "generated", "store", "advisor", "facts", "writer"):
            if key in found:
                _checked(key, found[key], str)
        if found.get("commit") is not None:
            _checked("commit", found["commit"], int)
        return cls(**found)


class OriginError(AdvisorError):
    """A document whose block of origin cannot be read."""


def _checked(key: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise OriginError(f"its {key} is {value!r:.60}, which is no {kind.__name__}")
    return value


def sealed(text: str, origin: Origin) -> str:
    """Return a Markdown or HTML document with its block at the end, sealed."""
    body = json.dumps({**origin.as_json(), "seal": _UNSEALED}, ensure_ascii=True, separators=(", ", ": "))
    safe = re.sub(r"[<>&]", lambda match: f"\\u{ord(match[0]):04x}", body).replace("--", "-\\u002d")
    return _with_seal(f"{valid_text(text).rstrip()}\n\n<!-- {MARK} {safe} -->\n")


def sealed_json(content: Mapping[str, Any], origin: Origin) -> str:
    """Return a JSON document with its origin, sealed."""
    whole = {"document": {**origin.as_json(), "seal": _UNSEALED}, **content}
    return _with_seal(valid_text(json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False)) + "\n")


def origin_of(text: str) -> Origin | None:
    """Return where a text says that it comes from; None where it is no document of this program.

    Raises
    ------
    OriginError
        If it says so in a form that cannot be read.
    """
    found = _BLOCK.search(text[-MAX_BLOCK:])
    if found is not None:
        raw = found[1]
    elif MARK in text or text.lstrip().startswith('{\n "document"'):
        raw = _raw_json(text)
    else:
        return None
    try:
        given = json.loads(raw) if isinstance(raw, str) else raw
    except ValueError:
        raise OriginError("its block of origin is damaged") from None
    if not isinstance(given, dict):
        raise OriginError("its block of origin is damaged")
    return Origin.from_json(given)


def is_intact(text: str) -> bool:
    """Return whether a sealed text is, character by character, what was sealed."""
    at = _last_seal(text)
    return at is not None and text[at : at + 64] == _digest(text, at)


def _raw_json(text: str) -> Any:
    try:
        return json.loads(text).get("document")
    except (ValueError, AttributeError):
        raise OriginError("its block of origin is damaged") from None


def _with_seal(text: str) -> str:
    at = _last_seal(text)
    assert at is not None  # the block has just been written
    return f"{text[:at]}{_digest(text, at)}{text[at + 64 :]}"


def _last_seal(text: str) -> int | None:
    """Return where the seal stands: in the block at the end, or in the first key of the JSON form."""
    found = list(_SEAL.finditer(text))
    if not found:
        return None
    chosen = found[0] if text.lstrip().startswith("{") else found[-1]
    return chosen.start(2)


def _digest(text: str, at: int) -> str:
    blank = f"{text[:at]}{_UNSEALED}{text[at + 64 :]}"
    return hashlib.sha256(blank.encode("utf-8", "surrogatepass")).hexdigest()
