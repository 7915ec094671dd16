"""What a model may cost is kept to, and what it has answered is not asked for again."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from advisor.documents import FactSheet, LiteLLMModel, MeteredModel, experiment_facts
from advisor.documents.call_book import MAX_ANSWERS, CallBook, Spent
from advisor.documents.content import text_of
from advisor.documents.metered import Budget
from advisor.documents.writer import narrate
from advisor.errors import ModelUnavailableError

SAID = '{"sentences": [], "interpretation": []}'
SCHEMA = {"type": "object"}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def ask(words: str = "hello") -> list[Any]:
    return [{"role": "user", "content": words}]


@pytest.fixture(autouse=True)
def ready(litellm_loaded: float, loopback: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-canary-0123456789abcdef")
    loopback.say = lambda request: SAID


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def book(tmp_path: Path) -> CallBook:
    return CallBook(tmp_path / "calls" / "book.sqlite", Clock())


@pytest.fixture
def model(loopback: Any) -> LiteLLMModel:
    return LiteLLMModel("openai/tiny", api_base=loopback.url, timeout_s=20, attempts=1)


def test_the_same_question_is_asked_once(loopback: Any, model: LiteLLMModel, book: CallBook) -> None:
    said: list[str] = []
    metered = MeteredModel(model, book, say=said.append)
    assert [metered.complete(ask(), schema=SCHEMA) for _ in range(3)] == [SAID] * 3
    assert len(loopback.requests) == 1
    assert book.today() == Spent(1, tokens_in=11, tokens_out=7, n_unpriced=1)
    assert said[-1] == "openai/tiny had answered this before; it was not asked again"
    assert "1 call, 18 tokens, price unknown; today 1 call, 18 tokens" in said[1]


def test_another_prompt_model_or_form_is_another_question(loopback: Any, model: LiteLLMModel, book: CallBook) -> None:
    other = LiteLLMModel("openai/other", api_base=loopback.url, timeout_s=20)
    MeteredModel(model, book).complete(ask(), schema=SCHEMA)
    MeteredModel(model, book).complete(ask("bye"), schema=SCHEMA)
    MeteredModel(other, book).complete(ask(), schema=SCHEMA)
    MeteredModel(model, book).complete(ask(), schema={"type": "array"})
    assert len(loopback.requests) == 4


def test_an_answer_that_is_no_draft_is_asked_for_again(loopback: Any, model: LiteLLMModel, book: CallBook) -> None:
    loopback.say = lambda request: "I am sorry."
    for _ in range(2):
        MeteredModel(model, book).complete(ask(), schema=SCHEMA)
    assert len(loopback.requests) == 2


def test_a_spent_budget_gives_the_template_and_says_so(
    loopback: Any, model: LiteLLMModel, book: CallBook, make: Any
) -> None:
    sheet: FactSheet = experiment_facts(make.material())
    metered = MeteredModel(model, book, Budget(0))
    told = narrate(sheet, template=("The template.",), model=metered)
    assert text_of(told.paragraph) == "The template."
    assert "the budget is 0 tokens a day" in told.notes[0]
    assert loopback.requests == []


def test_a_call_is_made_only_if_the_budget_holds_all_it_may_take(
    loopback: Any, model: LiteLLMModel, book: CallBook
) -> None:
    metered = MeteredModel(model, book, Budget(model.max_tokens + 15))
    metered.complete(ask("1"), schema=SCHEMA)
    with pytest.raises(ModelUnavailableError, match="today it took 1 call, 18 tokens"):
        metered.complete(ask("2"), schema=SCHEMA)
    assert metered.complete(ask("1"), schema=SCHEMA) == SAID  # known, and so free
    book.clock.now += timedelta(days=1)  # type: ignore[attr-defined]
    metered.complete(ask("2"), schema=SCHEMA)
    assert len(loopback.requests) == 2


def test_dollars_are_counted_where_the_price_is_known(loopback: Any, book: CallBook) -> None:
    model = LiteLLMModel("anthropic/claude-sonnet-4-5", api_base=loopback.root, timeout_s=20)
    metered = MeteredModel(model, book, Budget(cost_usd=0.0001))
    metered.complete(ask("1"), schema=SCHEMA)
    assert 0.0001 < book.today().cost_usd < 0.001
    with pytest.raises(ModelUnavailableError, match=r"the budget is \$0.0001 a day"):
        metered.complete(ask("2"), schema=SCHEMA)


def test_a_late_answer_counts_in_full_and_a_refused_one_not_at_all(loopback: Any, book: CallBook) -> None:
    loopback.delay_s = 5
    late = LiteLLMModel("openai/tiny", api_base=loopback.url, timeout_s=0.3, max_tokens=500)
    with pytest.raises(ModelUnavailableError):
        MeteredModel(late, book).complete(ask("x" * 300), schema=SCHEMA)
    assert book.today() == Spent(1, tokens_in=101, tokens_out=500, n_unpriced=1)
    nobody = LiteLLMModel("openai/tiny", api_base="http://127.0.0.1:9/v1", timeout_s=5, attempts=1)
    with pytest.raises(ModelUnavailableError):
        MeteredModel(nobody, book).complete(ask(), schema=SCHEMA)
    assert book.today() == Spent(2, tokens_in=101, tokens_out=500, n_unpriced=1)


def test_a_server_that_does_not_count_is_counted_for(loopback: Any, model: LiteLLMModel, book: CallBook) -> None:
    loopback.counts_tokens = False
    MeteredModel(model, book).complete(ask("x" * 300), schema=SCHEMA)
    assert book.today() == Spent(1, tokens_in=101, tokens_out=len(SAID) // 3 + 1, n_unpriced=1)


def test_writers_that_ask_together_keep_one_budget(book: CallBook) -> None:
    granted: list[int] = []

    def ask_for_ten() -> None:
        for _ in range(5):
            call = book.begin("m", tokens_in=4, tokens_out=6, within=Budget(120).holds)
            granted.extend([call] if call is not None else [])

    threads = [threading.Thread(target=ask_for_ten) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(granted), book.today().tokens) == (12, 120)


def test_a_book_that_cannot_be_written_stops_only_what_has_a_budget(
    loopback: Any, model: LiteLLMModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    book = CallBook(tmp_path / "file" / "book.sqlite")
    assert MeteredModel(model, book).complete(ask(), schema=SCHEMA) == SAID
    with pytest.raises(ModelUnavailableError, match="was not asked"):
        MeteredModel(model, book, Budget(10_000)).complete(ask(), schema=SCHEMA)
    assert len(loopback.requests) == 1


def test_a_damaged_book_stops_no_document(model: LiteLLMModel, book: CallBook) -> None:
    book.path.parent.mkdir()
    book.path.write_bytes(b"not a database" * 100)
    assert MeteredModel(model, book).complete(ask(), schema=SCHEMA) == SAID


def test_no_prompt_and_no_key_is_kept(loopback: Any, book: CallBook) -> None:
    model = LiteLLMModel("anthropic/claude-sonnet-4-5", api_base=loopback.root, timeout_s=20)
    MeteredModel(model, book).complete(ask("a private prompt"), schema=SCHEMA)
    kept = book.path.read_bytes()
    assert b"private" not in kept
    assert b"canary" not in kept


def test_old_answers_make_room_for_new_ones(book: CallBook) -> None:
    book.keep("first", "x")
    with book._open() as file:
        rows = ((f"k{n}", "2026-03-02", "y") for n in range(MAX_ANSWERS))
        file.execute("begin")
        file.executemany("insert into answers values (?, ?, ?)", rows)
    book.clock.now += timedelta(days=3)  # type: ignore[attr-defined]
    book.keep("last", "z")
    assert (book.known("first"), book.known("last")) == (None, "z")
