"""The language model that the settings name, with its book of calls beside the store.

Leaves out asking. Invariant: names, addresses, times and budgets come from the settings, keys from nowhere but the
provider's own variables; no file is touched and nothing is loaded before the model is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from advisor.config import Settings
from advisor.documents.call_book import CallBook
from advisor.documents.metered import Budget, MeteredModel
from advisor.documents.model import LiteLLMModel
from storage.place import Place

BOOK: Final = "language-model.sqlite"
"""Name of the file in the store's folder ``calls``; the folder of this machine's state where the store is elsewhere."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told what a model does."""

    say: Callable[[str], None] | None = None
    """Takes a sentence that stays: what a call took."""
    progress: Callable[[str], None] | None = None
    """Takes words that pass: how much of the answer is there. The answer is streamed where this is given."""


def configured_model(
    settings: Settings, *, name: str | None, clock: Callable[[], datetime], listener: Listener | None = None
) -> MeteredModel | None:
    """Return the model of that name, or the one of the settings; None where neither names one."""
    name = name or settings.llm
    if name is None:
        return None
    heard = listener or Listener()
    model = LiteLLMModel(
        name, api_base=settings.llm_api_base, timeout_s=settings.llm_timeout_s, progress=heard.progress
    )
    return MeteredModel(model, call_book(settings, clock), budget(settings), say=heard.say, progress=heard.progress)


def call_book(settings: Settings, clock: Callable[[], datetime]) -> CallBook:
    """Return the book of the calls made for a store."""
    return CallBook(Place(settings.store).work_folder("calls") / BOOK, clock)


def budget(settings: Settings) -> Budget:
    """Return what may be spent on one day."""
    return Budget(settings.llm_tokens_per_day, cost_usd=settings.llm_cost_per_day)
