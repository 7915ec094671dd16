"""``suggest``, ``forecast``, ``tell`` and ``experiment``."""

from __future__ import annotations

from pathlib import Path

import pytest


def test_suggestions_keep_to_the_contract(program, store: Path) -> None:
    found = program("--store", store, "suggest", "digits", "-n", 2, "--seed", 1, "--json").data
    contract = ["suggestion_id", "params", "why", "source", "learned_from", "forecast"]
    assert [list(one)[: len(contract)] for one in found] == [contract] * 2
    assert set(found[0]["params"]) == {"lr", "opt"}
    assert set(found[0]["forecast"]) >= {"mean", "low", "high"}
    assert "told-nan" in found[0]["learned_from"]


def test_a_suggestion_is_printed_with_its_reasons(program, store: Path) -> None:
    done = program("--store", store, "suggest", "digits", "--sampler", "random")
    assert done.out.splitlines()[0].split()[:2] == ["lr", "opt"]
    assert "Learned from 16 runs" in done.out
    assert "advisor tell digits" in done.err


def test_what_all_suggestions_have_in_common_is_said_once(program, store: Path) -> None:
    out = program("--store", store, "suggest", "digits", "-n", 3, "--seed", 1).out
    assert out.count("Learned from 16 runs here") == 1
    assert [line[:5] for line in out.splitlines() if line[1:3] == ". "] == ["1. By", "2. By", "3. By"]
    assert out.count("beside those before it") == 2


def test_suggestions_can_be_looked_at_without_being_kept(program, store: Path) -> None:
    asked = ("--store", store, "suggest", "digits", "--seed", 1)
    seen = program(*asked, "--dry-run")
    assert "not kept" in seen.err
    assert program(*asked, "--dry-run", "--json").data[0]["params"] == program(*asked, "--json").data[0]["params"]
    assert program("--store", store, "ledger", "digits", "--json").data["suggestions"]["n_made"] == 1


def test_parameters_can_be_kept_at_a_value(program, store: Path) -> None:
    arguments = ("suggest", "digits", "--fix", "lr=1e-2", "--fix", "opt=adam", "--json")
    assert program("--store", store, *arguments).data[0]["params"] == {"lr": 0.01, "opt": "adam"}


def test_a_fixed_value_is_text_where_the_space_holds_text(program, store: Path, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("depth: ['1', '2']\nlr: {low: 0.1, high: 1}\n")
    program("--store", store, "experiment", "empty", "--space", "space.yaml")
    found = program("--store", store, "suggest", "empty", "--fix", "depth=1", "--json").data
    assert found[0]["params"]["depth"] == "1"


def test_a_forecast_keeps_to_the_contract(program, made_store: Path) -> None:
    done = program("--store", made_store, "forecast", "digits#5", "--at", 0.5, "--json")
    assert list(done.data) == ["mean", "low", "high", "p_best"]
    assert done.data["low"] <= done.data["mean"] <= done.data["high"]
    assert "after 50% of the training" in done.err
    assert "chance of a new best" in program("--store", made_store, "forecast", "digits#5", "--at", 1).out


def test_a_suggestion_is_told_by_its_id_alone_and_once(program, store: Path) -> None:
    (made,) = program("--store", store, "suggest", "digits", "--json").data
    tell = ("--store", store, "tell", "digits", "--suggestion", made["suggestion_id"][:12], "--json")
    told = program(*tell, "--state", "failed", "--error", "RuntimeError: out of memory").data
    assert told["params"] == made["params"]
    assert program(*tell, "--value", "1").code != 0
    assert "told already as digits#" in program(*tell, "--value", "1").err


def test_where_nobody_can_tell_there_is_a_reason_and_no_forecast(program, made_store: Path) -> None:
    done = program("--store", made_store, "forecast", "bare-run", "--json")
    assert done.data == {"mean": None, "low": None, "high": None, "p_best": None}
    assert done.err.startswith("no forecast: ")
    assert program("--store", made_store, "forecast", "bare-run").out == ""


@pytest.mark.parametrize("command", ["forecast", "show"])
def test_an_experiment_where_a_run_is_wanted_is_told_apart(program, store: Path, command: str) -> None:
    error = program("--store", store, command, "digits").error
    assert error == "error: 'digits' is an experiment; say which of its runs is meant, for instance digits#15"


def test_a_run_is_told_and_found_again(program, store: Path) -> None:
    done = program("--store", store, "tell", "digits", "--params", '{"lr": 0.25, "opt": "sgd"}', "--value", "-0.5")
    mark, number, run_id = done.out.split()
    assert (mark, number) == ("run", "#16")
    assert program("--store", store, "show", run_id, "--json").data["objective"] == -0.5


@pytest.mark.parametrize(("given", "kept"), [("nan", "NaN"), ("-inf", "-Infinity"), ("Infinity", "Infinity")])
def test_a_value_that_is_not_finite_is_kept_and_never_best(program, store: Path, given: str, kept: str) -> None:
    best = program("--store", store, "experiment", "digits", "--json").data["best_run_id"]
    arguments = ("tell", "digits", "--params", '{"lr": 0.25, "opt": "sgd"}', "--value", given, "--json")
    assert program("--store", store, *arguments).data["objective"] == kept
    assert program("--store", store, "experiment", "digits", "--json").data["best_run_id"] == best


def test_an_objective_is_told_as_the_value_and_not_otherwise_as_a_metric(program, store: Path) -> None:
    call = ("--store", store, "tell", "digits", "--params", '{"lr": 0.3, "opt": "sgd"}')
    refused = program(*call, "--value", 0.5, "--metric", "val_loss=0.3").error
    assert "metric 'val_loss' = 0.3 is an objective, and its value was told as 0.5; tell it once" in refused
    for value in (0.5, "nan"):
        assert program(*call, "--value", value, "--metric", f"val_loss={value}").code == 0
    assert program(*call, "--state", "failed", "--metric", "val_loss=0.3").code == 0


def test_a_suggestion_is_made_again_by_the_beginning_of_its_id(program, store: Path) -> None:
    made = program("--store", store, "suggest", "digits", "--json").data[0]["suggestion_id"]
    assert "the same parameters as then" in program("--store", store, "suggest", "digits", "--again", made[:8]).err
    assert "could be made again" in program("--store", store, "suggest", "digits", "--again", "nothing").error


def test_a_failed_run_is_told_without_a_value(program, store: Path) -> None:
    arguments = (
        "tell",
        "digits",
        "--params",
        '{"lr": 0.25, "opt": "sgd"}',
        "--state",
        "failed",
        "--note",
        "OOM",
        "--json",
    )
    told = program("--store", store, *arguments).data
    assert (told["state"], told["objective"], told["notes"]) == ("failed", None, ["OOM"])


def test_a_followed_suggestion_is_kept_with_the_run(program, store: Path) -> None:
    made = program("--store", store, "suggest", "empty", "--json")
    assert made.code == 2  # nothing to infer a space from
    suggestion = program("--store", store, "suggest", "digits", "--fix", "lr=0.3", "--fix", "opt=sgd", "--json").data[0]
    arguments = ("--params", '{"lr": 0.3, "opt": "sgd"}', "--value", "1", "--suggestion", suggestion["suggestion_id"])
    told = program("--store", store, "tell", "digits", *arguments, "--json").data
    shown = program("--store", store, "show", told["run_id"], "--json").data
    assert shown["suggestion_id"] == suggestion["suggestion_id"]


def test_an_experiment_is_shown(program, made_store: Path) -> None:
    found = program("--store", made_store, "experiment", "digits", "--json").data
    assert found["objectives"] == [{"metric": "val_loss", "direction": "minimize"}]
    assert found["space"]["lr"] == {"type": "float", "low": 0.0001, "high": 1.0, "log": True, "step": None}
    assert (found["n_runs"], found["reduce"], found["description"]) == (16, "last", "MLP on digits")
    assert "minimize val_loss" in program("--store", made_store, "experiment", "digits").out


def test_experiments_are_listed(program, made_store: Path) -> None:
    found = program("--store", made_store, "experiment", "--json").data
    assert [each["experiment"] for each in found] == ["digits", "bare", "empty"]
    assert program("--store", made_store, "experiment").out.split()[0] == "experiment"


def test_an_experiment_is_set(program, store: Path) -> None:
    arguments = ("--objective", "acc", "--direction", "maximize", "--reduce", "best", "--description", "short")
    found = program("--store", store, "experiment", "bare", *arguments, "--json").data
    assert found["objectives"] == [{"metric": "acc", "direction": "maximize"}]
    assert (found["reduce"], found["description"], found["best_run_id"]) == ("best", "short", None)
    assert program("--store", store, "runs", "bare", "--json").data[0]["objective"] == 0.1


def test_short_words_for_directions_will_do(program, store: Path) -> None:
    both = ("--objective", "acc", "--direction", "max", "--objective", "loss", "--direction", "min")
    found = program("--store", store, "experiment", "both", *both, "--json").data
    assert [each["direction"] for each in found["objectives"]] == ["maximize", "minimize"]


def test_a_missing_objective_and_an_inferred_space_are_said(program, made_store: Path) -> None:
    err = program("--store", made_store, "experiment", "bare").err
    assert "no objective is set" in err
    assert "no search space is declared" in err


def test_an_experiment_without_runs_takes_any_objective(program, store: Path) -> None:
    found = program("--store", store, "experiment", "empty", "--objective", "anything", "--json").data
    assert found["objectives"][0]["metric"] == "anything"


def test_an_experiment_is_made_where_there_is_none(program, tmp_path: Path) -> None:
    done = program("--store", tmp_path / "new", "experiment", "fresh", "--objective", "val_acc", "--json")
    assert done.data["objectives"] == [{"metric": "val_acc", "direction": "minimize"}]
    assert "a new experiment: fresh" in done.err
    assert "val_acc is minimized; if higher is better, say --direction maximize" in done.err


def test_nothing_is_made_where_the_space_cannot_be_read(program, store: Path, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("lr: {low: 2, high: 1}\n")
    assert "low must not be above high" in program("--store", store, "experiment", "new", "--space", "space.yaml").error
    assert len(program("--store", store, "experiment", "--json").data) == 3


def test_a_suggestion_is_accepted_and_then_waits_for_whoever_starts_next(program, store: Path) -> None:
    suggestion = program("--store", store, "suggest", "digits", "--seed", 1, "--json").data[0]
    done = program("--store", store, "suggest", "digits", "--accept", suggestion["suggestion_id"], "--json")
    assert (done.data["state"], done.data["params"]) == ("waiting", suggestion["params"])
    rejected = program("--store", store, "suggest", "digits", "--reject", suggestion["suggestion_id"])
    assert (rejected.code, "has a run" in rejected.err) == (2, True)
