"""The second half of the demo: what the advisor makes of the runs.

Leaves out making runs (``runs``). Invariant: what a check missed, and what it flagged wrongly, is printed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from advisor.demo.stage import (
    LEARNED,
    WIDTH,
    Scene,
    alarms_by_run,
    clipped,
    commands,
    evidence,
    is_alarm,
    outcome,
    send_all,
    settings,
    show_messages,
    slug,
)
from storage.records import Run

if TYPE_CHECKING:
    from advisor.suggest import Suggestion

QUERIES: Final = ("the loss blew up", "labels do not belong to their images", "its process was killed")
TROUBLED: Final = {
    "shuffled": "labels shuffled on purpose",
    "killed": "killed on purpose",
    "guessing": "ended no better than guessing, or NaN",
}
"""Runs that a check should flag, by their outcome."""


def check(scene: Scene) -> None:
    """Check all runs, show what is flagged and what arrives at the webhook."""
    scene.stage.title("5  What went wrong?")
    checked = scene.exp.check(seed=scene.seed)
    send_all(scene)
    runs, findings = {run.id: run for run in scene.exp.runs()}, scene.exp.findings()
    scene.stage.say(
        f"All {len(runs)} runs are checked, by rules and among their siblings. The gravest of each flagged run:"
    )
    alarms = alarms_by_run(findings)
    for run_id in sorted(alarms, key=lambda run_id: runs[run_id].number):
        first, *others = alarms[run_id]
        more = f", and {len(others)} more" if others else ""
        scene.stage.line(f" #{runs[run_id].number:<4}{first.code} {first.severity}{more}", style="bold")
        scene.stage.say(first.title, indent="      ")
        scene.stage.line(clipped(f"      {evidence(first)}", WIDTH), style="dim")
    mild = Counter(slug(finding.code) for finding in findings if not is_alarm(finding))
    scene.stage.say(
        "Worth knowing, but no alarm and not sent: "
        + (", ".join(f"{n} x {s}" for s, n in mild.items()) or "nothing")
        + "."
    )
    if checked.not_judged:
        scene.stage.say(
            f"{len(checked.not_judged)} checks could not be made, which is not the same as passed; most often:"
        )
        reason, n = Counter(f"{item.check}, {item.reason}" for item in checked.not_judged).most_common(1)[0]
        scene.stage.say(f"{n} x {reason}", indent="  ")
    scene.stage.say(
        "Nobody is called for what the parameters explain, where the runs with the nearest ones failed alike. Of the "
        "rest, the webhook got what it had not been sent while the runs trained:"
    )
    show_messages(scene)
    scene.exp.check(seed=scene.seed)
    send_all(scene)
    scene.stage.say(f"Checked once more: {len(scene.inbox.take())} messages. The same trouble is told once.")


def judge_the_check(scene: Scene) -> None:
    """Compare what was flagged with what is known of the runs."""
    scene.stage.title("6  Was the check right?")
    flagged = set(alarms_by_run(scene.exp.findings()))
    groups: dict[str, list[Run]] = {}
    for run in scene.exp.runs():
        groups.setdefault(outcome(run), []).append(run)
    missed: list[Run] = []
    for name, what in TROUBLED.items():
        there = groups.get(name, [])
        quiet = [run for run in there if run.id not in flagged]
        missed += quiet
        _verdict(scene, what, there, wrong=quiet, word="MISSED")
    well, between = groups.get("learned", []), groups.get("between", [])
    false = [run for run in well if run.id in flagged]
    _verdict(scene, f"learned well, accuracy from {LEARNED:.0%}", well, wrong=false, word="FALSE ALARM")
    n_flagged = sum(run.id in flagged for run in between)
    scene.stage.line(f"  {'in between: nobody can say':<40}{n_flagged} of {len(between)} flagged")
    for run in missed:
        known = ", ".join(slug(finding.code) for finding in run.findings)
        noted = f"{known}, which is information and no alarm" if known else "nothing"
        scene.stage.say(f"Of #{run.number} the check noted {noted}.")


def _verdict(scene: Scene, what: str, runs: Sequence[Run], *, wrong: Sequence[Run], word: str) -> None:
    n_flagged = len(wrong) if word == "FALSE ALARM" else len(runs) - len(wrong)
    numbers = " ".join(f"#{run.number}" for run in wrong)
    verdict = f"{n_flagged} of {len(runs)} flagged" + (f", {word}: {numbers}" if wrong else "")
    scene.stage.line(f"  {what:<40}{verdict}", style="red" if wrong else "green")


def suggest(scene: Scene) -> Suggestion:
    """Ask for the next parameters, and for those that mattered."""
    scene.stage.title("7  What should I try next?")
    suggestion = scene.exp.suggest(seed=scene.seed + scene.n_runs + 1)[0]
    scene.stage.line(f"  {settings(suggestion.params)}", style="bold")
    scene.stage.say(suggestion.why)
    importances, note = scene.exp.importances()
    if importances is None:
        scene.stage.say(f"Which parameters mattered: {note}.")
    else:
        ends = importances.ends.items()
        shown = [f"{name} {importances.shares[name]:.0%} ({low:.0%} to {high:.0%})" for name, (low, high) in ends]
        scene.stage.say(f"What mattered so far: {', '.join(shown)} ({note}).")
    return suggestion


def search(scene: Scene) -> None:
    """Find runs by words, by meaning and by figures."""
    scene.stage.title("8  Where was that run again?")
    for query in QUERIES:
        scene.stage.line(f'search "{query}"', style="bold")
        for hit in scene.adv.search(query, limit=3):
            worst = sorted(hit.run.findings, key=lambda finding: -finding.severity.rank)[:1]
            about = [str(hit.run.state), *(tag for tag in hit.run.tags if tag != "sweep"), *(f.title for f in worst)]
            scene.stage.line(clipped(f"  {hit.score:.2f}  #{hit.run.number:<4}{', '.join(about)}", WIDTH))
    scene.stage.say(f"The text encoder is {scene.adv.store.info().encoder}. Numbers are found by filters:")
    where = f"val_accuracy >= {LEARNED} and params.hidden < 40"
    found = scene.exp.runs(where=where, order_by="val_loss", limit=5)
    scene.stage.line(f'where "{where}"', style="bold")
    scene.stage.line("  " + ("  ".join(f"#{run.number} ({run.objective:.3g})" for run in found) or "none"))


def write_down(scene: Scene) -> str:
    """Write the report in both formats; return the path of the page."""
    scene.stage.title("9  What did we learn?")
    scene.stage.say("A report, every figure computed from the store, as one HTML file with pictures and as Markdown:")
    markdown, page = (str(scene.exp.report(format=form).path) for form in ("md", "html"))
    scene.stage.line(f"  {page}")
    scene.stage.line(f"  {markdown}")
    return page


def close_curtain(scene: Scene, folder: Path, upcoming: Suggestion, report: str, *, took_s: float) -> None:
    """Sum up, and say what can be tried."""
    from advisor.demo.training import evaluate, read_weights

    stage = scene.stage
    stage.title("The end of the story")
    best = scene.exp.best()
    if best is None:
        stage.line("Best run         none has finished with a finite loss")
    else:
        stage.line(f"Best run         #{best.number}, val_loss {best.objective:.4g}")
        stage.line(f"                 {settings(best.params)}")
        with scene.adv.store.open_artifact(best.artifacts[0]["sha256"]) as file:
            _, accuracy = evaluate(read_weights(file), best.params, scene.digits.test)
        n_test = len(scene.digits.test.y)
        stage.line(f"                 its weights, read back, are right on {accuracy:.1%} of {n_test} images put aside")
    flagged = alarms_by_run(scene.exp.findings())
    stage.line(f"Flagged runs     {' '.join(f'#{run.number}' for run in scene.exp.runs() if run.id in flagged)}")
    stage.line(f"Next suggestion  {settings(upcoming.params)}")
    stage.line(f"Report           {report}")
    stage.line(f"Time             {took_s:.0f} s")
    stage.line("\nTry on this store:", style="bold")
    for command in commands(folder, best or scene.exp.run(0), upcoming.params):
        stage.line(f"  {command}")
