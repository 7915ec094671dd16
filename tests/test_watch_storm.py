"""The storm of ``evals/watch_storm.py``, a small one: nothing lost, nothing twice, no more than the caps."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def eval_(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("watch_storm", repository / "evals" / "watch_storm.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "watch_storm", module)
    spec.loader.exec_module(module)
    monkeypatch.setenv("PYTHONPATH", str(repository))
    monkeypatch.setenv("ADVISOR_EMBEDDER", "hashing")
    return module


def test_a_watcher_that_is_killed_tells_all_of_it_once_through_a_channel_that_fails_half_the_time(
    eval_: ModuleType,
) -> None:
    result = eval_.storm(40, 12, 1, 3, batches=3, after_s=2.0)
    assert eval_.wrong(result) == []
    assert result["messages"] >= 5
    assert result["refused"] > 0
