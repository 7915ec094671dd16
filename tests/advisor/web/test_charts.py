"""Charts in a real browser: findings and what is not finite are seen, zoom keeps peaks, all of it by keyboard too."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import advisor
from storage.events import finding_opened
from storage.records import CurveChunk, Finding, Severity
from tests.advisor.web.conftest import Served, serving, violations

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

N = 1_000_000
SPIKE = 333_333


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve a run of a million points with one spike, a NaN and two infinities, and a sound run beside it."""
    with advisor.open(tmp_path_factory.mktemp("long") / "store", capture=False, embedder="hashing") as adv:
        exp = adv.experiment("long", objective="val_loss", direction="minimize")
        for number in range(2):
            run = exp.tell({"lr": 0.1 * (number + 1)}, 0.1 + number)
            steps, values = np.arange(N), np.full(N, 1.0 + number)
            if number == 1:
                values[SPIKE] = 50.0
                values[500_000:500_003] = math.nan, math.inf, -math.inf
            for metric in ("val_loss", "train_loss"):
                pieces = CurveChunk(
                    run.id, metric=metric, chunk=0, through=N, steps=steps, values=values, times=steps * 0.01
                )
                adv.store.append_curves([pieces])
        finding = Finding(
            "f1", run_id=run.id, experiment="long", code="ADV103", title="val_loss <b>jumped</b>",
            severity=Severity.WARNING, detector="rules", metric="val_loss", step=SPIKE,
        )  # fmt: skip
        adv.store.append([finding_opened(finding)])
        with serving(adv) as served:
            yield served


def first_chart(page: Page) -> Locator:
    """Return the first chart once it is drawn."""
    chart = page.locator(".chart").first
    chart.scroll_into_view_if_needed()
    until(page, lambda: data(chart, "state") == "drawn")
    return chart


def data(chart: Locator, name: str) -> str:
    return chart.get_attribute(f"data-{name}") or ""


def until(page: Page | None, holds: Callable[[], bool], within_s: float = 20) -> None:
    """Wait until something holds; the page's policy forbids the browser to be asked with a text of code."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "it did not come to that"
        page.wait_for_timeout(50) if page else time.sleep(0.05)


def settled(page: Page, name: str, value: str) -> None:
    """Wait until the first chart says something of itself."""
    chart = page.locator(".chart").first
    until(page, lambda: data(chart, name) == value)


def test_a_run_of_a_million_points_is_drawn_zoomed_and_read_by_keyboard(
    long: Served, open_page: Callable[..., Page]
) -> None:
    run = long.adv.experiment("long").run(1)
    page = open_page(f"{long.address}/runs/{run.id}")
    chart = first_chart(page)
    assert data(chart, "drawn") == "3"  # val_loss and train_loss of this run, val_loss of the best
    assert int(data(chart, "points")) <= 3 * 2_000
    assert (data(chart, "marks"), data(chart, "high"), data(chart, "odd")) == ("1", "50", "6")
    text = chart.inner_text()
    assert "ADV103 at step 333,333: val_loss <b>jumped</b>" in text
    assert "× NaN at 1 point, first at step 500,000" in text
    assert "▲ +inf at 1 point" in text
    assert "▼ −inf at 1 point" in text
    assert "of 1,000,000 points are drawn" in text

    plot = chart.locator(".chart-plot")
    plot.focus()
    page.keyboard.press("m")  # to the finding, and everything closer around it
    assert "Finding ADV103" in chart.locator("[role=status]").inner_text()
    for _ in range(12):
        page.keyboard.press("+")
    until(page, lambda: int(data(chart, "points")) < 1_000)
    assert data(chart, "high") == "50"
    low, high = (float(end) for end in data(chart, "span").split())
    assert low < SPIKE < high
    assert high - low < 300
    assert f"from={low:.0f}"[:9] in page.url
    page.reload()
    chart = first_chart(page)
    assert [float(end) for end in data(chart, "span").split()] == [low, high]
    page.get_by_role("button", name="Show all").click()
    settled(page, "span", f"0 {N - 1}")
    assert "from=" not in page.url

    box = chart.locator(".u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.30, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.36, box["y"] + 60, steps=4)
    page.mouse.up()
    until(page, lambda: float(data(chart, "span").split()[0]) > 100_000)
    assert data(chart, "high") == "50"


def test_axes_smoothing_and_lines_are_chosen_and_stand_in_the_address(
    long: Served, open_page: Callable[..., Page]
) -> None:
    run = long.adv.experiment("long").run(1)
    page = open_page(f"{long.address}/runs/{run.id}?y=log")
    chart = first_chart(page)
    assert data(chart, "axes") == "step log"
    page.get_by_label("Over").select_option("time")
    settled(page, "axes", "time log")
    settled(page, "span", f"0 {(N - 1) * 0.01}")
    page.get_by_label("Smooth").select_option("Medium")
    assert "Smoothed" in chart.inner_text()
    page.get_by_label("Values").select_option("linear")
    settled(page, "axes", "time linear")
    assert page.url.endswith("?x=time&smooth=0.9")
    chart.get_by_role("checkbox").first.uncheck()
    settled(page, "drawn", "2")
    ink = data(chart, "ink")
    page.get_by_role("button", name="Switch between light and dark").click()
    until(page, lambda: data(chart, "ink") != ink)


TRAINING = """
import sys, advisor
with advisor.open(sys.argv[1], capture=False, system_metrics="off") as adv:
    run = adv.experiment("digits").start(params={"lr": 0.1, "hidden": 32, "optimizer": "sgd"})
    step = 0
    while True:
        run.log({"val_loss": 1.0 / (step + 1)}, step=step)
        step += 1
        print(run.id, flush=True)
        if sys.stdin.readline().strip() != "more":
            break
    run.finish()
"""


def test_what_another_process_logs_is_drawn_while_the_page_is_open_and_a_zoom_stays(
    served: Served, open_page: Callable[..., Page], store: Path
) -> None:
    training = subprocess.Popen(
        [sys.executable, "-c", TRAINING, str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert training.stdin is not None
    assert training.stdout is not None
    try:
        run_id = training.stdout.readline().strip()
        until(None, lambda: served.adv.store.delivered(run_id) == 1)
        page = open_page(f"{served.address}/runs/{run_id}?from=0&to=30")
        chart = first_chart(page)
        assert data(chart, "last") == "0"
        page.locator("#live-state", has_text="live").wait_for()
        training.stdin.write("more\n")
        training.stdin.flush()
        settled(page, "last", "1")
        assert data(chart, "span") == "0 30"
        training.stdin.write("enough\n")
        training.stdin.flush()
        page.locator("#run-head .badge.finished").wait_for(timeout=15_000)
    finally:
        training.kill()
        training.communicate()  # closes the pipes


@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 390)])
def test_axe_finds_nothing_wrong_with_a_run_and_a_phone_needs_no_sideways_scrolling(
    served: Served, open_page: Callable[..., Page], dark: bool, width: int
) -> None:
    run = served.adv.experiment("digits").run(11)
    page = open_page(f"{served.address}/runs/{run.id}", dark=dark, width=width)
    first_chart(page)
    for part in ("summary", "similar", "history"):
        page.locator(f"#{part}").scroll_into_view_if_needed()
        page.locator(f"#{part}:not([hx-get])").wait_for(timeout=30_000)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations(page) == []


def test_a_tag_and_a_note_are_added_in_place(served: Served, open_page: Callable[..., Page]) -> None:
    run = served.adv.experiment("digits").run(5)
    page = open_page(f"{served.address}/runs/{run.id}")
    page.get_by_label("Add", exact=True).fill("promising, <i>odd</i>")
    page.get_by_role("button", name="Tag", exact=True).click()
    page.get_by_role("button", name="Take off the tag promising").wait_for()
    page.get_by_label("A note").fill("Look at the data first.")
    page.get_by_role("button", name="Add the note").click()
    page.locator("blockquote", has_text="Look at the data first.").wait_for()
    page.get_by_role("button", name="Take off the tag promising").click()
    page.get_by_role("button", name="Take off the tag promising").wait_for(state="detached")
    assert served.adv.run(run.id).tags == ("wide", "<i>odd</i>")
    page.get_by_label("A note").fill("Half a thought")
    page.get_by_role("heading", name="Notes").click()
    served.adv.experiment("digits").note(run, "Said elsewhere. " * 40)
    served.adv.experiment("digits").tag(run, "elsewhere")
    page.locator("blockquote[tabindex]", has_text="Said elsewhere.").wait_for()
    page.get_by_role("button", name="Take off the tag elsewhere").wait_for()
    assert page.get_by_label("A note").input_value() == "Half a thought"


def test_axes_have_few_short_labels_however_large_their_range_is(
    served: Served, open_page: Callable[..., Page]
) -> None:
    page = open_page(f"{served.address}/experiments")
    script = """async ([name, given]) => {
      const ticks = await import("/static/ticks.js"), at = ticks[name](...given);
      return at.map((v) => ticks.textOf(v, name === "decades" ? null : Math.abs(at[1] - at[0])));
    }"""

    def labels(name: str, *given: float) -> list[str]:
        return list(page.evaluate(script, [name, given]))

    assert labels("rounds", 1e-3, 1e242, 4) == ["0", "5e241", "1e242"]
    assert labels("rounds", -1e308, 1e308, 4) == ["-1e308", "-5e307", "0", "5e307", "1e308"]
    assert labels("rounds", 0.1, 0.52, 5) == ["0.1", "0.2", "0.3", "0.4", "0.5"]
    assert labels("rounds", 1.00001, 1.00005, 4) == ["1.00001", "1.00002", "1.00003", "1.00004", "1.00005"]
    assert labels("rounds", 3, 3, 5) == ["3"]
    assert labels("decades", 1e-47, 1e80) == ["1e-40", "1e-20", "1", "1e20", "1e40", "1e60", "1e80"]
    assert labels("decades", 5e-324, 1.7e308) == ["1e-300", "1e-200", "1e-100", "1", "1e100", "1e200", "1e300"]
    assert labels("decades", 0.001, 1) == ["0.001", "0.01", "0.1", "1"]
    assert labels("decades", 0.15, 2) == ["0.2", "0.5", "1", "2"]
