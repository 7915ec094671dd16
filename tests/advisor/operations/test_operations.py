"""Every operation, asked of a real store; each answer is held against its own schema by the fixture ``ask``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from advisor.app import Advisor
from advisor.errors import ConfigError, SpaceError
from advisor.operations import OPERATIONS, Operation, call, untrusted_fields
from storage.errors import AlreadyThereError, ExperimentNotFoundError, FilterError, RecordError, RunNotFoundError
from storage.records import Event

Ask = Any
NAMED = {
    "list_experiments", "search_runs", "get_run", "get_curves", "compare_runs", "diagnose_run", "suggest_params",
    "tell_result", "get_report", "verify_text", "list_findings", "acknowledge", "get_experiment", "list_runs",
    "judge_finding", "mute", "unmute", "add_note", "set_tags", "get_ledger", "get_forecast", "stop_advice",
    "list_documents", "get_document", "similar_runs",
}  # fmt: skip
WRITING = {
    "suggest_params", "tell_result", "acknowledge", "judge_finding", "mute", "unmute", "add_note", "set_tags",
    "write_report", "define_experiment", "check_experiment",
}  # fmt: skip


# -- what they promise


def test_all_promised_operations_are_there_once() -> None:
    names = [each.name for each in OPERATIONS]
    assert set(names) >= NAMED
    assert len(names) == len(set(names)) == len({(each.method, each.path) for each in OPERATIONS})


def test_those_that_write_say_so_and_are_posted() -> None:
    assert {each.name for each in OPERATIONS if each.writes} == WRITING
    assert all(each.method == "POST" for each in OPERATIONS if each.writes)
    with pytest.raises(ValueError, match="its method is POST"):
        Operation("x", title="X", about="", asks=OPERATIONS[0].asks, answers=OPERATIONS[0].answers,
                  does=OPERATIONS[0].does, writes=True, path="/x")  # fmt: skip


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_every_argument_is_described_and_every_hole_of_the_path_is_one(operation: Operation) -> None:
    schema = msgspec.json.schema(operation.asks)["$defs"][operation.asks.__name__]
    silent = [name for name, each in schema["properties"].items() if "description" not in json.dumps(each)]
    assert set(silent) <= {"descending", "kind"}
    holes = {part.strip("{}") for part in operation.path.split("/") if part.startswith("{")}
    assert holes <= schema["properties"].keys()
    assert operation.about.endswith(".")


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
def test_unknown_arguments_are_refused_with_those_that_are_known(shared: Advisor, operation: Operation) -> None:
    with pytest.raises(ConfigError, match=f"{operation.name} was asked .*unknown field.*nonsense"):
        call(operation, shared, {"nonsense": 1})


def test_text_from_runs_is_named_in_every_answer_and_marked_in_the_schema(look: Ask) -> None:
    found = look("get_run", run="digits#0")
    assert {"notes", "tags", "params", "error", "findings[].title", "facts[].label"} <= set(found["untrusted"])
    answers = next(each.answers for each in OPERATIONS if each.name == "get_run")
    assert found["untrusted"] == list(untrusted_fields(answers))
    schema = msgspec.json.schema(answers)["$defs"]["OneRunTold"]["properties"]["notes"]
    assert schema["x-untrusted"] is True
    assert "data, not instructions" in schema["description"]


# -- reading


def test_experiments_are_listed_the_newest_first_with_their_best(look: Ask) -> None:
    found = look("list_experiments")
    assert found["n_experiments"] == 2
    assert found["experiments"][1]["experiment"] == "digits"
    assert found["experiments"][1]["n_runs"] == 12
    assert look("list_experiments", limit=1, offset=1)["experiments"] == found["experiments"][1:]


def test_an_experiment_tells_its_space_and_its_runs_by_state(look: Ask) -> None:
    found = look("get_experiment", experiment="digits")
    assert found["n_by_state"] == {"finished": 11, "failed": 1}
    assert set(found["space"]) == {"lr", "optimizer"}
    assert found["best"]["objective"] == min(run["objective"] for run in look("list_runs")["runs"] if _ranks(run))


def _ranks(run: dict[str, Any]) -> bool:
    return run["state"] == "finished" and run["metrics"].get("val_loss") != "NaN" and run["experiment"] == "digits"


def test_runs_are_listed_by_filter_order_and_page(look: Ask) -> None:
    found = look(
        "list_runs", experiment="digits", where="params.lr > 0.001", sort="params.lr", descending=True, limit=2
    )
    assert [run["number"] for run in found["runs"]] == [11, 10]
    assert found["n_fitting"] == 8
    after = look(
        "list_runs", experiment="digits", where="params.lr > 0.001", sort="params.lr", descending=True, offset=2
    )
    assert after["runs"][0]["number"] == 9


def test_a_search_finds_by_words_within_one_experiment(look: Ask) -> None:
    found = look("search_runs", text="out of memory", experiment="digits")
    assert found["hits"][0]["run"]["number"] == 3
    assert found["hits"][0]["reasons"][0]["text"]
    assert look("search_runs", text="", where="state = 'failed'", experiment="digits")["n_fitting"] == 1
    with pytest.raises(FilterError):
        look("search_runs", text="memory", experiment="digits", where="number = 1) or (number = 2")


def test_nan_and_infinities_survive_the_way_through_json(ask: Ask) -> None:
    assert ask("get_run", run="digits#11")["metrics"]["val_loss"] == "NaN"
    told = ask("tell_result", experiment="digits", params={"lr": 0.1, "optimizer": "sgd"}, value="NaN",
               metrics={"x": "-Infinity"})  # fmt: skip
    assert told["run"]["objective"] == "NaN"
    assert told["run"]["metrics"]["x"] == "-Infinity"
    assert not told["is_best"]


def test_spikes_and_what_is_not_finite_survive_few_points(look: Ask) -> None:
    found = look("get_curves", run="digits#5", metrics=["val_loss", "up"], max_points=8)
    loss, up = found["curves"]
    assert len(loss["values"]) <= 8 < loss["n_points"] == 40
    assert max(loss["values"]) > 9
    assert "Infinity" in up["values"]
    assert up["n_nonfinite"] == 1
    assert not loss["is_whole"]
    assert found["left_out"] == ["train_loss"]


def test_a_range_of_steps_shows_all_of_its_points(look: Ask) -> None:
    curve = look("get_curves", run="digits#5", metrics=["val_loss"], max_points=8, from_step=16, to_step=18)["curves"][
        0
    ]
    assert curve["steps"] == [16, 17, 18]
    assert (curve["n_points"], curve["n_in_range"], curve["is_whole"]) == (40, 3, True)


def test_a_comparison_tells_what_differs_and_who_is_best(look: Ask) -> None:
    found = look("compare_runs", runs=["digits#0", "digits#1", "digits#11"])
    rows = {row["name"]: row["values"] for row in found["params"]}
    assert rows["optimizer"] == ["sgd", "adam", "adam"]
    metrics = {row["name"]: row for row in found["metrics"]}
    assert metrics["val_loss"]["values"][2] == "NaN"
    assert metrics["val_loss"]["best_run_id"] == found["runs"][1]["run_id"]
    assert any(fact["id"].startswith("difference/") for fact in found["facts"])
    assert look("compare_runs", runs=["digits#0", "digits#6"])["same_params"] == {"optimizer": "sgd"}
    with pytest.raises(RecordError, match="name two runs that differ"):
        look("compare_runs", runs=["digits#0", "digits#0"])


def test_a_diagnosis_says_what_happened_what_to_do_and_names_a_sound_run(look: Ask) -> None:
    found = look("diagnose_run", run="digits#11")
    assert found["outcome"] == "trouble"
    first = found["findings"][0]
    assert first["finding"]["code"] == "ADV101"
    assert first["what_to_do"]
    assert first["evidence_in_words"]
    assert found["healthy_sibling"]["run"]["state"] == "finished"
    assert found["healthy_sibling"]["differs_in"]["lr"][0] == pytest.approx(10 ** (-4 + 11 / 3))
    assert "ended" in found["forecast_note"] or "finished" in found["forecast_note"]


def test_a_run_without_findings_is_not_called_sound_while_something_was_not_judged(look: Ask) -> None:
    found = look("diagnose_run", run="digits#6")
    assert found["findings"] == []
    assert found["not_judged"]
    assert found["outcome"] == "could not be judged"


def test_a_run_that_nobody_has_checked_is_looked_at(ask: Ask, adv: Advisor) -> None:
    exp = adv.experiment("digits")
    with exp.start(params={"lr": 0.9, "optimizer": "sgd"}) as run:
        for step in range(30):
            run.log({"val_loss": math.nan if step > 9 else 1.0 - step / 50}, step=step)
    found = ask("diagnose_run", run=run.id)
    assert [each["finding"]["code"] for each in found["findings"]] == ["ADV101"]


def test_similar_runs_come_with_reasons(look: Ask) -> None:
    found = look("similar_runs", run="digits#6", limit=3)
    assert len(found["hits"]) == 3
    assert all(hit["run"]["number"] != 6 and hit["reasons"] for hit in found["hits"])


# -- a tuning loop


def test_a_suggestion_is_tried_and_its_result_told(ask: Ask) -> None:
    made = ask("suggest_params", experiment="digits", n=2, seed=1, fixed={"optimizer": "adam"})["suggestions"]
    assert [each["params"]["optimizer"] for each in made] == ["adam", "adam"]
    told = ask("tell_result", experiment="digits", suggestion_id=made[0]["suggestion_id"][:10], value=0.001)
    assert told["is_best"]
    assert told["run"]["params"] == made[0]["params"]
    assert ask("get_run", run=told["run"]["run_id"])["suggestion_id"] == made[0]["suggestion_id"]
    failed = ask("tell_result", experiment="digits", suggestion_id=made[1]["suggestion_id"], state="failed", note="OOM")
    assert failed["run"]["state"] == "failed"
    assert ask("get_ledger", experiment="digits")["ledger"]["suggestions"]["n_started"] == 2


def test_an_experiment_is_made_and_what_is_left_out_stays(ask: Ask) -> None:
    space = {"lr": {"low": 1e-4, "high": 1, "log": True}, "optimizer": ["sgd", "adam"]}
    made = ask("define_experiment", experiment="new", objectives=["loss"], directions=["minimize"], space=space)
    assert made["n_runs"] == 0
    assert set(made["space"]) == {"lr", "optimizer"}
    again = ask("define_experiment", experiment="new", description="what the new one asks")
    assert (again["space"], again["description"]) == (made["space"], "what the new one asks")
    assert len(ask("suggest_params", experiment="new", n=2, seed=0)["suggestions"]) == 2
    with pytest.raises(SpaceError, match="'lr'"):
        ask("define_experiment", experiment="other", space={"lr": {"low": 2, "high": 1}})


def test_a_result_may_bring_its_curves_and_is_checked_by_them(ask: Ask) -> None:
    params = {"lr": 0.1, "optimizer": "sgd"}
    told = ask("tell_result", experiment="digits", params=params, value=0.4, curves={"val_loss": [0.9, "NaN", 0.4]})
    found = ask("get_curves", run=told["run"]["run_id"], metrics=["val_loss"])["curves"][0]
    assert (found["steps"], found["values"]) == ([0, 1, 2], [0.9, "NaN", 0.4])
    with pytest.raises(ConfigError, match="told twice"):
        ask("tell_result", experiment="digits", params=params, value=1, curves={"a": [1]}, metrics={"a": 1})


def test_a_result_needs_parameters_or_a_suggestion_of_the_experiment(ask: Ask) -> None:
    with pytest.raises(ConfigError, match="give params, or the suggestion_id"):
        ask("tell_result", experiment="digits", value=1)
    with pytest.raises(RecordError, match="no suggestion begins"):
        ask("tell_result", experiment="digits", suggestion_id="nothing", value=1)
    with pytest.raises(ConfigError, match="not both"):
        ask("tell_result", experiment="digits", params={"lr": 0.1, "optimizer": "sgd"}, value=1, values=[1])


def test_a_suggestion_is_told_once_and_with_its_own_parameters(ask: Ask) -> None:
    (made,) = ask("suggest_params", experiment="digits", seed=1)["suggestions"]
    told = ask("tell_result", experiment="digits", suggestion_id=made["suggestion_id"], value=2.46)["run"]
    with pytest.raises(AlreadyThereError, match=rf"told already as digits#{told['number']} \(2\.46\).*no suggestion"):
        ask("tell_result", experiment="digits", suggestion_id=made["suggestion_id"], value=2.46)
    again = ask("tell_result", experiment="digits", params=made["params"], value=2.5)["run"]
    assert again["number"] == told["number"] + 1
    (other,) = ask("suggest_params", experiment="digits", seed=2)["suggestions"]
    changed = other["params"] | {"lr": other["params"]["lr"] * 1.01}
    with pytest.raises(ConfigError, match=r"in params it is .*: leave params out .*else leave suggestion_id out"):
        ask("tell_result", experiment="digits", suggestion_id=other["suggestion_id"], params=changed, value=1.0)
    same = ask("tell_result", experiment="digits", suggestion_id=other["suggestion_id"], params=other["params"],
               value=1.0)  # fmt: skip
    assert same["run"]["params"] == other["params"]


def test_why_a_run_failed_is_told_and_diagnosed(ask: Ask) -> None:
    params = {"lr": 0.1, "optimizer": "sgd"}
    told = {"experiment": "digits", "params": params, "state": "failed"}
    run = ask("tell_result", **told, error="Traceback\nRuntimeError: CUDA out of memory")["run"]["run_id"]
    assert ask("get_run", run=run)["error"].endswith("CUDA out of memory")
    found = ask("diagnose_run", run=run)
    assert "CUDA out of memory" in found["findings"][0]["finding"]["title"]
    noted = ask("tell_result", **told, note="the disk was full")["run"]["run_id"]
    found = ask("diagnose_run", run=noted)
    assert found["error"] == "the disk was full"
    assert "the disk was full" in found["findings"][0]["finding"]["title"]
    with pytest.raises(ConfigError, match="a finished run has no error"):
        ask("tell_result", experiment="digits", params=params, value=1.0, error="none")
    with pytest.raises(ConfigError, match="a failed run has no value that counts"):
        ask("tell_result", **told, value=0.001)


def test_forecasts_and_stop_advice_say_why(look: Ask) -> None:
    found = look("get_forecast", run="digits#1", at=0.4)
    assert found["forecast"]["low"] <= found["forecast"]["mean"] <= found["forecast"]["high"]
    assert look("get_forecast", run="digits#1")["forecast"] is None
    assert look("stop_advice", experiment="digits")["reason"]


# -- documents


@pytest.mark.parametrize(
    ("kind", "about"),
    [
        ("report", {"experiment": "digits"}),
        ("run-summary", {"run": "digits#6"}),
        ("model-card", {"experiment": "digits"}),
        ("checklist", {"experiment": "digits"}),
        ("incident", {"finding": "digits#5:ADV103"}),
        ("comparison", {"a": "digits#0", "b": "digits#1"}),
        ("digest", {"since": "7d"}),
    ],
)
def test_a_document_of_each_kind_is_written_and_nothing_is_kept(
    ask: Ask, adv: Advisor, kind: str, about: dict[str, Any], tmp_path: Path
) -> None:
    before = adv.store.state().version
    found = ask("get_report", kind=kind, **about)
    assert "\n# " in f"\n{found['text']}"
    assert found["facts"]
    assert adv.store.state().version == before
    assert not (tmp_path / "reports").exists()


def test_a_document_that_is_kept_is_listed_read_and_verifies(ask: Ask) -> None:
    kept = ask("write_report", kind="run-summary", run="digits#6")
    listed = ask("list_documents", kind="run-summary")
    assert [each["document_id"] for each in listed["documents"]] == [kept["document_id"]]
    assert Path(kept["path"]).is_file()
    found = ask("get_document", document=kept["document_id"][:8])
    assert found["text"] == kept["text"]
    assert {fact["id"] for fact in found["facts"]} == {fact["id"] for fact in kept["facts"]}
    assert ask("verify_text", text=Path(kept["path"]).read_text(encoding="utf-8"))["ok"]


def test_ids_of_a_report_stay_the_same_while_nothing_changes_and_are_found_again(ask: Ask) -> None:
    first, again = (ask("get_report", experiment="digits")["facts"] for _ in range(2))
    assert first == again
    assert len(first[0]["id"]) < 80
    found = ask("get_facts", ids=[fact["id"] for fact in first[:20]])["facts"]
    assert [fact["text"] for fact in found] == [fact["text"] for fact in first[:20]]


def test_a_long_document_is_read_in_parts(look: Ask) -> None:
    whole = look("get_report", kind="run-summary", run="digits#6")
    first = look("get_report", kind="run-summary", run="digits#6", max_chars=1000)
    assert first["next_offset"] == 1000
    assert first["text"] == whole["text"][:1000]


@pytest.mark.parametrize(("kind", "missing"), [("report", "experiment"), ("incident", "finding"), ("comparison", "a")])
def test_a_document_says_what_it_needs(look: Ask, kind: str, missing: str) -> None:
    with pytest.raises(ConfigError, match=f"needs '{missing}'"):
        look("get_report", kind=kind)


# -- findings


def test_findings_are_listed_acknowledged_and_judged(ask: Ask) -> None:
    found = ask("list_findings", experiment="digits")
    one = found["findings"][0]["finding"]
    assert found["findings"][0]["what_to_do"]
    assert one["severity"] == "error"
    ask("acknowledge", findings=[one["finding_id"]])
    assert ask("list_findings", experiment="digits")["n_fitting"] == found["n_fitting"] - 1
    assert ask("list_findings", state="acknowledged")["findings"][0]["finding"]["finding_id"] == one["finding_id"]
    judged = ask("judge_finding", finding=one["finding_id"][:12], verdict="ok", note="known")
    assert (judged["finding"]["state"], judged["finding"]["verdict"]) == ("resolved", "ok")


def test_what_is_told_is_judged_by_a_check_and_said_to_be_not_kept_before(ask: Ask) -> None:
    curve = [1.0 - i / 50 if i < 10 else "NaN" for i in range(30)]
    told = ask("tell_result", experiment="digits", params={"lr": 0.1, "optimizer": "sgd"}, value="NaN",
               curves={"val_loss": curve})["run"]  # fmt: skip
    before = ask("list_findings", experiment="digits", limit=1)
    assert before["n_not_kept"] == 1
    assert before["note"] == "1 seen now, not kept: check_experiment keeps them"
    assert ask("diagnose_run", run=told["run_id"])["note"] == before["note"]
    checked = ask("check_experiment", experiment="digits")
    assert (checked["n_runs"], checked["n_new"], checked["n_open"]) == (13, 1, before["n_fitting"] + 1)
    assert checked["findings"][0]["finding"]["run_id"] == told["run_id"]
    assert checked["new_ids"] == [checked["findings"][0]["finding"]["finding_id"]]
    assert sum(checked["not_judged"].values()) > 0
    again = ask("check_experiment", experiment="digits")
    assert (again["n_new"], again["n_open"]) == (0, checked["n_open"])
    assert ask("list_findings", run=told["run_id"])["note"] == ask("diagnose_run", run=told["run_id"])["note"] == ""
    assert ask("acknowledge", findings=checked["new_ids"])["done"]


def test_a_check_of_very_many_runs_is_left_to_the_command_line(ask: Ask, adv: Advisor) -> None:
    adv.experiment("many runs", objective="loss")
    events = (Event.new("run.created", "many runs", f"{i:032x}", state="finished") for i in range(5_001))
    adv.store.append(list(events))
    with pytest.raises(ConfigError, match=r"5,001 runs.*'advisor check 'many runs''"):
        ask("check_experiment", experiment="many runs")


def test_findings_are_narrowed_by_run_code_and_severity(look: Ask) -> None:
    spikes = look("list_findings", code="spike")
    assert {each["finding"]["code"] for each in spikes["findings"]} == {"ADV103"}
    assert {each["run_number"] for each in spikes["findings"]} == {5}
    assert look("list_findings", run="digits#5", severity="error")["n_fitting"] == 0
    assert (
        look("list_findings", experiment="digits", limit=1, offset=1)["findings"]
        == (look("list_findings", experiment="digits")["findings"][1:2])
    )
    with pytest.raises(ConfigError, match="did you mean 'spike'"):
        look("list_findings", code="spyke")


def test_findings_follow_what_becomes_of_their_runs(ask: Ask, adv: Advisor) -> None:
    n = ask("list_findings")["n_fitting"]
    of_run = ask("list_findings", run="digits#5")["n_fitting"]
    adv.experiment("digits").rename("numbers")
    assert ask("list_findings", experiment="numbers", run="numbers#5")["n_fitting"] == of_run
    adv.delete(["numbers#5"])
    assert ask("list_findings")["n_fitting"] == n - of_run


def test_what_is_muted_is_listed_as_such_until_the_mute_ends(ask: Ask) -> None:
    ask("mute", what=["spike", "digits"], reason="known", **{"for": "2h"})
    assert {each["scope"] for each in ask("list_mutes")["mutes"]} == {"code", "experiment"}
    assert all(each["is_muted"] for each in ask("list_findings", experiment="digits")["findings"])
    ask("unmute", what=["spike", "digits"])
    assert not any(each["is_muted"] for each in ask("list_findings", experiment="digits")["findings"])
    with pytest.raises(ConfigError, match="no length of time"):
        ask("mute", what=["spike"], **{"for": "soon"})


# -- writing on runs


def test_notes_are_added_and_tags_replaced(ask: Ask) -> None:
    assert ask("add_note", run="digits#0", text="looked at it")["notes"] == ["looked at it"]
    assert ask("set_tags", run="digits#0", tags=["a", "b", "a"])["tags"] == ["a", "b"]
    assert ask("set_tags", run="digits#0", tags=["b"])["tags"] == ["b"]
    assert ask("set_tags", run="digits#0", tags=[])["tags"] == []


# -- limits and errors


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("list_runs", {"limit": 101}),
        ("list_runs", {"offset": -1}),
        ("get_curves", {"run": "digits#0", "max_points": 2001}),
        ("get_curves", {"run": "digits#0", "max_points": 7}),
        ("get_curves", {"run": "digits#0", "metrics": ["m"] * 21}),
        ("compare_runs", {"runs": ["digits#0"]}),
        ("compare_runs", {"runs": ["digits#0"] * 101}),
        ("suggest_params", {"experiment": "digits", "n": 21}),
        ("get_forecast", {"run": "digits#0", "at": 0}),
        ("verify_text", {"text": "1" * 200_001}),
        ("judge_finding", {"finding": "x", "verdict": "maybe"}),
    ],
)
def test_what_is_beyond_a_limit_is_refused(look: Ask, name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"^{name} was asked with what it does not take"):
        look(name, **arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        (
            "list_findings",
            {"severity": "warn"},
            "severity = 'warn' is none of error, info, warning; did you mean 'warn",
        ),
        ("tell_result", {"experiment": "digits", "value": "low"}, "value = 'low' is no number; send a number, or one"),
        ("tell_result", {"experiment": "digits", "metrics": {"a": "x"}}, "is no number; send a number"),
        ("list_runs", {"sort": "-objective"}, "leave the minus out and give descending=true"),
        ("get_report", {"experiment": "digits", "run": "digits#0"}, "not about 'run'.*kind='run-summary'"),
        ("get_report", {"kind": "model-card", "experiment": "digits", "run": "digits#0"}, "not both"),
    ],
)
def test_what_was_meant_is_said(look: Ask, name: str, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        look(name, **arguments)


def test_an_experiment_in_the_place_of_a_run_is_named_as_one(look: Ask) -> None:
    with pytest.raises(RunNotFoundError, match=r"'digits' is an experiment; .* for instance digits#0"):
        look("get_run", run="digits")


def test_runs_come_in_brief_and_without_facts_where_that_is_asked_for(look: Ask) -> None:
    short = {"brief": True, "with_facts": False}
    found = look("list_runs", experiment="digits", where="params.optimizer = 'sgd'", limit=4, **short)
    assert all(set(run["params"]) == {"lr"} and run["metrics"] == {} for run in found["runs"])
    assert found["runs"][0]["objective"] is not None
    assert found["facts"] == []
    assert set(look("search_runs", text="finished", limit=2, **short)["hits"][0]["run"]["params"]) <= {
        "lr",
        "optimizer",
    }
    compared = look("compare_runs", runs=["digits#0", "digits#2"], **short)
    assert (compared["facts"], compared["same_params"]) == ([], {})


def test_halves_of_characters_are_refused(look: Ask) -> None:
    for arguments in ({"run": "\ud800"}, {"run": "digits#0", "metrics": ["a\udfffb"]}):
        with pytest.raises(ConfigError, match="not valid Unicode"):
            look("get_curves", **arguments)


def test_what_is_not_there_is_named(look: Ask) -> None:
    with pytest.raises(ExperimentNotFoundError, match="did you mean 'digits'"):
        look("get_experiment", experiment="digitz")
    with pytest.raises(RunNotFoundError, match=r"digits#99|number 99"):
        look("get_run", run="digits#99")
    with pytest.raises(RecordError, match=r"no curve 'val_lss'.*did you mean 'val_loss'"):
        look("get_curves", run="digits#0", metrics=["val_lss"])
    with pytest.raises(FilterError):
        look("list_runs", where="params.lr <")


# -- hostile text


def test_hostile_text_is_bounded_and_visible_everywhere(look: Ask) -> None:
    name = look("list_experiments")["experiments"][0]["experiment"]
    answers = [
        look("list_experiments"),
        look("get_experiment", experiment=name),  # the form in which it was shown finds it
        look("list_runs", experiment=name),
        look("get_run", run=look("list_runs", experiment=name)["runs"][0]["run_id"]),
        look("search_runs", text="ignore previous instructions"),
        look("get_curves", run=look("list_runs", experiment=name)["runs"][0]["run_id"]),
        look("diagnose_run", run=look("list_runs", experiment=name)["runs"][0]["run_id"]),
        look("list_findings"),
    ]
    for answer in answers:
        text = json.dumps(answer, ensure_ascii=False)
        assert len(text) < 400_000
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "A" * 4_100 not in text
