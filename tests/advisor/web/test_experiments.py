"""The list of experiments and the page of one: what is asked for and what is answered, without a browser."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

import advisor
from advisor.app import Advisor
from advisor.web.addresses import address_of, found
from advisor.web.memo import Memo
from advisor.web.options import Options
from advisor.web.pages.experiment import PARTS
from advisor.web.pages.experiments import overviews
from advisor.web.render import figure
from advisor.web.web import Web

if TYPE_CHECKING:
    from starlette.testclient import TestClient

HOSTILE = [
    "a/b",
    "a/b/runs.csv",
    "..",
    "x/../y",
    "?q#h",
    "<script>alert(1)</script>",
    "\u202egnp.exe",
    "🙂" * 900,
    ":1",
]


def page(client: TestClient, address: str, target: str = "") -> str:
    """Return a page, or the part of it that htmx would ask for."""
    answer = client.get(address, headers={"hx-request": "true", "hx-target": target} if target else {})
    assert answer.status_code == 200, answer.text
    return answer.text.replace("<bdi>", "").replace("</bdi>", "")


def test_the_list_says_of_each_experiment_what_there_is(client: TestClient) -> None:
    text = page(client, "/experiments")
    for told in (
        "MLP on the UCI digits",
        "11 finished",
        "1 failed",
        "val_loss, min",
        "in #6",
        "none yet",
        "no objective",
    ):
        assert told in text
    assert text.index(">digits<") < text.index(">empty<")
    by_name = page(client, "/experiments?sort=name&desc=1")
    assert by_name.index(">empty<") < by_name.index(">digits<")


def test_a_store_without_experiments_says_how_to_make_one(tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    from advisor.web import create_app

    with advisor.open(tmp_path / "new", capture=False) as adv:
        client = TestClient(create_app(adv), base_url="http://127.0.0.1:8517")
        assert "advisor demo" in page(client, "/experiments")


@pytest.mark.parametrize("tab", ["runs", "analysis", "suggestions", "ledger"])
def test_an_experiment_without_runs_or_objective_says_what_to_do(client: TestClient, tab: str) -> None:
    text = page(client, f"/experiments/empty?tab={tab}&now=1")
    assert "experiment empty --objective" in text


@pytest.mark.parametrize(
    ("tab", "words"),
    [
        ("runs", ["optimize digits", "report digits", "check digits"]),
        ("suggestions", ["suggest digits --accept"]),
    ],
)
def test_commands_that_are_copied_name_the_store_unless_a_shell_finds_it_by_itself(
    client_of: Callable[..., TestClient], adv: Advisor, monkeypatch: pytest.MonkeyPatch, tab: str, words: list[str]
) -> None:
    text = page(client_of(), f"/experiments/digits?tab={tab}")
    for each in words:
        assert f"advisor --store {shlex.quote(adv.opening.uri)} {each}" in text
    assert tab == "runs" or f"advisor.open(&#39;{adv.opening.uri}&#39;).experiment(&#39;digits&#39;)" in text
    monkeypatch.setenv("ADVISOR_STORE", adv.opening.uri)
    text = page(client_of(), f"/experiments/digits?tab={tab}")
    for each in words:
        assert f"advisor {each}" in text
    assert "--store" not in text
    assert tab == "runs" or "advisor.open().experiment(" in text


def test_an_unknown_experiment_is_told_with_those_there_are(client: TestClient) -> None:
    answer = client.get("/experiments/digit")
    assert (answer.status_code, "digits" in answer.text) == (404, True)


def test_a_renamed_experiment_is_found_under_its_old_name(client: TestClient, adv: Advisor) -> None:
    adv.experiment("digits").rename("numerals")
    answer = client.get("/experiments/digits", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "/experiments/numerals")


def test_every_name_has_an_address_that_leads_back_to_it(client: TestClient, adv: Advisor) -> None:
    for name in HOSTILE:
        adv.experiment(name, objective="loss")
    known = {each.name: each for each in adv.store.experiments()}
    for name in HOSTILE:
        address = address_of(known[name])
        assert found(known, unquote(address.removeprefix("/experiments/")), PARTS) == (known[name], "")
        text = page(client, address)
        assert "<script>alert" not in text
    assert found(known, "a/b/runs.json", PARTS) == (known["a/b"], "runs.json")


def test_the_table_is_filtered_sorted_and_paged_by_its_address(client: TestClient) -> None:
    text = page(client, "/experiments/digits?where=params.hidden+<+100&sort=objective", "runs")
    order = [text.index(f">#{number}<") for number in (6, 7, 8, 2)]
    assert order == sorted(order)
    assert ">#5<" not in text
    assert 'aria-sort="ascending"' in text
    beyond = page(client, "/experiments/digits?page=99", "runs")
    assert "1–12 of 12" in beyond


def test_columns_are_chosen_by_the_address_and_unknown_ones_are_passed_over(client: TestClient) -> None:
    text = page(client, "/experiments/digits?columns=metrics.accuracy&columns=seed&columns=params.nothing", "runs")
    heads = [part.split("</a>")[0].rpartition(">")[2] for part in text.split('class="sort"')[1:]]
    assert "accuracy" in heads
    assert "Seed" in heads
    assert "hidden" not in heads


@pytest.mark.parametrize("bad", ["where=params.lrr+<+1", "where=((", "where=state+=+%27done%27", "sort=nothing"])
@pytest.mark.parametrize("tab", ["runs", "analysis"])
def test_a_filter_that_cannot_be_understood_is_one_sentence_beside_the_field(
    client: TestClient, tab: str, bad: str
) -> None:
    text = page(client, f"/experiments/digits?tab={tab}&now=1&{bad}")
    if not (tab == "analysis" and bad.startswith("sort")):
        assert 'role="alert"' in text
        assert "For instance" in text


def test_a_live_part_is_asked_for_by_itself(client: TestClient) -> None:
    for target, tab in (("head", "runs"), ("runs", "runs"), ("panel", "runs"), ("suggestions", "suggestions")):
        text = page(client, f"/experiments/digits?tab={tab}", target)
        assert text.lstrip().startswith(f'<div id="{target}"')
        assert "<html" not in text


def test_what_is_exported_is_what_fits_and_no_spreadsheet_computes_it(client: TestClient, adv: Advisor) -> None:
    exp = adv.experiment("digits")
    exp.tell({"lr": 0.1, "hidden": 20, "optimizer": "sgd"}, math.nan, notes=["=HYPERLINK(0)"])
    answer = client.get("/experiments/digits/runs.csv?where=params.hidden+<+100")
    assert answer.headers["content-disposition"] == 'attachment; filename="runs.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [int(row["number"]) for row in rows] == [12, 8, 7, 6, 2, 1, 0]
    assert (rows[0]["objective"], rows[0]["notes"], rows[0]["params.hidden"]) == ("NaN", "'=HYPERLINK(0)", "20")
    told = json.loads(client.get("/experiments/digits/runs.json?sort=number").text)
    assert [each["number"] for each in told] == list(range(13))
    assert (told[12]["objective"], told[3]["state"], told[0]["params"]["optimizer"]) == ("NaN", "failed", "sgd")
    assert client.get("/experiments/empty/runs.json").json() == []
    assert client.get("/experiments/digits/runs.csv?where=((").status_code == 400


def test_pictures_are_drawn_from_strict_json_with_every_run_that_went_wrong(client: TestClient) -> None:
    data = json.loads(client.get("/experiments/digits/plots.json").text, parse_constant=pytest.fail)
    assert (data["n_runs"], data["n_drawn"], data["metric"], data["maximize"]) == (12, 12, "val_loss", False)
    assert (data["fates"][3], data["fates"][11], data["objective"][3]) == (4, 3, None)
    assert [axis["name"] for axis in data["axes"]] == ["lr", "hidden", "optimizer"]
    assert [axis["log"] for axis in data["axes"]] == [True, True, False]
    assert data["steps"][-1][0] == 6


def test_the_analysis_says_in_tables_what_it_draws(client: TestClient) -> None:
    text = page(client, "/experiments/digits?tab=analysis&now=1&x=optimizer&y=lr", "analysis")
    for told in (
        "after 5 improvements on earlier runs; 12 runs in all",
        "No band",
        "lr as a table",
        "Went wrong",
        "The best runs as a table",
    ):
        assert told in text
    assert 'value="optimizer" selected' in page(
        client, "/experiments/digits?tab=analysis&now=1&x=optimizer", "interaction"
    )


def test_several_objectives_have_a_front_and_constraints_are_counted(client: TestClient, adv: Advisor) -> None:
    exp = adv.experiment(
        "two", objective=["loss", "speed"], direction=["minimize", "maximize"], constraints="memory <= 5"
    )
    for loss, speed, memory in ((1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (2.5, 1.5, 3.0), (0.5, 9.0, 9.0)):
        exp.tell({"x": loss}, [loss, speed], metrics={"memory": memory})
    text = page(client, "/experiments/two?tab=analysis&now=1", "analysis")
    assert "2 runs are beaten by no other one" in text
    assert "3 of the 4 runs" in text
    assert "came to <strong>1</strong>" in text  # the better one breaks the constraint
    assert "in #0" in page(client, "/experiments")


def test_a_suggestion_is_asked_for_accepted_rejected_and_withdrawn(client: TestClient, adv: Advisor) -> None:
    exp = adv.experiment("digits")
    first, second = (each["suggestion_id"] for each in exp.unanswered())
    answer = client.post("/experiments/digits/suggestions", data={"n": "1", "seed": "5"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/experiments/digits?tab=suggestions")
    assert len(exp.unanswered()) == 3
    hx = {"hx-request": "true", "hx-target": "suggestions"}
    answer = client.post(f"/suggestions/{first}/accept", headers=hx)
    assert 'data-said="Accepted: run #12 waits to be started."' in answer.text
    assert "Train what waits" in answer.text
    assert "Rejected" in client.post(f"/suggestions/{second}/reject", headers={"hx-request": "true"}).text
    assert [(run.number, run.suggestion_id) for run in exp.waiting()] == [(12, first)]
    client.post(f"/queue/{exp.waiting()[0].id}/withdraw")
    assert exp.waiting() == []
    assert client.post("/suggestions/nothing/accept").status_code == 400


@pytest.mark.parametrize("form", [{"n": "0"}, {"n": "1000"}, {"n": "x"}, {"n": "1", "seed": "-1"}])
def test_a_form_that_makes_no_sense_is_told_in_a_sentence(client: TestClient, form: dict[str, str]) -> None:
    answer = client.post("/experiments/digits/suggestions", data=form)
    assert answer.status_code == 400
    assert 'class="lead"' in answer.text


def test_only_suggestions_are_posted_to_an_experiment(client: TestClient) -> None:
    assert client.post("/experiments/digits").status_code == 405
    assert client.post("/experiments/nothing/suggestions").status_code == 404


def test_a_run_that_is_not_waiting_is_not_withdrawn(client: TestClient, adv: Advisor) -> None:
    answer = client.post(f"/queue/{adv.experiment('digits').run(0).id}/withdraw")
    assert (answer.status_code, "does not wait" in answer.text) == (400, True)


def test_read_only_there_is_nothing_to_press(client_of: Callable[..., TestClient]) -> None:
    client = client_of(read_only=True)
    text = page(client, "/experiments/digits?tab=suggestions")
    assert "Copy as command" in text
    for gone in ("hx-post", 'method="post"', "Ask for suggestions"):
        assert gone not in text
    assert client.post("/experiments/digits/suggestions", data={"n": "1"}).status_code == 403


def test_text_of_runs_is_text_and_bounded(client: TestClient, adv: Advisor) -> None:
    evil = '"><img src=x onerror=alert(1)>{{7*7}}\u202e' + "A" * 100_000
    exp = adv.experiment("evil", objective="loss", direction="maximize", description=evil)
    for i in range(3):
        exp.tell({evil[:300]: i, "word": evil}, float(i), notes=[evil])
    for tab in ("runs", "analysis", "suggestions", "ledger"):
        text = page(client, f"/experiments/evil?tab={tab}&now=1")
        assert "<img" not in text
        assert "49" not in text.split("{{7*7}}")[0][-20:]
        assert "A" * 1_000 not in text
    assert "<img" not in page(client, "/experiments")


def test_of_several_who_ask_for_the_same_one_works_it_out() -> None:
    memo, asked = Memo(n_kept=2), []

    def make(key: str) -> Callable[[], str]:
        def made() -> str:
            asked.append(key)
            return key

        return made

    assert [memo.get(key, make(key)) for key in "aabbcca"] == list("aabbcca")
    assert asked == ["a", "b", "c", "a"]
    with pytest.raises(ZeroDivisionError):
        memo.get("bad", lambda: 1 // 0)
    assert memo.get("bad", lambda: 2) == 2


def test_what_a_run_has_logged_so_far_shows_as_that_and_is_the_last_activity(client: TestClient, adv: Advisor) -> None:
    exp = adv.experiment("live", objective="loss", direction="minimize")
    with exp.start(params={"lr": 0.1}) as run:
        run.log({"loss": 0.5}, step=0)
        run.log({"loss": 0.4125}, step=1)
        deadline = time.monotonic() + 20
        while adv.store.delivered(run.id) < 2:
            assert time.monotonic() < deadline, "nothing was delivered"
            time.sleep(0.02)
        (known,) = [each for each in overviews(Web(adv, Options())) if each.record.name == "live"]
        assert known.so_far == (run.id, 0, 0.4125)
        started = adv.store.run(run.id).started
        assert known.last is not None
        assert started is not None
        assert known.last > started
        assert re.search(r"0\.4125\s*<small[^>]*>so far", page(client, "/experiments/live", "runs"))
        assert "goes on: 0.4125 so far" in page(client, "/experiments/live")
    assert "so far" not in page(client, "/experiments/live")


def test_a_run_that_ended_in_no_number_shows_that_and_what_came_before(client: TestClient, adv: Advisor) -> None:
    text = page(client, "/experiments/digits?where=number+=+11", "runs")
    before = adv.experiment("digits").run(11).objective
    assert re.search(rf"NaN\s*<small[^>]*>last finite {re.escape(figure(before))}<", text)


def test_rows_of_tables_can_be_walked_through(client: TestClient) -> None:
    assert page(client, "/experiments", "list").count("<tr data-row") == 2
    assert page(client, "/experiments/digits", "runs").count("<tr data-row") == 12


def test_an_experiment_is_checked_from_its_page(client: TestClient, adv: Advisor) -> None:
    run = adv.experiment("digits").tell(
        {"lr": 0.9, "hidden": 64, "optimizer": "sgd"}, 9.0, curves={"val_loss": [0.5, 0.4, float("nan"), 9.0]}
    )
    answer = client.post("/experiments/digits/check", headers={"hx-request": "true", "hx-target": "head"})
    assert "new" in answer.headers["hx-trigger"]
    assert "ADV101" in {finding.code for finding in adv.run(run.id).findings}
    assert client.post("/experiments/digits/check", follow_redirects=False).status_code == 303
