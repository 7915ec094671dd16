"""Cut a sentence into clauses, and say which words the label of a fact licenses.

Pure; leaves out what may be said in a clause (see ``wording``, ``naming``). Invariant: each word and each
placeholder of a sentence is in one clause, in its order; placeholders of claims are in none.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass

from advisor.documents.content import PLACEHOLDER
from advisor.documents.fact import Fact, FactSheet
from advisor.documents.lexicon import MARKS, NEUTRAL, RELATED, canonical

WORD = re.compile(r"[a-z]+")
_TOKEN = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}|[a-z]+(?:_far)?")
_CLAUSE = re.compile(r"[,;:()\u2013\u2014]| - |\b(?:and|while|whereas|but)\b")
_PAIR = re.compile(r"\bbetween\b([^,;{}]*?|\s*\{\w+\}\s*)\band\b")
_QUARTILES = re.compile(r"\bquartiles\b([^,;]*\{\w+\}\s*)\band\b(?=\s*\{)")
_PREPOSITIONS = frozenset("of in on at by for from to with over among after across during that which between".split())


@dataclass(frozen=True, slots=True)
class Clause:
    """Words of a clause in order; a placeholder is ``{id}``."""

    tokens: tuple[str, ...]
    before: tuple[str, ...] = ()
    """Words of the clause before it, for what stands in apposition."""

    @property
    def words(self) -> list[str]:
        """The words alone."""
        return [token for token in self.tokens if not is_slot(token)]

    def places(self, sheet: FactSheet) -> list[tuple[int, Fact]]:
        """Return the facts of the clause and where they stand."""
        return [(place, sheet[token[1:-1]]) for place, token in enumerate(self.tokens) if is_slot(token)]


def label_words(fact: Fact) -> frozenset[str]:
    """Return the words that a fact licenses, as labels spell them: those of its label, and what they stand for."""
    words = {canonical(word) for word in WORD.findall(f"{fact.label} {fact.about}".lower())}
    out = words | {other for word in words for other in RELATED.get(word, ())}
    if fact.kind in ("value", "name") and words & {"best", "baseline", "runner"}:
        out |= {"finished"}
    if fact.kind == "value":
        out |= {"objective", "metric"}
    if fact.direction is not None:
        low, high = ("best", "worst") if fact.direction == "minimize" else ("worst", "best")
        out |= ({"lowest"} if low in words else set()) | ({"highest"} if high in words else set())
    if fact.kind == "count":
        out |= {"rank"} if "finite" in words and not words & {"without", "not"} else set()
        out |= {"flagged"} if fact.unit == "runs" and "finding" in words else set()
    return frozenset(out)


def licensed_words(fact: Fact, *, spoken: bool) -> frozenset[str]:
    """Return the words that may stand beside a fact; where the program names it, none that its label tells it by."""
    return label_words(fact) - MARKS - {"other"} if spoken else label_words(fact)


def is_slot(token: str) -> bool:
    """Return whether a token of a clause is a placeholder."""
    return token.startswith("{")


def name_type(fact: Fact) -> str:
    """Return what a name is the name of, empty for a figure."""
    if fact.kind != "name":
        return ""
    if fact.source.startswith("run "):
        return "run"
    return next((kind for kind in ("state", "parameter") if fact.label.startswith(kind)), "metric")


def run_of(sheet: FactSheet) -> Fact | None:
    """Return the name of the run that a sheet is of; None where it is of an experiment."""
    return next((fact for fact in sheet if fact.label == "run"), None)


def raw_clauses(text: str, claims: Container[str]) -> list[Clause]:
    """Return the clauses of a sentence as its punctuation and its conjunctions cut them, claims taken out."""
    slots = PLACEHOLDER.sub(lambda match: " " if match[1] in claims else f" {{{match[1]}}} ", text)
    # ids of facts keep their case
    lowered = re.sub(r"\{\w+\}|[^{}]+", lambda match: match[0] if match[0][0] == "{" else match[0].lower(), slots)
    whole = _PAIR.sub(r"between\1 ", re.sub(r"\bso far\b", "so_far", lowered))
    whole = _QUARTILES.sub(r"quartiles between\1 to ", whole)
    parts = [tuple(_TOKEN.findall(part)) for part in _CLAUSE.split(whole)]
    parts = [part for part in parts if part]
    return [Clause(part, parts[place - 1] if place else ()) for place, part in enumerate(parts)]


def joined(raw: Sequence[Clause], sheet: FactSheet) -> list[Clause]:
    """Return the clauses with those that say nothing alone joined to their neighbour.

    A clause without facts belongs to the next; a figure without words of its own to the clause before it,
    if that has no figure yet.
    """
    out: list[Clause] = []
    carried: tuple[str, ...] = ()
    for clause in raw:
        tokens = carried + clause.tokens
        carried = ()
        facts = [fact for _, fact in Clause(tokens).places(sheet)]
        if not facts:
            carried = tokens
            continue
        bare = not any(word not in NEUTRAL for word in Clause(tokens).words)
        figures = [fact for _, fact in out[-1].places(sheet) if fact.kind != "name"] if out else []
        if out and bare and not figures and any(fact.kind != "name" for fact in facts):
            out[-1] = Clause(out[-1].tokens + tokens)
        else:
            out.append(Clause(tokens))
    if carried and out:
        out[-1] = Clause(out[-1].tokens + carried)
    return out


def until_slot(tokens: Sequence[str]) -> list[str]:
    """Return the words before the first placeholder."""
    out = []
    for token in tokens:
        if is_slot(token):
            break
        out.append(token)
    return out


def head_of(phrase: Sequence[str]) -> str:
    """Return the noun that a phrase is about: the last word before its first preposition."""
    for place, word in enumerate(phrase):
        if place and word in _PREPOSITIONS:
            return phrase[place - 1]
    return phrase[-1] if phrase else ""
