"""The first page: what needs a person, told and changed while he looks; what he says to findings there."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import advisor
from advisor.app import Advisor
from tests.advisor.web.conftest import Served, serving, violations

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route
    from starlette.testclient import TestClient

TRAINER = """
import sys, advisor
with advisor.open(sys.argv[1], capture=False, system_metrics="off") as adv:
    run = adv.experiment("digits").start(params={"lr": 0.1, "hidden": 64, "optimizer": "sgd"})
    print(run.id, flush=True)
    for line in sys.stdin:
        step, value = line.split()
        run.log({"val_loss": float(value)}, step=int(step))
        print("logged", flush=True)
"""
"""A training in a process of its own; what it logs is typed in."""
PARAMS = {"lr": 0.1, "hidden": 16, "optimizer": "sgd"}
WITHIN_S = 2.0
"""Between ``log()`` in another process and the page."""
BEGINS_WITHIN_MS = 30_000
"""Another process has to load its libraries first."""
TRIES = 4
"""A busy machine may be late once or twice."""
ROW = "document.activeElement.closest('[data-row]')"
"""The row that the keys are in, for a script."""


class Trainer:
    """A training process."""

    def __init__(self, process: subprocess.Popen[str], said: IO[str], heard: IO[str]) -> None:
        self.process, self._said, self._heard = process, said, heard
        self.run_id = heard.readline().strip()

    def log(self, step: int, value: float) -> None:
        """Have a value logged; return when ``log`` has returned."""
        self._said.write(f"{step} {value}\n")
        self._said.flush()
        assert self._heard.readline().strip() == "logged"


@contextmanager
def training(store: Path) -> Iterator[Trainer]:
    """Begin a training in another process, and end it."""
    command = [sys.executable, "-c", TRAINER, str(store)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Trainer(process, process.stdin, process.stdout)
        process.stdin.close()
        process.wait(30)


def test_what_another_process_logs_is_on_the_page_within_2_seconds_and_its_trouble_too(
    store: Path, served: Served, open_page: Callable[..., Page]
) -> None:
    page = open_page(served.address + "/")
    page.get_by_text("No run goes on").wait_for()
    page.locator("#live-state", has_text="live").wait_for()
    with training(store) as trainer:
        row = page.locator(f"[data-run='{trainer.run_id}']")
        row.wait_for(timeout=BEGINS_WITHIN_MS)
        took = []
        for step in range(TRIES):
            trainer.log(step, value=0.5 + step)
            begun = time.monotonic()
            row.get_by_role("cell", name=f"{0.5 + step}").first.wait_for()
            took.append(time.monotonic() - begun)
            if took[-1] < WITHIN_S:
                break
            page.wait_for_timeout(500)
        assert min(took) < WITHIN_S

        trainer.log(TRIES, float("nan"))
        trouble = page.locator("#attention .trouble", has_text="val_loss is not finite")
        trouble.wait_for()
        row.get_by_role("cell", name="NaN").wait_for()

        trouble.get_by_role("button", name="Acknowledge").first.click()
        trouble.get_by_text("acknowledged ·").wait_for()
        page.mouse.move(0, 0)  # the list may change again once the pointer has left it
        trouble.wait_for(state="detached")
        page.locator("#toasts").get_by_role("button", name="Undo").click()
        trouble.wait_for()
        trouble.get_by_role("button", name="Acknowledge").first.click()
        trouble.get_by_role("button", name="Undo").click()
        trouble.get_by_role("button", name="Acknowledge").first.wait_for()
    page.get_by_text("No run goes on").wait_for()


def test_keys_walk_through_rows_and_acknowledge_and_can_be_switched_off(
    adv: Advisor, served: Served, open_page: Callable[..., Page]
) -> None:
    page = open_page(served.address + "/")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    here = f"{ROW}.dataset.key"
    first = page.evaluate(here)
    page.keyboard.press("a")
    row = page.locator(f"[data-key='{first}']")
    row.get_by_text("acknowledged ·").wait_for()
    assert row.get_by_role("button", name="Undo").is_visible()
    page.keyboard.press("j")
    page.wait_for_function(f"{ROW} !== null && {here} !== '{first}'")
    page.wait_for_timeout(1500)
    assert row.is_visible(), "it went while the keys were in the list"
    page.keyboard.press("/")
    row.wait_for(state="detached")
    page.keyboard.type("ja?g")
    assert page.locator("#find").input_value() == "ja?g"
    page.locator("h1").click()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    dialog.wait_for()
    assert violations(page) == []
    dialog.get_by_role("checkbox").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert not dialog.is_visible()
    page.reload()
    page.keyboard.press("?")
    assert not dialog.is_visible()
    page.get_by_role("button", name="Help and keys").click()
    dialog.get_by_role("checkbox").check()
    dialog.get_by_role("button", name="Close").click()
    page.keyboard.press("g")
    with page.expect_navigation(url=served.address + "/"):  # it is there already, and is loaded anew
        page.keyboard.press("t")


def test_what_was_on_its_way_does_not_take_a_row_from_under_the_keys(
    adv: Advisor, served: Served, open_page: Callable[..., Page]
) -> None:
    page = open_page(served.address + "/")
    page.locator("#live-state", has_text="live").wait_for()
    on_their_way: list[Route] = []

    def hold(route: Route) -> None:
        if route.request.headers.get("hx-target") == "attention":
            on_their_way.append(route)
        else:
            route.continue_()

    page.route(served.address + "/", hold)
    with page.expect_request(lambda request: request.headers.get("hx-target") == "attention"):
        adv.experiment("another", objective="loss")
    page.keyboard.press("j")
    row = page.locator(f"[data-key='{page.evaluate(f'{ROW}.dataset.key')}']")
    page.keyboard.press("a")
    row.get_by_text("acknowledged ·").wait_for()
    with page.expect_response(lambda answer: answer.request.headers.get("hx-target") == "attention"):
        on_their_way.pop().continue_()
    page.wait_for_timeout(200)
    assert row.is_visible(), "an answer to what was asked before took it away"
    page.unroute(served.address + "/")
    page.keyboard.press("/")
    row.wait_for(state="detached")


def test_an_empty_store_says_how_to_begin_and_fills_while_one_looks(
    tmp_path: Path, open_page: Callable[..., Page]
) -> None:
    with advisor.open(tmp_path / "new", capture=False) as adv, serving(adv) as served:
        page = open_page(served.address + "/", dark=True)
        page.get_by_text("advisor.init(").wait_for()
        page.locator("#live-state", has_text="live").wait_for()
        assert violations(page) == []
        with advisor.open(tmp_path / "new", capture=False) as other:
            other.experiment("first", objective="loss")
        page.get_by_role("link", name="first").first.wait_for()
        page.get_by_role("heading", name="No trouble is open").wait_for()
        assert violations(page) == []
        page.close()


def test_one_tab_listens_for_all_and_another_takes_over(
    adv: Advisor, served: Served, open_page: Callable[..., Page]
) -> None:
    first = open_page(served.address + "/")
    first.locator("#live-state", has_text="live").wait_for()
    second = first.context.new_page()
    second.goto(served.address + "/")
    second.locator("#live-state", has_text="live").wait_for()
    first.close()
    second.wait_for_timeout(300)
    with advisor.open(adv.opening.uri, capture=False) as other:
        other.experiment("digits").start(params=PARAMS).finish()
    second.get_by_role("cell", name="13", exact=True).wait_for()


def test_a_group_is_told_as_one_line_and_unfolds(adv: Advisor, client: TestClient) -> None:
    exp = adv.experiment("digits")
    for seed in range(3):
        exp.start(params=PARAMS, seed=seed).fail("ValueError: no more")
    page = client.get("/").text
    assert "4 of 15 runs: failed" in page
    assert page.count("ValueError: no more") >= 3


def test_without_a_script_every_part_is_there_and_buttons_are_forms(client: TestClient) -> None:
    page = client.get("/").text
    for heading in ("things need you", "Going on now", "Suggestions that wait", "Just written", "Experiments"):
        assert heading in page
    assert 'method="post"' in page


def test_where_nothing_may_be_changed_nothing_offers_to(client_of: Callable[..., TestClient]) -> None:
    page = client_of(read_only=True).get("/").text
    assert 'method="post"' not in page
    assert "ADV111 failed" in page


def test_htmx_gets_only_the_part_that_it_replaces(client: TestClient) -> None:
    part = client.get("/", headers={"hx-request": "true", "hx-target": "running"}).text
    assert part.strip().startswith('<section id="running"')
    assert "<html" not in part
