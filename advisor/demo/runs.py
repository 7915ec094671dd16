"""The first half of the demo: runs are made, one on purpose with a mistake, one killed on the way.

Leaves out what is made of them (``answers``). Invariant: what is killed is a process that trains, by SIGKILL.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from advisor.demo.stage import EXPERIMENT, HEADER, LEARNED, SHUFFLED, Scene, row, send_all, show_messages
from advisor.errors import AdvisorError
from storage.records import Run

if TYPE_CHECKING:
    from advisor.demo.training import Part
    from advisor.tracking.run import LiveRun

KILL_AFTER: Final = 500
"""Acknowledged ``log()`` calls after which the second process is killed."""


def ask(scene: Scene) -> None:
    """Create the experiment."""
    from advisor.suggest.space import Choice, Float, Int

    scene.stage.title("1  The question")
    exp = scene.adv.experiment(
        EXPERIMENT,
        objective="val_loss",
        direction="minimize",
        space={
            "lr": Float(1e-4, 30, log=True),
            "hidden": Int(8, 128, log=True),
            "momentum": Float(0.0, 0.95),
            "batch": Choice(16, 32, 64, 128),
            "activation": Choice("leaky_relu", "tanh"),
        },
        description="Which settings let a network with two hidden layers read digits of 8 x 8 pixels?",
    )
    sizes = [len(part.y) for part in (scene.digits.train, scene.digits.validation, scene.digits.test)]
    scene.stage.say(
        f"{exp.record.description} {sizes[0]} images to learn from, {sizes[1]} to measure on, {sizes[2]} put aside. "
        "Learning rates (lr) from 0.0001 to 30: the low ones will get nowhere, the high ones will go wrong."
    )


def train(scene: Scene) -> None:
    """Train with one suggestion after the other."""
    scene.stage.title(f"2  {scene.n_runs} trainings of {scene.n_epochs} epochs, each with what the advisor suggests")
    scene.stage.say(
        "Kept of each run: four curves, fingerprints of its data, its weights, code, versions and hardware. A finding "
        "is raised while its run trains and sent to a webhook, here a small server inside this program (→): the first "
        "of its kind at once, further runs with the same trouble together."
    )
    scene.stage.line(HEADER, style="bold")
    for i in range(scene.n_runs):
        suggestion = scene.exp.suggest(seed=scene.seed + i)[0]
        with scene.exp.start(suggestion, seed=scene.seed, tags=["sweep"]) as run:
            last = _fit(scene, run, scene.digits.train)
        _show_run(scene, run, last)
    send_all(scene)
    show_messages(scene)


def train_on_shuffled_labels(scene: Scene) -> None:
    """Train once with labels that do not belong to their images."""
    from advisor.demo.training import shuffled, suggest_near_best

    scene.stage.title("3  A mistake, made on purpose")
    wrong = shuffled(scene.digits.train, scene.seed)
    with scene.exp.start(suggest_near_best(scene.exp, scene.seed), seed=scene.seed, tags=[SHUFFLED]) as run:
        run.note("On purpose: the training labels were shuffled, so they do not belong to their images.")
        last = _fit(scene, run, wrong)
    scene.stage.say(
        "A suggestion with the lr and momentum of the best run, so it should do well; but the training labels are "
        "shuffled. A tag and a note of the run say so."
    )
    scene.stage.line(HEADER, style="bold")
    _show_run(scene, run, last)
    own, right = (_labels(scene.exp.run(number)) for number in (run.number, 0))
    scene.stage.say(
        f"The fingerprint of its data tells as well: its labels are {own}…, those of the other runs {right}…"
    )


def kill_a_training(scene: Scene) -> int:
    """Start a training in another process, kill it; return the number of log calls that it had reported."""
    scene.stage.title("4  A training is killed")
    command = [sys.executable, "-m", "advisor.demo.training", scene.adv.store.uri, EXPERIMENT, str(scene.seed)]
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as errors:
        # A session of its own: Ctrl-C is for this process alone, which then ends the other.
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, env=one_thread | os.environ, start_new_session=True
        )
        scene.stage.say(
            f"Another process ({child.pid}) asks the same store for a suggestion, trains, and reports each log() call "
            "that has returned:"
        )
        seen: list[bytes] = []
        try:
            assert child.stdout is not None
            while len(seen) < KILL_AFTER:
                seen.append(child.stdout.readline())
                if not seen[-1]:
                    raise AdvisorError(f"the demo's second process ended by itself: {_last_line(errors)}")
                if len(seen) % 100 == 0:
                    scene.stage.line(f"  {len(seen)} calls acknowledged")
        finally:
            child.send_signal(signal.SIGKILL)
            rest, _ = child.communicate()
    scene.stage.line(f"  SIGKILL sent to {child.pid}: no handler, no goodbye", style="bold red")
    seen += rest.split(b"\n")[:-1]  # what follows the last line break is half a report
    return int(seen[-1])


def show_recovered(scene: Scene, n_acknowledged: int) -> None:
    """Compare what the killed process had reported with what is in the store that was opened since."""
    recovered = scene.adv.store.recovered[0]
    run = scene.exp.run(recovered.run_id)
    # Each call of that process wrote to one of these two curves.
    n_stored = sum(len(curve) for metric, curve in run.curves.items() if metric in ("batch_loss", "val_loss"))
    scene.stage.say("The store is opened again, and brings home what the dead process left in its write-ahead log.")
    scene.stage.line(f"  log() calls that the process reported   {n_acknowledged}")
    scene.stage.line(f"  log() calls whose values are stored     {n_stored}", style="bold")
    if n_stored == n_acknowledged + 1:
        scene.stage.say("One more: SIGKILL came between its return and the report.", indent="  ")
    elif n_stored != n_acknowledged:
        scene.stage.say("These should be equal; please report this as a fault.", style="bold red", indent="  ")
    scene.stage.say(f"Run #{run.number} is now {run.state}: {run.error}.")


# -- pieces


def _fit(scene: Scene, run: LiveRun, train: Part) -> dict[str, float]:
    """Train with a run's parameters and log what happens; keep data and weights; return the last figures."""
    from advisor.demo.training import Training, save_weights

    run.use_data("train-images", train.x)
    run.use_data("train-labels", train.y)
    training = Training(run.params, train, scene.digits.validation, seed=scene.seed)
    figures = training.untrained()
    run.log(figures, step=0)
    for epoch in range(1, scene.n_epochs + 1):
        figures = training.epoch()
        run.log(figures, step=epoch)
    with tempfile.TemporaryDirectory() as folder:
        run.save(save_weights(training.weights, Path(folder) / "weights.npz"))
    return figures


def _show_run(scene: Scene, run: LiveRun, last: dict[str, float]) -> None:
    learned = last["val_accuracy"] >= LEARNED
    scene.stage.line(row(run.number, run.params, last), style="" if learned else "yellow")
    show_messages(scene)


def _labels(run: Run) -> str:
    """Return the beginning of the fingerprint of a run's labels."""
    return next(str(data["sha256"])[:8] for data in run.data if data["name"] == "train-labels")


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
