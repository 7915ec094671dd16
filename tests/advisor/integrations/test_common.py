"""What all callbacks share: how runs begin and end, who logs, and what becomes a parameter."""

from __future__ import annotations

import argparse
import ast
import logging
import math
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import advisor
from advisor.integrations import common
from advisor.integrations import flat as flattening
from advisor.integrations.common import SilentRun, begin, flat, framework, scalars
from storage.errors import StoreNotFoundError, StoreUnavailableError
from storage.records import Finding, RunState


def only_run(store: Path, experiment: str = "toy") -> advisor.Run:
    [run] = advisor.open(store, capture=False).experiment(experiment, create=False).runs()
    return run


class Colour(Enum):
    RED = "red"


@dataclass
class Part:
    lr: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)
    hub: dict[str, str] = field(default_factory=lambda: {"token": "abc", "name": "x"})


def test_a_nested_configuration_becomes_parameters_with_dots() -> None:
    given = {
        "part": Part(),
        "args": argparse.Namespace(epochs=3, _hidden=1),
        "colour": Colour.RED,
        "path": Path("data/x.csv"),
        "size": np.int64(7),
        "scale": np.array([0.5], np.float32),
        "nothing": None,
        "loss": len,
        "object": object(),
        "kind": Part,
    }
    assert flat(given) == {
        "part.lr": 0.1,
        "part.betas": "(0.9, 0.99)",
        "part.hub.token": "[redacted]",
        "part.hub.name": "x",
        "args.epochs": 3,
        "colour": "red",
        "path": "data/x.csv",
        "size": 7,
        "scale": 0.5,
        "nothing": None,
        "loss": "len",
        "object": "<object object>",
        "kind": "Part",
    }


def test_a_configuration_without_end_is_cut() -> None:
    loop: dict[str, Any] = {}
    loop["again"] = loop
    assert len(flat({"loop": loop, "wide": {str(i): i for i in range(10_000)}})) <= flattening.MAX_PARAMS
    assert len(flat({"text": "x" * 10_000})["text"]) == flattening.MAX_TEXT


def test_what_is_no_mapping_is_refused_in_one_sentence() -> None:
    with pytest.raises(TypeError, match="parameters are a mapping of names to values, not a int"):
        flat(3)


def test_the_numbers_among_metrics_are_kept() -> None:
    values = scalars({"a": np.float32(0.5), "b": True, "c": "0.5", "d": {"e": 1}, "f": np.zeros(3), "g": math.nan})
    assert {k: v for k, v in values.items() if k != "g"} == {"a": 0.5, "b": 1.0, "d/e": 1.0}
    assert math.isnan(values["g"])
    assert scalars({"a": 10**400, "b": -(10**400)}) == {"a": math.inf, "b": -math.inf}


def test_a_step_may_be_any_whole_number(store: Path) -> None:
    session = begin("toy", store=store)
    for step in (2, 3.0, np.int64(4), np.float32(5), math.nan):
        session.log({"loss": 1.0}, step=step)
    session.finish()
    assert only_run(store).curve("loss").steps.tolist() == [2, 3, 4, 5, 6]


def test_a_run_is_begun_fed_and_ended(store: Path) -> None:
    session = begin("toy", params={"a": {"b": 1}}, config={"a.b": 2, "c": 3}, store=store, objective="loss", tags=["t"])
    session.log({"loss": 0.5, "text": "no number"}, step=4)
    session.add_params({"c": 4, "d": 5})
    session.finish()
    run = only_run(store)
    assert (run.state, run.objective, run.tags) == (RunState.FINISHED, 0.5, ("t",))
    assert run.params == {"a.b": 1, "c": 4, "d": 5}
    assert list(run.curves) == ["loss"]
    assert run.curve("loss").steps.tolist() == [4]


def test_a_run_that_others_began_is_theirs_to_end(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    with advisor.open(store).experiment("toy", objective="loss").start(params={"lr": 0.1}) as run:
        session = begin(run=run, config={"lr": 0.2, "epochs": 3})
        session.log({"loss": 1.0})
        session.finish()
        assert run.state is RunState.RUNNING
    assert only_run(store).params == {"lr": 0.1, "epochs": 3}
    assert "has lr = 0.1; that the framework says 0.2 is not kept" in caplog.text
    session.log({"loss": 2.0})
    session.log({"loss": 3.0})
    assert caplog.text.count("what is logged now is not kept") == 1


def test_the_run_of_init_is_taken_over_unless_another_experiment_is_named(store: Path) -> None:
    run = advisor.init("toy", store=store)
    assert begin().run is run
    assert begin("toy").run is run
    assert begin("toy", store=store, adopt=False).run is not run
    other = begin("other", store=store)
    assert (other.mine, other.run.experiment) == (True, "other")
    for session in (other,):
        session.finish()


def test_the_experiment_may_be_named_by_the_environment(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVISOR_EXPERIMENT", "from-outside")
    session = begin(store=store)
    assert session.run.experiment == "from-outside"
    session.finish()


@pytest.mark.parametrize("name", common.RANKS)
def test_only_the_first_process_logs(name: str, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    session = begin("toy", params={"lr": 0.1}, store=store)
    with session.run as run:
        session.log({"loss": 1.0}, step=0)
        session.resumed("x", 3)
        run.note("hello")
        assert (run.params, run.number, run.findings, run.should_stop()) == ({"lr": 0.1}, -1, [], False)
        run.checks().batch([1.0])
    assert run.state is RunState.FINISHED
    assert not store.exists()


def test_each_process_logs_where_that_is_wanted(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    session = begin("toy", store=store, all_ranks=True)
    session.finish()
    assert only_run(store).state is RunState.FINISHED


def test_the_rank_of_a_machine_with_several_processes_is_the_one_across_machines(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "8")
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert common.process_rank() == 8
    assert common.agreed(True)


def test_a_declared_space_does_not_refuse_what_a_framework_knows(store: Path) -> None:
    exp = advisor.open(store).experiment("toy", objective="loss", space={"lr": advisor.Float(0.01, 1)})
    session = begin(exp, config={"lr": 0.5, "hidden": 3})
    session.finish()
    assert only_run(store).params == {"lr": 0.5, "hidden": 3}


def test_a_store_that_cannot_be_reached_does_not_keep_a_training_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    session = begin("toy", store=tmp_path / "file" / "store")
    assert isinstance(session.run, SilentRun)
    assert "the training goes on and is NOT tracked" in caplog.text
    with pytest.raises(StoreUnavailableError):
        begin("toy", store=tmp_path / "file" / "store", strict=True)
    with pytest.raises(StoreNotFoundError, match="is a file; a store is a folder"):
        begin("toy", store=tmp_path / "file")


def test_a_value_that_is_not_finite_is_told_at_the_call_that_logs_it(store: Path) -> None:
    told: list[Finding] = []
    session = begin("toy", store=store, on_finding=told.append, stop_on_error=True)
    session.log({"loss": 1.0}, step=0)
    assert not session.should_stop()
    session.log({"loss": math.nan}, step=1)
    assert [(finding.code, finding.step) for finding in told] == [("ADV101", 1)]
    assert session.findings[0].metric == "loss"
    assert session.should_stop()
    session.finish()
    run = only_run(store)
    assert run.state is RunState.FAILED
    assert "stopped by the callback: ADV101" in str(run.error)
    assert len(told) == 1


def test_a_finding_is_a_warning_by_default(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    session = begin("toy", store=store)
    session.log({"loss": math.inf}, step=1)
    session.finish()
    [record] = [one for one in caplog.records if one.name == common.say.__module__]
    assert (record.levelno, "ADV101" in record.getMessage()) == (logging.WARNING, True)


def test_a_training_that_ended_without_a_word_failed(store: Path) -> None:
    first = begin("toy", store=store)
    first.unguarded("nobody said that it had ended")
    second = begin("toy", store=store)
    assert (first.run.state, second.run.state) == (RunState.FAILED, RunState.RUNNING)
    second.unguarded("nobody said that it had ended")
    second.finish()
    assert begin("toy", store=store, rank=1).run.state is RunState.RUNNING
    [failed, finished] = advisor.open(store).experiment("toy").runs()
    assert (failed.error, finished.state) == ("nobody said that it had ended", RunState.FINISHED)


def test_a_run_lingers_for_what_follows_its_training(store: Path) -> None:
    first = begin("toy", store=store)
    first.unguarded("nobody said that it had ended")
    first.linger()
    first.stay()
    first.log({"test": 1.0})
    first.linger()
    second = begin("toy", store=store)
    assert first.run.state is RunState.FINISHED
    second.linger(within_s=0.01)
    deadline = time.monotonic() + 10
    while not second.run.state.is_over and time.monotonic() < deadline:
        time.sleep(0.01)
    assert second.run.state is RunState.FINISHED


def test_a_run_left_open_ends_with_the_program(store: Path, repository: Path) -> None:
    code = """
import sys, threading
from advisor.integrations.common import begin
def open_another(say):
    say(begin("toy", store=sys.argv[1], stop_on_error=True))
def prune(session):
    session.why_stopped = "hopeless"
    session.linger()
def nan(session):
    session.log({"loss": float("nan")})
    assert session.should_stop()
    session.linger()
for say in (lambda s: s.linger(), lambda s: s.unguarded("nobody said that it had ended"), prune, nan, lambda s: None):
    thread = threading.Thread(target=open_another, args=(say,))
    thread.start()
    thread.join()
"""
    subprocess.run([sys.executable, "-c", code, str(store)], cwd=repository, check=True, timeout=150)
    states = [str(run.state) for run in advisor.open(store, capture=False).runs()]
    assert states == ["finished", "failed", "pruned", "failed", "finished"]


def test_what_a_run_goes_on_from_is_kept(store: Path) -> None:
    session = begin("toy", store=store)
    session.resumed("0123456789abcdef", 120)
    session.resumed(session.run.id, 130)
    session.finish()
    run = only_run(store)
    assert run.user_attrs == {"resumed_from": "0123456789abcdef", "resumed_at_step": 120}
    assert run.notes == ("resumed from run 0123456789abcdef at step 120",)


def test_a_failure_keeps_the_traceback(store: Path) -> None:
    session = begin("toy", store=store)
    session.fail(ValueError("broken"))
    run = only_run(store)
    assert (run.state, "ValueError: broken" in str(run.error)) == (RunState.FAILED, True)


def test_the_package_imports_no_framework(repository: Path) -> None:
    code = (
        "import sys, advisor.integrations, advisor.integrations.common; "
        "print(*sorted({'torch', 'lightning', 'transformers', 'keras', 'accelerate', 'lancedb'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""


def test_a_missing_framework_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(ImportError, match=r"^advisor\.integrations\.jax needs nowhere: pip install nowhere$"):
        framework("jax", "nowhere.to.be", "found_nowhere")


def test_the_page_is_python_where_it_says_so_and_names_what_there_is(repository: Path) -> None:
    page = (repository / "docs" / "integrations.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        lines = [f"    {line}" for line in block.splitlines()]
        tree = ast.parse("while True:\n" + "\n".join(lines))  # a break of a loop that is not shown is Python then
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("advisor.integrations."):
                source = (repository / f"{str(node.module).replace('.', '/')}.py").read_text(encoding="utf-8")
                for alias in node.names:
                    assert re.search(rf"^(class|def) {alias.name}\b", source, flags=re.MULTILINE), alias.name


def test_a_framework_that_does_not_follow_the_advice_has_a_finished_run(store: Path) -> None:
    session = begin("toy", store=store, stop_on_error=True)
    session.why_stopped = "hopeless"  # as it was after an epoch that the framework trained on from
    assert not session.should_stop()
    session.finish()
    assert only_run(store).state is RunState.FINISHED
