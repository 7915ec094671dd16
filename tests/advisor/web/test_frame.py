"""The frame of every page: reachable by keyboard, legible in both themes, locked in, its files small and known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.advisor.web.conftest import Served, violations

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from starlette.testclient import TestClient


def test_the_first_page_names_the_experiments(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "digits" in page.text


def test_every_answer_is_locked_in_by_a_policy(client: TestClient) -> None:
    for path in ("/", "/static/advisor.css", "/nothing-here"):
        headers = client.get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["../app.py", "%2e%2e/app.py", "..%2fapp.py", "/etc/passwd", "..%5capp.py", "%00"])
def test_nothing_outside_the_folder_of_files_is_served(client: TestClient, path: str) -> None:
    assert client.get(f"/static/{path}").status_code == 404


def test_files_of_others_are_those_that_were_taken_in(repository: Path) -> None:
    vendor = repository / "advisor" / "web" / "static" / "vendor"
    sums = dict(line.split()[::-1] for line in (vendor / "SHA256SUMS").read_text().splitlines())
    files = [path for path in vendor.iterdir() if path.name != "SHA256SUMS"]
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert found == sums


def test_all_files_of_the_page_are_under_300_kilobytes(repository: Path) -> None:
    files = [
        path
        for path in (repository / "advisor" / "web" / "static").rglob("*")
        if path.suffix in (".js", ".css", ".svg")
    ]
    assert sum(path.stat().st_size for path in files) < 300_000


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_wrong_with_the_first_page(
    served: Served, open_page: Callable[..., Page], dark: bool
) -> None:
    assert violations(open_page(served.address + "/", dark=dark)) == []


def test_the_theme_can_be_switched_and_is_kept(served: Served, open_page: Callable[..., Page]) -> None:
    page = open_page(served.address + "/")
    page.get_by_role("button", name="Switch between light and dark").click()
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
