"""Let a language model write sentences around facts, and ship only those that the verifier passes.

Leaves out the document around them. Invariant: it never raises and never blocks: any trouble with the
model gives the program's own sentences and a note that says so.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from advisor.documents.content import PLACEHOLDER, Line, Span, fill, text_of
from advisor.documents.draft import SCHEMA, parse
from advisor.documents.fact import FactSheet
from advisor.documents.model import LanguageModel
from advisor.documents.prompt import complaint, opening
from advisor.documents.untrusted import one_line
from advisor.documents.verifier import (
    Sentence,
    comparison,
    interpretation_problems,
    problems,
    verify_rendered,
    what_is_missing,
)
from advisor.errors import AdvisorError

TEMPLATE = "template"
"""Name of the writer where no model wrote."""
MAX_INTERPRETATIONS = 3
MAX_REPAIRS = 2
LEAST_REPAIR_S = 1.0
"""Seconds that must be left of a document's time for another repair to be asked for."""


@dataclass(frozen=True, slots=True)
class Narrative:
    """What a document says in running text."""

    paragraph: Line
    _: KW_ONLY
    interpretation: tuple[str, ...] = ()
    """Opinion of a model; its words and its form are checked, not its truth."""
    writer: str = TEMPLATE
    notes: tuple[str, ...] = ()
    """What the reader should know of how it was written."""


@dataclass
class _Draft:
    accepted: dict[int, Sentence] = field(default_factory=dict)
    rejected: dict[int, tuple[str, ...]] = field(default_factory=dict)
    interpretation: tuple[str, ...] = ()


def narrate(
    sheet: FactSheet,
    *,
    template: Sequence[str],
    untrusted_notes: Sequence[str] = (),
    model: LanguageModel | None = None,
) -> Narrative:
    """Return the running text: the model's verified sentences, or the template's.

    Parameters
    ----------
    template
        The program's own sentences with placeholders; what is shipped when no model, or no usable sentence, is there.
    untrusted_notes
        What people wrote about the runs; shown to the model as data.
    model
        None to write from the template.
    """
    own = _joined(fill(sentence, sheet) for sentence in template)
    if model is None:
        return Narrative(own)
    try:
        draft, n_written = _ask(model, sheet, untrusted_notes)
    except AdvisorError as error:
        return Narrative(own, notes=(f"No model wrote this: {one_line(str(error), limit=200)}. The template did.",))
    lines = [_fill_claims(draft.accepted[index], sheet) for index in sorted(draft.accepted)]
    once = list({text_of(line): line for line in lines}.values())  # a corrected sentence may repeat another
    kept = [line for line in once if not verify_rendered(text_of(line), sheet)]
    n_dropped = n_written - (len(lines) - len(once)) - len(kept)
    by = one_line(model.name, limit=80)
    dropped = f"{n_dropped} of {n_written} sentences by {by} could not be verified and were left out."
    notes = (dropped,) if n_dropped else ()
    if not kept:
        why = dropped if n_written else f"{by} wrote no sentence that could be used."
        return Narrative(own, notes=(f"{why} The template wrote this.",))
    return Narrative(_joined(kept), interpretation=draft.interpretation, writer=model.name, notes=notes)


def _ask(model: LanguageModel, sheet: FactSheet, notes: Sequence[str]) -> tuple[_Draft, int]:
    """Return the verified draft and how many sentences the model wrote at first."""
    deadline = time.monotonic() + model.timeout_s
    conversation = opening(sheet, notes)
    answer = model.complete(conversation, schema=SCHEMA, timeout_s=model.timeout_s)
    sentences, opinions = parse(answer, sheet)
    draft = _Draft(interpretation=_opinions(opinions))
    _sort(draft, dict(enumerate(sentences)), sheet)
    for _ in range(MAX_REPAIRS):
        left = deadline - time.monotonic()
        if not draft.rejected or left < min(LEAST_REPAIR_S, model.timeout_s / 2):
            break
        wanted = sorted(draft.rejected)
        conversation = [*conversation, *complaint(answer, draft.rejected)]
        try:
            answer = model.complete(conversation, schema=SCHEMA, timeout_s=left)
            repaired, _opinion = parse(answer, sheet)
        except AdvisorError:
            break  # what was verified before stays good
        draft.rejected.clear()
        _sort(draft, dict(zip(wanted, repaired, strict=False)), sheet)
    return draft, len(sentences)


def _sort(draft: _Draft, sentences: Mapping[int, Sentence], sheet: FactSheet) -> None:
    for index, sentence in sentences.items():
        found = problems(sentence, sheet)
        if found:
            draft.rejected[index] = found
        else:
            draft.accepted[index] = sentence


def _opinions(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(text.strip() for text in texts if not interpretation_problems(text))[:MAX_INTERPRETATIONS]


def _fill_claims(sentence: Sentence, sheet: FactSheet) -> Line:
    """Return a verified sentence with the program's words for its claims and its facts filled in."""
    missing = what_is_missing(sentence.text, sheet)
    if missing:
        *others, last = [f"{{{{{fact.id}}}}}" for fact in missing]
        return fill(f"Not recorded: {', '.join(others)}{' and ' if others else ''}{last}.", sheet)
    words = {claim.id: comparison(claim, sheet) for claim in sentence.claims}
    text = PLACEHOLDER.sub(lambda match: words.get(match[1], match[0]), sentence.text)
    for word in words.values():
        text = re.sub(rf"({re.escape(word)})\s+(?:than|to)\b", r"\1", text)
    ended = text.strip() if text.rstrip().endswith((".", ";", ":")) else text.strip() + "."
    return fill(ended[0].upper() + ended[1:], sheet)


def _joined(lines: Any) -> Line:
    out: list[Span] = []
    for line in lines:
        if out:
            out.append(Span(" "))
        out.extend(line)
    return tuple(out)
