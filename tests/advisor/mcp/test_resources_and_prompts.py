"""What people attach to a conversation, and what they start one with."""

from __future__ import annotations

import json
import re

import pytest
from mcp import Client, MCPError
from mcp_types import PromptReference, ResourceTemplateReference

from advisor.app import Advisor
from advisor.errors import ConfigError
from advisor.findings.codes import CODES
from advisor.mcp import create_server
from advisor.mcp.prompts import PROMPTS
from advisor.operations import OPERATIONS
from tests.advisor.mcp.conftest import Conversation, talk


def read(adv: Advisor, uri: str) -> tuple[str, str]:
    """Return the kind and the text of what is at an address."""

    async def ask(client: Client) -> tuple[str, str]:
        (found,) = (await client.read_resource(uri)).contents
        return str(found.mime_type), found.text

    kind, text = talk(create_server(adv), ask)
    return kind, text


def refusal(adv: Advisor, conversation: Conversation) -> str:
    """Return the sentence with which a request is refused."""

    async def ask(client: Client) -> str:
        with pytest.raises(MCPError) as raised:
            await conversation(client)
        assert raised.value.error.code == -32602
        return raised.value.error.message

    return str(talk(create_server(adv), ask))


def test_what_is_listed_can_be_read(adv: Advisor) -> None:
    async def ask(client: Client) -> dict[str, str]:
        listed = (await client.list_resources()).resources
        return {each.uri: (await client.read_resource(each.uri)).contents[0].text for each in listed}

    found = talk(create_server(adv), ask)
    assert "advisor://experiments" in found
    assert json.loads(found["advisor://experiment/digits"])["experiment"] == "digits"
    assert json.loads(found["advisor://experiment/a%2Fb%20c%3F%23%C3%A9"])["experiment"] == "a/b c?#é"
    documents = [text for uri, text in found.items() if uri.startswith("advisor://document/")]
    assert len(documents) == 1
    assert documents[0].startswith("# digits")


def test_a_run_can_be_read_as_data_and_in_words_without_anything_being_kept(adv: Advisor) -> None:
    run = adv.experiment("digits").run(0)
    before = len(adv.store.events())
    kind, text = read(adv, f"advisor://run/{run.id}")
    assert (kind, json.loads(text)["run_id"]) == ("application/json", run.id)
    kind, text = read(adv, f"advisor://run/{run.id}/summary")
    assert kind == "text/markdown"
    assert text.startswith("# Run #0 of digits")
    assert adv.verify(text).ok
    assert len(adv.store.events()) == before


def test_every_finding_code_can_be_read(adv: Advisor) -> None:
    async def ask(client: Client) -> dict[str, str]:
        return {c: (await client.read_resource(f"advisor://finding-code/{c}")).contents[0].text for c in CODES}

    found = talk(create_server(adv), ask)
    assert all(code.what_to_do in found[code.code] for code in CODES.values())
    assert read(adv, "advisor://finding-code/spike")[1] == found["ADV103"]


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("advisor://experiment/digitz", "digits"),
        ("advisor://run/nothing", "nothing"),
        ("advisor://document/nothing", "there is no document"),
        ("advisor://finding-code/ADV999", "did you mean"),
        ("file:///etc/passwd", "nothing is at"),
        ("advisor://document/..%2F..%2Fetc%2Fpasswd", "there is no document"),
    ],
)
def test_what_is_not_there_is_refused_in_a_sentence(adv: Advisor, uri: str, said: str) -> None:
    assert said in refusal(adv, lambda client: client.read_resource(uri))


def test_parts_of_addresses_and_arguments_are_completed(adv: Advisor) -> None:
    async def ask(client: Client) -> list[list[str]]:
        template = ResourceTemplateReference(uri="advisor://experiment/{name}")
        found = [
            await client.complete(template, {"name": "name", "value": "DI"}),
            await client.complete(ResourceTemplateReference(uri="advisor://run/{id}"), {"name": "id", "value": ""}),
            await client.complete(ResourceTemplateReference(uri="advisor://nothing"), {"name": "id", "value": ""}),
            await client.complete(PromptReference(name="tune"), {"name": "experiment", "value": "b c"}),
            await client.complete(PromptReference(name="tune"), {"name": "n_runs", "value": ""}),
        ]
        return [each.completion.values for each in found]

    experiments, runs, nothing, named, free = talk(create_server(adv), ask)
    assert experiments == ["digits"]
    assert len(runs) == 8
    assert named == ["a/b c?#é"]
    assert nothing == free == []


def test_prompts_take_their_arguments_and_name_only_tools_that_exist(adv: Advisor) -> None:
    async def ask(client: Client) -> list[str]:
        found = []
        for prompt in (await client.list_prompts()).prompts:
            given = {each.name: "digits" for each in prompt.arguments or () if each.required}
            answer = await client.get_prompt(prompt.name, given)
            found.append(answer.messages[0].content.text)
        return found

    texts = talk(create_server(adv), ask)
    assert len(texts) == len(PROMPTS)
    tools = {operation.name for operation in OPERATIONS}
    for text in texts:
        assert "'digits'" in text
        assert "verify_text" in text
        assert "not enough runs to tell" in text
        assert set(re.findall(r"\b(?:get|list|search|compare|diagnose|suggest|tell|verify)_\w+", text)) <= tools


@pytest.mark.parametrize("given", ["many", "0", "-3", "1e9", "99999999"])
def test_a_number_of_runs_that_is_none_is_refused(given: str) -> None:
    tune = next(each for each in PROMPTS if each.name == "tune")
    with pytest.raises(ConfigError, match="is no number of runs"):
        tune.filled({"experiment": "digits", "n_runs": given})
    assert "7 runs at most" in str(tune.filled({"experiment": "digits", "n_runs": " 7 "}))


def test_a_prompt_that_lacks_an_argument_says_which(adv: Advisor) -> None:
    message = refusal(adv, lambda client: client.get_prompt("tune", {}))
    assert message == "the prompt 'tune' lacks 'experiment'; it takes experiment, n_runs"


def test_a_server_that_is_read_only_does_not_offer_to_tune(adv: Advisor) -> None:
    async def ask(client: Client) -> list[str]:
        return [prompt.name for prompt in (await client.list_prompts()).prompts]

    assert talk(create_server(adv, read_only=True), ask) == ["diagnose", "write_up"]
