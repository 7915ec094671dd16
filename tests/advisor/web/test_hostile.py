"""Text from runs is shown as text, whatever it holds, and takes no more room than there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

import advisor
from tests.advisor.web.conftest import Served, serving, violations
from tests.advisor.web.hostile import SCRIPT, assert_harmless, fill_hostile

if TYPE_CHECKING:
    from playwright.sync_api import Page

MOST_BYTES = 400_000
"""Of a page that shows some dozen texts of a megabyte."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve the store in which every text is hostile."""
    path = tmp_path_factory.mktemp("hostile") / "store"
    fill_hostile(path)
    with advisor.open(path, capture=False) as adv, serving(adv) as served:
        yield served


def test_the_first_page_survives_hostile_texts(hostile: Served, open_page: Callable[..., Page]) -> None:
    for width, dark in ((1280, False), (390, True)):
        page = open_page(hostile.address + "/", width=width, dark=dark)
        for each in page.locator("section > details, .trouble > details").all():
            each.evaluate("each => each.open = true")
        assert_harmless(page)
        assert violations(page) == []
        assert page.locator("script:not([src])").count() == 0
        assert len(page.content()) < MOST_BYTES
        page.close()


def test_every_link_to_an_experiment_leads_there(hostile: Served, open_page: Callable[..., Page]) -> None:
    page = open_page(hostile.address + "/")
    links = page.locator("#experiments tbody a").all()
    addresses = [hostile.address + str(link.get_attribute("href")) for link in links]
    assert len(addresses) == 2
    for address in addresses:
        answer = page.goto(address)
        assert answer is not None
        assert answer.status == 200
        assert_harmless(page)


def test_what_is_done_to_a_hostile_finding_is_told_as_text(hostile: Served, open_page: Callable[..., Page]) -> None:
    page = open_page(hostile.address + "/", width=390)
    page.locator(".trouble .menu summary").first.click()
    assert_harmless(page)
    page.keyboard.press("Escape")
    page.locator("[data-acknowledge]:visible").first.click()
    page.locator(".toast").first.wait_for()
    assert_harmless(page)
    assert SCRIPT not in page.locator("#toasts").inner_html()
