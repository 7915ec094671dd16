"""``runs``, ``show`` and ``search``."""

from __future__ import annotations

import time
from pathlib import Path

import pytest


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_runs_as_json_keep_to_the_contract(program, made_store: Path) -> None:
    found = program("--store", made_store, "runs", "digits", "--json").data
    assert len(found) == 16
    assert list(found[0]) == [
        "run_id", "experiment", "number", "state", "params", "metrics", "objective", "seed", "tags", "notes",
        "started", "ended", "duration_s", "error", "user_attrs",
    ]  # fmt: skip
    first = found[0]
    assert (first["number"], first["state"], first["seed"], first["tags"]) == (0, "finished", 0, ["first"])
    assert first["params"] == {"lr": 1.0, "opt": "sgd", "epochs": 24}
    assert (first["started"], first["duration_s"]) == ("2026-01-31T18:00:00+00:00", 75.0)


def test_values_that_are_not_finite_are_words_in_json(program, made_store: Path) -> None:
    by_id = {run["run_id"]: run for run in program("--store", made_store, "runs", "--json").data}
    assert by_id["told-nan"]["objective"] == "NaN"
    assert by_id["bare-run"]["metrics"] == {"acc": "Infinity"}
    assert next(run for run in by_id.values() if run["number"] == 3)["metrics"]["val_loss"] == "NaN"


def test_runs_are_filtered_sorted_and_limited(program, made_store: Path) -> None:
    def numbers(*arguments: object) -> list[int]:
        return [run["number"] for run in program("--store", made_store, "runs", "digits", "--json", *arguments).data]

    assert numbers("--where", "params.lr > 0.5 and state = 'finished'") == [0, 1]
    assert numbers("--sort", "objective", "--limit", 2) == [0, 1]
    assert numbers("--sort", "params.lr", "--limit", 2) == [13, 12]
    assert numbers("--sort", "params.lr", "--desc", "--limit", 1) == [0]
    assert numbers("--desc", "--limit", 1) == [15]
    assert numbers("--where", "params.lr > 5") == []


def test_the_table_marks_the_best_run_and_shows_nan(program, made_store: Path) -> None:
    done = program("--store", made_store, "runs", "digits")
    rows = lines(done.out)
    assert rows[0][:7] == ["#", "run", "state", "val_loss", "(min)", "lr", "opt"]
    assert [row[3].endswith("*") for row in rows[1:]].count(True) == 1
    assert rows[1][3].endswith("*")
    assert next(row for row in rows if row[1] == "told-nan")[3] == "NaN"
    assert "NaN" in next(row for row in rows if row[0] == "3")
    assert "16 runs" in done.err


def test_the_table_marks_runs_that_diverged_and_says_where_the_best_stand(program, tmp_path: Path) -> None:
    import advisor

    with advisor.open(tmp_path / "larger") as adv:
        exp = adv.experiment("larger", objective="acc", direction="maximize")
        for values in ((0.5, 0.6), (0.7, float("nan")), (0.9, 0.9)):
            with exp.start(params={}) as run:
                for step, value in enumerate(values):
                    run.log({"acc": value}, step=step)
    done = program("--store", tmp_path / "larger", "runs", "larger", "--sort", "objective")
    shown = {row[0]: row[3] for row in lines(done.out)[1:4]}
    assert shown == {"0": "0.6", "1": "0.7!", "2": "0.9*"}
    assert "! it ended with a value that is not finite; shown is the last one that was" in done.err
    assert "the smallest acc first; --desc lists the best first" in done.err
    turned = program(
        "--store", tmp_path / "larger", "runs", "larger", "--sort", "acc", "--desc", "--where", "acc > 0.8"
    )
    assert "smallest" not in turned.err
    assert "not finite" not in turned.err


def test_parameters_that_vary_come_first_and_are_bounded(program, tmp_path: Path) -> None:
    import advisor

    with advisor.open(tmp_path / "wide") as adv:
        exp = adv.experiment("wide", objective="loss")
        for i in range(2):
            exp.tell({"same": 1, **{f"p{j}": i * j for j in range(1, 9)}}, i)
    header = lines(program("runs", "wide", "--store", tmp_path / "wide").out)[0]
    assert [name for name in header if name[0] == "p"] == ["p1", "p2", "p3", "p4", "p5", "p6"]
    assert "same" not in header


def test_parameters_stand_as_in_the_space_whichever_run_comes_first(program, tmp_path: Path) -> None:
    import advisor

    with advisor.open(tmp_path / "store") as adv:
        space = {"width": advisor.Int(1, 9), "lr": advisor.Float(0, 1), "act": advisor.Choice("relu", "tanh")}
        exp = adv.experiment("toy", objective="loss", space=space)
        exp.tell({"act": "relu", "lr": 0.1, "width": 3}, 0.5)
        exp.tell({"lr": 0.2, "width": 3, "act": "tanh"}, 0.5)
    for more in ((), ("--limit", 1), ("--sort", "params.lr", "--desc")):
        header = lines(program("runs", "toy", "--store", tmp_path / "store", *more).out)[0]
        assert [name for name in header if name in space] == ["width", "lr", "act"]


def test_runs_that_break_a_constraint_are_marked(program, tmp_path: Path) -> None:
    import advisor

    with advisor.open(tmp_path / "store") as adv:
        exp = adv.experiment("toy", objective="loss", constraints="latency <= 5")
        exp.tell({"lr": 0.1}, 0.5, metrics={"latency": 6})
        exp.tell({"lr": 0.2}, 0.75, metrics={"latency": 4})
    done = program("runs", "toy", "--store", tmp_path / "store")
    assert "0.5~" in done.out
    assert "0.75*" in done.out
    assert "~ it breaks a constraint" in done.err


def test_a_run_that_goes_on_shows_its_last_value(program, tmp_path: Path) -> None:
    import advisor

    with advisor.open(tmp_path / "store") as adv:
        exp = adv.experiment("toy", objective="loss")
        exp.tell({"lr": 0.1}, 0.5)
        with exp.start(params={"lr": 0.2}) as run:
            run.log({"loss": 0.25})
            end = time.monotonic() + 20
            while "loss" not in exp.run(1).metrics:  # it is delivered within a second or so
                assert time.monotonic() < end
                time.sleep(0.02)
            done = program("runs", "toy", "--store", tmp_path / "store")
            assert "0.25…" in done.out
            assert "0.5*" in done.out
            assert "… it goes on; shown is the last value that it logged" in done.err
        assert "0.25*" in program("runs", "toy", "--store", tmp_path / "store").out


def test_a_limited_table_says_how_many_are_not_shown(program, made_store: Path) -> None:
    done = program("--store", made_store, "runs", "digits", "--limit", 3)
    assert len(lines(done.out)) == 4
    assert "3 of 16 runs shown; --limit 16 shows all" in done.err


def test_runs_of_all_experiments_are_told_apart(program, made_store: Path) -> None:
    rows = lines(program("--store", made_store, "runs").out)
    assert rows[0][:5] == ["#", "run", "experiment", "state", "objective"]
    assert {row[2] for row in rows[1:]} == {"digits", "bare"}


def test_no_runs_are_said_and_are_an_empty_array(program, made_store: Path) -> None:
    done = program("--store", made_store, "runs", "empty")
    assert (done.code, done.out, done.err) == (0, "", "there are no runs yet\n")
    assert program("--store", made_store, "runs", "empty", "--json").data == []


@pytest.mark.parametrize("reference", ["digits#0", "00ab", "00ab0000000000000000000000000000"])
def test_a_run_is_shown_by_number_beginning_or_id(program, made_store: Path, reference: str) -> None:
    done = program("--store", made_store, "show", reference)
    assert done.code == 0
    assert done.out.startswith("run #0 of digits: finished\n")
    assert "lr      1" in done.out
    assert "val_loss" in done.out


def test_text_of_a_run_is_shown_without_its_tricks(program, made_store: Path) -> None:
    out = program("--store", made_store, "show", "digits#0").out
    assert "note: [red]loud[/red] gnp.exe [31m note" in out
    assert all(line.isprintable() for line in out.splitlines())
    out = program("--store", made_store, "show", "failed-one").out
    assert '    File "x"\n' in out
    assert "\x1b" not in out


def test_attributes_of_an_optuna_trial_are_shown_bounded_and_filtered_by(program, tmp_path: Path) -> None:
    import optuna

    from advisor.optuna import AdvisorStorage

    study = optuna.create_study(storage=AdvisorStorage(tmp_path / "trials"), study_name="toy")
    for fit_s in (1.5, 2.5):
        trial = study.ask()
        trial.set_user_attr("fit_s", fit_s)
        trial.set_user_attr("by", {"host": "\x1b[31mred" + "x" * 5_000, "gpus": [0, 1]})
        for i in range(50):
            trial.set_user_attr(f"more_{i}", i)
        study.tell(trial, fit_s)

    def asked(*arguments: object):
        return program("--store", tmp_path / "trials", *arguments)

    done = asked("show", "toy#1")
    shown = done.out.split("attributes\n")[1]
    rows = [line.split() for line in shown.splitlines()]
    assert ["fit_s", "2.5"] in rows
    assert ["by.gpus", "[0,", "1]"] in rows
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) < 300
    assert len(rows) == 40
    assert "13 attributes more; --json has all" in done.err
    assert asked("show", "toy#0", "--json").data["user_attrs"]["fit_s"] == 1.5
    for where in ("user_attrs.fit_s < 2", "meta.fit_s < 2", "fit_s < 2"):
        assert [run["number"] for run in asked("runs", "toy", "--where", where, "--json").data] == [0]
    assert [run["number"] for run in asked("runs", "toy", "--sort", "fit_s", "--desc", "--json").data] == [1, 0]


def test_a_run_as_json_has_its_curves_and_findings(program, made_store: Path) -> None:
    found = program("--store", made_store, "show", "digits#3", "--json").data
    assert found["curves"]["val_loss"]["n_nonfinite"] == 12
    assert found["curves"]["val_loss"]["last"] == "NaN"
    assert found["findings"] == []


def test_search_finds_words_and_keeps_to_the_contract(program, store: Path) -> None:
    found = program("--store", store, "search", "loud note", "--json", "--limit", 3).data
    assert all(list(hit)[:4] == ["run_id", "experiment", "score", "text"] for hit in found)
    assert 1 <= len(found) <= 3
    assert found[0]["run_id"].startswith("00ab")
    others = program("--store", store, "search", "loud note", "--json", "--where", "number > 0").data
    assert not any(hit["run_id"].startswith("00ab") for hit in others)


def test_search_prints_a_table_or_says_that_nothing_fits(program, store: Path) -> None:
    assert "00ab" in program("--store", store, "search", "loud").out
    done = program("--store", store, "search", "loud", "--where", "params.lr > 5")
    assert (done.code, done.out, done.err) == (0, "", "no run fits\n")
