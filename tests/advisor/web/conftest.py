"""A store worth looking at, the page over it, and a real browser."""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import advisor
from advisor.app import Advisor
from advisor.web.options import Options

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Locator, Page
    from starlette.testclient import TestClient

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
REQUIRED = os.environ.get("ADVISOR_TEST_BROWSER") == "required"
"""Whether a machine without a browser fails the tests instead of leaving them out."""
QUIET = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-sandbox")  # fmt: skip
WITHIN_MS = 10_000
"""How long a test waits for something to show before it fails."""


def fill(path: Path) -> None:
    """Write a small store: one experiment with healthy, diverged, failed and pruned runs, one with nothing in it."""
    with advisor.open(path, capture=False, system_metrics="off") as adv:
        exp = adv.experiment(
            "digits",
            objective="val_loss",
            direction="minimize",
            space={
                "lr": advisor.Float(1e-4, 1, log=True),
                "hidden": advisor.Int(16, 512, log=True),
                "optimizer": advisor.Choice("sgd", "adam"),
            },
            description="MLP on the UCI digits",
        )
        for i in range(12):
            lr, hidden = 10 ** (-4 + i / 3), 16 * 2 ** (i % 6)
            run = exp.start(params={"lr": lr, "hidden": hidden, "optimizer": ("sgd", "adam")[i % 2]}, seed=i)
            if i == 3:
                run.fail("RuntimeError: CUDA out of memory")
                continue
            run.tag("baseline" if i < 4 else "wide")
            run.note(f"Run {i} of the first sweep.")
            for step in range(40):
                loss = abs(math.log10(lr) + 2) * 0.2 + 0.1 + math.exp(-step / 8) + 0.004 * math.sin(7 * step + i)
                if i == 11 and step > 20:
                    loss = math.nan
                run.log({"train_loss": 0.8 * loss, "val_loss": loss, "accuracy": 1 / (1 + loss)}, step=step)
            run.finish()
        exp.check()
        exp.suggest(2, seed=3)
        exp.report(path=path.parent / "reports")
        exp.summarize(0, path=path.parent / "reports")
        adv.experiment("empty", description="Nothing has been tried yet")


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a filled store that nobody writes to."""
    path = tmp_path_factory.mktemp("web") / "store"
    fill(path)
    return path


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Path:
    """Return a copy of the filled store that a test may write to."""
    return Path(shutil.copytree(filled, tmp_path / "store"))


@pytest.fixture
def adv(store: Path) -> Iterator[Advisor]:
    """Open the copy."""
    with advisor.open(store, capture=False) as opened:
        yield opened


@pytest.fixture
def client_of(adv: Advisor) -> Iterator[Callable[..., TestClient]]:
    """Return what makes a client without a browser; ``Options`` are given by name."""
    from starlette.testclient import TestClient

    from advisor.web import create_app

    made: list[TestClient] = []

    def make(**options: Any) -> TestClient:
        app = create_app(adv, Options(**options))
        made.append(TestClient(app, base_url="http://127.0.0.1:8517", raise_server_exceptions=False))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def client(client_of: Callable[..., TestClient]) -> TestClient:
    """Return a client without a browser."""
    return client_of()


@dataclass(frozen=True)
class Served:
    """A page that is served over a real socket."""

    adv: Advisor
    address: str
    """Without the last slash."""


@contextmanager
def serving(adv: Advisor, **options: Any) -> Iterator[Served]:
    """Serve an advisor on a free port of this machine."""
    import uvicorn

    from advisor.web import create_app
    from advisor.web.serving import bind, config_of

    sock, chosen = bind(Options(port=0, **options))
    app = create_app(adv, chosen)
    server = uvicorn.Server(config_of(app))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    end = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < end, "the page was not served"
        time.sleep(0.01)
    try:
        yield Served(adv, chosen.address.rstrip("/"))
    finally:
        app.state.web.live.close()
        server.should_exit = True
        thread.join(10)
        sock.close()


@pytest.fixture
def served(adv: Advisor) -> Iterator[Served]:
    """Serve the copy of the filled store."""
    with serving(adv) as found:
        yield found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start the machine's Chromium, headless, once for all tests of a process."""
    if CHROMIUM is None:
        if REQUIRED:
            pytest.fail("no Chromium is installed; 'make browser' installs Debian's")
        pytest.skip("no Chromium is installed; 'make browser' installs Debian's")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield started
        started.close()


def _is_trouble(said: ConsoleMessage) -> bool:
    """Return whether a page complains of something else than that its server has ended, as that of a test does."""
    return said.type == "error" and "Failed to load resource: net::ERR_" not in said.text


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Return what opens a page; at the end the test fails if a script failed or the policy stopped one."""
    contexts, troubles = [], []

    def make(address: str, *, dark: bool = False, width: int = 1280, height: int = 900, **options: Any) -> Page:
        context = browser.new_context(
            color_scheme="dark" if dark else "light", viewport={"width": width, "height": height}, **options
        )
        context.set_default_timeout(WITHIN_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(f"script failed: {error}"))
        page.on("console", lambda said: troubles.append(f"console: {said.text}") if _is_trouble(said) else None)
        page.goto(address)
        return page

    yield make
    for context in contexts:
        for page in context.pages:  # one that is on its way somewhere may keep its context from being closed
            page.goto("about:blank")
        context.close()
    assert not troubles, "\n".join(troubles)


def has(found: Locator, number: int) -> None:
    """Wait until so many of something are on a page, and fail if it does not come to that."""
    from playwright.sync_api import expect

    expect(found).to_have_count(number, timeout=WITHIN_MS)


def has_focus(found: Locator) -> None:
    """Wait until something has the focus: what is put into a page takes it a moment after it is there."""
    from playwright.sync_api import expect

    expect(found).to_be_focused(timeout=WITHIN_MS)


def violations(page: Page) -> list[str]:
    """Return what axe finds wrong with a page by WCAG 2.2 AA, one line each."""
    from axe_playwright_python.sync_playwright import Axe

    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
    found = Axe().run(page, options=rules).response["violations"]
    return [
        f"{each['id']}: {each['help']} at {[node['target'] for node in each['nodes']][:3]} "
        f"{json.dumps(each['nodes'][0].get('failureSummary', ''))[:300]}"
        for each in found
    ]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
