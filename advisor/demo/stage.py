"""Printing for the demo: what every part of the story needs, and how things are put into words.

Leaves out what is said. Invariant: the output reads the same on a terminal of 80 columns and in a file;
lines that can be copied are never broken.
"""

from __future__ import annotations

import json
import math
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from storage.records import Finding, Run, RunState, Severity

if TYPE_CHECKING:
    from rich.console import Console

    from advisor.app import Advisor
    from advisor.demo.inbox import Inbox
    from advisor.demo.training import Digits
    from advisor.experiment import Experiment

EXPERIMENT: Final = "digits-mlp"
SHUFFLED: Final = "labels-shuffled"
WIDTH: Final = 80
LEARNED: Final = 0.9
"""Validation accuracy from which a run has learned the task; the best reach 0.98."""
HEADER: Final = " run    lr        hidden  momentum  batch  activation  val_loss   accuracy"
MAX_EVIDENCE: Final = 3
SENT_WITHIN_S: Final = 10.0


class Stage:
    """A console, and three ways to print on it. Texts are never taken for markup."""

    def __init__(self, out: TextIO) -> None:
        from rich.console import Console

        self.console: Console = Console(file=out, width=None if out.isatty() else WIDTH)

    def title(self, text: str) -> None:
        """Begin a part."""
        from rich.text import Text

        self.console.print()
        self.console.print(Text(text, style="bold"))
        self.console.print(Text("─" * min(self.console.width, WIDTH), style="dim"))

    def say(self, text: str, *, style: str = "", indent: str = "") -> None:
        """Print a text, broken into lines."""
        width = min(self.console.width, WIDTH)
        lines = textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False)
        self.line("\n".join(lines), style=style)

    def line(self, text: str, *, style: str = "") -> None:
        """Print a line as it is."""
        self.console.print(text, style=style, markup=False, highlight=False, emoji=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Scene:
    """What every part of the story needs."""

    stage: Stage
    adv: Advisor
    _: KW_ONLY
    digits: Digits
    inbox: Inbox
    n_runs: int
    n_epochs: int
    seed: int

    @property
    def exp(self) -> Experiment:
        """The experiment that it is about."""
        return self.adv.experiment(EXPERIMENT)


# -- what is what


def is_alarm(finding: Finding) -> bool:
    """Return whether a finding is a warning or worse; these are sent."""
    return finding.severity.rank >= Severity.WARNING.rank


def outcome(run: Run) -> str:
    """Return what became of a run, by what was done to it or by its last validation figures: no check is asked."""
    from advisor.demo.training import GUESSING

    if SHUFFLED in run.tags:
        return "shuffled"
    if run.state is RunState.CRASHED:
        return "killed"
    if not run.metrics.get("val_loss", math.nan) < GUESSING:  # NaN is no better than guessing either
        return "guessing"
    return "learned" if run.metrics["val_accuracy"] >= LEARNED else "between"


def alarms_by_run(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Return the alarms of each run that has any, in the order of the findings."""
    grouped: dict[str, list[Finding]] = {}
    for finding in findings:
        if is_alarm(finding):
            grouped.setdefault(finding.run_id, []).append(finding)
    return grouped


# -- the webhook


def send_all(scene: Scene) -> None:
    """Have everything sent that would wait for more runs with the same trouble; a message takes milliseconds."""
    scene.adv.drain_notifications(SENT_WITHIN_S)


def show_messages(scene: Scene) -> None:
    """Print what has arrived at the webhook since it was looked at last."""
    for message in scene.inbox.take():
        scene.stage.line(clipped(f"       → {message.get('title', '')}", WIDTH), style="cyan")


# -- words


def row(number: int, params: Mapping[str, Any], figures: Mapping[str, float]) -> str:
    """Return a run as a line under ``HEADER``."""
    loss = f"{figures['val_loss']:.4g}" if math.isfinite(figures["val_loss"]) else str(figures["val_loss"])
    return (
        f" #{number:<4}  {params['lr']:<8.3g}  {params['hidden']:>6}  {params['momentum']:>8.2f}  {params['batch']:>5}"
        f"  {params['activation']:<10}  {loss:<9}  {figures['val_accuracy']:>7.1%}"
    )


def settings(params: Mapping[str, Any]) -> str:
    """Return parameters in one line."""
    return ", ".join(f"{name} {short(value)}" for name, value in params.items())


def short(value: object) -> str:
    """Return a value with three digits at most."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def evidence(finding: Finding) -> str:
    """Return some of the figures that a finding rests on, those that its title is least likely to hold."""
    figures = {name: value for name, value in finding.evidence.items() if isinstance(value, int | float)}
    listed = [f"{name} = {short(value)}" for name, value in list(figures.items())[-MAX_EVIDENCE:]]
    return ", ".join(listed) or "the run's state"


def slug(code: str) -> str:
    """Return the word for a finding's code."""
    from advisor.findings import CODES

    return CODES[code].slug


def clipped(text: str, width: int) -> str:
    """Return a text of at most ``width`` characters."""
    return text if len(text) <= width else text[: width - 1] + "…"


def program() -> str:
    """Return how to call the command line from here."""
    if shutil.which("advisor"):
        return "advisor"
    script = Path(sys.executable).parent / "advisor"
    if not script.exists():
        return f"{sys.executable} -m advisor.cli"
    here = Path.cwd()
    return str(script.relative_to(here) if script.is_relative_to(here) else script)


def commands(folder: Path, run: Run, params: Mapping[str, Any]) -> list[str]:
    """Return what can be tried on the store, one of each command."""
    rounded = {name: float(short(value)) if isinstance(value, float) else value for name, value in params.items()}
    store, copy, exported = (shlex.quote(str(path)) for path in (folder, folder / "copy", folder / "exported"))
    listed = (
        (store, f"runs {EXPERIMENT}"),
        (store, f"runs {EXPERIMENT} --where 'params.lr < 0.1' --sort val_loss"),
        (store, f"show {run.id[:8]}"),
        (store, "search 'labels shuffled'"),
        (store, f"suggest {EXPERIMENT} -n 3"),
        (store, f"tell {EXPERIMENT} --params '{json.dumps(rounded)}' --value 0.1"),
        (store, f"experiment {EXPERIMENT}"),
        (store, f"check {EXPERIMENT}"),
        (store, f"report {EXPERIMENT} --format html"),
        (store, f"export {exported}"),
        (copy, f"import {exported}"),
        (store, "store info"),
        (store, "doctor"),
    )
    return [f"{program()} --store {address} {arguments}" for address, arguments in listed]
