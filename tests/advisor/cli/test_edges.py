"""Exit codes, one-line errors, and options that every command shares."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from advisor import __version__
from storage.lance import Database
from storage.migrations import MIGRATIONS_TABLE, SCHEMA_VERSION

MISTAKES = {
    "unknown command": (["bogus"], "no such command 'bogus'"),
    "unknown option": (["runs", "--bogus"], "no such option: --bogus"),
    "missing argument": (["show"], "missing argument 'RUN'"),
    "too many arguments": (["runs", "a", "b"], r"unexpected extra argument(s) (b)"),
    "no number": (["runs", "--limit", "x"], "'--limit'"),
    "number too small": (["suggest", "digits", "-n", "0"], "'-n'"),
    "not among the choices": (["report", "digits", "--format", "pdf"], "'pdf' is not one of 'md', 'html'"),
    "unknown experiment": (["runs", "digit"], "no experiment 'digit' in this store; did you mean 'digits'?"),
    "unknown run": (["show", "zzz"], "no run 'zzz' in this store"),
    "number without an experiment": (["show", "0"], "could be a run of 3 experiments; write it with its experiment"),
    "unknown number": (["show", "digits#99"], "experiment 'digits' has no run number 99; it has 16 runs"),
    "malformed filter": (["runs", "digits", "--where", "lr <"], "cannot read the filter at character 5"),
    "unknown name in a filter": (["runs", "digits", "--where", "lrr < 1"], "lrr"),
    "malformed filter of a search": (["search", "x", "--where", "lr <"], "cannot read the filter"),
    "unknown name to sort by": (["runs", "digits", "--sort", "val_los"], "val_los"),
    "unknown parameter": (
        ["tell", "digits", "--params", '{"lr": 0.1, "opt": "sgd", "mom": 1}', "--value", "1"],
        "unknown parameter 'mom'",
    ),
    "value outside the space": (
        ["tell", "digits", "--params", '{"lr": 7, "opt": "sgd"}', "--value", "1"],
        "lr = 7 is outside [0.0001, 1]",
    ),
    "parameters that are no JSON": (["tell", "digits", "--params", "lr=1", "--value", "1"], "--params is not JSON"),
    "parameters that are no object": (["tell", "digits", "--params", "[1]", "--value", "1"], "--params is a JSON list"),
    "value that is no number": (["tell", "digits", "--params", "{}", "--value", "low"], "'--value'"),
    "no value": (["tell", "digits", "--params", '{"lr": 0.1, "opt": "sgd"}'], "a finished run needs a value"),
    "two values for one objective": (
        ["tell", "digits", "--params", '{"lr": 0.1, "opt": "sgd"}', "--value", "1", "--value", "2"],
        "2 values were given for 1 objectives",
    ),
    "told without an objective": (["tell", "bare", "--params", "{}", "--value", "1"], "has no objective"),
    "suggestion without an objective": (["suggest", "bare"], "has no objective to improve"),
    "suggestion without a space": (["suggest", "empty"], "neither a search space nor runs"),
    "unknown sampler": (["suggest", "digits", "--sampler", "tpee"], "tpee"),
    "fixed to nothing": (["suggest", "digits", "--fix", "lr"], "write --fix name=value"),
    "fixed outside the space": (["suggest", "digits", "--fix", "lr=7"], "lr = 7 is outside"),
    "unknown fixed parameter": (["suggest", "digits", "--fix", "mom=7"], "unknown parameter 'mom'"),
    "share of more than all": (["forecast", "digits#1", "--at", "2"], "above 0 and at most 1"),
    "unknown experiment, shown": (["experiment", "digit"], "did you mean 'digits'?"),
    "objective that nobody logs": (
        ["experiment", "digits", "--objective", "val_los"],
        "no run of experiment 'digits' logs 'val_los'; did you mean 'val_loss'?",
    ),
    "unknown direction": (["experiment", "digits", "--direction", "up"], "direction 'up' is not one of"),
    "unknown reduction": (["experiment", "digits", "--reduce", "first"], "reduce = 'first' is unknown"),
    "settings for no experiment": (["experiment", "--reduce", "best"], "say which experiment"),
    "space that is not there": (["experiment", "digits", "--space", "none.yaml"], "none.yaml"),
    "nothing to check": (["check", "digit"], "no experiment and no run 'digit' in this store; did you mean 'digits'?"),
    "report of another's run": (["report", "digits", "--run", "bare-run"], "belongs to experiment 'bare'"),
    "nothing to import": (["import", "nowhere"], "there is nothing at 'nowhere'"),
    "unknown experiment, exported": (["export", "out", "--experiment", "digit"], "did you mean 'digits'?"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(program, made_store: Path, what: str) -> None:
    arguments, expected = MISTAKES[what]
    done = program("--store", made_store, *arguments)
    assert expected in done.error
    assert len(done.err.splitlines()) == 1


def test_a_comparison_names_the_run_that_is_missing(program, made_store: Path) -> None:
    done = program("--store", made_store, "compare", "digits#1", "digits#99")
    assert done.error == "error: experiment 'digits' has no run number 99; it has 16 runs"


def test_a_reading_command_makes_no_store(program, tmp_path: Path) -> None:
    for arguments in (["runs"], ["check"], ["experiment"], ["store", "info"], ["export", "x"]):
        assert "no store at" in program(*arguments, "--store", tmp_path / "none").error
    assert not (tmp_path / "none").exists()


def test_what_is_no_store_is_named(program, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "is a file; a store is a folder" in program("runs", "--store", tmp_path / "file").error


def test_a_store_of_a_newer_version_is_refused(program, store: Path) -> None:
    newer = {"number": [SCHEMA_VERSION + 1], "name": ["m"], "time": [datetime.now(UTC)], "program": ["later"]}
    Database(store, create=False).append("migrations", newer, MIGRATIONS_TABLE)
    assert "upgrade: pip install" in program("runs", "--store", store).error


def test_a_bad_setting_is_named(program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVISOR_NOTIFY_SEVERITY", "loud")
    assert "ADVISOR_NOTIFY_SEVERITY must be one of" in program("runs").error


def test_a_file_that_cannot_be_written_is_named(program, made_store: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "file" in program("--store", made_store, "export", tmp_path / "file" / "below").error


def test_an_error_shows_nothing_that_steers_a_terminal(program, made_store: Path) -> None:
    assert "\x1b" not in program("--store", made_store, "runs", "a\x1b[31mb").error


def test_shared_options_are_taken_before_and_after_the_command(program, made_store: Path) -> None:
    wanted = program("--store", made_store, "--json", "runs", "bare").data
    assert [run["run_id"] for run in wanted] == ["bare-run"]
    assert program("runs", "bare", "--json", "--store", made_store).data == wanted
    assert program("--json", "runs", f"--store={made_store}", "bare").data == wanted
    assert program("store", "--json", "info", "--store", made_store).data["n_experiments"] == 3
    assert program("--store", made_store, "store", "info", "--json").data["n_experiments"] == 3


def test_the_later_store_wins(program, made_store: Path) -> None:
    assert program("--store", "nowhere", "runs", "--store", made_store).code == 0


@pytest.mark.parametrize("arguments", [["--version"], ["runs", "--version"], ["store", "info", "--version"]])
def test_the_version_is_shown(program, arguments: list[str]) -> None:
    done = program(*arguments)
    assert (done.code, done.out) == (0, f"advisor {__version__}\n")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["store"], ["runs", "--help"], ["suggest", "-h"]])
def test_help_is_shown(program, arguments: list[str]) -> None:
    done = program(*arguments)
    assert done.code == 0
    assert "Usage:" in done.out


def test_every_command_is_in_the_help(program) -> None:
    help_text = program("--help").out
    for name in (
        "demo runs show search suggest tell experiment check report import export store doctor forecast "
        "--install-completion --show-completion"
    ).split():
        assert name in help_text


# -- as a process of its own


def process(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "advisor.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **environment},
    )


def test_stdout_holds_json_alone_and_stderr_the_notes(made_store: Path) -> None:
    done = process("check", "bare", "--json", "--store", made_store)
    assert done.returncode == 0
    assert isinstance(json.loads(done.stdout), list)
    assert "too short" in done.stderr


def test_a_terminal_that_knows_ascii_alone_is_no_trouble(made_store: Path) -> None:
    done = process("show", "digits#0", "--store", made_store, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert "[red]loud[/red]" in done.stdout


def test_a_mistake_ends_the_process_with_2(made_store: Path) -> None:
    done = process("--store", made_store, "runs", "nope")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no experiment 'nope'")


def test_a_defect_is_one_line_with_its_own_exit_code(made_store: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "rich").mkdir()
    (broken / "rich" / "__init__.py").write_text("raise RuntimeError('not rich at all')")
    start = (
        f"import sys; sys.path.insert(0, {str(broken)!r}); from advisor.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    for debug in ("", "1"):
        done = subprocess.run(
            [sys.executable, "-c", start, "runs", "digits", "--store", str(made_store)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "ADVISOR_DEBUG": debug},
        )
        assert done.returncode == 70
        last = done.stderr.splitlines()[-1]
        assert last.startswith("error: this is a defect of the program")
        assert "RuntimeError: not rich at all" in last
        assert ("Traceback" in done.stderr) == bool(debug)


def test_a_reader_that_goes_away_is_no_error(made_store: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "advisor.cli", "runs", "--json", "--store", str(made_store)],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_interrupted_command_ends_quietly(made_store: Path) -> None:
    start = (
        "import os, signal, sys, threading; from advisor.cli import main\n"
        "import storage.lance_store as lance\n"
        "class Slow(lance.LanceRunStore):\n"
        "    def page(self, *a, **k): os.kill(os.getpid(), signal.SIGINT); return [], 0\n"
        "lance.LanceRunStore = Slow\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", start, "runs", "--store", str(made_store)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_the_shell_completion_offers_commands() -> None:
    done = process(_ADVISOR_COMPLETE="complete_bash", COMP_WORDS="advisor ex", COMP_CWORD="1")
    assert done.stdout.split() == ["experiment", "export"]


def cpu_s(*command: str) -> float:
    """Return the processor time of a command that succeeds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_costs_a_few_times_what_the_libraries_that_print_it_do() -> None:
    libraries = min(cpu_s("-c", "import typer, rich.console, rich.table") for _ in range(3))
    assert min(cpu_s("-m", "advisor", "--help") for _ in range(3)) < 5 * libraries


def test_a_killed_run_is_announced_with_all_its_points(program, tmp_path: Path) -> None:
    train = (
        "import advisor, os, signal, sys\n"
        "exp = advisor.open(sys.argv[1]).experiment('digits', objective='loss')\n"
        "run = exp.start(params={'lr': 0.1})\n"
        "for step in range(500): run.log({'loss': 1 / (step + 1)}, step=step)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    uri = tmp_path / "killed"
    subprocess.run(
        [sys.executable, "-c", train, str(uri)],
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    spools = list(uri.rglob("*.spool"))
    assert len(spools) == 1
    with spools[0].open("ab") as file:
        file.write(b"half of a rec")
    done = program("show", "digits#0", "--json", "--store", uri)
    assert f"recovered run {done.data['run_id']} of digits: 500 log calls, now crashed" in done.err
    assert done.data["state"] == "crashed"
    assert done.data["curves"]["loss"]["n"] == 500
    assert "recovered" not in program("runs", "--store", uri).err
