"""A language model that keeps to a budget of the day, and asks for no answer that it has had already.

Leaves out the calls themselves (see ``model``) and the file (see ``call_book``). Invariant: a call is made only if
the budget holds what it may take at most; trouble with the file never keeps a document from being written.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Final, TypeVar

from advisor.documents.call_book import CallBook, Spent, key_of
from advisor.documents.draft import is_draft
from advisor.documents.model import Answer, LateError, LiteLLMModel, Message
from advisor.documents.untrusted import one_line
from advisor.errors import AdvisorError, ModelUnavailableError

log = logging.getLogger(__name__)

_T = TypeVar("_T")

CHARS_PER_TOKEN: Final = 3
"""Characters that make a token at the least, as English and JSON go: an estimate that errs upwards, where a server
does not count."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent on one day, in UTC, by all processes that share a store's folder."""

    tokens: int | None = None
    """Read and written; None for no limit."""
    _: KW_ONLY
    cost_usd: float | None = None
    """US dollars of calls whose price is known; None for no limit."""

    def holds(self, spent: Spent) -> bool:
        """Return whether so much may be spent."""
        within_tokens = self.tokens is None or spent.tokens <= self.tokens
        return within_tokens and (self.cost_usd is None or spent.cost_usd < self.cost_usd)

    @property
    def words(self) -> str:
        """It as one phrase.

        >>> Budget(1_000_000, cost_usd=2).words, Budget().words
        ('1,000,000 tokens and $2 a day', 'no limit')
        """
        parts = [f"{self.tokens:,} tokens"] if self.tokens is not None else []
        parts += [f"${self.cost_usd:g}"] if self.cost_usd is not None else []
        return " and ".join(parts) + " a day" if parts else "no limit"


@dataclass(frozen=True)
class MeteredModel:
    """A model behind its book of calls."""

    model: LiteLLMModel
    book: CallBook
    budget: Budget = Budget()
    say: Callable[[str], None] | None = None
    """Takes a sentence that stays: what a call took, or that there was none."""
    progress: Callable[[str], None] | None = None
    """Takes words that pass: that a call begins."""

    @property
    def name(self) -> str:
        """What a document calls it."""
        return self.model.name

    @property
    def timeout_s(self) -> float:
        """Seconds for all that one document asks of it."""
        return self.model.timeout_s

    def complete(
        self, messages: Sequence[Message], *, schema: Mapping[str, Any], timeout_s: float | None = None
    ) -> str:
        """Return the model's next message: the one that it gave to the same question before, if there was one.

        Raises
        ------
        MissingExtraError
            If litellm is not installed.
        ModelUnavailableError
            If there is no usable answer, or the budget of the day does not hold the call.
        """
        model = self.model
        key = key_of(
            model.name,
            messages,
            schema,
            api_base=model.api_base,
            temperature=model.temperature,
            max_tokens=model.max_tokens,
        )
        known = self._tried(lambda: self.book.known(key))
        if known is not None:
            _tell(self.say, f"{self._shown} had answered this before; it was not asked again")
            return known
        call = self._begin(messages)
        began = time.monotonic()
        left = model.timeout_s if timeout_s is None else timeout_s
        _tell(self.progress or self.say, f"asking {self._shown}, for {left:.3g} s at most")
        try:
            answer = model.ask(messages, schema=schema, timeout_s=timeout_s)
        except AdvisorError as error:
            # a server that was late may have been paid for its answer, any other failure took nothing
            late = isinstance(error, LateError)
            outcome, lost = ("late", Answer("")) if late else ("failed", Answer("", tokens_in=0, tokens_out=0))
            self._tried(lambda: self._end(call, outcome, lost))
            raise
        if answer.tokens_out is None:
            answer = replace(answer, tokens_out=len(answer.text) // CHARS_PER_TOKEN + 1)
        self._tried(lambda: self._end(call, "answered", answer))
        if is_draft(answer.text):  # what cannot be used is asked for again another time
            self._tried(lambda: self.book.keep(key, answer.text))
        self._told(answer, time.monotonic() - began)
        return answer.text

    def _begin(self, messages: Sequence[Message]) -> int | None:
        """Return the number of the call in the book; None where it could not be written down and need not be."""
        n_chars = sum(len(message["content"]) for message in messages)
        most = {"tokens_in": n_chars // CHARS_PER_TOKEN + 1, "tokens_out": self.model.max_tokens}
        try:
            call = self.book.begin(self.name, within=self.budget.holds, **most)
        except (sqlite3.Error, OSError) as error:
            log.warning("cannot write down calls of the language model in %s: %s", self.book.path, error)
            if self.budget == Budget():
                return None
            raise ModelUnavailableError(
                f"the language model {self._shown!r} was not asked: what it may cost could not be written to "
                f"{one_line(str(self.book.path), limit=200)!r}"
            ) from None
        if call is None:
            spent = self._tried(self.book.today) or Spent()
            raise ModelUnavailableError(
                f"the language model {self._shown!r} was not asked: today it took {spent.words}, and the budget is "
                f"{self.budget.words} (UTC); raise llm_tokens_per_day or llm_cost_per_day, or wait"
            )
        return call

    def _end(self, call: int | None, outcome: str, answer: Answer) -> None:
        if call is not None:
            self.book.end(call, outcome, answer)

    def _tried(self, ask: Callable[[], _T]) -> _T | None:
        try:
            return ask()
        except (sqlite3.Error, OSError) as error:
            log.warning("cannot use the book of language model calls %s: %s", self.book.path, error)
            return None

    @property
    def _shown(self) -> str:
        return one_line(self.name, limit=80)

    def _told(self, answer: Answer, seconds: float) -> None:
        took = Spent(
            1,
            tokens_in=answer.tokens_in or 0,
            tokens_out=answer.tokens_out or 0,
            cost_usd=answer.cost_usd or 0.0,
            n_unpriced=int(answer.cost_usd is None),
        )
        today = self._tried(self.book.today)
        so_far = f"; today {today.words} (budget: {self.budget.words})" if today is not None else ""
        _tell(self.say, f"{self._shown} answered in {seconds:.1f} s: {took.words}{so_far}")


def _tell(listener: Callable[[str], None] | None, words: str) -> None:
    if listener is not None:
        listener(words)
