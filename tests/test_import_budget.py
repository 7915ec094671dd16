"""What is loaded when: heavy libraries only by the feature that needs them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "torch",
    "sklearn",
    "scipy",
    "lancedb",
    "pyarrow",
    "optuna",
    "litellm",
    "pandas",
    "matplotlib",
    "sentence_transformers",
    "transformers",
    "apprise",
}


def loaded_by(repository: Path, *arguments: str) -> set[str]:
    """Return the top-level packages that one Python process imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], cwd=repository, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr[-2000:]
    names = re.findall(r"^import time:\s+\d+ \|\s+\d+ \|\s+([\w.]+)$", done.stderr, flags=re.MULTILINE)
    assert "encodings" in names
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("package", ["advisor", "storage", "storage.embed", "storage.query", "storage.describe"])
def test_importing_a_package_loads_no_heavy_library(repository: Path, package: str) -> None:
    assert not loaded_by(repository, "-c", f"import {package}") & HEAVY


def test_help_loads_no_heavy_library(repository: Path) -> None:
    start = "import sys; from advisor.cli import main; sys.argv = ['advisor', '--help']; main()"
    assert not loaded_by(repository, "-c", start) & HEAVY


FIRST_STEP = """
import sys
import advisor
adv = advisor.open(sys.argv[1])
exp = adv.experiment("toy", objective="loss", space={"lr": advisor.Float(0.1, 1)}, description="quick")
run = exp.start(params={"lr": 0.5})
loaded = sorted({name.split(".")[0] for name in sys.modules} & set(sys.argv[2].split()))
run.log({"loss": 1.0})
run.finish()
assert exp.run(0).params == {"lr": 0.5}
print(*loaded)
"""


def test_a_training_gets_to_its_first_step_without_the_database(repository: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FIRST_STEP, str(tmp_path / "store"), " ".join(HEAVY | {"filelock", "asyncio"})]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # What the background has begun to load by then is a matter of microseconds; the database takes seconds.
    assert not {"optuna", "sklearn", "torch", "pandas"} & set(done.stdout.split())
