"""The words around a figure that say how it is meant: a statistic, a difference, an approximation, a unit, a count.

Pure; leaves out names of metrics and the store (``prose_values``). Invariant: what these words cannot settle makes a
figure less certain, never more.
"""

from __future__ import annotations

import re
from typing import Final, Literal

Statistic = Literal["lowest", "highest", "first", "last", "best", "worst", "median", "mean", "baseline", "range"]

_POWER: Final = r"(?:(?:\^|\*\*)\s?[({]?[-+−]?\d{1,3}[)}]?|[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)"
TIMES_TEN: Final = rf"(?:\s?(?:[×x·*]|\\times)\s?10{_POWER})"
PLAIN: Final = r"\d(?:[\d,]*\d)?(?:\.\d+)?(?:e[-+−]?\d+)?"
FIGURE: Final = re.compile(
    rf"(?<![\w.#/-])[-+−]?(?:10{_POWER}|{PLAIN}{TIMES_TEN}?)(?:\s?%)?(?![\w^-]|\.\d|:\d)", re.IGNORECASE
)
NOT_FINITE: Final = re.compile(r"(?<![\w-])[-+−]?(?:nan|inf(?:inity)?|∞)(?!\w)", re.IGNORECASE)
_NEGATED: Final = re.compile(r"\b(?:no|not|never|without|any|n't|non|neither|nor)\W+(?:\w+\W+){0,2}$", re.IGNORECASE)
_BREAK: Final = re.compile(r"[;()]|,\s")
_STATISTICS: Final[tuple[tuple[str, Statistic], ...]] = (
    (r"rang(?:e|es|ed|ing)|spann?(?:s|ed|ing)?|between", "range"),
    (r"lowest|min|minimum|minimal|smallest", "lowest"),
    (r"highest|max|maximum|maximal|largest|peak", "highest"),
    (r"(?:first|initial|initially|starting)(?!\s+(?:run|trial))", "first"),
    (r"(?:last|final|finally|ended)(?!\s+(?:run|trial|step|epoch))", "last"),
    (r"best|top", "best"),
    (r"worst", "worst"),
    (r"median", "median"),
    (r"mean|average|averaged", "mean"),
    (r"baseline", "baseline"),
)
_STATISTIC: Final = re.compile(
    "|".join(rf"\b(?P<{key}>{words})\b" for words, key in _STATISTICS), re.IGNORECASE
)  # fmt: skip
_TOWARDS: Final = tuple(
    (re.compile(rf"\b(?:{verbs})\W+(?:\w+\W+)?(?:to|at)\W*$", re.IGNORECASE), end)
    for verbs, end in (
        (r"fell|drop\w*|decreas\w*|down|sank|bottom\w*", "lowest"),
        (r"rose|climb\w*|increas\w*|up|spik\w*|peak\w*", "highest"),
    )
)
_ROUGH: Final = re.compile(
    r"(?:~|≈|\b(?:about|around|roughly|approximately|nearly|almost|circa|ca\.|some))\W*$", re.IGNORECASE
)
_BOUND: Final = re.compile(
    r"(?:[<>≤≥]=?|\b(?:over|under|above|below|more than|less than|fewer than|at least|at most|no more than|exceed\w*|"
    r"beyond|within))\s*$",
    re.IGNORECASE,
)
_CHANGE: Final = re.compile(
    r"\b(?:improv|reduc|lower|decreas|increas|drop|fell|rose|rais|differ|better|worse|higher|gain|los[te]|beat|won|win|"
    r"ahead|behind|down|up|cut|outperform|exceed|shr[aiu]nk|grew)\w*\b.*\bby\s+(?:a\s+)?(?:only\s+)?$",
    re.IGNORECASE,
)
_CHANGED: Final = re.compile(
    r"\s*(?:points?\s+)?(?:better|worse|lower|higher|less|more|below|above|smaller|larger|behind|ahead)\b",
    re.IGNORECASE,
)
_TIME: Final = re.compile(
    r"\s?(ms|milliseconds?|s|secs?|seconds?|mins?|minutes?|h|hrs?|hours?|d|days?)\b(?!\s*=)", re.IGNORECASE
)
_SECONDS: Final = {"ms": 1e-3, "mi": 60.0, "se": 1.0, "s": 1.0, "h": 3600.0, "hr": 3600.0, "ho": 3600.0, "d": 86400.0,
                   "da": 86400.0}  # fmt: skip
_STEPS: Final = re.compile(r"\s*(?:steps?|epochs?|iterations?|iters?|updates?|batches|points)\b", re.IGNORECASE)
_PLURAL: Final = re.compile(r"\s+([a-z]{3,}s)\b")
_NO_PLURAL: Final = frozenset({"versus", "plus", "minus", "was", "has", "less", "this", "across", "thus", "does", "is"})
_AT_STEP: Final = re.compile(
    r"\b(?:after|at|by|until|from|in|within)\s+(?:the\s+)?(?:(?:step|epoch|iteration)\b|\d[\d,]*\s+(?:steps|epochs|"
    r"iterations|updates|batches))",
    re.IGNORECASE,
)
_WORD: Final = (
    r"(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|"
    r"seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundreds?|thousands?|dozens?|"
    r"half|both|point)"
)
_IN_WORDS: Final = re.compile(rf"\b(?!point\b)(?:a\s+)?{_WORD}(?:[\s-]+(?:and\s+)?{_WORD})*\b", re.IGNORECASE)
_COUNTED: Final = re.compile(
    r"\W+(?:\w+\W+){0,2}?(?:runs?|trials?|findings?|failed|finished|crashed|pruned)\b", re.IGNORECASE
)

_SMALL: Final = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺−", "0123456789-+-")


def clause_of(text: str, start: int, end: int) -> tuple[int, int]:
    """Return where the clause around a stretch begins and ends."""
    low = max((found.end() for found in _BREAK.finditer(text, 0, start)), default=0)
    return low, next((found.start() for found in _BREAK.finditer(text, end)), len(text))


def statistic(text: str, figure: re.Match[str], others: list[re.Match[str]]) -> Statistic | None:
    """Return which statistic a figure is said to be, by the nearest word of its clause; None where no word says one."""
    low, high = clause_of(text, figure.start(), figure.end())
    before = [other.end() for other in others if low <= other.end() <= figure.start()]
    found = list(_STATISTIC.finditer(text, max([low, *before]), figure.start()))
    if found:
        return found[-1].lastgroup  # type: ignore[return-value]  # groups are called as statistics are
    if before:  # the second end of a range: between 1 and 2
        word = list(_STATISTIC.finditer(text, low, min(before)))
        joined = re.fullmatch(r"\s*(?:to|and|through|–|-|\.\.\.?)\s*", text[max(before) : figure.start()])
        if word and joined and word[-1].lastgroup == "range":
            return "range"
    after = [other.start() for other in others if other.start() >= figure.end()]
    rest = _STATISTIC.search(text, figure.end(), min([high, *after]))
    beside = re.match(r"\s*\(\s*(?:the\s+)?(\w+)\s*\)", text[figure.end() :])
    if rest is None and beside is not None:
        rest = _STATISTIC.fullmatch(beside[1])
    return None if rest is None or rest.lastgroup == "range" else rest.lastgroup  # type: ignore[return-value]  # as above


def towards(text: str, at: int) -> str | None:
    """Return which end of a curve words before a figure may speak of: ``fell to``, ``rose to``."""
    return next((key for pattern, key in _TOWARDS if pattern.search(text[:at])), None)


def is_rough(text: str, at: int) -> bool:
    """Return whether a figure is said to be an approximation."""
    return bool(_ROUGH.search(text[:at]))


def is_bound(text: str, at: int) -> bool:
    """Return whether a figure is something that another one is held against: ``below 3``."""
    return bool(_BOUND.search(text[:at]))


def is_spread(text: str, at: int) -> bool:
    """Return whether a figure stands after a plus-minus sign."""
    return bool(re.search(r"(?:±|\+/-|\+-)\s*$", text[:at]))


def is_difference(text: str, figure: re.Match[str]) -> bool:
    """Return whether a figure is by how much something changed or differs."""
    low, _ = clause_of(text, figure.start(), figure.end())
    return bool(_CHANGE.search(text[low : figure.start()]) or _CHANGED.match(text, figure.end()))


def is_from(text: str, at: int) -> bool:
    """Return whether a figure is what something changed from."""
    return bool(re.search(r"\bfrom\W*$", text[:at], re.IGNORECASE))


def seconds_after(text: str, at: int) -> float | None:
    """Return the seconds of the unit of time after a figure; None where there is none."""
    found = _TIME.match(text, at)
    if found is None:
        return None
    unit = found[1].lower()
    return _SECONDS.get(unit[:2], _SECONDS.get(unit[:1]))


def is_of_steps(text: str, at: int) -> bool:
    """Return whether a figure is a number of steps."""
    return bool(_STEPS.match(text, at))


def is_of_things(text: str, figure: re.Match[str]) -> bool:
    """Return whether a figure is a number of things of which the store knows nothing: ``3 weeks``."""
    found = _PLURAL.match(text, figure.end())
    return figure[0].strip().isdecimal() and found is not None and found[1] not in _NO_PLURAL


def is_at_step(text: str) -> bool:
    """Return whether a sentence speaks of a point of a curve."""
    return bool(_AT_STEP.search(text))


def not_finite_in(text: str, after: int) -> list[re.Match[str]]:
    """Return the words for values that are not finite, behind a place, that are not denied."""
    return [each for each in NOT_FINITE.finditer(text, after) if not _NEGATED.search(text[: each.start()])]


def in_words(text: str, labels: list[tuple[int, int]]) -> list[re.Match[str]]:
    """Return the numbers in words that count runs or findings, or are said of a metric."""
    found = []
    for match in _IN_WORDS.finditer(text):
        told = match[0].lower()
        counts = bool(_COUNTED.match(text, match.end())) and told not in ("one", "both", "a half")
        near = any(0 <= match.start() - end <= 40 for _, end in labels) and told not in (
            "one",
            "both",
            "a half",
            "half",
        )
        if counts or near or " point " in told:
            found.append(match)
    return found


def says_number(text: str) -> bool:
    """Return whether a text holds a figure, or a word that may be one."""
    return any(char.isdigit() for char in text) or bool(_IN_WORDS.search(text)) or bool(NOT_FINITE.search(text))


def as_exponent(text: str) -> str:
    """Return a figure with a power of ten as one with an exponent.

    >>> as_exponent("2.0×10^-4"), as_exponent("3 · 10⁻⁵"), as_exponent("10^{3}"), as_exponent("1.5")
    ('2.0e-4', '3e-5', '1e3', '1.5')
    """
    told = re.sub(rf"\s?(?:[×x·*]|\\times)\s?10({_POWER})", lambda found: f"e{_exponent(found[1])}", text)
    return re.sub(rf"^([-+−]?)10({_POWER})", lambda found: f"{found[1]}1e{_exponent(found[2])}", told)


def _exponent(power: str) -> str:
    return power.strip("^*({}) ").translate(_SMALL)
