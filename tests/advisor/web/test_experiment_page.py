"""An experiment's page in a real browser: each test is one thing that somebody does there."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from storage.records import Event, new_id
from tests.advisor.web.conftest import Served, has, has_focus, violations

if TYPE_CHECKING:
    from playwright.sync_api import Page

OpenPage = Callable[..., "Page"]


def numbers(page: Page) -> list[str]:
    """Return the numbers of the runs in the table, from top to bottom."""
    return page.locator("#runs tbody th").all_inner_texts()


def is_too_wide(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))


def add_runs(served: Served, n: int) -> None:
    """Add runs to the experiment without anything, some of them broken, in one commit."""
    served.adv.experiment("empty", objective="loss", direction="minimize")
    events = [
        Event.new(
            "run.created",
            "empty",
            new_id(),
            state="failed" if i % 9 == 4 else "finished",
            params={"lr": 10 ** -(i % 5), "width": i % 7, "opt": "sgd" if i % 2 else "adam"},
            **({} if i % 9 == 4 else {"values": [math.nan if i % 50 == 7 else 1 + (i * 37 % 101) / 100]}),
        )
        for i in range(n)
    ]
    served.adv.store.append(events)


def test_runs_are_filtered_sorted_and_their_columns_chosen_and_each_view_is_a_link(
    served: Served, open_page: OpenPage
) -> None:
    page = open_page(f"{served.address}/experiments")
    page.get_by_role("link", name="digits").click()
    page.wait_for_selector("#runs")
    assert numbers(page)[:2] == ["#11", "#10"]
    field = page.get_by_role("combobox", name="Filter")
    field.type("params.hi")
    assert page.locator("#names option").evaluate_all("all => all.map(each => each.value)") == ["params.hidden"]
    field.fill("params.hiden < 100")
    field.press("Enter")
    page.get_by_role("alert").filter(has_text="did you mean").wait_for()
    assert field.get_attribute("aria-invalid") == "true"
    field.fill("params.hidden < 100")
    field.press("Enter")
    page.get_by_text("1–6 of 6").wait_for()
    has_focus(page.locator("#where"))
    page.get_by_role("columnheader", name="val_loss").get_by_role("link").click()
    page.wait_for_selector("th[aria-sort=ascending]")
    assert numbers(page) == ["#6", "#7", "#8", "#2", "#1", "#0"]
    page.get_by_role("columnheader", name="val_loss").get_by_role("link").press("Enter")
    page.wait_for_selector("th[aria-sort=descending]")
    assert numbers(page)[0] == "#0"
    page.get_by_text("Columns", exact=True).click()
    page.get_by_label("optimizer").uncheck()
    page.get_by_label("Seed").check()
    page.get_by_role("button", name="Show these").click()
    page.get_by_role("columnheader", name="Seed").wait_for()
    again = open_page(page.url, dark=True)
    assert numbers(again) == numbers(page)
    has(again.get_by_role("columnheader", name="optimizer"), 0)
    page.go_back()
    page.get_by_role("columnheader", name="optimizer").wait_for()
    assert violations(page) == []
    assert violations(again) == []
    again.bring_to_front()
    again.get_by_label("Select run 0").check()
    served.adv.experiment("digits").tell({"lr": 0.2, "hidden": 20, "optimizer": "sgd"}, 0.01)
    again.get_by_text("1–7 of 7").wait_for()
    assert numbers(again)[-1] == "#12"
    assert again.get_by_label("Select run 0").is_checked()
    assert again.locator("#head").get_by_text("0.01", exact=True).is_visible()


def test_runs_are_chosen_over_pages_and_compared(served: Served, open_page: OpenPage) -> None:
    add_runs(served, 120)
    page = open_page(f"{served.address}/experiments/empty", width=390)
    page.route("**/compare?*", lambda route: route.fulfill(body="compared", content_type="text/plain"))
    compare = page.get_by_role("button", name="Compare")
    assert compare.is_disabled()
    page.get_by_label("Select run 119").check()
    page.get_by_text("1 selected; one more to compare.").wait_for()
    page.get_by_role("link", name="Next").click()
    page.get_by_text("51–100 of 120").wait_for()
    page.get_by_label("Select run 60").press("Space")
    page.get_by_text("2 selected.").wait_for()
    page.get_by_role("link", name="Last").click()
    page.get_by_text("101–120 of 120").wait_for()
    assert not is_too_wide(page)
    assert violations(page) == []
    page.go_back()
    page.get_by_text("51–100 of 120").wait_for()
    page.get_by_role("checkbox", name="Select run 60", checked=True).wait_for()
    page.get_by_role("button", name="Compare 2").click()
    page.wait_for_url("**/compare?runs=*")
    runs = served.adv.store.runs("empty")
    assert page.url.partition("=")[2].split(",") == [runs[119].id, runs[60].id]


def test_a_suggestion_is_asked_for_accepted_and_rejected(served: Served, open_page: OpenPage) -> None:
    exp = served.adv.experiment("digits")
    page = open_page(f"{served.address}/experiments/digits?tab=suggestions", permissions=["clipboard-write"])
    has(page.locator(".suggestion"), 2)
    has(page.get_by_text("80 % within"), 2)
    assert violations(page) == []
    page.get_by_label("How many").fill("1")
    page.get_by_label("Seed").fill("11")
    page.get_by_role("button", name="Ask for suggestions").click()
    page.get_by_text("One suggestion more.").wait_for()
    has(page.locator(".suggestion"), 3)
    page.get_by_role("button", name="Copy as command").first.click()
    page.get_by_text("Copied.").wait_for()
    page.get_by_role("button", name="Accept the suggestion 1").press("Enter")
    page.get_by_text("Accepted: run #12 waits to be started.").wait_for()
    page.get_by_role("link", name="#12").wait_for()
    has_focus(page.locator("#queue"))
    has(page.locator(".suggestion"), 2)
    assert exp.waiting()[0].number == 12
    page.get_by_role("button", name="Reject the suggestion 1").click()
    page.get_by_text("Rejected; its point is free again.").wait_for()
    assert len(exp.unanswered()) == 1
    with exp.start() as run:
        run.log(val_loss=0.2)
    assert exp.run(12).id == run.id


def test_pictures_are_drawn_narrowed_by_ranges_and_follow_what_happens(served: Served, open_page: OpenPage) -> None:
    add_runs(served, 60)
    page = open_page(f"{served.address}/experiments/empty?tab=analysis")
    page.wait_for_selector("[data-drawn='60']")
    page.locator("#importances:not([hx-get])").wait_for()
    assert page.locator(".plot canvas").count() >= 6
    before = page.locator("[data-plot=pair] canvas").evaluate("each => each.toDataURL()")
    page.get_by_label("Switch between light and dark").click()
    page.wait_for_function(
        "before => document.querySelector('[data-plot=pair] canvas').toDataURL() !== before", arg=before
    )
    assert violations(page) == []
    page.locator("#across").select_option("opt")
    page.get_by_role("columnheader", name="adam").wait_for()
    page.locator("summary", has_text="Ranges").click()
    group = page.get_by_role("group", name="width")
    group.get_by_label("from").fill("3")
    group.get_by_label("from").press("Enter")
    page.get_by_role("group", name="opt").get_by_label("adam").uncheck()
    kept = page.locator("[data-kept]").inner_text()
    link = page.get_by_role("link", name="Show these runs in the table")
    number = int(re.match(r"\d+", kept)[0])  # type: ignore[index]  # without it the test fails as it should
    where = "params.opt in ('sgd') and params.width >= 3"
    assert number == served.adv.store.count("empty", where=f"{where} and objective is not null and objective != nan")
    add_runs(served, 3)
    page.wait_for_selector("[data-drawn='63']")
    link.click()
    page.wait_for_selector("#runs")
    assert set(page.get_by_role("combobox", name="Filter").input_value().split(" and ")) == set(where.split(" and "))


@pytest.mark.parametrize(("dark", "tabs"), [(False, ("analysis", "ledger")), (True, ("suggestions", "ledger"))])
def test_every_part_reads_well_on_a_phone_and_for_a_screen_reader(
    served: Served, open_page: OpenPage, dark: bool, tabs: tuple[str, ...]
) -> None:
    there = {"": "#list", "analysis": "[data-drawn]", "suggestions": "#asked", "ledger": "#record"}
    page = open_page(f"{served.address}/experiments", dark=dark, width=390)
    for tab in ("", *tabs):
        if tab:
            page.goto(f"{served.address}/experiments/digits?tab={tab}")
        page.wait_for_selector(there[tab])
        assert not is_too_wide(page), tab
        assert violations(page) == [], tab


def test_rows_are_walked_through_by_keys_and_bars_are_as_long_as_their_shares(
    served: Served, open_page: OpenPage
) -> None:
    page = open_page(f"{served.address}/experiments")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/experiments/*")
    page = open_page(f"{served.address}/experiments/digits")
    for key in "jjk":
        page.keyboard.press(key)
    has_focus(page.get_by_role("link", name="#11", exact=True))
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/*")
    page = open_page(f"{served.address}/experiments/digits?tab=analysis")
    page.locator(".bars .portion").first.wait_for(timeout=30_000)
    bars = page.locator(".bars .portion").evaluate_all(
        "all => all.map((each) => [each.getBoundingClientRect().width /"
        " each.ownerSVGElement.getBoundingClientRect().width, each.getAttribute('width') / 100])"
    )
    assert len({share for _, share in bars}) > 1
    for drawn, share in bars:
        assert drawn == pytest.approx(share, abs=0.01)
