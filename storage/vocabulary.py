"""Words as search compares them: cut from text, reduced to their stems, found again where they are misspelt.

Left out: what a text is worth for a question (``storage.ranking``), and synonyms (``storage.lexicon``).

Invariant: pure; the same text gives the same terms on every machine.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

STOP_WORDS: Final = frozenset(
    """a about after all also am an and any are as at be because been but by can could did do does doing for from get
    gets got had has have how i if in into is it its just me my of on or our out over own run runs show so some such
    than that the their them then there these they this those to too up was we were what when where which while who why
    will with would you your find experiment experiments training trained train trains""".split()
)
"""Left out of questions, unless nothing else is said: they are in every text or in none."""
SHORTEST_FUZZY: Final = 4
"""Letters of a word that may be misspelt; shorter ones are a letter away from half of the others."""
MIN_DICE: Final = 0.4
"""Share of letter pairs that two words must have in common before their distance is worked out."""
MOST_GUESSES: Final = 6
"""Words of the store that one unknown word may stand for."""

_WORD = re.compile(r"[^\W_]+(?:[.+\-][^\W_]+)*", re.UNICODE)
_SUFFIXES: Final = (
    "isations", "izations", "isation", "ization", "ations", "ation", "ences", "ence", "ingly", "ities", "ising",
    "izing", "ments", "ment", "ised", "ized", "ises", "izes", "ings", "ing", "edly", "ied", "ies", "ity",
    "ise", "ize", "ive", "ed", "ly", "es", "er", "s", "e",
)  # fmt: skip


def cut(text: str) -> list[str]:
    """Return the words of a text in lower case; ``val_loss`` is two, ``1e-3`` and ``0.5`` are one each.

    >>> cut("Val_Loss is NaN; lr_1e-3, ADAM!")
    ['val', 'loss', 'is', 'nan', 'lr', '1e-3', 'adam']
    """
    out: list[str] = []
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        out += [word] if word[0].isdigit() else [part for part in re.split(r"[.+\-]", word) if part]
    return out


_IRREGULAR: Final[Mapping[str, str]] = {
    "blew": "blow", "blown": "blow", "broke": "break", "broken": "break", "died": "die", "fell": "fall",
    "froze": "freeze", "frozen": "freeze", "grew": "grow", "grown": "grow", "hung": "hang", "learnt": "learn",
    "lost": "lose", "risen": "rise", "rose": "rise", "shot": "shoot", "stuck": "stick", "worse": "bad", "worst": "bad",
}  # fmt: skip


@functools.lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """Return what the forms of a word share; a light suffix stripper in the manner of Porter (1980), for English.

    >>> [stem(word) for word in ("diverged", "diverges", "diverging", "divergence")]
    ['diverg', 'diverg', 'diverg', 'diverg']
    >>> stem("overfitting"), stem("overfits"), stem("memorised") == stem("memorizes"), stem("loss"), stem("1e-3")
    ('overfit', 'overfit', True, 'loss', '1e-3')
    """
    word = _IRREGULAR.get(word, word)
    if not word.isascii() or not word.isalpha() or len(word) < 4 or word.endswith("ss"):
        return word
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: -len(suffix)]
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
        word = word[:-1]
    return word[:-1] + "i" if word.endswith("y") and len(word) > 3 else word


def terms(text: str) -> list[str]:
    """Return the stems of a text's words, repeated as they are."""
    return [stem(word) for word in cut(text)]


def asked(text: str) -> list[str]:
    """Return the stems that a question is about, each once, without words that say nothing."""
    words = cut(text)
    telling = [word for word in words if word not in STOP_WORDS] or words
    return list(dict.fromkeys(map(stem, telling)))


def distance(one: str, other: str, *, most: int) -> int:
    """Return how many letters must be put in, left out, replaced or swapped; ``most + 1`` where it is more.

    Optimal string alignment (Damerau 1964, Levenshtein 1966), cut off at ``most``.

    >>> distance("divreged", "diverged", most=2), distance("loss", "lost", most=2), distance("adam", "sgd", most=2)
    (1, 1, 3)
    """
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
        before, last = last, row
    return min(last[-1], most + 1)


class Speller:
    """Finds the known words that an unknown one may stand for.

    Parameters
    ----------
    known
        The words of a store, as ``stem`` gives them.
    """

    def __init__(self, known: Sequence[str]) -> None:
        self.at: Mapping[str, int] = {word: i for i, word in enumerate(known)}
        """Place of each known word."""
        self._known = known
        self._sizes = np.array([len(word) + 1 for word in known], dtype=np.float64)

    @functools.cached_property
    def _pairs(self) -> Mapping[str, NDArray[np.int64]]:
        found: dict[str, list[int]] = {}
        for i, word in enumerate(self._known):
            if word.isalpha() and len(word) >= SHORTEST_FUZZY - 1:
                for pair in pairs_of(word):
                    found.setdefault(pair, []).append(i)
        return {pair: np.array(places, dtype=np.int64) for pair, places in found.items()}

    def guesses(self, word: str) -> dict[str, float]:
        """Return the known words that are a slip away, and how like they are, in (0, 1]; nearest first, few."""
        if len(word) < SHORTEST_FUZZY or not word.isalpha():
            return {}
        shared = np.zeros(len(self._known))
        mine = pairs_of(word)
        for pair in mine:
            if pair in self._pairs:
                shared[self._pairs[pair]] += 1.0
        dice = 2.0 * shared / (len(mine) + self._sizes)
        most = 1 if len(word) < 6 else 2
        likely = np.flatnonzero(dice >= MIN_DICE)
        likely = likely[np.argsort(-dice[likely], kind="stable")][: 8 * MOST_GUESSES]
        found = {self._known[i]: _likeness(word, self._known[i], most) for i in likely.tolist()}
        near = sorted((pair for pair in found.items() if pair[1] > 0), key=lambda pair: (-pair[1], pair[0]))
        return {other: like for other, like in near[:MOST_GUESSES] if like >= near[0][1] - 0.15}


def pairs_of(word: str) -> set[str]:
    """Return the pairs of neighbouring letters of a word, its ends marked."""
    marked = f"^{word}$"
    return {marked[i : i + 2] for i in range(len(marked) - 1)}


def _likeness(one: str, other: str, most: int) -> float:
    apart = distance(one, other, most=most)
    if apart > most:
        # A stem that the other begins with: "regular" asks for "regularis" too.
        prefix = min(len(one), len(other)) >= 5 and (one.startswith(other) or other.startswith(one))
        return 0.6 if prefix else 0.0
    return 1.0 - apart / max(len(one), len(other)) - (0.1 if one[0] != other[0] else 0.0)


def expanded(stems: Iterable[str], concepts: Sequence[Sequence[frozenset[str]]]) -> set[str]:
    """Return the stems of the concepts of which one phrase is in a question, without its own."""
    mine = set(stems)
    touched = [phrases for phrases in concepts if any(phrase <= mine for phrase in phrases)]
    return {each for phrases in touched for phrase in phrases for each in phrase} - mine
