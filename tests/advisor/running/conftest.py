"""An experiment, and commands that are tiny Python programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import advisor
from advisor.running import Summary

SAY = "import json, sys, os, time, signal\ndef say(**metrics): print(json.dumps(metrics))\n"
SWEEP: dict[str, Any] = {"n_runs": 1, "grace_s": 5.0, "sampler": "random"}

Optimize = Callable[..., Summary]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Work in an empty folder, without what takes time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADVISOR_EMBEDDER", "hashing")
    monkeypatch.setenv("ADVISOR_CAPTURE", "no")


@pytest.fixture
def exp(tmp_path: Path) -> advisor.Experiment:
    """Return an experiment with two parameters."""
    space = {"lr": advisor.Float(1e-4, 1, log=True), "opt": advisor.Choice("sgd", "adam w")}
    return advisor.open(tmp_path / "store").experiment("digits", objective="loss", space=space)


def python(program: str, *arguments: str) -> list[str]:
    """Return the command that runs a program; ``say`` prints metrics."""
    return [sys.executable, "-I", "-S", "-u", "-c", (SAY + program).replace("{", "{{").replace("}", "}}"), *arguments]


@pytest.fixture
def optimize(exp: advisor.Experiment) -> Optimize:
    """Return what runs a program once a suggestion."""

    def run(program: str, *arguments: str, **options: Any) -> Summary:
        return exp.optimize_command(python(program, *arguments), **{**SWEEP, **options})

    return run


def wait_for(condition: Callable[[], Any], within_s: float = 20.0) -> Any:
    """Return what a condition gives once it is true."""
    until = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < until, "it did not come true"
        time.sleep(0.02)
    return found
