"""Check sentences that a language model wrote: pure functions that say what is wrong with them.

A factual sentence may hold fact placeholders, comparison placeholders backed by true claims, neutral words, and
words of the labels of the facts beside them (see ``wording``). Leaves out repair and rendering (see ``writer``).
Invariant: a sentence without problems states no figure, no quantity, no direction, no judgement and no cause
of its own. The words that compare come from the program.
"""

from __future__ import annotations

import math
import operator
import re
import unicodedata
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Literal, get_args

from advisor.documents import opinion
from advisor.documents.clauses import licensed_words, name_type, run_of
from advisor.documents.content import PLACEHOLDER, SPOKEN
from advisor.documents.fact import Fact, FactSheet
from advisor.documents.lexicon import (
    ASPECT_WORDS,
    METRIC_NOUNS,
    SPLIT_WORDS,
    SYNONYMS,
    canonical,
    is_judgement,
    is_number_word,
)
from advisor.documents.opinion import MAX_OPINION
from advisor.documents.spoken import SPEAKABLE, spoken_problems
from advisor.documents.wording import wording_problems

Op = Literal["lt", "gt", "eq", "le", "ge"]

MAX_SENTENCE = 320
"""Characters of a sentence with its placeholders."""

_OPS: Mapping[str, Callable[[float, float], bool]] = {
    "lt": operator.lt,
    "gt": operator.gt,
    "eq": operator.eq,
    "le": operator.le,
    "ge": operator.ge,
}
_COMPARABLE = frozenset({"count", "value", "delta", "share", "rank", "duration", "importance"})
_ALLOWED_PUNCTUATION = frozenset(" .,;:'()-/" + "\u2019\u2013\u2014")
_ASCII_LETTER = re.compile(r"[A-Za-z]")
_LINK = re.compile(r"://|\bwww\b|\bhttps?\b|\bmailto\b|\.(com|org|net|io|ai|dev)\b", re.IGNORECASE)
_CLAUSE = re.compile(r"[,;:()\u2013\u2014]| - |\b(?:and|while|whereas|but|against|versus|than|with)\b", re.IGNORECASE)
_WORD = re.compile(r"[a-z]+")
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_/]*")
_SO_FAR = re.compile(r"\bso far\b")
_APPOSITION = re.compile(r"(?<=\w|\}), ?\{\{\s*([A-Za-z_]\w*)\s*\}\}(?=[,;.]|$)")
_CLAIM_SLOT = re.compile(r"^c[A-Za-z0-9_]*$")
_GOES_ON = re.compile(r"(?:(?:\b(?:and|but)|,)\s+(?:(?:is|was)\s+)?|\b(?:and|but|while|whereas)\s+it\s+(?:is|was)\s+)$")
"""Before a second comparison of the same figure."""
_LIST = r"(?:the )?\{\}(?:(?:, and|,| and)(?: the)? \{\})*"
_WHERE = r"(?: (?:for|in|of) (?:the|this) (?:run|experiment))?"
_MISSING = re.compile(
    rf"(?:(?:what is )?not recorded{_WHERE}(?::| is| are| was| were)? {_LIST}"
    rf"|{_LIST} (?:is|are|was|were|has been|have been) not recorded{_WHERE})\.?"
)
"""A sentence that says what is missing, and nothing else."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A comparison of two facts that a sentence makes."""

    id: str
    _: KW_ONLY
    op: str
    """One of ``Op``; anything else is a problem of the sentence."""
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of a draft."""

    text: str
    _: KW_ONLY
    claims: tuple[Claim, ...] = ()


def problems(sentence: Sentence, sheet: FactSheet) -> tuple[str, ...]:
    """Return what is wrong with a factual sentence, as short codes; empty when it may be shipped."""
    claims = {claim.id: claim for claim in sentence.claims}
    spoken = frozenset(SPOKEN.findall(sentence.text))
    plain = SPOKEN.sub(r"{{\1}}", sentence.text)
    if what_is_missing(plain, sheet):
        return ()
    text = _apposed(plain, sheet, spoken)
    slots = PLACEHOLDER.findall(text)
    facts = [slot for slot in slots if slot not in claims]
    found = [*_form(_without_names(plain, sheet), MAX_SENTENCE)]
    found.extend(f"unknown-id:{slot}" for slot in facts if slot not in sheet)
    found.extend(f"not-for-models:{slot}" for slot in facts if slot in sheet and sheet[slot].kind == "account")
    found.extend(f"absence:{slot}" for slot in sorted(spoken) if slot in sheet and sheet[slot].kind not in SPEAKABLE)
    found.extend(f"unknown-id:{slot}" for slot in sorted(spoken) if slot in claims)
    if not any(slot in sheet for slot in facts):
        found.append("no-fact")
    if len(claims) != len(sentence.claims) or any(claim_id in sheet for claim_id in claims):
        found.append("claim-id")
    for claim in sentence.claims:
        found.extend(_claim_problems(claim, text, claims, sheet))
    if not found:
        found.extend(_word_problems(text, [sheet[slot] for slot in facts], spoken))
        found.extend(_label_problems(text, claims, sheet, spoken))
        found.extend(_name_problems(text, sheet))
        found.extend(_superlative_problems(text, sheet))
        found.extend(wording_problems(text, claims, sheet, spoken=spoken))
        found.extend(spoken_problems(text, spoken, claims, sheet))
    return tuple(dict.fromkeys(found))


def what_is_missing(text: str, sheet: FactSheet) -> tuple[Fact, ...]:
    """Return what a sentence says was not recorded; nothing where it says anything else, or of anything else."""
    slots = PLACEHOLDER.findall(text)
    facts = tuple(sheet[slot] for slot in slots if slot in sheet and sheet[slot].kind == "absence")
    if len(text) > MAX_SENTENCE or not slots or len({*slots}) < len(slots) or len(facts) < len(slots):
        return ()
    return facts if _MISSING.fullmatch(PLACEHOLDER.sub("{}", text.strip()).lower()) else ()


def interpretation_problems(text: str) -> tuple[str, ...]:
    """Return what is wrong with a sentence of opinion: its truth is not checked, its words, figures and form are."""
    found = list(_form(text, MAX_OPINION))
    if "{" in text or "}" in text:
        found.append("placeholder")
    return tuple(dict.fromkeys([*found, *opinion.word_problems(text)]))


def comparison(claim: Claim, sheet: FactSheet) -> str:
    """Return the words that the program puts for a true claim.

    Whether that is good is said where the metric has a direction.
    """
    a = sheet[claim.a]
    words = {"lt": "lower than", "gt": "higher than", "eq": "equal to", "le": "no higher than", "ge": "no lower than"}
    if a.kind == "count":
        words |= {"lt": "fewer than", "gt": "more than", "le": "no more than", "ge": "no fewer than"}
    text = words[claim.op]
    if a.direction is not None and claim.op in ("lt", "gt"):
        better = (claim.op == "lt") == (a.direction == "minimize")
        first, rest = text.split(" ", 1)
        text = f"{first} ({'better' if better else 'worse'}) {rest}"
    return text


def verify_rendered(text: str, sheet: FactSheet) -> tuple[str, ...]:
    """Return the figures in a finished narrative that no fact of the sheet accounts for; empty when all are.

    Texts of facts are taken out, the longest first and only as whole words; whatever numeric
    character is left belongs to a figure that the sheet does not know.
    """
    left = text
    told = {fact.text for fact in sheet if fact.text} | {
        fact.label for fact in sheet if any(map(_is_numeric, fact.label))
    }
    for known in sorted(told, key=lambda known: (-len(known), known)):
        left = re.sub(rf"(?<![\w.,]){re.escape(known)}(?![\w%]|[.,]\d)", "\x00", left)
    return tuple(chunk.strip(".,;:()") for chunk in left.replace("\x00", " ").split() if any(map(_is_numeric, chunk)))


def _form(text: str, limit: int) -> list[str]:
    """Return what is wrong with the characters of a text, placeholders aside."""
    found = []
    if not text.strip():
        return ["empty"]
    if len(text) > limit:
        found.append("too-long")
    bare = PLACEHOLDER.sub(" ", text)
    if any(map(_is_numeric, unicodedata.normalize("NFKC", bare))):
        found.append("digit")
    if _LINK.search(bare):
        found.append("link")
    if any(char in '<>[]{}*_`#|\\!@$&=~^"' for char in bare) or "\n" in bare:
        found.append("markup")
    if any(not _ASCII_LETTER.match(char) and char not in _ALLOWED_PUNCTUATION for char in bare):
        found.append("character")
    return found


def _apposed(text: str, sheet: FactSheet, spoken: Container[str]) -> str:
    """Return a text in which a figure between commas stands behind the words that it is the value of."""

    def joined(match: re.Match[str]) -> str:
        fact = sheet.get(match[1])
        if fact is None or fact.kind == "name" or fact.id in spoken:
            return match[0]
        return f" at {{{{{fact.id}}}}}"

    return _APPOSITION.sub(joined, text)


def _without_names(text: str, sheet: FactSheet) -> str:
    """Return the text with the names of metrics and parameters that the sheet has spelled as words."""
    for name in {fact.about for fact in sheet if _PLAIN_NAME.fullmatch(fact.about)}:
        text = re.sub(rf"(?<![\w{{]){re.escape(name)}(?!\w)", " ".join(_WORD.findall(name.lower())), text)
    return text


def _is_numeric(char: str) -> bool:
    return char.isdigit() or unicodedata.category(char).startswith("N") or unicodedata.numeric(char, None) is not None


def _claim_problems(claim: Claim, text: str, claims: Mapping[str, Claim], sheet: FactSheet) -> Iterable[str]:
    slots = PLACEHOLDER.findall(text)
    if not _CLAIM_SLOT.match(claim.id) or claim.op not in get_args(Op):
        yield f"claim-form:{claim.id[:20]}"
        return
    a, b = sheet.get(claim.a), sheet.get(claim.b)
    if a is None or b is None:
        yield f"unknown-id:{claim.a if a is None else claim.b}"
        return
    if not _may_compare(a, b):
        yield f"claim-not-comparable:{claim.id}"
    elif a.number is None or b.number is None or not _OPS[claim.op](a.number, b.number):
        yield f"claim-false:{claim.id}"
    if slots.count(claim.id) != 1:
        yield f"claim-unused:{claim.id}"
        return
    at = slots.index(claim.id)
    figures = [place for place, slot in enumerate(slots) if slot in sheet and sheet[slot].kind != "name"]
    before = [slots[place] for place in figures if place < at]
    after = [slots[place] for place in figures if place > at]
    subject = before[-1:]
    earlier = [claims[slot] for slot in slots[:at] if slot in claims][-1:]
    slot = next(match for match in PLACEHOLDER.finditer(text) if match[1] == claim.id)
    if earlier and subject == [earlier[0].b] and _GOES_ON.search(text[: slot.start()]):
        subject = [earlier[0].a]  # "a is lower than b and higher than c"
    if subject != [claim.a] or after[:1] != [claim.b]:
        yield f"claim-order:{claim.id}"


def _may_compare(a: Fact, b: Fact) -> bool:
    numbers = (a.number, b.number)
    if any(number is None or math.isnan(number) for number in numbers):
        return False
    if a.kind == "delta" and any(number is not None and number < 0 for number in numbers):
        return False  # a loss of 0.4 that is "lower than the noise" reads as if it were within it
    return a.kind == b.kind and a.kind in _COMPARABLE and a.unit == b.unit and a.about == b.about and a.id != b.id


def _word_problems(text: str, facts: Iterable[Fact], spoken: Container[str]) -> Iterable[str]:
    named = {word for fact in facts for word in licensed_words(fact, spoken=fact.id in spoken)}
    for word in _WORD.findall(_SO_FAR.sub(" ", PLACEHOLDER.sub(" ", text).lower())):
        if canonical(word) in ASPECT_WORDS:
            if canonical(word) not in named:
                yield f"unsupported-word:{word}"
        elif is_number_word(word) and not (word == "first" and word in named):
            yield f"number-word:{word}"
        elif is_judgement(word) and canonical(word) not in METRIC_NOUNS:
            yield f"judgement-word:{word}"


def _telling(text: str, sheet: FactSheet) -> set[str]:
    """Return the words of a text that say which figure is meant."""
    words = _WORD.findall(text.lower())
    names = {word for fact in sheet for word in _WORD.findall(fact.about.lower()) if len(word) > 1} - _COMMON
    out = set()
    for place, raw in enumerate(words):
        word = canonical(raw)
        follows = canonical(words[place + 1]) if place + 1 < len(words) else ""
        split = word in SPLIT_WORDS and (follows in METRIC_NOUNS or follows in _METRICS or follows in names)
        if split or word in ASPECT_WORDS or word in _METRICS or (word in names and word not in SPLIT_WORDS):
            out.add(word)
    return out


_METRICS = frozenset(canonical(noun) for noun in METRIC_NOUNS)
_SUPERLATIVES = frozenset({"best", "worst", "lowest", "highest"})
_RANKED = frozenset(
    {"", *"{} run finished recorded other configuration value is was are were and reached has had at with over".split()}
)
_WORD_OR_SLOT = re.compile(r"[a-z]+|\{\}|[,;:]")
_COMMON = frozenset({"runs", "times", "steps", "points", "configurations", "findings", "of", "the", "a", "in", "rate"})


def _label_problems(text: str, claims: Mapping[str, Claim], sheet: FactSheet, spoken: Container[str]) -> Iterable[str]:
    """Yield words that name another figure than the fact beside them.

    A sentence is cut into clauses. Words before a figure, back to the figure before it, must be words of its
    label; words after the last figure of a clause, of some label in the clause; words of a clause
    without figures, of some label in the sentence. Names count as words on the way.
    """
    licensed = {
        slot: licensed_words(sheet[slot], spoken=slot in spoken) for slot in PLACEHOLDER.findall(text) if slot in sheet
    }
    everything = {word for words in licensed.values() for word in words}
    for clause in _CLAUSE.split(text):
        together: set[str] = set()
        words, figures, on_the_way = "", False, frozenset[str]()
        for place, piece in enumerate(PLACEHOLDER.split(clause)):
            if place % 2 == 0 or piece in claims:
                words += f" {piece}" if place % 2 == 0 else " "
                continue
            label = licensed[piece] | on_the_way
            on_the_way = label if sheet[piece].kind == "name" else frozenset()
            together |= label
            if sheet[piece].kind != "name":
                yield from (f"label:{word}" for word in sorted(_telling(words, sheet) - label))
                words, figures = "", True
        yield from (f"label:{word}" for word in sorted(_telling(words, sheet) - (together if figures else everything)))


def _name_problems(text: str, sheet: FactSheet) -> Iterable[str]:
    """Yield names of runs, parameters and metrics that do not belong to the figure beside them.

    Beside a name are the figures of its clause, or else the figure before it, or else the one after it.
    """
    clauses = [[sheet[slot] for slot in PLACEHOLDER.findall(clause) if slot in sheet] for clause in _CLAUSE.split(text)]
    for place, clause in enumerate(clauses):
        for name in (fact for fact in clause if fact.kind == "name"):
            near = [fact for fact in clause if _belongs(name, fact, sheet) is not None]
            before = [fact for other in clauses[:place] for fact in other if _belongs(name, fact, sheet) is not None]
            after = [
                fact for other in clauses[place + 1 :] for fact in other if _belongs(name, fact, sheet) is not None
            ]
            beside = near or before[-1:] or after[:1]
            if beside and not any(_belongs(name, fact, sheet) for fact in beside):
                yield f"name:{name.id}"


def _superlative_problems(text: str, sheet: FactSheet) -> Iterable[str]:
    """Yield what is called best or worst although no fact ranks it: only runs, configurations and metrics are."""
    names = {word for fact in sheet for word in _WORD.findall(fact.about.lower())} - _COMMON
    words = _WORD_OR_SLOT.findall(_SO_FAR.sub(" ", PLACEHOLDER.sub("{}", text.lower())))
    for place, word in enumerate(words):
        if word not in _SUPERLATIVES:
            continue
        after = [other for other in words[place + 1 :] if canonical(other) not in SPLIT_WORDS | _METRICS | names]
        first = after[0] if after and after[0] not in ",;:" else ""
        if first not in _RANKED and not (first in ("of", "in") and {"{}", "runs"} & {*after[1:2], *after[2:4]}):
            yield f"superlative:{first}"


def _belongs(name: Fact, figure: Fact, sheet: FactSheet) -> bool | None:
    """Return whether a name is that of the figure's run, parameter or metric; None where that makes no sense."""
    if name_type(name) == "run":
        owner = _owner(figure, sheet) if figure is not name and name_type(figure) != "run" else ""
        return owner == name.source if owner else None
    if figure.kind == "name":
        return None
    if name.label.startswith("parameter "):
        return name.text in figure.label if figure.kind in ("importance", "setting") else None
    if name.id == "metric":
        return figure.about == name.text if figure.kind in ("value", "delta") else None
    return None


def _owner(fact: Fact, sheet: FactSheet) -> str:
    """Return the run that a fact is of, as sources name it; empty where it is of several or of none."""
    if fact.source.startswith("run "):
        return fact.source
    if " of run " in fact.source:
        return "run " + fact.source.rpartition(" of run ")[2]
    run = run_of(sheet)
    own = "" if run is None else run.source
    first = sheet.get(fact.source.partition(", ")[0])
    if own and first is not None and first.source == own:
        return own  # how it differs from others
    its = fact.kind == "rank" or name_type(fact) == "state" or fact.source.startswith(("findings", "curves of run "))
    return own if its else ""


assert not set(SYNONYMS) & set(SYNONYMS.values()), "a synonym must lead to its word in one step"
