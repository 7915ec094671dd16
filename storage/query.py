"""A user's filter, turned into a safe filter for the derived ``runs`` table.

::

    params.lr < 0.01 and state = 'finished' and not tag = 'broken'
    metrics.`val loss` between 0.1 and 0.2 or notes like '%exploded%'

Left out: arithmetic, functions, comparisons of two names, and the database itself; everything here is pure.

Invariant: nothing of the user's text reaches the result but names that are known and literals that
were read and written anew, so no filter can say more than this grammar.

Meaning
    Comparisons ``= == != <> < <= > >=``, ``in (…)``, ``like`` (``%`` any text, ``_`` any character,
    backslash takes the next one literally), ``between a and b``, ``is null``, the last four also with
    ``not``; ``and``, ``or``, ``not`` in any case; parentheses.
    A value that a run does not have fits no comparison and no negated one: ask with ``is null``.
    NaN is neither less nor greater than any number and equals only ``nan``; ``inf`` and ``-inf`` are numbers.
    A parameter is compared as a number with a number and as text with text; one that is no number
    fits no comparison with numbers.
    A date without a time means the whole day, in UTC.
    ``tags.best = true`` asks for the tag "best", ``tags.team = 'vision'`` for "team=vision" or "team:vision".
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any, Final, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from storage.errors import FilterError, did_you_mean
from storage.records import RunState

MAX_LENGTH = 20_000
"""Longest filter in characters: some 500 run ids."""
MAX_DEPTH = 15
"""Deepest nesting of parentheses and ``not``; the database's own parser gives up at about 50 levels."""

_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
Kind = Literal["text", "integer", "number", "time", "tags", "tag", "notes", "json"]

COLUMNS: dict[str, tuple[str, Kind]] = {
    "id": ("run_id", "text"),
    "run_id": ("run_id", "text"),
    "experiment": ("experiment", "text"),
    "number": ("number", "integer"),
    "state": ("state", "text"),
    "objective": ("objective", "number"),
    "seed": ("seed", "integer"),
    "source": ("source", "text"),
    "created": ("created", "time"),
    "started": ("started", "time"),
    "ended": ("ended", "time"),
    "duration_s": ("duration_s", "number"),
    "tag": ("tags", "tags"),
    "tags": ("tags", "tags"),
    "note": ("notes", "notes"),
    "notes": ("notes", "notes"),
    "text": ("text", "text"),
    "finding": ("codes", "tags"),
    "findings": ("codes", "tags"),
}
"""What a user may write, the column that it means, and how it compares."""

FAMILIES = {
    "params": "params",
    "metrics": "metrics",
    "environment": "environment",
    "env": "environment",
    "meta": "meta",
    "user_attrs": "meta",
}
"""First part of a dotted name, and the JSON column that it means."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names that occur in a store, and so may occur in a filter."""

    params: frozenset[str] = frozenset()
    metrics: frozenset[str] = frozenset()
    environment: frozenset[str] = frozenset()
    meta: frozenset[str] = frozenset()

    def __or__(self, other: Names) -> Names:
        return Names(**{family: found | other.of(family) for family, found in self._families().items()})

    def as_json(self) -> dict[str, list[str]]:
        """Return the names as JSON values."""
        return {family: sorted(found) for family, found in self._families().items()}

    def _families(self) -> dict[str, frozenset[str]]:
        return {"params": self.params, "metrics": self.metrics, "environment": self.environment, "meta": self.meta}

    def of(self, family: str) -> frozenset[str]:
        """Return the names within one JSON column."""
        return self._families()[family]


@dataclass(frozen=True, slots=True)
class Order:
    """By what to sort: a column, or one key of a JSON column."""

    column: str
    """Column of the ``runs`` table."""
    key: str | None = None
    """Key within a JSON column; None for a plain column."""


def compile_filter(text: str, *, names: Names) -> str:
    """Return the database's filter that means what the user wrote.

    Parameters
    ----------
    text
        A filter in the grammar above. A bare name that is no column is looked up among the metrics
        and the parameters.
    names
        The names that exist. Others are refused, so that a typing error is not an empty answer.

    Raises
    ------
    FilterError
        If the text cannot be understood; the message says where, and what was expected.

    Examples
    --------
    >>> compile_filter("lr >= 0.1 and state = 'failed'", names=Names(params=frozenset({"lr"})))
    "((try_cast(json_get_string(params, 'lr') as double) >= 0.1 and not isnan(try_cast(json_get_string(params, 'lr') \
as double))) and state = 'failed')"
    """
    return str(_Parser(text, names).filter())


@dataclass(frozen=True, slots=True)
class Threshold:
    """A condition that one number is on one side of another; a run without it, or with NaN, does not meet it."""

    number: str
    """The database's expression of the number that a run has."""
    operator: str
    """One of = < <= > >=."""
    value: float

    def met(self, numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which numbers meet it; NaN stands for none as well."""
        met: NDArray[np.bool_] = _COMPARISONS[self.operator](numbers, self.value)
        return met


@dataclass(frozen=True, slots=True)
class Conditions:
    """A filter as what its runs must all meet, so that numbers that were read once need not be read again."""

    sql: str
    """The whole filter."""
    rest: str | None
    """What is left of it without its thresholds; None where nothing is."""
    thresholds: tuple[Threshold, ...]


def compile_conditions(text: str, *, names: Names) -> Conditions:
    """Return a filter as ``compile_filter`` does, and its thresholds apart; see there.

    Examples
    --------
    >>> found = compile_conditions("lr < 0.1 and state = 'failed'", names=Names(params=frozenset({"lr"})))
    >>> found.rest, [(each.operator, each.value) for each in found.thresholds]
    ("state = 'failed'", [('<', 0.1)])
    """
    whole = _Parser(text, names).filter()
    leaves = list(_leaves(whole))
    rest = [leaf for leaf in leaves if not isinstance(leaf, _Comparison)]
    thresholds = tuple(leaf.threshold for leaf in leaves if isinstance(leaf, _Comparison))
    return Conditions(str(whole), _group(" and ", rest) if rest else None, thresholds)


class _All(str):
    """Conditions that must all be met, joined by ``and``."""

    __slots__ = ("parts",)
    parts: tuple[str, ...]


class _Comparison(str):
    """One condition on the number of a JSON column."""

    __slots__ = ("threshold",)
    threshold: Threshold


def _leaves(part: str) -> Iterator[str]:
    if isinstance(part, _All):
        for each in part.parts:
            yield from _leaves(each)
    else:
        yield part


def compile_order(text: str, *, names: Names) -> Order:
    """Return what a user's ``order_by`` means: any single name that a filter would accept.

    Raises
    ------
    FilterError
        If it is not one known name, or one that has no order (tags, notes).

    Examples
    --------
    >>> compile_order("val_loss", names=Names(metrics=frozenset({"val_loss"})))
    Order(column='metrics', key='val_loss')
    """
    try:
        return _Parser(text, names).order()
    except FilterError as error:
        message = str(error).replace("cannot read the filter", f"cannot sort by {text!r:.60}", 1)
        raise FilterError(message) from None


def spelled(family: str, name: str) -> str:
    """Return a name within a family as a filter takes it, in backquotes where it needs them.

    >>> spelled("params", "lr"), spelled("params", "net.width"), spelled("metrics", "val loss")
    ('params.lr', 'params.net.width', 'metrics.`val loss`')
    """
    plain = f"{family}.{name}"
    match = _TOKEN.fullmatch(plain)
    if match is not None and match["plain"] == plain:
        return plain
    return f"{family}.`{name.replace('`', '``')}`"


# ---------------------------------------------------------------- words


@dataclass(frozen=True, slots=True)
class _Token:
    kind: Literal["name", "word", "number", "string", "operator", "mark", "end"]
    text: str
    """As written; a keyword in lower case."""
    at: int
    """Position of its first character, from 1."""
    parts: tuple[str, str | None] = ("", None)
    """Of a name: what comes before and within the quotes."""


_KEYWORDS = {"and", "or", "not", "in", "like", "is", "null", "between", "true", "false", "nan", "inf", "infinity"}
_QUOTED = r"`(?:[^`]|``)+`"
_TOKEN = re.compile(
    rf"""
      (?P<space>\s+)
    | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]) | [-+](?:inf(?:inity)?|nan)(?!\w))
    | (?P<string>'(?:[^']|'')*' | "(?:[^"]|"")*")
    | (?P<name>(?P<plain>[^\W\d]\w*(?:[./:@\-]+\w+)*) (?:\.(?P<tail>{_QUOTED}|"(?:[^"]|"")+"))? | (?P<whole>{_QUOTED}))
    | (?P<operator><=|>=|<>|!=|==|=|<|>)
    | (?P<mark>[(),])
    """,
    re.VERBOSE | re.IGNORECASE,
)


def _fail(at: int, message: str) -> NoReturn:
    raise FilterError(f"cannot read the filter at character {at}: {message}")


def _unquote(text: str) -> str:
    return text[1:-1].replace(text[0] * 2, text[0])


def _tokens(text: str) -> list[_Token]:
    out: list[_Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        at = position + 1
        if match is None:
            _fail(at, _hint(text[position]))
        position = match.end()
        written = match.group()
        if match["space"]:
            continue
        if match["name"]:
            if written.lower() in _KEYWORDS:
                out.append(_Token("word", written.lower(), at))
            else:
                tail = match["tail"] or match["whole"]
                out.append(_Token("name", written, at, (match["plain"] or "", tail and _unquote(tail))))
        elif match["number"]:
            out.append(_Token("number", written, at))
        elif match["string"]:
            out.append(_Token("string", written, at))
        else:
            out.append(_Token("operator" if match["operator"] else "mark", written, at))
    out.append(_Token("end", "the end", len(text) + 1))
    return out


def _hint(character: str) -> str:
    if character in "'\"`":
        return f"the {character} that opens here is never closed"
    if character.isdigit():
        return "this is not a number; a name that begins with a digit is written in backquotes: `2nd_loss`"
    words = {"&": "and", "|": "or", "!": "not"}
    instead = f"; write {words[character]!r}" if character in words else ""
    return f"{character!r} means nothing here{instead}"


# ---------------------------------------------------------------- literals


@dataclass(frozen=True, slots=True)
class _Day:
    """An instant, or a whole day: [start, end) in microseconds since 1970, UTC."""

    start: int
    end: int


Value = float | int | str | bool | None


def text_literal(value: str) -> str:
    """Return a string as the database's literal.

    >>> text_literal("it's")
    "'it''s'"
    """
    return "'" + value.replace("'", "''") + "'"


def _number_literal(value: float) -> str:
    if math.isinf(value):
        return "cast('inf' as double)" if value > 0 else "cast('-inf' as double)"
    return repr(value if isinstance(value, int) else float(value) + 0.0)  # + 0.0: there is one zero


def _day(value: str, at: int) -> _Day:
    """Read a date or a time; without a zone it is UTC."""
    try:
        if re.fullmatch(r"\d{4}-?\d\d-?\d\d", value):
            begin = datetime.combine(date.fromisoformat(value), time(), UTC)
            length = timedelta(days=1)
        else:
            begin = datetime.fromisoformat(value)
            begin = begin if begin.tzinfo else begin.replace(tzinfo=UTC)
            length = timedelta(microseconds=1)
        start = (begin - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        _fail(at, f"{value!r} is no time; write a date '2026-01-31' or a time '2026-01-31 18:00'")
    return _Day(start, start + length // timedelta(microseconds=1))


# ---------------------------------------------------------------- comparisons


@dataclass(frozen=True, slots=True)
class _Field:
    """One name of the filter, resolved."""

    written: str
    at: int
    column: str
    kind: Kind
    key: str | None = None

    @property
    def sql(self) -> str:
        return self.column if self.key is None else f"json_get_string({self.column}, {text_literal(self.key)})"

    def compare(self, operator: str, value: Value, at: int) -> str:
        """Return one comparison; ``operator`` is one of = <> < <= > >=."""
        if value is None:
            if operator not in ("=", "<>"):
                _fail(at, f"null has no order; write '{self.written} is null'")
            return self.is_null(negated=operator == "<>")
        if self.kind == "tag":
            return self._compare_tag(operator, value, at)
        if self.kind == "time":
            return self._compare_time(operator, value, at)
        if isinstance(value, bool):
            if self.kind != "json" or operator not in ("=", "<>"):
                _fail(at, f"{self.written!r} cannot be compared with {str(value).lower()} by {operator!r}")
            return f"{self.sql} {operator} '{str(value).lower()}'"
        if isinstance(value, str):
            return self._compare_text(operator, value, at)
        return self._compare_number(operator, value, at)

    def _compare_text(self, operator: str, value: str, at: int) -> str:
        if self.kind in ("integer", "number"):
            _fail(at, f"{self.written!r} is a number; write the value without quotes")
        if self.kind in ("tags", "notes"):
            if operator not in ("=", "<>"):
                _fail(at, f"{self.written!r} has no order; it can be compared with = and !=")
            has = f"coalesce(array_has({self.column}, {text_literal(value)}), false)"
            return has if operator == "=" else f"not {has}"
        if self.column == "state" and self.key is None and operator in ("=", "<>") and value not in list(RunState):
            _fail(at, f"there is no state {value!r}; {did_you_mean(value, map(str, RunState))}")
        return f"{self.sql} {operator} {text_literal(value)}"

    def _compare_tag(self, operator: str, value: Value, at: int) -> str:
        """Ask whether a run has a tag: ``tags.best = true``, or ``tags.team = 'vision'`` for "team=vision"."""
        if operator not in ("=", "<>") or not isinstance(value, (bool, str)):
            _fail(at, f"{self.written!r} is a tag; compare it by = or != with true, false or text in quotes")
        if isinstance(value, bool):
            has, wanted = self._has(str(self.key)), value == (operator == "=")
        else:
            has = _group(" or ", [self._has(f"{self.key}{mark}{value}") for mark in ("=", ":")])
            wanted = operator == "="
        return has if wanted else f"(not {has})"

    def _has(self, tag: str) -> str:
        return f"coalesce(array_has({self.column}, {text_literal(tag)}), false)"

    def _compare_number(self, operator: str, value: float, at: int) -> str:
        if self.kind not in ("integer", "number", "json"):
            _fail(at, f"{self.written!r} is text; write the value in quotes")
        if self.kind == "integer" and math.isfinite(value) and float(value).is_integer() and abs(value) < 2**63:
            return f"{self.sql} {operator} {int(value)}"
        number = self._as_number()
        if math.isnan(value):
            if operator not in ("=", "<>"):
                _fail(at, f"nan has no order; write '{self.written} = nan' or '{self.written} != nan'")
            return f"isnan({number})" if operator == "=" else f"not isnan({number})"
        comparison = f"{number} {operator} {_number_literal(float(value))}"
        # The database sorts NaN above infinity; here it is above nothing.
        said = _Comparison(f"({comparison} and not isnan({number}))" if operator in (">", ">=") else comparison)
        if self.kind != "json" or operator not in _COMPARISONS:
            return str(said)
        said.threshold = Threshold(number, operator, float(value))
        return said

    def _compare_time(self, operator: str, value: Value, at: int) -> str:
        if not isinstance(value, str):
            _fail(at, f"{self.written!r} is a time; write it in quotes: '2026-01-31' or '2026-01-31 18:00'")
        day = _day(value, at)
        start, end = f"to_timestamp_micros({day.start})", f"to_timestamp_micros({day.end})"
        return {
            "=": f"({self.sql} >= {start} and {self.sql} < {end})",
            "<>": f"({self.sql} < {start} or {self.sql} >= {end})",
            "<": f"{self.sql} < {start}",
            "<=": f"{self.sql} < {end}",
            ">": f"{self.sql} >= {end}",
            ">=": f"{self.sql} >= {start}",
        }[operator]

    def _as_number(self) -> str:
        return self.sql if self.kind == "number" else f"try_cast({self.sql} as double)"

    def is_null(self, *, negated: bool) -> str:
        if self.kind == "tag":
            return self._has(str(self.key)) if negated else f"(not {self._has(str(self.key))})"
        if self.kind in ("tags", "notes"):
            return f"coalesce(array_length({self.column}), 0) {'>' if negated else '='} 0"
        return f"{self.sql} is {'not ' if negated else ''}null"

    def like(self, pattern: str, at: int) -> str:
        if self.kind == "notes":
            return f"coalesce(array_to_string({self.column}, '\n'), '') like {text_literal(pattern)}"
        if self.kind not in ("text", "json"):
            _fail(at, f"'like' is for text, and {self.written!r} is not")
        return f"{self.sql} like {text_literal(pattern)}"

    def among(self, values: Sequence[tuple[Value, int]]) -> str:
        """Return whether the field is one of some values."""
        plain = [value for value, _ in values if isinstance(value, str)]
        if self.kind in ("text", "json") and len(plain) == len(values):
            for value, at in values:
                self.compare("=", value, at)  # refuses what = would refuse
            return f"{self.sql} in ({', '.join(map(text_literal, plain))})"
        return _group(" or ", [self.compare("=", value, at) for value, at in values])


def _group(glue: str, parts: Iterable[str]) -> str:
    all_parts = list(parts)
    if len(all_parts) == 1:
        return all_parts[0]
    if glue.strip() != "and":
        return f"({glue.join(all_parts)})"
    whole = _All(f"({glue.join(all_parts)})")
    whole.parts = tuple(all_parts)
    return whole


# ---------------------------------------------------------------- grammar


class _Parser:
    """Recursive descent over the words of one filter; each method reads one rule and returns its meaning."""

    def __init__(self, text: str, names: Names) -> None:
        if len(text) > MAX_LENGTH:
            raise FilterError(f"the filter has {len(text):,} characters; at most {MAX_LENGTH:,} are allowed")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise FilterError("the filter holds half a character (a lone surrogate); type it again")
        self._tokens = _tokens(text)
        self._names = names
        self._next = 0
        self._depth = 0

    def filter(self) -> str:
        if len(self._tokens) == 1:
            raise FilterError("the filter is empty; write for instance: state = 'finished'")
        result = self._or()
        if self._peek.kind != "end":
            _fail(self._peek.at, f"expected 'and', 'or' or the end, found {self._peek.text!r}")
        return result

    def order(self) -> Order:
        field = self._name()
        if self._peek.kind != "end":
            _fail(self._peek.at, f"expected a single name to sort by, found {self._peek.text!r} after it")
        if field.kind in ("tags", "tag", "notes"):
            _fail(field.at, f"runs cannot be sorted by {field.written!r}")
        return Order(field.column, field.key)

    def _or(self) -> str:
        return self._chain("or", self._and)

    def _and(self) -> str:
        return self._chain("and", self._not)

    def _chain(self, word: str, rule: Callable[[], str]) -> str:
        parts = [rule()]
        while self._take(word):
            parts.append(rule())
        return _group(f" {word} ", parts)

    def _not(self) -> str:
        at = self._peek.at
        negated, open_ = self._take("not"), False
        if not negated:
            open_ = self._take("(")
            if not open_:
                return self._comparison()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            _fail(at, f"more than {MAX_DEPTH} levels of parentheses and 'not'")
        inner = self._not() if negated else self._or()
        self._depth -= 1
        if open_:
            self._expect(")", "')'")
        return f"(not {inner})" if negated else inner

    def _comparison(self) -> str:
        field = self._name()
        token = self._advance()
        if token.kind == "operator":
            operator = {"==": "=", "!=": "<>"}.get(token.text, token.text)
            return field.compare(operator, *self._value(token.text))
        if token.text == "is" and token.kind == "word":
            negated = self._take("not")
            self._expect("null", f"'null' after 'is{' not' if negated else ''}'")
            return field.is_null(negated=negated)
        negated = token.kind == "word" and token.text == "not"
        if negated:
            token = self._advance()
        positive = self._predicate(field, token)
        return f"(not {positive})" if negated else positive

    def _predicate(self, field: _Field, token: _Token) -> str:
        word = token.text if token.kind == "word" else ""
        if word == "like":
            pattern, at = self._value("like")
            if not isinstance(pattern, str):
                _fail(at, "expected a pattern in quotes after 'like'")
            return field.like(pattern, at)
        if word == "between":
            low = self._value("between")
            self._expect("and", "'and' between the two bounds")
            high = self._value("and")
            return _group(" and ", [field.compare(">=", *low), field.compare("<=", *high)])
        if word == "in":
            self._expect("(", "'(' after 'in'")
            values = [self._value("(")]
            while self._take(","):
                values.append(self._value(","))
            self._expect(")", "',' or ')'")
            return field.among(values)
        _fail(token.at, f"expected a comparison after {field.written!r}, found {token.text!r}")

    def _value(self, after: str) -> tuple[Value, int]:
        """Read one literal; return it and where it stands."""
        token = self._advance()
        if token.kind == "string":
            return _unquote(token.text), token.at
        if token.kind == "number":
            if re.fullmatch(r"[-+]?\d{1,18}", token.text):
                return int(token.text), token.at
            return float(token.text), token.at
        words: dict[str, Value] = {
            "true": True,
            "false": False,
            "null": None,
            "nan": math.nan,
            "inf": math.inf,
            "infinity": math.inf,
        }
        if token.kind == "word" and token.text in words:
            return words[token.text], token.at
        if token.kind == "name":
            _fail(token.at, f"expected a value after {after!r}; text is written in quotes: '{token.text}'")
        _fail(token.at, f"expected a value after {after!r}")

    def _name(self) -> _Field:
        token = self._advance()
        if token.kind != "name":
            _fail(token.at, f"expected a name, found {token.text!r}")
        plain, tail = token.parts
        if tail is None and plain.lower() in COLUMNS:
            column, kind = COLUMNS[plain.lower()]
            return _Field(token.text, token.at, column, kind)
        family, _, rest = plain.partition(".")
        key = rest if tail is None else f"{rest}.{tail}" if rest else tail
        if plain and key and family.lower() in ("tag", "tags"):
            return _Field(token.text, token.at, "tags", "tag", key)
        if plain and key and family.lower() in FAMILIES:
            column = FAMILIES[family.lower()]
            known = self._names.of(column)
            if key not in known:
                meant = did_you_mean(key, known, written=partial(spelled, column))
                _fail(token.at, f"no run has {family}.{key}; {meant}")
            return _Field(token.text, token.at, column, "json", key)
        return self._bare_name(token, tail if not plain else plain if tail is None else f"{plain}.{tail}")

    def _bare_name(self, token: _Token, name: str | None) -> _Field:
        assert name is not None  # a name token has a plain part or a quoted one
        families = [family for family in ("metrics", "params") if name in self._names.of(family)]
        if len(families) > 1:
            _fail(token.at, f"{name!r} is a metric and a parameter; write metrics.{token.text} or params.{token.text}")
        if not families and name in self._names.meta:
            families = ["meta"]
        if not families:
            known = {*COLUMNS, *self._names.metrics, *self._names.params}
            _fail(token.at, f"there is no column, metric or parameter {name!r}; {did_you_mean(name, known)}")
        return _Field(token.text, token.at, families[0], "json", name)

    @property
    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _advance(self) -> _Token:
        token = self._peek
        if token.kind != "end":
            self._next += 1
        return token

    def _take(self, text: str) -> bool:
        """Step over a keyword or mark if it comes next."""
        found = self._peek.kind in ("word", "mark") and self._peek.text == text
        if found:
            self._next += 1
        return found

    def _expect(self, text: str, what: str) -> None:
        if not self._take(text):
            _fail(self._peek.at, f"expected {what}, found {self._peek.text!r}")
