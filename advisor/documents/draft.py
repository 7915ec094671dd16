"""What a language model may answer: the form of a draft, and how an answer becomes sentences to be checked.

Pure; leaves out whether they are true (see ``verifier``). Invariant: whatever the answer is, what comes out are
sentences, opinions, or a ``DraftError``; a piece that does not fit is a sentence without text, which is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping
from typing import Any

from advisor.documents.verifier import Claim, Sentence
from advisor.errors import AdvisorError

MAX_SENTENCES = 8
_MAX_CLAIMS = 8

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["sentences", "interpretation"],
    "properties": {
        "sentences": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["text", "claims"],
                "properties": {
                    "text": {"type": "string"},
                    "claims": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "additionalProperties": False,
                            "required": ["id", "op", "a", "b"],
                            "properties": {
                                "id": {"type": "string"},
                                "op": {"type": "string", "enum": ["lt", "gt", "eq", "le", "ge"]},
                                "a": {"type": "string"},
                                "b": {"type": "string"},
                            },
                        },
                    },
                },
            },
        },
        "interpretation": {"type": "array", "items": {"type": "string"}},
    },
}

_FENCE = re.compile(r"^\s*```[a-zA-Z]*\s*|\s*```\s*$")
_NAMED = r"\s*(?P<the{n}>the\s+)?(?P<id{n}>[A-Za-z_]\w*)\s*"
_LOOSE = re.compile(
    "|".join(
        opening + _NAMED.format(n=n) + closing
        for n, (opening, closing) in enumerate(((r"\$?\{+", r"\}+"), (r"\[+", r"\]+"), ("<", "/?>")))
    )
)


class DraftError(AdvisorError):
    """An answer of a model that is not a draft."""


def parse(answer: str, ids: Container[str] = ()) -> tuple[list[Sentence], list[str]]:
    """Return the sentences and the interpretation of an answer.

    A fence of code around the JSON is forgiven, and so are other brackets than ``{{ }}`` around one of ``ids``.

    Raises
    ------
    DraftError
        If there is no JSON object with a list of sentences.
    """
    try:
        draft = json.loads(_FENCE.sub("", answer.strip()))
    except (ValueError, RecursionError):
        raise DraftError("its answer is not JSON") from None
    if not isinstance(draft, dict) or not isinstance(draft.get("sentences"), list):
        raise DraftError("its answer has no list of sentences")
    opinions = draft.get("interpretation")
    texts = [text for text in opinions if isinstance(text, str)] if isinstance(opinions, list) else []
    return [_sentence(item, ids) for item in draft["sentences"][:MAX_SENTENCES]], texts


def is_draft(answer: str) -> bool:
    """Return whether an answer can be parsed."""
    try:
        parse(answer)
    except DraftError:
        return False
    return True


def with_placeholders(text: str, ids: Container[str]) -> str:
    """Return a text in which ids in other brackets stand as placeholders.

    >>> with_placeholders("{the best}, [c1] than <baseline>, see [docs].", {"best", "c1", "baseline"})
    '{{the best}}, {{c1}} than {{baseline}}, see [docs].'
    """

    def spelled(match: re.Match[str]) -> str:
        n = next(n for n in range(3) if match[f"id{n}"])
        the = "the " if match[f"the{n}"] else ""
        return f"{{{{{the}{match[f'id{n}']}}}}}" if match[f"id{n}"] in ids else match[0]

    return _LOOSE.sub(spelled, text)


def _sentence(item: Any, ids: Container[str]) -> Sentence:
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        return Sentence("")
    raw = item.get("claims") or []
    if not isinstance(raw, list) or len(raw) > _MAX_CLAIMS or not all(_is_claim(claim) for claim in raw):
        return Sentence("")
    claims = tuple(Claim(claim["id"], op=claim["op"], a=claim["a"], b=claim["b"]) for claim in raw)
    own = frozenset(claim.id for claim in claims)
    return Sentence(with_placeholders(item["text"].strip(), _Either(ids, own)), claims=claims)


def _is_claim(claim: Any) -> bool:
    return isinstance(claim, dict) and all(isinstance(claim.get(key), str) for key in ("id", "op", "a", "b"))


class _Either(Container[str]):
    """What is in one of two."""

    def __init__(self, one: Container[str], other: Container[str]) -> None:
        self._both = (one, other)

    def __contains__(self, item: object) -> bool:
        return any(item in one for one in self._both)
