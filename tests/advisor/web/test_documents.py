"""Documents on a page: read in place, verified, printed, taken away as files, and written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import advisor
from advisor.app import Advisor
from advisor.documents import KINDS
from advisor.documents.prose import Told
from advisor.web.pages.documents import KINDS_IN_WORDS
from advisor.web.pages.verifying import marked
from tests.advisor.web.conftest import Served, violations

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from starlette.testclient import TestClient

HOSTILE = "<img src=x onerror=alert(1)>{{7*7}}\u202e"


@pytest.fixture
def adv(store: Path, tmp_path: Path) -> Iterator[Advisor]:
    """Open the copy; what is written lies beside it."""
    with advisor.open(store, capture=False, system_metrics="off", reports=tmp_path / "reports") as opened:
        yield opened


def id_of(adv: Advisor, kind: str) -> str:
    return next(each.id for each in adv.documents() if each.kind == kind)


def test_every_kind_of_document_has_words() -> None:
    assert set(KINDS_IN_WORDS) == set(KINDS)


def test_documents_are_listed_and_filtered_by_kind(client: TestClient, adv: Advisor) -> None:
    page = client.get("/documents").text
    assert f"/documents/{id_of(adv, 'report')}" in page
    only = client.get("/documents?kind=run-summary&experiment=digits").text
    assert f"/documents/{id_of(adv, 'run-summary')}" in only
    assert f"/documents/{id_of(adv, 'report')}" not in only
    assert "No document of that kind is kept" in client.get("/documents?kind=digest").text


def test_a_document_is_read_in_place_without_inline_style_or_script(client: TestClient, adv: Advisor) -> None:
    page = client.get(f"/documents/{id_of(adv, 'run-summary')}", headers={"hx-request": "true", "hx-target": "reading"})
    assert "<svg" in page.text
    assert "facts that its figures come from" in page.text
    assert "style=" not in page.text
    assert "<style" not in page.text


def test_verifying_derives_every_figure_again(client: TestClient, adv: Advisor) -> None:
    address = f"/documents/{id_of(adv, 'run-summary')}/verify"
    part = client.get(address, headers={"hx-request": "true", "hx-target": "verdict"}).text
    assert re.search(r"\d+ figures, all as the store says", part)
    assert "<html" not in part


@pytest.mark.parametrize("format", ["md", "html", "json"])
def test_a_file_is_a_download_that_verifies_and_runs_nothing(client: TestClient, adv: Advisor, format: str) -> None:
    answer = client.get(f"/documents/{id_of(adv, 'run-summary')}/file?format={format}")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert adv.verify(answer.text).ok


def test_a_document_that_there_is_not_is_not_found(client: TestClient) -> None:
    for path in ("/documents/nope", "/documents/nope/verify", "/documents/nope/file"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "there is no document" in answer.text
    assert client.get("/documents/..%2f..%2fetc%2fpasswd").status_code == 404


def test_a_document_is_written_and_gone_to(client: TestClient, adv: Advisor) -> None:
    posted = {"kind": "comparison", "a": "digits#0", "b": "digits#6"}
    answer = client.post("/documents", data=posted, follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/documents/{id_of(adv, 'run-comparison')}"
    again = client.post("/documents", data=posted, headers={"hx-request": "true"})
    assert again.headers["hx-redirect"].startswith("/documents/")
    assert "version 2" in client.get(again.headers["hx-redirect"]).text


def test_what_cannot_be_written_is_told(client: TestClient) -> None:
    answer = client.post("/documents", data={"kind": "incident"})
    assert answer.status_code in (400, 422)
    assert "needs" in answer.text
    assert client.get("/documents/writing/nothing", follow_redirects=False).status_code == 303


def test_a_document_about_a_misspelt_experiment_is_told_at_the_field_and_the_form_is_kept(client: TestClient) -> None:
    page = client.get("/documents").text
    assert 'name="form"' in page
    answer = client.post("/documents", data={"kind": "checklist", "experiment": "digist", "form": "documents"})
    assert answer.status_code == 400
    assert "did you mean &#39;digits&#39;" in answer.text
    assert 'value="digist" aria-describedby="write-trouble" aria-invalid="true"' in answer.text
    assert '<option value="checklist" selected>' in answer.text
    assert "Not here" not in answer.text


def test_a_page_that_is_read_only_offers_no_writing_but_verifies(client_of: Callable[..., TestClient]) -> None:
    client = client_of(read_only=True)
    assert "Write a document" not in client.get("/documents").text
    assert client.post("/documents", data={"kind": "digest"}).status_code == 403
    page = client.get("/documents/verify", params={"text": "Run digits#6 has val_loss 77."}).text
    assert 'method="get"' in page
    assert "1 contradicted" in page


def test_any_text_is_verified_with_words_beside_the_colours(client: TestClient, adv: Advisor) -> None:
    value = adv.experiment("digits").run(6).metrics["val_loss"]
    text = f"Run digits#6 has val_loss {value:.4f}.\nRun digits#0 has val_loss 77. <img src=x>"
    page = client.post("/documents/verify", data={"text": text}).text
    assert "1 supported, 1 contradicted" in page
    assert '<span class="hidden"> (contradicted)</span>' in page
    assert "<img" not in page
    assert client.post("/documents/verify", data={"text": ""}).status_code == 200


def test_figures_that_come_in_another_order_are_marked_too() -> None:
    told = (Told(1, written="2", verdict="supported"), Told(1, written="1", verdict="unknown"))
    assert [piece for piece, _ in marked("1 and 2 and 2", told)[0]] == ["1", " and ", "2", " and 2"]


def test_figures_are_marked_where_they_stand() -> None:
    told = (Told(2, written="3", verdict="supported"), Told(2, written="3", verdict="contradicted"))
    lines = marked("one\n3 and 3", told)
    assert [[piece for piece, _ in line] for line in lines] == [["one"], ["3", " and ", "3"]]
    assert [one and one.verdict for _, one in lines[1]] == ["supported", None, "contradicted"]


def test_hostile_names_stay_text_in_a_document(client: TestClient, adv: Advisor) -> None:
    exp = adv.experiment(HOSTILE, objective="loss", description=HOSTILE)
    with exp.start(params={HOSTILE: HOSTILE}) as run:
        run.note(HOSTILE)
        for step in range(3):
            run.log({"loss": 1.0 / (step + 1), HOSTILE: 2.0}, step=step)
    answer = client.post("/documents", data={"kind": "run-summary", "run": run.id}, follow_redirects=False)
    asked = {"hx-request": "true", "hx-target": "reading"}
    for page in (client.get(answer.headers["location"], headers=asked).text, client.get("/documents").text):
        assert "<img" not in page
        assert "\u202e" not in re.sub(r'value="[^"]*"', "", page)


def test_reading_verifying_and_printing_in_a_browser(
    served: Served, adv: Advisor, open_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = open_page(f"{served.address}/documents")
    page.get_by_role("link", name="Run #0 of digits").click()
    page.locator("#reading svg").first.wait_for()
    page.get_by_role("link", name="Verify every figure").click()
    page.locator("#verdict", has_text="all as the store says").wait_for()
    assert page.url.endswith(id_of(adv, "run-summary"))
    assert violations(page) == []
    page.emulate_media(media="print", color_scheme="dark")
    assert not page.get_by_role("link", name="Verify every figure").is_visible()
    assert page.locator("#reading svg").first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert len(page.pdf(format="A4")) > 10_000
    phone = open_page(page.url, dark=True, width=390)
    phone.locator("#reading svg").first.wait_for()
    assert violations(phone) == []
    assert phone.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
