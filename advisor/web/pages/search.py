"""Search: runs by words and conditions, ``/search?q=…``, or by the run that they are like, ``/search?like=RUN``.

The first search of a process reads what is told of all runs and computes vectors, for seconds; the page is there at
once and says how far that is. Invariant: what is asked stands in the address; facets only add to it or take from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from advisor.documents.untrusted import one_line
from advisor.findings import CODES
from advisor.references import find_run
from advisor.web.pages.documents import KINDS_IN_WORDS
from advisor.web.waiting import Advance, Waiting
from advisor.web.web import Web
from storage.errors import FilterError, RunNotFoundError
from storage.query import text_literal
from storage.question import condition, conditions, without
from storage.records import Run

if TYPE_CHECKING:
    from advisor.app import Advisor
    from storage.hits import Reason, SearchResults

PAGE: Final = 20
MOST_PAGES: Final = 25
MOST_VALUES: Final = 8
"""Values of one facet that are shown."""
AT_FIRST_S: Final = 1.5
"""How long a page waits for what was found before it shows that the search is under way …"""
THEN_S: Final = 5.0
"""… and how long each further question waits, so that progress is seen."""
MAX_PASSAGE: Final = 240
HOW: Final[Mapping[str, str]] = {
    "spelling": "spelt alike",
    "synonym": "means the same",
    "meaning": "near in meaning",
    "parameters": "",
    "curve": "",
}
"""How a passage was found, where it was not by its very words."""
TITLES: Final[Mapping[str, str]] = {"experiment": "Experiment", "state": "State", "finding": "Finding"}


@dataclass(frozen=True)
class Asked:
    """What an address asks for."""

    q: str
    like: Run | None
    where: str
    page: int

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two questions the same."""
        return (self.q, self.like and self.like.id, self.where, self.page)

    def address(self, **changes: Any) -> str:
        """Return where a question like this one is asked; what is empty is left out, and so is the page."""
        parts: dict[str, Any] = {"q": self.q, "like": self.like.id if self.like else "", "where": self.where}
        if "like" in changes:
            parts = {"q": "", "where": ""}
        given = {name: each for name, each in (parts | changes).items() if each not in ("", None, 1)}
        return f"/search?{urlencode(given)}" if given else "/search"


@dataclass(frozen=True)
class Entry:
    """One value of a facet."""

    label: str
    n: int
    address: str
    is_on: bool


@dataclass(frozen=True)
class Facet:
    """What fitting runs are counted by."""

    title: str
    entries: Sequence[Entry]
    n_more: int


def search(request: Request) -> Response:
    """Show the runs that fit, and what else there is to say of them."""
    web = Web.of(request)
    query = request.query_params
    page = min(max(int(query["page"]) if query.get("page", "").isdecimal() else 1, 1), MOST_PAGES)
    trouble, like = "", None
    if query.get("like"):
        try:
            like = find_run(web.adv.store, query["like"])
        except RunNotFoundError as error:
            trouble = str(error.args[0] if error.args else error)
    asked = Asked(query.get("q", "").strip(), like, query.get("where", "").strip() if like else "", page)
    found, pending = None, None
    if (asked.q or like) and not trouble:
        searches: Waiting[SearchResults] = Waiting.of(request, "searches", keeps=20)
        pending = searches.ask(asked.key, partial(_find, web.adv, asked))
        try:
            found = pending.result(THEN_S if request.headers.get("hx-request") else AT_FIRST_S)
        except TimeoutError:
            pass
        except FilterError as error:
            trouble, pending = str(error), None
        else:
            pending = None
            searches.forget(asked.key)  # asked again, the store may hold something else
    return web.page(
        request,
        "search.html.j2",
        q=asked.q,
        like=like,
        where=asked.where,
        trouble=trouble,
        pending=pending,
        found=found,
        again=asked.address(page=asked.page),
        address=asked.address,
        **_shown(web, asked, found),
    )


def _find(adv: Advisor, asked: Asked, advance: Advance) -> SearchResults:
    limit = asked.page * PAGE + 1
    if asked.like is not None:
        return adv.similar(asked.like.id, where=asked.where or None, limit=limit)
    return adv.search(asked.q, limit=limit, progress=advance)


def _shown(web: Web, asked: Asked, found: SearchResults | None) -> dict[str, Any]:
    if found is None:
        return {"examples": _examples(web.adv) if not asked.q and asked.like is None else ()}
    first = (asked.page - 1) * PAGE
    hits = found[first : first + PAGE]
    experiments = {hit.run.experiment for hit in hits}
    records = [web.adv.store.experiment(name) for name in experiments]
    return {
        "hits": hits,
        "is_vague": bool(found.words) and is_vague(found),
        "n_shown_from": first + 1,
        "n_shown_to": first + len(hits),
        "objectives": {each.name: each.objective.metric if each.objective else "value" for each in records},
        "facets": list(_facets(asked, found)),
        "active": [
            {"condition": each, "without": without(asked.q, each)} for each in conditions(asked.q) if found.where
        ],
        "examples": () if hits else _examples(web.adv),
        "previous": asked.address(page=asked.page - 1) if asked.page > 1 else "",
        "next": asked.address(page=asked.page + 1) if len(found) > first + PAGE and asked.page < MOST_PAGES else "",
        "add": partial(_added, asked),
        "pieces": pieces,
        "how": HOW,
        "kinds": KINDS_IN_WORDS,
    }


def is_vague(found: SearchResults) -> bool:
    """Return whether no run that was found has a word that was asked for, a likely misspelling or a synonym of it."""
    return not any(reason.how in ("words", "spelling", "synonym") for hit in found for reason in hit.reasons)


def pieces(reason: Reason) -> Iterator[tuple[str, bool]]:
    """Yield the text of a reason in pieces, each with whether it was asked for.

    >>> from storage.hits import Reason
    >>> list(pieces(Reason("note", "it blew up", how="words", marks=((3, 7),))))
    [('it ', False), ('blew', True), (' up', False)]
    """
    end = left = 0
    for start, stop in (*reason.marks, (len(reason.text), len(reason.text))):
        for text, is_marked in ((reason.text[end:start], False), (reason.text[start:stop], True)):
            shown = _kept(text, MAX_PASSAGE - left)
            if shown and left < MAX_PASSAGE:
                left += len(shown)
                yield shown, is_marked
        end = stop


def _kept(text: str, limit: int) -> str:
    """Return a piece of a line on one line, with the spaces at its ends."""
    line = one_line(text, limit=max(limit, 2))
    return f"{' ' if text[:1].isspace() else ''}{line}{' ' if line and text[-1:].isspace() else ''}"


def _facets(asked: Asked, found: SearchResults) -> Iterator[Facet]:
    for name, title in TITLES.items():
        counts = found.facets.get(name, {})
        entries = [_entry(asked, name, value, n) for value, n in list(counts.items())[:MOST_VALUES]]
        if entries and (len(counts) > 1 or any(entry.is_on for entry in entries) or name == "finding"):
            yield Facet(title, entries, max(0, len(counts) - MOST_VALUES))


def _entry(asked: Asked, name: str, value: str, n: int) -> Entry:
    label = f"{value} {CODES[value].slug}" if name == "finding" and value in CODES else value
    if asked.like is not None:
        return Entry(label, n, _added(asked, name, value), is_on=False)
    given = condition(name, value)
    is_on = given in conditions(asked.q)
    return Entry(label, n, asked.address(q=without(asked.q, given)) if is_on else _added(asked, name, value), is_on)


def _added(asked: Asked, name: str, value: str) -> str:
    """Return where a question is asked with one more condition."""
    if asked.like is None:
        return asked.address(q=f"{asked.q} {condition(name, value)}".strip())
    clause = f"{name} = {text_literal(value)}"
    return asked.address(where=f"({asked.where}) and {clause}" if asked.where else clause)


def _examples(adv: Advisor) -> list[str]:
    """Return questions that this store can answer."""
    last = adv.store.runs(order_by=None, limit=1)
    if not last:
        return []
    run = last[0]
    found = ["the loss blew up", "state:failed", "finding:diverged"]
    numbers = [name for name, value in run.params.items() if isinstance(value, float) and name.isidentifier()]
    if numbers:
        found.append(f"overfits params.{numbers[0]}<{run.params[numbers[0]]:.1g}")
    if run.tags:
        found.append(condition("tag", one_line(run.tags[0], limit=60)))
    return found


ROUTES: Final = (Route("/search", search),)
