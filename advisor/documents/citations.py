"""Citations in any text: ``{{fact id}}`` is where a fact's text goes, ``0.2295 [fact id]`` says what a figure is.

What an agent writes can so be held against the store figure by figure. Leaves out where facts come from (a function is
given) and figures without a citation (``prose``). Invariant: a cited figure is supported only if it is the fact's, at
the precision at which it is written; a citation that says nothing, or has no figure before it, is never supported.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, Final, Literal

from advisor.documents.fact import Fact
from advisor.documents.fact_paths import KINDS
from advisor.documents.prose_values import Figure, may_be_percent, read_figure
from advisor.documents.prose_words import TIMES_TEN
from advisor.documents.untrusted import one_line
from advisor.errors import AdvisorError
from storage.errors import StorageError

MAX_CITATIONS: Final = 2_000
"""Of one text; further ones are not looked up and count as failures."""
BEFORE: Final = 120
"""Characters before a citation in which its figure has to stand."""
_PLACEHOLDER: Final = re.compile(r"\{\{\s*([^\s{}]{1,600})\s*\}\}")
CITATION: Final = re.compile(
    rf"[ \t]?[`(*_]{{0,3}}\[\s?`?((?:{'|'.join(KINDS)})/[^\s\[\]]{{1,600}}?)`?\s?\][`)*_]{{0,3}}"
)
_NUMBER: Final = rf"[-+−]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:e[-+−]?\d+|{TIMES_TEN})?"
_LAST: Final = re.compile(
    rf"(?P<figure>(?<![\w.,])#?{_NUMBER}|(?<!\w)[-+−]?(?:nan|inf(?:inity)?\b|∞))"
    r"(?P<unit>\s?%|\s?[a-zµ]{1,12})?[\s*_`)\"']*\Z",
    re.IGNORECASE,
)
_SPAN: Final = re.compile(
    r"(?<![\w.,])(?P<text>(?:\d+\s?d\s)?(?:\d+\s?h\s)?(?:\d+\s?min\s)?\d+(?:\.\d+)?\s?(?:ms|s|min|h|d))[\s*_`)\"']*\Z"
)
_SPAN_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s?(ms|s|min|h|d)")
_SECONDS: Final = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "seconds": 1.0, "second": 1.0, "min": 60.0, "minutes": 60.0,
                   "minute": 60.0, "h": 3600.0, "hours": 3600.0, "hour": 3600.0, "d": 86400.0, "days": 86400.0,
                   "day": 86400.0}  # fmt: skip
_WRAPPED: Final = " \t*_`)\"'"

Resolve = Callable[[str], Fact]


@dataclass(frozen=True, slots=True)
class Cited:
    """One citation or placeholder of a text, and what became of it."""

    line: int
    _: KW_ONLY
    fact_id: str
    how: Literal["citation", "placeholder"]
    written: str
    """The figure before a citation; of a placeholder what was filled in."""
    verdict: Literal["supported", "contradicted", "unknown"]
    """``unknown`` where the figure is the fact's, and its sentence may speak of something else."""
    about: str = ""
    expected: str = ""
    why: str = ""
    at: int = 0
    """Where what is written begins in the filled text."""

    def as_json(self) -> dict[str, Any]:
        """Return the public form, that of any figure and the fact's id."""
        names = ("line", "written", "verdict", "about", "expected", "why", "fact_id")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Read:
    """A text whose citations were looked up."""

    filled: str
    """The text with the placeholders filled in; those that name no fact stand as they were."""
    rest: str
    """The filled text with blanks for everything that was cited: what is left to be looked at, line by line."""
    cited: tuple[Cited, ...]
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """Those that were found, by their ids."""


def read(text: str, resolve: Resolve) -> Read:
    """Look up every citation of a text.

    Parameters
    ----------
    resolve
        Given an id, returns the fact, or raises a ``StorageError`` or ``AdvisorError`` that says why there is none.
    """
    known: dict[str, Fact | str] = {}

    def look_up(fact_id: str) -> Fact | str:
        if fact_id not in known:
            known[fact_id] = (
                _asked(resolve, fact_id) if len(known) < MAX_CITATIONS else "the text has too many citations"
            )
        return known[fact_id]

    filled, covered, found = _filled(text, look_up)
    lines = [at for at, char in enumerate(filled) if char == "\n"]
    put = list(covered)
    for match in CITATION.finditer(filled):
        if any(start <= match.start(1) < end for start, end in put):
            continue  # the text of a fact cites nothing
        line = 1 + bisect_right(lines, match.start(1))
        start, cited = _held(filled, match, look_up(match[1]), line)
        covered.append((start, match.end()))
        found.append(replace(cited, at=start))
    found.sort(key=lambda each: each.line)
    facts = {fact_id: fact for fact_id, fact in known.items() if isinstance(fact, Fact)}
    return Read(filled, _blanked(filled, covered), tuple(found), facts)


def _asked(resolve: Resolve, fact_id: str) -> Fact | str:
    try:
        return resolve(fact_id)
    except (StorageError, AdvisorError) as error:
        return str(error)


def _filled(text: str, look_up: Callable[[str], Fact | str]) -> tuple[str, list[tuple[int, int]], list[Cited]]:
    """Fill in the placeholders once: what a fact's own text says is never looked at again."""
    out: list[str] = []
    covered: list[tuple[int, int]] = []
    found: list[Cited] = []
    at = length = 0
    line = 1
    for match in _PLACEHOLDER.finditer(text):
        before = text[at : match.start()]
        line += before.count("\n")
        fact = look_up(match[1])
        put = match[0] if isinstance(fact, str) else one_line(fact.text, limit=200)
        out += [before, put]
        covered.append((length + len(before), length + len(before) + len(put)))
        length, at = covered[-1][1], match.end()
        if isinstance(fact, str):
            found.append(Cited(line, fact_id=match[1], how="placeholder", written=one_line(match[0], limit=80),
                               verdict="contradicted", why=fact))  # fmt: skip
        else:
            found.append(Cited(line, fact_id=match[1], how="placeholder", written=put, verdict="supported",
                               about=fact.label, at=covered[-1][0]))  # fmt: skip
    out.append(text[at:])
    return "".join(out), covered, found


def _held(text: str, match: re.Match[str], fact: Fact | str, line: int) -> tuple[int, Cited]:
    """Hold the figure before a citation against its fact; return where the figure begins, too."""
    paragraph = text.rfind("\n\n", 0, match.start())
    low = max(0 if paragraph < 0 else paragraph + 2, match.start() - BEFORE)
    before = text[low : match.start()].replace("\n", " ")  # a line may end between the two
    own = None if isinstance(fact, str) else fact
    length, written = _written(before, own)
    about = "" if own is None else own.label
    if isinstance(fact, str):
        why = fact
    elif not written:
        why = f"no figure stands right before the citation; the store says {fact.text} for {fact.label}"
    elif says(written, fact):
        return match.start() - length, Cited(line, fact_id=match[1], how="citation", written=written,
                                             verdict="supported", about=about)  # fmt: skip
    else:
        why = f"the store says {fact.text} for {fact.label}"
    expected = "" if own is None else one_line(own.text, limit=200)
    return match.start() - length, Cited(
        line, fact_id=match[1], how="citation", written=written, verdict="contradicted", about=about,
        expected=expected, why=one_line(why, limit=300),
    )  # fmt: skip


def _written(before: str, fact: Fact | None) -> tuple[int, str]:
    """Return what stands right before a citation, and how far back it begins."""
    bare = before.rstrip(_WRAPPED)
    if fact is not None and isinstance(fact.value, str) and _ends_in(bare, fact.text):
        return len(before) - len(bare) + len(fact.text), fact.text
    if fact is not None and fact.unit == "s" and (span := _SPAN.search(before)) is not None:
        return len(before) - span.start(), span["text"]
    found = _LAST.search(before)
    if found is not None:
        start = found.start("figure")
        if before[start] in "-−+" and start and (before[start - 1].isalnum() or before[start - 1] in ")]"):
            start += 1  # a dash between two words or figures is no sign
        return len(before) - start, before[start:].rstrip(_WRAPPED)
    word = re.search(r"[^\s*_`()\"']+\Z", bare) if fact is not None and isinstance(fact.value, str) else None
    return (0, "") if word is None else (len(before) - word.start(), word[0])


def _ends_in(text: str, end: str) -> bool:
    """Return whether a text ends in certain words, not in the end of a longer one."""
    if not end or not text.endswith(end):
        return False
    before = text[len(text) - len(end) - 1 : len(text) - len(end)]
    return not (before and (before.isalnum() or before in "_.-/"))


def says(written: str, fact: Fact) -> bool:
    """Return whether what is written is a fact, at the precision at which it is written.

    >>> from advisor.documents.fact import timed
    >>> took = timed("run/3f/duration_s", 200.4, "duration", "run 3f")
    >>> says("3 min 20 s", took), says("200 s", took), says("3 min 21 s", took), says("3.3 min", took)
    (True, True, False, True)
    """
    if written == fact.text or isinstance(fact.value, str):
        return written == fact.text
    value = fact.number
    if value is None:
        return False
    if fact.unit == "s" and (told := _says_span(written, value)) is not None:
        return told
    found = _LAST.search(written)
    if found is None:
        return False
    unit = (found["unit"] or "").strip().lower()
    word = found["figure"].lower().lstrip("+").replace("−", "-").replace("infinity", "inf").replace("∞", "inf")
    if word.lstrip("-") in ("nan", "inf"):
        return math.isnan(value) if word == "nan" else value == float(word)
    figure = read_figure(re.sub(r"e−", "e-", found["figure"].lstrip("#")))
    if figure is None or not math.isfinite(value):
        return False
    if unit == "%":
        return any(_equal(_times(figure, 1 / scale), value) for scale in _scales(fact, value))
    if fact.unit == "s" and unit in _SECONDS:
        figure = _times(figure, _SECONDS[unit])
    return _equal(figure, value)


def _scales(fact: Fact, value: float) -> tuple[float, ...]:
    """Return what a percentage may be of: of one, or of a value that is in percent already."""
    if fact.unit == "share":
        return (100.0,)
    if fact.unit or fact.kind not in ("value", "setting", "delta"):
        return ()  # no count is a percentage
    return (100.0, 1.0) if abs(value) > 1 and may_be_percent(fact.about) else (100.0,)


def _says_span(text: str, seconds: float) -> bool | None:
    """Return whether a length of time is so many seconds; None where the text is none.

    Documents round seconds, and leave out what is beyond the second of two units: ``2 h 5 min`` is up to 2 h 6 min.
    """
    parts = _SPAN_PART.findall(text)
    if not parts or _SPAN.fullmatch(text) is None:
        return None
    last, unit = parts[-1]
    total = math.fsum(float(number) * _SECONDS[each] for number, each in parts)
    if len(parts) == 1 or "." in last or not math.isfinite(seconds):
        precise = _SECONDS[unit] * 10.0 ** -len(last.partition(".")[2])
        return _equal(Figure(total, precise, False, False), seconds)
    return round(seconds) // _SECONDS[unit] * _SECONDS[unit] == total


def _times(figure: Figure, factor: float) -> Figure:
    return Figure(figure.value * factor, figure.unit * factor, False, figure.is_signed)


def _equal(figure: Figure, value: float) -> bool:
    return abs(figure.value - value) <= 0.5 * figure.unit * (1 + 1e-9) + 1e-12 * abs(value)


def _blanked(text: str, spans: list[tuple[int, int]]) -> str:
    """Return a text with blanks in place of some stretches; line ends stay, so lines keep their numbers."""
    out, at = [], 0
    for start, end in sorted(spans):
        start = max(start, at)
        if end <= start:
            continue
        out += [text[at:start], re.sub(r"[^\n]", " ", text[start:end])]
        at = end
    return "".join([*out, text[at:]])
