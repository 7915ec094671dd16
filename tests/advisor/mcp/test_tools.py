"""Every tool, as the official client calls it: in this process, over stdio, over HTTP by the earlier protocol."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import jsonschema
import pytest
from mcp import Client
from mcp_types import CallToolResult, Tool

import advisor
from advisor.app import Advisor
from advisor.errors import ConfigError
from advisor.mcp import create_server
from advisor.mcp.tools import bounded
from advisor.operations import OPERATIONS
from tests.advisor.mcp.conftest import HOSTILE, command, serving, talk

Answers = dict[str, CallToolResult]

CALLS: dict[str, dict[str, Any]] = {
    "list_experiments": {"limit": 10},
    "get_experiment": {"experiment": "digits"},
    "define_experiment": {"experiment": "new", "objectives": ["loss"], "space": {"lr": {"low": 0.1, "high": 1}}},
    "search_runs": {"text": "runs that failed", "experiment": "digits"},
    "list_runs": {"experiment": "digits", "where": "params.lr < 0.1", "sort": "objective", "limit": 3},
    "get_run": {"run": "digits#4"},
    "get_curves": {"run": "digits#7", "metrics": ["val_loss"], "max_points": 10},
    "compare_runs": {"runs": ["digits#0", "digits#1", "digits#7"]},
    "similar_runs": {"run": "digits#0", "limit": 3},
    "diagnose_run": {"run": "digits#7"},
    "suggest_params": {"experiment": "digits", "n": 2, "seed": 1},
    "tell_result": {
        "experiment": "digits",
        "params": {"lr": 0.01, "optimizer": "sgd"},
        "value": "NaN",
        "curves": {"val_loss": [1.0, 0.5, "NaN"]},
    },
    "get_forecast": {"run": "digits#0", "at": 0.5},
    "stop_advice": {"experiment": "digits"},
    "get_ledger": {"experiment": "digits"},
    "get_report": {"experiment": "digits"},
    "write_report": {"kind": "run-summary", "run": "digits#4"},
    "list_documents": {"experiment": "digits"},
    "get_document": {"document": "DOCUMENT"},
    "verify_text": {"text": "The run digits#0 is {{run/RUN/objective}}."},
    "get_facts": {"ids": ["run/RUN/objective", "experiment/digits/n_runs"]},
    "check_experiment": {"experiment": "digits"},
    "list_findings": {"experiment": "digits"},
    "acknowledge": {"findings": ["digits#7:ADV101"]},
    "judge_finding": {"finding": "digits#7:ADV101", "verdict": "real", "note": "looked into it"},
    "list_mutes": {},
    "mute": {"what": ["spike"], "for": "1d", "reason": "known"},
    "unmute": {"what": ["spike"]},
    "add_note": {"run": "digits#0", "text": "seen by an agent"},
    "set_tags": {"run": "digits#0", "tags": ["seen"]},
}
"""A call of each tool, in an order in which each finds what it needs."""
READING = [each.name for each in OPERATIONS if not each.writes]
NEARLY = {"facts", "untrusted", "created", "started", "generated", "asked"}


def filled_in(given: dict[str, Any], run_id: str, document_id: str) -> dict[str, Any]:
    found = json.dumps(given).replace("RUN/", f"{run_id}/").replace('"DOCUMENT"', json.dumps(document_id))
    return dict(json.loads(found))


async def call_all(client: Client, names: list[str]) -> tuple[list[Tool], Answers]:
    """Call tools in the order of ``CALLS``; return all that are offered, and the answers."""
    tools = (await client.list_tools()).tools
    run = (await client.call_tool("get_run", {"run": "digits#0"})).structured_content
    documents = (await client.call_tool("list_documents", {})).structured_content
    answers = {}
    for name in names:
        given = filled_in(CALLS[name], run["run_id"], documents["documents"][0]["document_id"])
        answers[name] = await client.call_tool(name, given)
    return tools, answers


def check(tools: list[Tool], answers: Answers) -> None:
    """Check that no answer is an error, and that each fits its schema and has a text of its own."""
    schemas = {tool.name: tool.output_schema for tool in tools}
    for name, answer in answers.items():
        (content,) = answer.content
        assert not answer.is_error, f"{name}: {content.text}"
        schema = schemas[name]
        assert schema is not None
        jsonschema.Draft202012Validator(schema).validate(answer.structured_content)
        json.dumps(answer.structured_content, allow_nan=False)
        assert len(content.text) <= 41_000, name
        if answer.structured_content["untrusted"]:
            assert content.text.startswith("Text between « and »"), name


def test_there_is_a_call_of_every_tool() -> None:
    assert list(CALLS) == [operation.name for operation in OPERATIONS]


def test_every_tool_answers_in_this_process(adv: Advisor) -> None:
    tools, answers = talk(create_server(adv), lambda client: call_all(client, list(CALLS)))
    assert [tool.name for tool in tools] == list(CALLS)
    check(tools, answers)
    assert answers["verify_text"].structured_content["ok"]
    assert answers["tell_result"].structured_content["is_best"] is False
    assert "NaN" in answers["get_curves"].structured_content["curves"][0]["values"]


def test_every_tool_answers_over_stdio(store: Path) -> None:
    tools, answers = talk(command(store), lambda client: call_all(client, list(CALLS)))
    check(tools, answers)
    with advisor.open(store, capture=False) as adv:
        assert adv.experiment("digits").run(8).state == "finished"
        assert adv.experiment("digits").run(0).tags == ("seen",)


def test_every_tool_answers_over_http(adv: Advisor) -> None:
    with serving(adv) as address:
        tools, answers = talk(address, lambda client: call_all(client, list(CALLS)), mode="legacy")
    check(tools, answers)


def test_reading_over_all_ways_says_the_same(adv: Advisor, store: Path) -> None:
    def read(server: Any, mode: str = "auto") -> dict[str, Any]:
        names = ["get_run", "list_runs", "compare_runs", "get_curves", "list_findings"]
        _, answers = talk(server, lambda client: call_all(client, names), mode=mode)
        return {name: (answer.structured_content, answer.content[0].text) for name, answer in answers.items()}

    here = read(create_server(adv))
    with serving(adv) as address:
        assert read(address, "legacy") == here
    adv.close()
    assert read(command(store), "legacy") == here


def test_those_who_ask_at_once_are_all_answered_and_nobody_is_given_the_same_point(adv: Advisor) -> None:
    found: list[dict[str, Any]] = []

    async def ask(client: Client) -> None:
        async def one() -> None:
            answer = await client.call_tool("suggest_params", {"experiment": "digits"})
            found.append(answer.structured_content["suggestions"][0]["params"])

        async with anyio.create_task_group() as tasks:
            for _ in range(12):
                tasks.start_soon(one)

    talk(create_server(adv), ask)
    assert len({json.dumps(params, sort_keys=True) for params in found}) == 12


# -- what tools say of themselves


def test_a_tool_says_whether_it_writes_and_whether_it_may_be_repeated(adv: Advisor) -> None:
    async def listed(client: Client) -> list[Tool]:
        return (await client.list_tools()).tools

    for tool, operation in zip(talk(create_server(adv), listed), OPERATIONS, strict=True):
        said = tool.annotations
        assert tool.title == operation.title
        assert said is not None
        assert said.read_only_hint is not operation.writes
        assert said.idempotent_hint is operation.repeatable
        assert said.destructive_hint is (tool.name in ("set_tags", "define_experiment"))
        assert said.open_world_hint is False
        assert len(tool.description or "") > 40


def test_every_tool_is_documented_and_marked_where_it_writes(repository: Path) -> None:
    text = (repository / "docs" / "mcp.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE))
    assert list(rows) == list(CALLS)
    assert [name for name, row in rows.items() if "*writes*" in row] == [n for n in CALLS if n not in READING]


def test_instructions_say_what_agents_have_to_know(adv: Advisor) -> None:
    async def told(client: Client) -> str:
        return str(client.instructions)

    text = talk(create_server(adv), told)
    assert all(word in text for word in ("verify_text", "untrusted data", "not enough runs to tell", "ask the user"))
    assert "read-only" not in text
    assert "This server is read-only" in talk(create_server(adv, read_only=True), told)


# -- read-only


def test_what_is_read_only_has_every_tool_that_reads_and_no_other(adv: Advisor) -> None:
    before = len(adv.store.events())
    tools, answers = talk(create_server(adv, read_only=True), lambda client: call_all(client, list(CALLS)))
    assert [tool.name for tool in tools] == READING
    for name, answer in answers.items():
        assert answer.is_error is (name not in READING), name
        if answer.is_error:
            assert answer.content[0].text.startswith(f"{name} changes the store, and this server is read-only")
    assert len(adv.store.events()) == before


# -- what goes wrong


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("get_run", {"run": "digits#99"}, "99"),
        ("get_run", {}, "`run`"),
        ("get_run", {"run": 3}, "`run`"),
        ("get_experiment", {"experiment": "digitz"}, "'digits'"),
        ("list_runs", {"where": "lr <"}, "cannot read the filter at character 5"),
        ("list_runs", {"limit": 10**9}, "limit"),
        ("list_runs", {"expriment": "digits"}, "it takes experiment, where"),
        ("tell_result", {"experiment": "digits", "value": 1.0}, "give params"),
        ("tell_result", {"experiment": "digits", "suggestion_id": "nope", "value": 1.0}, "'nope'"),
        ("suggest_params", {"experiment": "a/b c?#é"}, "objective"),
        ("no_such_tool", {}, "there is no tool 'no_such_tool'"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(adv: Advisor, name: str, given: Mapping[str, Any], said: str) -> None:
    answer = talk(create_server(adv), lambda client: client.call_tool(name, dict(given)))
    text = answer.content[0].text
    assert answer.is_error
    assert said in text
    assert "\n" not in text
    assert "Traceback" not in text


def test_a_report_that_cannot_be_written_is_told_in_a_sentence(store: Path) -> None:
    (store.parent / "reports").mkdir(exist_ok=True)
    (store.parent / "taken").write_text("a file where a folder should be")
    with advisor.open(store, capture=False, reports=store.parent / "taken") as adv:
        answer = talk(create_server(adv), lambda client: client.call_tool("write_report", {"experiment": "digits"}))
    assert answer.is_error
    assert "taken" in answer.content[0].text
    assert "broken in the advisor" not in answer.content[0].text


# -- bounds, and text from runs


def test_answers_are_cut_where_they_are_too_long_and_refused_where_that_does_not_help() -> None:
    short = bounded({"a": "x" * 1_000, "n": 1}, most=400, cuts=(200,))
    assert short["a"].startswith("x" * 200 + "… (800 more")
    assert short["n"] == 1
    with pytest.raises(ConfigError, match="ask for less"):
        bounded({"a": list(range(1_000))}, most=400)


def test_a_hostile_note_stays_data(adv: Advisor) -> None:
    _, answers = talk(create_server(adv), lambda client: call_all(client, ["get_run", "search_runs"]))
    answer = answers["get_run"]
    assert "notes" in answer.structured_content["untrusted"]
    text = answer.content[0].text
    assert "\x1b" not in text
    assert "\u202e" not in text
    said = [line for line in text.splitlines() if "SYSTEM" in line or "Ignore all" in line]
    assert said
    assert all(line.lstrip(" -").startswith(">") for line in said)
    assert "Ignore all" in HOSTILE


def test_names_that_need_care_can_be_asked_for(adv: Advisor) -> None:
    name = "a/b c?#é"
    answer = talk(create_server(adv), lambda client: client.call_tool("get_experiment", {"experiment": name}))
    assert answer.structured_content["experiment"] == name
    assert f"experiment: «{name}»" in answer.content[0].text
