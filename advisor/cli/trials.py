"""Progress of ``advisor optimize`` on stderr: a live table on a terminal, a line an event elsewhere.

Both are watchers as ``advisor.running`` wants them. Text from runs is shown on one line, without control characters.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from advisor.cli.output import ABSENT, duration, note, shown

if TYPE_CHECKING:
    from rich.console import RenderableType

    from advisor.experiment import Experiment
    from advisor.running import Attempt, Trial, Watcher

ENDED_SHOWN: Final = 8
"""Lines of the live table for runs that are over."""


@contextmanager
def shown_on_stderr(experiment: Experiment) -> Iterator[Watcher]:
    """Yield a watcher that shows on stderr what happens."""
    if not sys.stderr.isatty():
        yield PlainLines(experiment)
        return
    from rich.console import Console
    from rich.live import Live

    table = LiveTable(experiment)
    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    with Live(get_renderable=table.render, console=console, refresh_per_second=4, transient=True) as live:
        table.say = lambda text: live.console.print(shown(text), soft_wrap=True)
        yield table


class _Counting:
    """What both ways have in common: how much is done, and the best value so far."""

    def __init__(self, experiment: Experiment) -> None:
        record = experiment.record
        self.record, self.objective = record, record.objectives[0] if record.objectives else None
        best = experiment.best()
        self.best = None if best is None else (best.number, best.objective)
        self.n_done, self.n_failed = 0, 0
        self.n_wanted: int | None = None
        self.trials: Sequence[Trial] = ()
        self.began = time.monotonic()

    def begin(self, *, n_done: int, n_wanted: int | None, trials: Sequence[Trial]) -> None:
        """Hear how much is done already."""
        self.n_done, self.n_wanted, self.trials = n_done, n_wanted, trials

    def count(self, attempt: Attempt) -> bool:
        """Take in how an attempt ended; return whether it is the best by now."""
        run = attempt.run
        # A trial counts once: at its last attempt, and also where an interrupt ended that one.
        self.n_done += not attempt.retried and (not attempt.interrupted or attempt.number > 1)
        self.n_failed += attempt.failed and not attempt.retried
        if self.objective is None or run.objective is None or not self.record.ranks(run):
            return False
        if self.best is None or self.best[1] is None or self.objective.better(run.objective, self.best[1]):
            self.best = (run.number, run.objective)
            return True
        return False

    @property
    def _name(self) -> str:
        return "" if self.objective is None else self.objective.metric

    @property
    def progress(self) -> str:
        """How many are done, of how many."""
        return f"{self.n_done}" if self.n_wanted is None else f"{self.n_done}/{self.n_wanted}"


class PlainLines(_Counting):
    """A line for each start and each end."""

    def started(self, trial: Trial) -> None:
        """Say which parameters a run has."""
        note(f"{_named(trial.run.number, trial.number)} started: {_params(trial.run.params)}")

    def ended(self, attempt: Attempt) -> None:
        """Say how a run ended."""
        is_best, run = self.count(attempt), attempt.run
        value = "" if run.objective is None else f"{self._name} {shown(run.objective)}"
        words = [f"{run.state} in {duration(run.duration_s)}", value, attempt.reason, "the best so far" * is_best]
        note(f"[{self.progress}] {_named(run.number, attempt.number)} {', '.join(word for word in words if word)}")

    def said(self, text: str) -> None:
        """Say it."""
        note(text)


class LiveTable(_Counting):
    """Running trials with their last metric, the latest ended ones, and the best so far."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(experiment)
        self.say = note
        self._ended: deque[Attempt] = deque(maxlen=ENDED_SHOWN)

    def started(self, trial: Trial) -> None:
        """The table shows it by itself."""

    def ended(self, attempt: Attempt) -> None:
        """Keep it for a while."""
        self.count(attempt)
        self._ended.append(attempt)

    def said(self, text: str) -> None:
        """Say it above the table."""
        self.say(text)

    def render(self) -> RenderableType:
        """Return the table as it is now; called by the thread that draws."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for header in ("run", "state", "parameters", "last metric", "time"):
            table.add_column(header, overflow="ellipsis", no_wrap=True)
        for attempt in list(self._ended):
            run = attempt.run
            metric = f"{self._name} {shown(run.objective)}" if run.objective is not None else attempt.reason or ABSENT
            cells = (f"#{run.number}", str(run.state), _params(run.params), metric, duration(run.duration_s))
            table.add_row(*(Text(shown(cell)) for cell in cells), style="dim")
        for trial in list(self.trials):
            state = "running" if trial.ending is None else f"ending ({trial.ending})"
            if trial.number > 1:
                state += f", attempt {trial.number}"
            time_s = duration(round(time.monotonic() - trial.began, 1))
            cells = (trial.run.id[:8], state, _params(trial.run.params), self._last(trial), time_s)
            table.add_row(*(Text(shown(cell)) for cell in cells))
        return Group(table, Text(self._footer()))

    def _last(self, trial: Trial) -> str:
        metrics = dict(trial.last)
        if not metrics:
            return ABSENT
        name = self._name if self._name in metrics else next(iter(metrics))
        return f"{name} {shown(metrics[name])}" + ("" if trial.step is None else f" at step {trial.step}")

    def _footer(self) -> str:
        words = [f"{self.progress} done"]
        if self.best is not None:
            words.append(f"best {self._name} {shown(self.best[1])} (#{self.best[0]})")
        if self.n_failed:
            words.append(f"{self.n_failed} failed")
        return "  ".join([*words, duration(round(time.monotonic() - self.began))])


def _named(run: int, attempt: int) -> str:
    return f"run #{run}" + (f" (attempt {attempt})" if attempt > 1 else "")


def _params(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={shown(value)}" for name, value in params.items()) or "no parameters"
