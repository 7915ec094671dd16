"""The three dialects that servers of language models speak, in one piece and as a stream, through a real litellm."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import Any

import pytest

from advisor.documents import FactSheet, LiteLLMModel, experiment_facts
from advisor.documents.content import text_of
from advisor.documents.writer import narrate
from advisor.errors import ModelUnavailableError

SAID = '{"sentences": [], "interpretation": []}'
ASK: list[Any] = [{"role": "user", "content": "hello"}]
SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False}
DIALECTS = {
    "openai/tiny": "/v1/chat/completions",
    "hosted_vllm/tiny": "/v1/chat/completions",
    "lm_studio/tiny": "/v1/chat/completions",
    "llamafile/tiny": "/v1/chat/completions",
    "ollama_chat/llama3": "/api/chat",
    "anthropic/claude-sonnet-4-5": "/v1/messages",
}

pytestmark = [
    # litellm's own, at import and in its answers
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def ready(litellm_loaded: float, loopback: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "not-a-key")
    loopback.say = lambda request: SAID


@pytest.fixture
def sheet(make: Any) -> FactSheet:
    return experiment_facts(make.material())


def model(server: Any, name: str, **fields: Any) -> LiteLLMModel:
    base = server.url if DIALECTS[name].endswith("completions") else server.root
    return LiteLLMModel(name, api_base=base, **({"timeout_s": 20} | fields))


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_dialect_is_spoken_in_one_piece_and_as_a_stream(loopback: Any, name: str, streamed: bool) -> None:
    progress = (lambda words: None) if streamed else None
    answer = model(loopback, name, progress=progress).ask(ASK, schema=SCHEMA)
    assert (answer.text, answer.tokens_in, answer.tokens_out) == (SAID, 11, 7)
    ((path, request),) = loopback.requests
    assert path == DIALECTS[name]
    assert bool(request.get("stream")) is streamed
    assert "additionalProperties" in json.dumps(request)  # the schema was sent


def test_a_server_of_ollama_is_asked_once_and_for_nothing_else(loopback: Any) -> None:
    asking = model(loopback, "ollama_chat/llama3", progress=lambda words: None)
    assert asking.ask(ASK, schema=SCHEMA).cost_usd == 0.0
    for thread in [each for each in threading.enumerate() if each is not threading.main_thread()]:
        thread.join(0.2)  # litellm looks things up in threads of its own, after the answer
    assert [path for path, _ in loopback.requests] == ["/api/chat"]


@pytest.mark.parametrize("name", ["openai/tiny", "ollama_chat/llama3", "anthropic/claude-sonnet-4-5"])
def test_no_other_address_is_looked_up(loopback: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[Any] = []
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: looked_up.append(host) or real(host, *rest, **more))  # fmt: skip  # noqa: E501
    loopback.counts_tokens = False  # where a server does not count, litellm would look for a tokenizer
    model(loopback, name).ask(ASK, schema=SCHEMA)
    assert {host if isinstance(host, str) else host.decode() for host in looked_up} <= {"127.0.0.1"}


def test_a_server_that_does_not_stream_is_asked_in_one_piece_from_then_on(loopback: Any) -> None:
    loopback.streams = False
    asking = model(loopback, "openai/tiny", progress=lambda words: None)
    assert asking.complete(ASK, schema=SCHEMA) == SAID
    assert asking.complete(ASK, schema=SCHEMA) == SAID
    assert [bool(request.get("stream")) for _, request in loopback.requests] == [True, False, False]


def test_progress_is_told_while_the_answer_comes(loopback: Any) -> None:
    told: list[str] = []
    loopback.drip_s = 0.0005
    model(loopback, "openai/tiny", progress=told.append).complete(ASK, schema=SCHEMA)
    assert told
    assert all(words.startswith("openai/tiny is writing: ") for words in told)


@pytest.mark.parametrize("name", ["openai/tiny", "ollama_chat/llama3", "anthropic/claude-sonnet-4-5"])
@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_was_cut_off_is_none(loopback: Any, name: str, streamed: bool) -> None:
    loopback.ending = "length"
    with pytest.raises(ModelUnavailableError, match="cut off after 2000 tokens"):
        model(loopback, name, progress=(lambda words: None) if streamed else None).complete(ASK, schema=SCHEMA)


def test_calls_with_different_times_left_share_one_connection(loopback: Any) -> None:
    asking = model(loopback, "openai/tiny")
    for left in (9.1, 8.2, 7.3, 6.4):
        asking.complete(ASK, schema=SCHEMA, timeout_s=left)
    assert (len(loopback.requests), loopback.n_connections) == (4, 1)


def test_a_missing_key_says_what_to_set(loopback: Any) -> None:
    loopback.status = 401
    with pytest.raises(ModelUnavailableError, match="environment variable"):
        model(loopback, "openai/tiny").complete(ASK, schema=SCHEMA)


def test_a_stream_that_never_ends_is_given_up(loopback: Any) -> None:
    loopback.say = lambda request: "x" * 2000
    loopback.drip_s = 0.01
    began = time.monotonic()
    with pytest.raises(ModelUnavailableError, match=r"no answer within 0\.5 s"):
        model(loopback, "openai/tiny", timeout_s=0.5, progress=lambda words: None).complete(ASK, schema=SCHEMA)
    assert time.monotonic() - began < 1.5


def test_repairs_share_the_deadline_of_the_document(loopback: Any, sheet: FactSheet) -> None:
    good, lie = "The best {{metric}} is {{best}}.", "The best val_loss is 0.001, in run {{best_run}}."
    rows = [{"text": text, "claims": []} for text in (good, lie)]
    loopback.say = lambda request: json.dumps({"sentences": rows, "interpretation": []})
    loopback.delay_s = 0.9
    began = time.monotonic()
    told = narrate(sheet, template=("x",), model=model(loopback, "openai/tiny", timeout_s=1.5, attempts=1))
    assert time.monotonic() - began < 2.5
    assert text_of(told.paragraph) == "The best val_loss is 0.31."
    assert told.notes == ("1 of 2 sentences by openai/tiny could not be verified and were left out.",)
