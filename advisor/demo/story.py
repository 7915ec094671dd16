"""The demo from beginning to end: makes room for its store, tells the parts in their order.

Nothing is acted: what is killed is killed, what diverges diverges, what the checks miss is printed as missed.
Leaves a store to play with. Invariant: only a folder that an earlier demo marked as its own is ever removed.
"""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Final, TextIO

from advisor.demo import answers, runs
from advisor.demo.stage import EXPERIMENT, Scene, Stage, program
from advisor.errors import ConfigError

FOLDER: Final = "advisor-demo"
MARK: Final = "made-by-advisor-demo.txt"
N_RUNS: Final = 32
"""About a third goes wrong, and the forest judges a run only among 20 sound ones."""
N_EPOCHS: Final = 30
SEED: Final = 7
INTERRUPTED: Final = 130
"""Exit status of a program that Ctrl-C ended: 128 + SIGINT."""


def main(
    store: str | Path | None = None,
    *,
    reports: str | Path | None = None,
    out: TextIO | None = None,
    n_runs: int = N_RUNS,
    n_epochs: int = N_EPOCHS,
    seed: int = SEED,
) -> int:
    """Tell the whole story and return the exit status: 0, or 130 where Ctrl-C ended it.

    Parameters
    ----------
    store
        Local folder of the store; by default ``./advisor-demo``. A store of an earlier demo there is replaced.
    reports
        Folder that the reports are written to; by default ``reports`` inside the store's folder.
    out
        Where the story is printed; by default standard output.
    n_runs, n_epochs
        How many trainings follow suggestions, and the length of each in epochs. Less than the defaults is
        quicker and shows less: the forest needs siblings, and some rules need 20 epochs.
    seed
        Of the data's division, the weights and the suggestions.

    Raises
    ------
    ConfigError
        If ``store`` is no local folder, or holds something that no demo has made.
    """
    if "://" in str(store):
        raise ConfigError(
            f"the demo removes its store when it runs again, so it takes a local folder only, not {store}"
        )
    stage = Stage(out or sys.stdout)
    folder = Path(store if store is not None else FOLDER).expanduser()
    try:
        _open_curtain(stage, folder, n_runs=n_runs, seed=seed)
        _tell(stage, folder, Path(reports or folder / "reports"), n_runs=n_runs, n_epochs=n_epochs, seed=seed)
    except KeyboardInterrupt:
        look = f"What was logged is in the store: {program()} --store {folder} runs {EXPERIMENT}"
        stage.line(f"\nInterrupted. {look if (folder / MARK).exists() else 'Nothing was logged yet.'}")
        return INTERRUPTED
    return 0


def _tell(stage: Stage, folder: Path, reports: Path, *, n_runs: int, n_epochs: int, seed: int) -> None:
    from threadpoolctl import threadpool_limits

    from advisor.app import open as open_advisor
    from advisor.demo.inbox import Inbox
    from advisor.demo.training import load_digits

    began = time.perf_counter()
    with threadpool_limits(1), Inbox() as inbox:  # small matrices; and one thread always adds in the same order
        adv = open_advisor(folder, notify=[inbox.address], reports=reports)
        try:
            (folder / MARK).write_text(
                "Made by 'advisor demo', which replaces this folder when it runs again.\n", encoding="utf-8"
            )
            digits = load_digits(seed)
            scene = Scene(stage, adv, digits=digits, inbox=inbox, n_runs=n_runs, n_epochs=n_epochs, seed=seed)
            runs.ask(scene)
            runs.train(scene)
            runs.train_on_shuffled_labels(scene)
            n_acknowledged = runs.kill_a_training(scene)
            adv.close()
            adv = open_advisor(folder, notify=[inbox.address], reports=reports)
            scene = replace(scene, adv=adv)
            runs.show_recovered(scene, n_acknowledged)
            answers.check(scene)
            answers.judge_the_check(scene)
            suggestion = answers.suggest(scene)
            answers.search(scene)
            report = answers.write_down(scene)
            answers.close_curtain(scene, folder, suggestion, report, took_s=time.perf_counter() - began)
        finally:
            adv.close()


# -- the parts


def _open_curtain(stage: Stage, folder: Path, *, n_runs: int, seed: int) -> None:
    replaced = make_room(folder)
    stage.title("experiment-advisor: the whole story, on real trainings, offline")
    stage.say(
        f"A small neural network learns to read digits, {n_runs} times and then some. Nothing is acted or recorded "
        f"beforehand. Seed {seed}: on one machine, every run of this demo draws the same curves."
    )
    if replaced:
        stage.say("The store of an earlier demo is replaced.")
    stage.line(f"Store: {folder}")


def make_room(folder: Path) -> bool:
    """Empty the folder if an earlier demo made it; return whether it did.

    Raises
    ------
    ConfigError
        If it holds anything else, or cannot be emptied.
    """
    try:
        present = sorted(folder.iterdir(), key=lambda path: path.name == MARK)  # the mark goes last
        if not {path.name for path in present} - {"locks"}:  # nothing, or what an interrupted start left
            return False
        if present[-1].name != MARK:
            raise ConfigError(
                f"{str(folder)!r} holds something that no demo made; name another place with --store FOLDER"
            )
        for path in present:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigError(
            f"the demo cannot use {str(folder)!r}: {error.strerror}; name another place with --store"
        ) from error
    return True
