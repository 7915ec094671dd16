"""One line of a search, taken apart: words to search, and conditions that become a filter.

::

    "overfits on small data" params.lr<1e-3 state:failed -tag:broken finding:diverged

Left out: what words find (``storage.ranking``) and the filter itself (``storage.query``); everything here is pure.

Invariant: numbers are compared by filters only. A comparison whose name nobody knows is refused, not searched as words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from storage.errors import FilterError, did_you_mean
from storage.lexicon import CONCEPTS
from storage.query import COLUMNS, FAMILIES, Names, compile_filter, text_literal

_NAME = r"[^\W\d]\w*(?:[./@\-]+\w+)*(?:\.`(?:[^`]|``)+`)?|`(?:[^`]|``)+`"
_PIECE: Final = re.compile(
    rf"""
      (?P<phrase>"(?:[^"]|"")*")
    | (?<![^\s(])(?P<no>-|not\s+)?(?P<name>{_NAME})
      (?:(?P<colon>:)|\s*(?P<operator><=|>=|<>|!=|==|=|<|>)\s*)
      (?P<value>'(?:[^']|'')*'|"(?:[^"]|"")*"|[^\s"'<>=]+)
    | (?P<word>\S+?)(?=[\s"]|$)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_NUMBER: Final = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?(?:inf(?:inity)?|nan)", re.IGNORECASE)
_LITERALS: Final = {"true", "false", "null"}
_CODE: Final = re.compile(r"adv\d{3}", re.IGNORECASE)
_CODES: Final = {concept.name: concept.codes for concept in CONCEPTS}


@dataclass(frozen=True, slots=True)
class Line:
    """A search line, read."""

    words: str
    """What is searched; empty where there are only conditions."""
    where: str | None = None
    """The conditions as a filter, see ``storage.query``."""


def read_line(text: str, *, names: Names) -> Line:
    """Return the words and the conditions of a search line.

    ``name<value`` and the other comparisons, ``name:value`` (equal; ``:a,b`` one of; ``*`` any text; within notes and
    text: contains), ``-`` or ``not`` before a condition for its opposite. What is in double quotes is words. A name is
    one that a filter accepts; ``finding:`` takes a code, or what it is called: ``finding:diverged``.

    Raises
    ------
    FilterError
        If a comparison names what no run has, or cannot be understood.

    Examples
    --------
    >>> names = Names(params=frozenset({"lr"}))
    >>> read_line('"overfits on small data" params.lr<1e-3 state:failed', names=names)
    Line(words='overfits on small data', where="params.lr < 1e-3 and state = 'failed'")
    >>> read_line("note: the loss blew up", names=names)
    Line(words='note: the loss blew up', where=None)
    """
    words: list[str] = []
    clauses: list[str] = []
    for piece in _PIECE.finditer(text):
        clause = _clause(piece, names) if piece["name"] else None
        if clause is not None:
            clauses.append(clause)
        elif piece["phrase"]:
            words.append(piece["phrase"][1:-1].replace('""', '"'))
        else:
            words.append(piece.group().strip())
    return Line(" ".join(filter(None, words)), " and ".join(clauses) or None)


def condition(name: str, value: str) -> str:
    """Return the condition of a search line that says that something is so.

    >>> condition("state", "failed"), condition("experiment", "big batch")
    ('state:failed', 'experiment:"big batch"')
    """
    is_plain = value and not re.search(r"[\s\"'<>=,*]", value)
    return f"{name}:{value}" if is_plain else f"{name}:" + '"' + value.replace('"', '""') + '"'


def conditions(text: str) -> list[str]:
    """Return the pieces of a search line that look like conditions, as they stand there.

    >>> conditions('blew up state:failed -tag:"not this"')
    ['state:failed', '-tag:"not this"']
    """
    return [piece.group().strip() for piece in _PIECE.finditer(text) if piece["name"]]


def without(text: str, given: str) -> str:
    """Return a search line without one of its conditions.

    >>> without("blew up state:failed", "state:failed")
    'blew up'
    """
    pieces = [piece.group().strip() for piece in _PIECE.finditer(text)]
    if given in pieces:
        pieces.remove(given)
    return " ".join(filter(None, pieces))


def _clause(piece: re.Match[str], names: Names) -> str | None:
    """Return a condition as a clause of a filter, None where it is words after all."""
    name, operator, value = piece["name"], piece["operator"] or ":", piece["value"]
    if not _is_known(name, names):
        family = name.partition(".")[0].lower()
        means_number = operator != ":" and _NUMBER.fullmatch(value)
        if means_number or (family in {*FAMILIES, "tag", "tags"} and "." in name):
            compile_filter(f"{name} is null", names=names)  # says what is wrong with it
        return None
    clause = _equal(name, value) if operator == ":" else f"{name} {operator} {_literal(name, value)}"
    compile_filter(clause, names=names)  # so that a mistake is told of this condition
    return f"not ({clause})" if piece["no"] else clause


def _is_known(name: str, names: Names) -> bool:
    try:
        compile_filter(f"{name} is null", names=names)
    except FilterError:
        return False
    return True


def _equal(name: str, value: str) -> str:
    column, kind = COLUMNS.get(name.lower(), ("", "json"))
    plain = _unquoted(value)
    if kind == "notes" or column == "text":
        return f"{name} like {text_literal(f'%{plain}%')}"
    if "*" in plain and kind in ("text", "json"):
        return f"{name} like {text_literal(plain.replace('*', '%'))}"
    several = plain.split(",") if value == plain else [plain]
    if column == "codes":
        several = [code for each in several for code in _codes(each)]
    listed = ", ".join(_literal(name, each) if value == plain else text_literal(each) for each in several if each)
    return f"{name} in ({listed})" if len(several) > 1 else f"{name} = {listed}"


def _codes(said: str) -> tuple[str, ...]:
    """Return the finding codes of a concept's name, or the code itself.

    >>> _codes("not-finite"), _codes("adv102")
    (('ADV101',), ('ADV102',))

    Raises
    ------
    FilterError
        If nothing is called so.
    """
    name = said.lower().replace("-", " ")
    if name not in _CODES and not _CODE.fullmatch(said):
        names = [known.replace(" ", "-") for known in _CODES if _CODES[known]]
        raise FilterError(f"no finding is called {said!r:.80}; {did_you_mean(said.lower(), names)}")
    return _CODES.get(name) or (said.upper(),)


def _literal(name: str, value: str) -> str:
    kind = COLUMNS.get(name.lower(), ("", "json"))[1]
    if value[0] in "'\"":
        return text_literal(_unquoted(value))
    is_literal = _NUMBER.fullmatch(value) or value.lower() in _LITERALS
    return value if is_literal and kind not in ("text", "tags", "notes", "time") else text_literal(value)


def _unquoted(value: str) -> str:
    if value[0] in "'\"" and len(value) > 1:
        return value[1:-1].replace(value[0] * 2, value[0])
    return value
