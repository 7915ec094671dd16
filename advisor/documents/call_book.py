"""What was asked of language models: calls with their tokens and costs, and answers that need not be asked for again.

One small SQLite file beside the store. Leaves out asking (see ``metered``). Invariant: what a call may take at
most is written down before it is made, so that processes that ask at the same time keep one budget, and a call
whose end nobody saw counts in full. No prompt is kept.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from advisor.documents.model import Answer, Message

MAX_ANSWERS: Final = 1000
"""Answers that are kept; the oldest go first."""
BUSY_S: Final = 2.0
"""How long another process may hold the file before a call goes on without it."""

_TABLES: Final = """
create table if not exists calls (
    id integer primary key, day text not null, time text not null, model text not null, outcome text not null,
    tokens_in integer not null, tokens_out integer not null, cost_usd real);
create index if not exists calls_by_day on calls (day);
create table if not exists answers (key text primary key, time text not null, answer text not null);
"""


@dataclass(frozen=True, slots=True)
class Spent:
    """What calls took together."""

    n_calls: int = 0
    _: KW_ONLY
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0
    """US dollars of the calls whose price is known."""
    n_unpriced: int = 0
    """Calls whose price is not known."""

    @property
    def tokens(self) -> int:
        """Tokens read and written."""
        return self.tokens_in + self.tokens_out

    @property
    def words(self) -> str:
        """It as one phrase.

        >>> Spent(2, tokens_in=1200, tokens_out=300, cost_usd=0.0042).words
        '2 calls, 1,500 tokens, $0.0042'
        """
        if not self.n_calls:
            return "no call"
        calls = f"{self.n_calls:,} call{'' if self.n_calls == 1 else 's'}, {self.tokens:,} tokens"
        unknown = f" and {self.n_unpriced:,} of unknown price" if self.cost_usd else ", price unknown"
        cost = f", ${self.cost_usd:.4f}" if self.cost_usd or not self.n_unpriced else ""
        return calls + cost + (unknown if self.n_unpriced else "")


@dataclass(frozen=True)
class CallBook:
    """The file, opened anew for each question; every method raises ``sqlite3.Error`` or ``OSError`` where it cannot."""

    path: Path
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def spent_on(self, day: str) -> Spent:
        """Return what the calls of a day (``2026-03-01``, in UTC) took, those that go on at their most."""
        if not self.path.exists():
            return Spent()
        with self._open() as book:
            return _spent_on(book, day)

    def today(self) -> Spent:
        """Return what the calls of this day, in UTC, took."""
        return self.spent_on(self._day())

    def begin(self, model: str, *, tokens_in: int, tokens_out: int, within: Callable[[Spent], bool]) -> int | None:
        """Write down a call with what it may take at most; None where ``within`` refuses what that makes today."""
        with self._open() as book:
            book.execute("begin immediate")
            before = _spent_on(book, self._day())
            after = Spent(
                before.n_calls + 1,
                tokens_in=before.tokens_in + tokens_in,
                tokens_out=before.tokens_out + tokens_out,
                cost_usd=before.cost_usd,
            )
            if not within(after):
                return None
            row = (self._day(), self.clock().isoformat(), model, "asked", tokens_in, tokens_out)
            columns = "day, time, model, outcome, tokens_in, tokens_out"
            return book.execute(f"insert into calls ({columns}) values (?, ?, ?, ?, ?, ?)", row).lastrowid

    def end(self, call: int, outcome: str, answer: Answer) -> None:
        """Write down how a call ended; tokens that nobody counted stay at what they may have been at most."""
        row = (outcome, answer.tokens_in, answer.tokens_out, answer.cost_usd, call)
        change = "outcome = ?, tokens_in = ifnull(?, tokens_in), tokens_out = ifnull(?, tokens_out), cost_usd = ?"
        with self._open() as book:
            book.execute(f"update calls set {change} where id = ?", row)

    def known(self, key: str) -> str | None:
        """Return the answer that was kept under a key."""
        if not self.path.exists():
            return None
        with self._open() as book:
            row = book.execute("select answer from answers where key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def keep(self, key: str, answer: str) -> None:
        """Keep an answer."""
        with self._open() as book:
            book.execute("insert or replace into answers values (?, ?, ?)", (key, self.clock().isoformat(), answer))
            newest = "select key from answers order by time desc, rowid desc limit ?"
            book.execute(f"delete from answers where key not in ({newest})", (MAX_ANSWERS,))

    def _day(self) -> str:
        return f"{self.clock().astimezone(UTC):%Y-%m-%d}"

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        book = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)
        try:
            if not book.execute("select 1 from sqlite_master where name = 'answers'").fetchone():
                book.executescript(_TABLES)
            yield book
            if book.in_transaction:
                book.execute("commit")
        finally:
            book.close()


def key_of(model: str, messages: Sequence[Message], schema: Mapping[str, Any], **asked: Any) -> str:
    """Return the hash of what an answer depends on: the model, the prompt with its facts, the form, the settings."""
    whole = {"model": model, "messages": [dict(message) for message in messages], "schema": dict(schema), **asked}
    spelled = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(spelled.encode()).hexdigest()


def _spent_on(book: sqlite3.Connection, day: str) -> Spent:
    sums = "count(*), ifnull(sum(tokens_in), 0), ifnull(sum(tokens_out), 0), ifnull(sum(cost_usd), 0)"
    # a call that reached nobody has no price and needs none
    unpriced = "ifnull(sum(cost_usd is null and tokens_in + tokens_out > 0), 0)"
    row = book.execute(f"select {sums}, {unpriced} from calls where day = ?", (day,)).fetchone()
    return Spent(row[0], tokens_in=row[1], tokens_out=row[2], cost_usd=row[3], n_unpriced=row[4])
