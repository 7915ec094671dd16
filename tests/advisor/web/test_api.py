"""The JSON API: what its document says, errors in one sentence, pages of lists, answers that are asked for again."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import openapi_spec_validator
import pytest

import advisor
from advisor.app import Advisor
from advisor.operations import OPERATIONS
from advisor.web.api import answers
from storage.records import CurveChunk, Event
from tests.advisor.web.conftest import violations
from tests.advisor.web.wire import wired

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from starlette.testclient import TestClient

API = "/api/v1"
PROBLEM = "application/problem+json"
NAMES = ("vision/v2", "a b#c?d&e=f%2F", "100 %", "été 🚀", "line\nbreak", "'quoted\"", "x/../y")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small store."""
    path = tmp_path_factory.mktemp("api") / "store"
    objectives = [{"metric": "val_loss", "direction": "minimize"}]
    with advisor.open(path, capture=False) as adv:
        events = [Event.new("experiment.created", name, objectives=objectives) for name in ("digits", *NAMES)]
        for i in range(5):
            loss = math.nan if i == 4 else i / 10
            summary = {"val_loss": {"n": 1, "last": loss, "last_finite": None if i == 4 else loss}}
            body: dict[str, Any] = {"state": "finished", "params": {"lr": 10.0**-i}, "summary": summary}
            events.append(Event.new("run.created", "digits", f"{i:032x}", **body))
        events.append(Event.new("run.created", "digits", "f" * 32, state="running"))
        adv.store.append(events)
    return path


@pytest.fixture(scope="module")
def adv(store: Path) -> Iterator[Advisor]:
    """Open the store; what a test writes stays, so no test counts on more than it wrote."""
    with advisor.open(store, capture=False) as opened:
        yield opened


def problem(answer: Any, status: int, said: str) -> bool:
    """Return whether an answer is a problem that says something."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    body = answer.json()
    assert body["status"] == status
    assert said in body["detail"]
    return "\n" not in body["detail"]


def log(adv: Advisor, value: float, first: int) -> None:
    """Add a point to the run that goes on."""
    piece = CurveChunk("f" * 32, metric="val_loss", chunk=first, through=first + 1, steps=[first], values=[value])
    adv.store.append_curves([piece])


def evaluation(repository: Path) -> ModuleType:
    """Return the module of the evaluation."""
    spec = importlib.util.spec_from_file_location("api_fuzz", repository / "evals" / "api_fuzz.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["api_fuzz"] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


# -- the document


@pytest.mark.parametrize("options", [{}, {"read_only": True}, {"token": "t" * 20}])
def test_the_document_is_openapi_and_has_what_can_be_done(
    client_of: Callable[..., TestClient], options: dict[str, Any]
) -> None:
    bearer = {"authorization": f"Bearer {'t' * 20}"}
    document = client_of(**options).get("/api/openapi.json", headers=bearer).json()
    openapi_spec_validator.validate(document)
    assert document["openapi"].startswith("3.1")
    listed = {each["operationId"] for path in document["paths"].values() for each in path.values()}
    assert listed == {each.name for each in OPERATIONS if not (each.writes and options.get("read_only"))}
    assert ("security" in document) == ("token" in options)
    assert "t" * 20 not in json.dumps(document)


def test_operations_that_are_said_to_follow_from_the_store_exist_and_only_read() -> None:
    known = {each.name: each for each in OPERATIONS}
    assert all(not known[name].writes and known[name].method == "GET" for name in answers.OF_STORE_ALONE)


def test_no_name_of_an_experiment_hides_an_operation() -> None:
    parts = [each.path.strip("/").split("/") for each in OPERATIONS]
    named = {part[0] for part in parts if len(part) > 1 and part[1] == "{experiment}"}
    assert [part for part in parts if part[0] in named and len(part) > 1 and not part[1].startswith("{")] == []


def test_the_page_about_the_api_lists_all_of_it_and_is_fit_for_everybody(
    adv: Advisor, open_page: Callable[..., Page]
) -> None:
    with wired(adv) as port:
        page = open_page(f"http://localhost:{port}/")
        page.get_by_role("link", name="JSON API").click()
        page.get_by_role("heading", name="JSON API", exact=True).wait_for()
        assert page.locator("article").count() == len(OPERATIONS)
        assert violations(page) == []
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_word_that_stands_for_nothing_elsewhere_is_a_text_here_or_refused(client: TestClient) -> None:
    assert problem(client.get(f"{API}/documents?kind=null"), 422, "'null' is no value of it")
    assert problem(client.get(f"{API}/runs?experiment=null"), 404, "'null'")


def test_a_search_by_words_can_be_followed_to_its_end(client: TestClient) -> None:
    address: str | None = f"{API}/search?text=finished+lr&experiment=digits&limit=2"
    found = []
    while address is not None:
        answer = client.get(address)
        found += [hit["run"]["number"] for hit in answer.json()["hits"]]
        address = answer.links.get("next", {}).get("url")
        assert (address is not None) == answer.json()["has_more"]
    assert len(found) == len(set(found)) > 2
    whole = client.get(f"{API}/search?text=finished+lr&experiment=digits&limit=100").json()
    assert len(whole["hits"]) == len(found)
    assert not whole["has_more"]
    assert min(hit["score"] for hit in whole["hits"]) >= 0.09 * whole["hits"][0]["score"]


def test_the_calls_on_the_page_run_as_they_stand(tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    from advisor.web import Options, create_app

    with advisor.open(tmp_path / "store", capture=False) as adv:
        exp = adv.experiment("sgd / eta0", objective="val_loss", space={"eta0": advisor.Float(0.01, 1)})
        for eta0 in (0.1, 0.2, 0.4):
            exp.tell({"eta0": eta0}, eta0, curves={"val_loss": [1.0, eta0]})
        exp.tell({"eta0": 0.5}, state="failed", error="RuntimeError: out of memory")
        exp.check()
        exp.report(path=tmp_path / "reports")
        address = "http://127.0.0.1:8517"
        with TestClient(create_app(adv, Options()), base_url=address) as client:
            page = unescape(client.get("/api").text)
            calls = [shlex.split(call) for call in re.findall(r"<code>(curl .*?)</code>", page)]
            assert len(calls) == len(OPERATIONS)
            assert "TEXT" not in page
            for call in calls:
                body = json.loads(call[call.index("-d") + 1]) if "-d" in call else None
                answer = client.get(call[-1]) if body is None else client.post(call[-1], json=body)
                assert answer.status_code == 200, (call, answer.text)


# -- names, arguments, errors


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_asked_for_percent_encoded(client: TestClient, name: str) -> None:
    found = client.get(f"{API}/experiments/{quote(name, safe='')}")
    assert found.status_code == 200, found.text
    assert found.json()["number"] == ("digits", *NAMES).index(name)


def test_what_is_not_finite_comes_as_a_word(client: TestClient) -> None:
    run = client.get(f"{API}/runs/{4:032x}").json()
    assert run["metrics"]["val_loss"] == "NaN"


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("experiments?limt=3", 400, "did you mean 'limit'?"),
        ("experiments?limit=3&limit=4", 400, "given twice"),
        ("experiments?limit=x", 422, "limit"),
        ("experiments?limit=0", 422, "limit"),
        ("experiments?limit=", 422, "limit"),
        ("experiments?limit=%ff", 400, "not UTF-8"),
        ("experiments/%ff", 400, "not UTF-8"),
        ("experiments/digit", 404, "did you mean 'digits'?"),
        ("runs/nobody", 404, "no run 'nobody'"),
        ("runs?where=lr%20%3C", 422, "filter"),
        ("nothing/here", 404, "/api lists what there is"),
        ("documents/nothing", 404, "no document is called 'nothing'"),
        ("report?kind=incident&finding=nothing", 404, "no finding is called 'nothing'"),
        ("report?kind=incident&finding=digits%230:ADV103", 404, "has no findings"),
        ("compare?runs=digits%230", 422, "runs"),
    ],
)
def test_a_mistake_is_answered_with_a_sentence(client: TestClient, path: str, status: int, said: str) -> None:
    assert problem(client.get(f"{API}/{path}"), status, said)


def test_another_method_is_answered_with_those_that_are_possible(client: TestClient) -> None:
    answer = client.post(f"{API}/runs", json={})
    assert problem(answer, 405, "only GET, HEAD")
    assert answer.headers["allow"] == "GET, HEAD"
    assert client.get(f"{API}/runs/digits%230/notes").headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 422, "missing required field `text`"),
        (b"{", 400, "not JSON"),
        (b'{"text": NaN}', 400, "not JSON"),
        (b'{"text": "\xff"}', 400, "not JSON"),
        (b"[" * 100_000, 400, "nested too deeply"),
        (b"[]", 422, "a JSON object"),
        (b'{"text": 3}', 422, "text"),
        (b'{"txt": "x"}', 422, "takes run, text"),
        (b'{"text": "x", "run": "y"}', 422, "in the address already"),
    ],
)
def test_a_body_that_makes_no_sense_is_answered_with_a_sentence(
    client: TestClient, body: bytes, status: int, said: str
) -> None:
    headers = {"content-type": "application/json"}
    assert problem(client.post(f"{API}/runs/digits%230/notes", content=body, headers=headers), status, said)


def test_what_is_posted_is_done_and_is_not_kept_by_anybody(client: TestClient, adv: Advisor) -> None:
    answer = client.post(f"{API}/runs/digits%231/notes", json={"text": "seen through the API"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert any("seen through the API" in str(note) for note in adv.store.run(f"{1:032x}").notes)
    assert problem(client.post(f"{API}/runs/digits%231/notes?text=x", json={}), 400, "in its body")


def test_what_writes_is_refused_as_such_where_only_reading_is_allowed(
    client: TestClient, client_of: Callable[..., TestClient]
) -> None:
    reading = client_of(read_only=True)
    for path in ("runs/digits%230/notes", "mutes", "experiments/digits/suggestions"):
        assert problem(reading.post(f"{API}/{path}", json={}), 403, "read-only")
    assert problem(reading.post(f"{API}/nothing", json={}), 404, "nothing at")
    assert reading.get(f"{API}/mutes").status_code == 200
    assert problem(client.post(f"{API}/findings/verdict", json={"finding": "nothing", "verdict": "ok"}), 404, "nothing")


def test_the_root_of_the_api_leads_to_what_there_is_and_no_body_is_an_empty_one(client: TestClient) -> None:
    for path in (API, f"{API}/"):
        by_browser = client.get(path, headers={"accept": "text/html,*/*"}, follow_redirects=False)
        assert (by_browser.status_code, by_browser.headers["location"]) == (303, "/api")
        assert client.get(path).status_code == 404
        assert "/api lists" in client.get(path).json()["detail"]
    headers = {"content-type": "application/json"}
    assert client.post(f"{API}/experiments/digits/check", headers=headers).status_code == 200


# -- pages and tags


def test_a_list_can_be_followed_page_by_page_and_back(client: TestClient) -> None:
    numbers: list[int] = []
    address: str | None = f"{API}/runs?experiment=digits&sort=number&limit=4"
    seen = []
    while address is not None:
        answer = client.get(address)
        numbers += [run["number"] for run in answer.json()["runs"]]
        seen.append(answer.links)
        address = answer.links.get("next", {}).get("url")
    assert numbers == list(range(6))
    assert answer.json()["n_fitting"] == 6
    assert "prev" not in seen[0]
    assert client.get(seen[1]["prev"]["url"]).json()["runs"][0]["number"] == 0


def test_an_answer_that_still_holds_is_not_worked_out_again(client: TestClient, adv: Advisor) -> None:
    for path in ("experiments", "runs?experiment=digits", f"runs/{'f' * 32}", "experiments/digits"):
        first = client.get(f"{API}/{path}")
        assert first.headers["etag"].startswith('W/"')
        assert first.headers["cache-control"] == "private, no-cache"
        asked_again = {"if-none-match": f'"other", {first.headers["etag"]}'}
        again = client.get(f"{API}/{path}", headers=asked_again)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        adv.store.append([Event.new("run.noted", "digits", f"{0:032x}", text=path)])
        assert client.get(f"{API}/{path}", headers=asked_again).status_code == 200
    other = client.get(f"{API}/runs?experiment=digits&limit=1", headers=asked_again)
    assert other.status_code == 200


def test_a_curve_that_grows_is_never_taken_for_the_one_that_a_client_has(client: TestClient, adv: Advisor) -> None:
    path, tag, lengths = f"{API}/runs/{'f' * 32}/curves", "", []
    for first in range(3):
        log(adv, 1.0 - first, first)  # the journal stays as it is
        answer = client.get(path, headers={"if-none-match": tag})
        tag = answer.headers["etag"]
        lengths.append(len(answer.json()["curves"][0]["steps"]))
    assert lengths == [1, 2, 3]


def test_answers_that_follow_from_the_time_are_worked_out_and_then_compared(client: TestClient) -> None:
    first = client.get(f"{API}/findings")
    again = client.get(f"{API}/findings", headers={"if-none-match": first.headers["etag"]})
    assert (first.status_code, again.status_code) == (200, 304)


# -- made-up requests


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the library that makes the requests
def test_made_up_requests_get_answers_as_described(adv: Advisor, repository: Path) -> None:
    fuzzing = evaluation(repository)
    for read_only in (False, True):
        before = adv.store.stamp()
        with wired(adv, read_only=read_only) as port:
            names = {"experiment": ["digits"], "run": ["digits#0"], "runs": ["digits#0", "digits#1"]}
            found = fuzzing.fuzz(f"http://127.0.0.1:{port}", 60, seed=3, names=names, headers={})
        assert found.failures == {}
        assert found.n == 60
        if read_only:
            assert adv.store.stamp() == before
