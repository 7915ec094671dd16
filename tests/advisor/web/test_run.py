"""The page of one run, without a browser: what it shows of runs of every kind, and what can be said of them there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import advisor
from advisor.app import Advisor
from advisor.web import run_details as details
from storage.records import Event, Run, RunState, new_id, utc_now

if TYPE_CHECKING:
    from starlette.testclient import TestClient

HOSTILE = "<script>alert(1)</script>\u202e'\"&"


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Advisor, dict[str, str]]]:
    """Return an advisor over runs of every kind, which nobody writes to, and their ids."""
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "model <b>.bin").write_bytes(b"\x00<script>")
    with advisor.open(folder / "store", capture=False, system_metrics="off", embedder="hashing") as adv:
        exp = adv.experiment("a/b #1?", objective="loss", direction="minimize")
        ids = {}
        done = exp.start(params={"lr": 0.1, "api_key": "sk-proj-abcdefghijklmnop1234"}, notes=[HOSTILE], tags=[HOSTILE])
        done.use_data("train", [1, 2, 3])
        done.save(folder / "model <b>.bin")
        for step in range(3):
            done.log({"loss": 1.0, "val/acc": 0.5, "train/acc": 0.6}, step=step)
        done.finish()
        ids["finished"] = done.id
        failed = exp.start(params={"lr": 0.2})
        failed.use_data("train", [1, 2, 3])
        failed.fail(f"Traceback\n{HOSTILE}\nRuntimeError: out of memory")
        ids["failed"] = failed.id
        ids["told"] = exp.tell({"lr": 0.3}, 0.5).id
        made = (
            ("waiting", new_id(), {"state": RunState.WAITING, "params": {"lr": 1}}),
            ("running", new_id(), {"state": RunState.RUNNING, "params": {}}),
            ("imported", "x/y #2?", {"state": RunState.FINISHED, "meta": {"name": HOSTILE}, "source": "import"}),
        )
        for kind, run_id, body in made:
            adv.store.append([Event.new("run.created", exp.name, run_id, **body)])
            ids[kind] = run_id
        code = {"git": {"commit": "abc123", "dirty": True, "diff": f"--- a/x\n+++ b/x\n-old\n+{HOSTILE}\n"}}
        adv.store.append([Event.new("run.captured", exp.name, ids["told"], command=["python", "x y.py"], **code)])
        yield adv, ids


@pytest.fixture
def over(kinds: tuple[Advisor, dict[str, str]]) -> Callable[[str], str]:
    """Return what gets the page of a kind of run."""
    from starlette.testclient import TestClient

    from advisor.web import Options, create_app

    client = TestClient(create_app(kinds[0], Options()), base_url="http://127.0.0.1:8517")

    def get(kind: str, part: str = "") -> str:
        answer = client.get(details.run_address(kinds[1][kind], part))
        assert answer.status_code == 200
        return answer.text

    return get


@pytest.mark.parametrize("kind", ["finished", "failed", "told", "waiting", "running", "imported"])
def test_a_run_of_every_kind_has_a_page_in_which_nothing_is_executed(over: Callable[[str], str], kind: str) -> None:
    page = over(kind)
    assert f'"badge {kind}"' in page or kind in ("told", "imported")
    assert "<script>alert" not in page
    assert "\u202e" not in re.sub(r'name="remove" value="[^"]*"', "", page)
    assert " style=" not in page


@pytest.mark.parametrize("part", ["similar", "summary", "history", "forecast", "machine"])
def test_what_takes_long_is_a_page_of_its_own(over: Callable[..., str], part: str) -> None:
    page = over("finished", part)
    assert "<h1>" in page
    assert f'id="{part}"' in page


def test_metrics_of_one_family_share_a_chart(over: Callable[[str], str]) -> None:
    charts = re.findall(r'data-metrics="([^"]*)"', over("finished"))
    assert [each.replace("&#34;", "'") for each in charts] == ["['loss']", "['val/acc', 'train/acc']"]


def test_what_looks_secret_is_not_shown(over: Callable[[str], str]) -> None:
    assert "abcdefghijklmnop1234" not in over("finished")


def test_the_error_and_the_difference_of_the_code_are_text(over: Callable[[str], str]) -> None:
    assert "RuntimeError: out of memory" in over("failed")
    told = over("told")
    assert '<span class="del">-old' in told
    assert '<span class="add">+&lt;script' in told
    assert "git checkout abc123\npython &#39;x y.py&#39;" in told


def test_data_says_which_other_run_used_the_same(over: Callable[[str], str]) -> None:
    assert "the same as #1" in over("finished")


def test_a_file_is_sent_to_be_kept_and_never_shown(kinds: tuple[Advisor, dict[str, str]]) -> None:
    from starlette.testclient import TestClient

    from advisor.web import Options, create_app

    adv, ids = kinds
    client = TestClient(create_app(adv, Options()), base_url="http://127.0.0.1:8517")
    sha256 = adv.store.run(ids["finished"]).artifacts[0]["sha256"]
    sent = client.get(details.run_address(ids["finished"], f"artifacts/{sha256}"))
    assert sent.content == b"\x00<script>"
    assert sent.headers["content-disposition"] == "attachment; filename*=UTF-8''model%20%3Cb%3E.bin"
    assert sent.headers["content-type"] == "application/octet-stream"
    assert sent.headers["x-content-type-options"] == "nosniff"
    for other in (ids["failed"], ids["told"]):  # which did not save it
        assert client.get(details.run_address(other, f"artifacts/{sha256}")).status_code == 404
    assert client.get(details.run_address(ids["finished"], "artifacts/..%2F..%2Fx")).status_code == 404


def test_the_beginning_of_an_id_leads_to_the_whole_and_an_unknown_one_asks_what_was_meant(
    adv: Advisor, client: TestClient
) -> None:
    run = adv.experiment("digits").run(2)
    moved = client.get(f"/runs/{run.id[:12]}?y=log", follow_redirects=False)
    assert moved.headers["location"] == f"/runs/{run.id}?y=log"
    missing = client.get(f"/runs/{run.id[:-2]}zz")
    assert missing.status_code == 404
    assert f"did you mean &#39;{run.id}&#39;" in missing.text


def test_notes_and_tags_are_said_of_a_run_that_is_over(adv: Advisor, client: TestClient) -> None:
    run = adv.experiment("digits").run(2)
    kept = client.post(
        f"/runs/{run.id}/notes", data={"text": "key=sk-proj-abcdefghijklmnop1234 good"}, follow_redirects=False
    )
    assert kept.headers["location"] == f"/runs/{run.id}#notes"
    part = client.post(
        f"/runs/{run.id}/tags", data={"add": "best, wide"}, headers={"hx-request": "true", "hx-target": "tags"}
    )
    assert part.text.strip().startswith("<section")
    client.post(f"/runs/{run.id}/tags", data={"remove": "baseline"})
    run = adv.run(run.id)
    assert run.tags == ("best", "wide")
    assert "abcdefghijklmnop" not in run.notes[-1]
    assert client.post(f"/runs/{run.id}/notes", data={"text": "  "}).status_code == 400


def test_nothing_can_be_said_where_only_reading_is_allowed(adv: Advisor, client_of: Callable[..., TestClient]) -> None:
    run = adv.experiment("digits").run(2)
    client = client_of(read_only=True)
    assert "<textarea" not in client.get(f"/runs/{run.id}").text
    assert client.post(f"/runs/{run.id}/notes", data={"text": "x"}).status_code == 403
    assert not adv.run(run.id).notes[1:]


def test_a_summary_is_written_and_kept(adv: Advisor, client: TestClient) -> None:
    run = adv.experiment("digits").run(2)
    kept = client.post(f"/runs/{run.id}/summary", follow_redirects=False)
    assert kept.status_code == 303
    assert kept.headers["location"].startswith("/documents/")


def made(**given: object) -> Run:
    return replace(Run("r", number=1, experiment="e", state=RunState.FINISHED, created=utc_now()), **given)  # type: ignore[arg-type]  # as a test says it


def test_many_metrics_of_a_family_have_a_chart_each() -> None:
    names = [f"{split}_loss" for split in ("train", "val", "test", "eval", "dev")]
    assert next(chart.metrics for chart in details.charts("r", names, first="val_loss")) == ("val_loss",)
    assert len(details.charts("r", names, first=None)) == 5


def test_parameters_that_differ_or_are_not_set_are_told_apart_and_nan_equals_nan() -> None:
    nan = float("nan")
    rows = details.parameters(made(params={"a": 1, "b": nan, "c": 2}), [made(params={"a": 2, "b": nan, "d": 3})])
    assert [(row.name, row.differs, row.others[0].is_there) for row in rows] == [
        ("a", True, True), ("b", False, True), ("c", True, False), ("d", True, True),
    ]  # fmt: skip


def test_attributes_of_a_trial_are_shown_one_level_bounded_and_without_secrets() -> None:
    attrs = {"fit_s": 1.5, "by": {"gpus": [0, 1]}, "none": None, "api_token": "abcdef123456", **dict.fromkeys("xyz", 1)}
    shown = dict(details.attributes(made(user_attrs=attrs)))
    assert (shown["fit_s"], shown["by.gpus"]) == (1.5, "0, 1")
    assert "none" not in shown
    assert "abcdef123456" not in str(shown)
    many = made(user_attrs={str(i): i for i in range(9_999)})
    assert len(details.attributes(many)) == details.MAX_SHOWN


def test_a_difference_that_is_too_long_is_cut_and_says_so() -> None:
    lines, is_cut = details.difference(made(environment={"git": {"diff": "+x\n" * 60_000}}))
    assert is_cut
    assert sum(len(text) + 1 for _, text in lines) <= details.MAX_DIFF + 1


def test_an_experiment_without_a_number_is_told_how_a_run_is_written(client: TestClient) -> None:
    answer = client.get("/runs/digits%23")
    assert answer.status_code == 404
    assert "the number of the run is missing; write it after its experiment, as in digits#0" in answer.text
