"""Search on a page: results with their reasons, facets that narrow, mistakes told beside the field."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import advisor
from advisor.app import Advisor
from advisor.web.pages.search import MAX_PASSAGE, pieces
from storage.embed import HashingEmbedder
from storage.hits import Reason
from tests.advisor.web.conftest import Served, violations

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from starlette.testclient import TestClient

HOSTILE = "blew up <script>alert(1)</script> \u202e" + "x" * 5_000


@pytest.fixture
def adv(store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Advisor]:
    """Open the copy with the encoder that needs no model."""
    monkeypatch.setenv("ADVISOR_EMBEDDER", "hashing")
    with advisor.open(store, capture=False, system_metrics="off") as opened:
        opened.store.reindex(embedder=HashingEmbedder())
        exp = opened.experiment('a "b"*c', objective="loss")
        with exp.start(params={"lr": 0.1}) as run:
            run.note(HOSTILE)
            run.tag("<b>bold</b>")
            run.log({"loss": 1.0})
        yield opened


def test_nothing_asked_shows_what_can_be_asked(client: TestClient) -> None:
    page = client.get("/search").text
    assert "the loss blew up" in page
    assert "What can be written" in page
    assert "/search?q=state%3Afailed" in page


def test_hits_say_why_with_what_was_asked_for_marked(client: TestClient) -> None:
    page = client.get("/search?q=cuda+memory").text
    assert "<mark>CUDA</mark>" in page
    assert "Compare ticked runs" in page
    assert "more like this" in page


def test_words_that_nothing_has_are_told_to_match_nothing(client: TestClient) -> None:
    page = client.get("/search?q=zzzqqq").text
    assert "Nothing matches; the nearest in meaning:" in page or "No run fits." in page
    assert "at least half as good" not in page
    assert "Nothing matches" not in client.get("/search?q=memory").text


def test_phrases_by_which_a_finding_is_found_are_not_shown(client: TestClient) -> None:
    page = client.get("/search?q=numerical+overflow").text
    assert "finding, means the same:" in page
    assert not re.search("numerical overflow, |, numerical overflow", page)


def test_facets_add_a_condition_and_take_it_back(client: TestClient) -> None:
    page = client.get("/search?q=experiment:digits").text
    assert "/search?q=experiment%3Adigits+state%3Afinished" in page
    narrowed = client.get("/search?q=experiment:digits+state%3Afinished").text
    assert re.search(r'href="/search\?q=experiment%3Adigits" aria-current="true">', narrowed)


def test_a_facet_of_any_name_is_a_condition_that_is_understood(client: TestClient) -> None:
    page = client.get("/search?q=state:finished").text
    address = re.search(r'href="(/search\?q=state%3Afinished\+experiment%3A%22a[^"]*)"', page)
    assert address is not None
    narrowed = client.get(address[1].replace("&amp;", "&")).text
    assert "Runs 1–1 of 1, the newest first" in narrowed


def test_a_condition_that_is_not_understood_is_told_beside_the_field(client: TestClient) -> None:
    page = client.get("/search?q=lrr%3C3").text
    assert re.search(r'id="search-error" class="bad" role="alert">[^\n]*did you mean', page)
    assert 'aria-invalid="true"' in page


def test_what_htmx_asks_for_is_the_results_alone(client: TestClient) -> None:
    part = client.get("/search?q=lrr%3C3", headers={"hx-request": "true", "hx-target": "results"}).text
    assert "<html" not in part
    assert 'id="search-error" hx-swap-oob="true"' in part


def test_nothing_found_says_what_to_leave_out(client: TestClient) -> None:
    page = client.get("/search?q=sweep+state%3Acrashed").text
    assert "No run fits." in page
    assert 'href="/search?q=sweep"' in page


def test_runs_like_one_are_found_among_those_that_a_filter_leaves(client: TestClient, adv: Advisor) -> None:
    run = adv.experiment("digits").run(4)
    page = client.get("/search", params={"like": "digits#4", "where": "params.optimizer = 'sgd'"}).text
    assert "Runs like" in page
    assert f"like={run.id}" in page
    assert "parameters" in page
    assert "did you mean" in client.get("/search?like=digts%234").text


def test_documents_are_among_the_results(client: TestClient) -> None:
    assert re.search(r'href="/documents/[0-9a-f]{32}"', client.get("/search?q=digits").text)


def test_pages_go_on_where_the_last_one_ended(client: TestClient, adv: Advisor) -> None:
    exp = adv.experiment("many", objective="loss")
    for i in range(25):
        exp.tell({"lr": float(i)}, value=float(i))
    first = client.get("/search?q=experiment:many").text
    assert "Runs 1–20 of 25" in first
    assert "/search?q=experiment%3Amany&amp;page=2" in first
    assert "Runs 21–25 of 25" in client.get("/search?q=experiment:many&page=2").text


def test_a_hostile_note_is_text_and_bounded(client: TestClient) -> None:
    page = client.get("/search?q=blew").text
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "x" * 2_000 not in page


def test_a_passage_is_cut_and_its_marks_stay() -> None:
    found = list(pieces(Reason("note", "a" * 500 + " blew", how="words", marks=((501, 505),))))
    assert sum(len(text) for text, _ in found) <= MAX_PASSAGE + 2
    assert list(pieces(Reason("note", "blew", how="words", marks=((0, 4),)))) == [("blew", True)]


def test_searching_in_a_browser_while_typing_then_a_facet_then_a_mistake(
    served: Served, open_page: Callable[..., Page]
) -> None:
    page = open_page(served.address + "/search")
    page.locator("#q").press_sequentially("experiment:digits sweep", delay=10)
    page.locator(".hits li").first.wait_for()
    page.wait_for_url(re.compile(r"\?q=experiment%3Adigits(%20|\+)sweep$"))
    page.locator("#q").fill("experiment:digits")
    page.get_by_role("link", name=re.compile("^failed")).click()
    page.wait_for_url(re.compile(r"state%3Afailed"))
    assert violations(page) == []
    page.go_back()
    page.wait_for_url(re.compile(r"\?q=experiment%3Adigits$"))
    page.locator("#q").fill("lrr<3")
    page.locator("#search-error", has_text="did you mean").wait_for()
    page.locator('#q[aria-invalid="true"]').wait_for()
    page.locator("#q").fill("sweep lr<1")
    page.locator(".hits li").nth(1).wait_for()
    page.locator(".hits input").nth(0).check()
    page.locator(".hits input").nth(1).check()
    page.get_by_role("button", name="Compare ticked runs").click()
    page.get_by_role("heading", name="2 runs compared").wait_for()
    phone = open_page(served.address + "/search?q=blew", dark=True, width=390)
    assert violations(phone) == []
    assert phone.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
