"""Runs beside each other on a page: what is chosen is in the address, what differs is seen first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import advisor
from advisor.app import Advisor
from storage.curves import summaries
from storage.records import Curve, CurveChunk, Event
from tests.advisor.web.conftest import Served, has, serving, violations

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from starlette.testclient import TestClient

EXPERIMENT = "swe/<b>ep</b>"
HOSTILE = "<img src=x onerror=alert(1)>\u202e\"'`{{7*7}}"


def ids_of(adv: Advisor, *numbers: int) -> str:
    return ",".join(adv.experiment("digits").run(number).id for number in numbers)


def test_nothing_chosen_says_how_to_choose(client: TestClient) -> None:
    page = client.get("/compare")
    assert page.status_code == 200
    assert "advisor compare digits#3 digits#7" in page.text


def test_six_runs_are_columns_and_seven_are_rows(client: TestClient, adv: Advisor) -> None:
    six = client.get(f"/compare?runs={ids_of(adv, *range(6))}").text
    seven = client.get(f"/compare?runs={ids_of(adv, *range(7))}").text
    assert '<th scope="row">lr</th>' in re.sub(r"</?bdi[^>]*>|\s+(?=</th>)|(?<=>)\s+", "", six)
    assert '<tr class="highlight">' in seven
    assert '<tr class="highlight">' not in six


def test_the_best_and_the_baseline_are_named_in_words(client: TestClient, adv: Advisor) -> None:
    page = client.get(f"/compare?runs={ids_of(adv, 4, 6)}&base={ids_of(adv, 6)}").text
    assert page.count('<span class="badge best">best</span>') == 2  # in both tables
    assert "make baseline" in page
    assert "val_loss" in page


def test_runs_are_called_as_in_the_terminal_and_added_to_the_address(client: TestClient, adv: Advisor) -> None:
    answer = client.get("/compare?runs=digits%230&add=digits%234", follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/compare?runs=digits%230,{ids_of(adv, 4)}"
    assert "2 runs compared" in client.get(answer.headers["location"]).text


def test_a_run_that_is_not_found_is_told_beside_the_field(client: TestClient) -> None:
    page = client.get("/compare?runs=digits%230&add=digts%234").text
    assert 'aria-invalid="true"' in page
    assert "did you mean" in page
    assert 'value="digts#4"' in page


def test_what_is_gone_is_named_and_the_rest_is_shown(client: TestClient, adv: Advisor) -> None:
    page = client.get(f"/compare?runs=nowhere,{ids_of(adv, 0, 1)}")
    assert page.status_code == 200
    assert "2 runs compared" in page.text
    assert "nowhere" in page.text


def test_more_than_a_hundred_are_refused_in_one_sentence(client: TestClient) -> None:
    page = client.get("/compare?runs=" + ",".join(f"{i:08x}" for i in range(101)))
    assert page.status_code == 400
    assert "101 runs are too many to compare at once; choose 100 at most" in page.text


def test_two_runs_can_be_written_down_unless_the_page_is_read_only(
    client_of: Callable[..., TestClient], adv: Advisor
) -> None:
    address = f"/compare?runs={ids_of(adv, 0, 4)}"
    assert "Write this comparison down" in client_of().get(address).text
    assert "Write this comparison down" not in client_of(read_only=True).get(address).text


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Advisor]:
    """Return a store of 102 runs that differ in all that can differ, with texts that want to be markup."""
    events, chunks = [], []
    steps = np.arange(5)
    for i in range(102):
        run_id = f"{i:04x}{'ab' * 14}"
        curves = {
            "acc": Curve.of("acc", steps, steps * 0.1 + i / 1000),
            "loss": Curve.of("loss", steps, np.full(5, np.nan if i == 3 else 1.0)),
        }
        events.append(Event.new("run.created", EXPERIMENT, run_id, **body(i), summary=summaries(curves)))
        git = {"commit": "ab" * 20, "branch": "main", "dirty": i > 0, "diff": f"+x = {i % 3}\n+{HOSTILE}\n"}
        known = {"git": git, "libraries": {"torch": f"2.{i % 2}", "numpy": "2.4"}, "pid": i}
        events.append(Event.new("run.captured", EXPERIMENT, run_id, **known))
        data = {"name": "train", "type": "array", "sha256": f"{i == 2:064x}", "shape": [3, 4]}
        events += [Event.new("run.data", EXPERIMENT, run_id, **data)] if i < 3 else []
        chunks += [
            CurveChunk(run_id, metric=name, chunk=0, through=5, steps=c.steps, values=c.values)
            for name, c in curves.items()
        ]
    with advisor.open(tmp_path_factory.mktemp("varied") / "store", capture=False) as adv:
        adv.experiment(EXPERIMENT, objective="acc", direction="maximize")
        adv.store.append(events)
        adv.store.append_curves(chunks)
        yield adv


@pytest.fixture
def varied_page(varied: Advisor) -> Iterator[Served]:
    """Serve that store for longer than any page is open."""
    with serving(varied) as found:
        yield found


def body(i: int) -> dict[str, Any]:
    """Return what a run was started with, and how it ended."""
    times = {"started": "2026-03-01T09:00:00+00:00", "ended": f"2026-03-01T09:{i % 60:02d}:30+00:00"}
    params = {"lr": 0.1 * i, "name": HOSTILE if i else "plain", "wd": 0.1}
    return {"state": "finished", "params": params, "seed": i, "tags": [HOSTILE] if i == 1 else [], **times}


def test_code_environment_and_data_tell_what_differs(varied: Advisor) -> None:
    from starlette.testclient import TestClient

    from advisor.web import Options, create_app

    ids = [run.id for run in varied.store.runs(limit=3)]
    with TestClient(create_app(varied, Options()), base_url="http://127.0.0.1:8517") as client:
        page = client.get(f"/compare?runs={','.join(ids)}").text
    assert "with uncommitted changes" in page
    assert '<span class="removed">-+x = 0\n</span>' in page
    assert "libraries.torch" in page
    assert "1 thing is the same in all" in page
    assert "Data sets that differ" in page
    assert "<img" not in page
    assert "\u202e" not in page


def test_three_runs_in_a_browser_curves_baseline_and_removal(
    varied: Advisor, varied_page: Served, open_page: Callable[..., Page]
) -> None:
    ids = [run.id for run in varied.store.runs(limit=3)]
    page = open_page(f"{varied_page.address}/compare?runs={','.join(ids)}")
    page.locator(".chart").first.scroll_into_view_if_needed()
    page.locator(".chart canvas").first.wait_for()
    assert violations(page) == []
    page.get_by_role("link", name=re.compile("make baseline #1")).first.click()
    assert f"base={ids[1]}" in page.url
    page.get_by_role("link", name=re.compile("Remove #2")).click()
    page.get_by_role("heading", name="2 runs compared").wait_for()
    page.go_back()
    page.get_by_role("heading", name="3 runs compared").wait_for()
    phone = open_page(page.url, dark=True, width=390)
    assert violations(phone) == []
    assert phone.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_hundred_runs_in_a_browser_are_rows_with_all_curves(
    varied: Advisor, varied_page: Served, open_page: Callable[..., Page]
) -> None:
    ids = [run.id for run in varied.store.runs(limit=100)]
    page = open_page(f"{varied_page.address}/compare?runs={','.join(ids)}")
    has(page.locator("#differences ~ .scroll tbody tr"), 100)
    page.locator(".chart").first.scroll_into_view_if_needed()
    has(page.locator(".chart-legend").first.locator("li"), 100)  # another chart may be drawn before the first


def test_a_run_is_added_by_keyboard(served: Served, adv: Advisor, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{served.address}/compare?runs={ids_of(adv, 0, 4)}")
    page.get_by_label("Add a run").fill("digits#6")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="3 runs compared").wait_for()
    page.get_by_role("button", name="Add").wait_for()
