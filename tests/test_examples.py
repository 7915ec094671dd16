"""Each example is run as a reader would run it, and says what it promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TOLD: dict[str, tuple[str, ...]] = {
    "01_track_a_run.py": (
        r"run #0 is finished: val_loss 0\.\d+ after 20 epochs",
        r"data: \[\('train', \[426, 30\]\)\]",
        r"saved: \[\('model\.joblib', True\)\]",
        r"captured as well: .*\bhardware\b.*\bpython\b",
    ),
    "02_ask_what_next.py": (
        r"#13 ",
        r"best: #\d+, val_loss 0\.\d+",
        r"try next: \{'lr': .*'solver': '(sgd|adam)'\}",
        r"because: By a Gaussian process on 14 runs",
        r"what mattered: \{'(lr|solver)': ",
    ),
    "03_find_what_went_wrong.py": (
        r"the training raised: the weights are not finite",
        r"run #9 error   ADV101 val_loss is not finite",
        r"run #7 error   ADV102 val_loss diverged",
        r"run #8 warning ADV104 val_loss never got better",
        r"run #9 failed: FloatingPointError",
        r"\d+ checks could not be made",
    ),
    "04_write_it_down.py": (
        r"wine: reports/wine\.html",
        r"Run #\d+ of wine: reports/wine-[0-9a-f]+\.md",
        r"sentences by: template",
        r"- val_loss: \*\*",
    ),
    "05_optuna_study.py": (
        r"Optuna says:  best trial #(\d+), accuracy (0\.9\d+), [^\n]*\nadvisor says: best run #\1, accuracy \2",
        r"because: By a Gaussian process on 20 runs",
    ),
    "06_search_and_filter.py": (
        r'"slow at prediction time"\n +0\.\d\d  #4 KNeighborsClassifier',
        r"val_accuracy > 0\.95: \[\(4, 0\.98",
        r"params\.n_images < 100: \[\(\d, .*\), \(\d, .*\)\]\n",
        r"tag = 'first-look' and .*: \[\(2, .*\), \(3, .*\)\]",
    ),
    "07_import_export.py": (
        r"exported 3 runs and 3 curves:\n +\['curves\.parquet', 'runs\.parquet'\]",
        r"imported 3 runs with 60 values; the second time 0",
        r"curves are equal, NaN included: True",
        r"last values: \[.*, nan\]",
        r"best of the copy: #1 with lr = 0\.1",
    ),
    "08_optimize_a_command.py": (
        r"6 of 6 trials are done, 6 finished",
        r"best: #\d+, val_loss 0\.\d+ with \{'lr': .*'layers': \d\}",
        r"said by the command: training with lr 0\.\d+",
        r"the same command again starts 0 more",
    ),
    "09_agent_over_mcp.py": (
        r"run #\d+: val_loss 0\.\d+, the best so far",
        r"go on\? not enough runs to tell: 15 finished, 20 are needed",
        r"run #\d+: .*; unlike its nearest sound run in ",
        r"After 15 runs the best, digits#\d+, has a val_loss of\n0\.\d+ with eta0 = [\d.e-]+ \[run/\w+/params\.eta0\]",
        r"4 of 4 figures verify",
        r"a digit too many: the store says ",
    ),
}
"""Script → what its output must hold, as regular expressions."""


def test_every_example_is_run_here(repository: Path) -> None:
    assert sorted(path.name for path in (repository / "examples").glob("*.py")) == sorted(TOLD)


@pytest.mark.parametrize("script", TOLD)
def test_an_example_runs_and_says_what_it_promises(script: str, repository: Path, tmp_path: Path) -> None:
    arguments = ["store", "reports"] if script.startswith("04") else ["store"]
    done = subprocess.run(
        [sys.executable, str(repository / "examples" / script), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr, done.stderr
    missing = [pattern for pattern in TOLD[script] if not re.search(pattern, done.stdout)]
    assert missing == [], done.stdout


@pytest.mark.parametrize("script", TOLD)
def test_an_example_is_short_and_says_how_to_start_it(script: str, repository: Path) -> None:
    text = (repository / "examples" / script).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 80
    assert f"python examples/{script} [STORE" in text
