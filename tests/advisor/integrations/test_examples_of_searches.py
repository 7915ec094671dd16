"""The examples of boosting and of searches run as they are, and say what they promise; Ray's is in test_ray.py."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

TOLD: dict[str, tuple[str, ...]] = {
    "xgboost": (
        r"#0 finished: eta 0\.3, 60 iterations",
        r"#5 pruned: eta 0\.001, \d iterations",
        r"why the last one stopped: best validation/rmse up to step \d is .* worse than the median",
    ),
    "lightgbm": (
        r"tumours #1 finished: 16 leaves, best iteration \d+ of 100",
        r"tumours-cv #0 finished: 16 leaves, best iteration \d+ of 20",
        r"curves of the last one: valid/binary_logloss, valid/binary_logloss_std",
    ),
    "catboost": (r"#1 finished: depth 3, validation/MultiClass 0\.\d+, accuracy 0\.9\d",),
    "sklearn": (
        r"6 candidates; scikit-learn's best: (\{.*\})\n(?s:.*)advisor's best:  \1",
        r"halving: 4 candidates were dropped, 2 went all the way",
        r"step by step: from 0\.\d+ to 0\.\d+ in 10 steps",
    ),
    "optuna": (
        r"15 runs of 15 trials, [1-9]\d* pruned",
        r"Optuna's best:  trial (\d+), (0\.\d+)\nadvisor's best: run #\1, \2",
    ),
}
"""Framework → what the example's output must hold, as regular expressions."""


@pytest.mark.parametrize("framework", TOLD)
def test_an_example_runs_and_says_what_it_promises(
    framework: str,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip(framework)
    script = repository / "examples" / "integrations" / f"with_{framework}.py"
    monkeypatch.setattr("sys.argv", [script.name, str(tmp_path / "store")])
    monkeypatch.chdir(tmp_path)
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        if framework == "optuna":
            import optuna

            optuna.logging.set_verbosity(optuna.logging.INFO)
    said = capsys.readouterr().out
    assert [pattern for pattern in TOLD[framework] if not re.search(pattern, said)] == [], said


@pytest.mark.parametrize("framework", [*TOLD, "ray"])
def test_an_example_is_short_and_says_how_to_start_it(framework: str, repository: Path) -> None:
    text = (repository / "examples" / "integrations" / f"with_{framework}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    assert f"python examples/integrations/with_{framework}.py [STORE]" in text
