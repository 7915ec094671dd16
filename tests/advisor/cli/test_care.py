"""``report``, ``import``, ``export``, ``store`` and ``doctor``."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from storage.migrations import SCHEMA_VERSION


def test_a_report_is_written_and_its_path_printed(program, store: Path, tmp_path: Path) -> None:
    done = program("--store", store, "report", "digits")
    path = Path(done.out.strip())
    assert path.parent == Path("reports")
    assert (tmp_path / path).read_text(encoding="utf-8").startswith("#")


def test_a_report_as_json_says_where_and_what(program, store: Path, tmp_path: Path) -> None:
    done = program("--store", store, "report", "digits", "-o", tmp_path / "here", "--format", "html", "--json").data
    assert list(done) == ["document_id", "path", "kind", "title", "writer", "facts_hash", "version"]
    assert Path(done["path"]).parent == tmp_path / "here"
    assert done["writer"] == "template"
    assert "<html" in Path(done["path"]).read_text(encoding="utf-8")


def test_a_report_goes_to_stdout_or_to_a_file(program, store: Path, tmp_path: Path) -> None:
    assert program("--store", store, "report", "digits", "-o", "-").out.startswith("#")
    done = program("--store", store, "report", "digits", "-o", tmp_path / "one.html")
    assert done.out == f"{tmp_path / 'one.html'}\n"
    assert "<html" in (tmp_path / "one.html").read_text(encoding="utf-8")
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize("run", ["3", "03ab", "digits#3"])
def test_one_run_is_summarized(program, store: Path, run: str) -> None:
    assert "Run #3" in program("--store", store, "report", "digits", "--run", run, "-o", "-").out


def test_runs_go_out_and_come_in_again(program, store: Path, tmp_path: Path) -> None:
    done = program("--store", store, "export", tmp_path / "out", "--json").data
    assert (done["path"], done["n_runs"], done["n_curves"]) == (str(tmp_path / "out"), 17, 29)
    came = program("--store", tmp_path / "new", "import", tmp_path / "out", "--json").data
    assert (came["n_runs"], came["n_known"], came["n_curves"]) == (17, 0, 29)
    assert came["experiments"] == {"digits": 16, "bare": 1}
    again = program("--store", tmp_path / "new", "import", tmp_path / "out")
    assert "17 runs the store had already" in again.out
    wanted = {
        run["run_id"]: (run["params"], run["metrics"]) for run in program("--store", store, "runs", "--json").data
    }
    found = program("--store", tmp_path / "new", "runs", "--json").data
    assert {run["run_id"]: (run["params"], run["metrics"]) for run in found} == wanted


def test_an_import_says_what_came_and_what_is_missing(program, store: Path, tmp_path: Path) -> None:
    program("--store", store, "export", tmp_path / "out", "--experiment", "bare")
    done = program("--store", tmp_path / "new", "import", tmp_path / "out")
    assert ["bare", "1", "-"] in [line.split() for line in done.out.splitlines()]
    assert "found: experiment-advisor's Parquet export" in done.err
    assert "advisor experiment bare --objective acc --direction maximize" in done.err


def test_a_folder_of_something_else_is_not_imported(program, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "runs.parquet").write_text("no parquet")
    (tmp_path / "other" / "curves.parquet").write_text("no parquet")
    assert "cannot be read as Parquet" in program("--store", tmp_path / "new", "import", tmp_path / "other").error


def test_the_store_says_what_it_holds(program, store: Path) -> None:
    found = program("--store", store, "store", "info", "--json").data
    assert (found["n_experiments"], found["n_runs"], found["schema_version"]) == (3, 17, SCHEMA_VERSION)
    assert found["n_points"] == 14 * 2 * 24 + 2
    assert "runs                    17" in program("--store", store, "store", "info").out


def test_the_store_is_compacted_and_indexed_again(program, store: Path) -> None:
    assert program("--store", store, "store", "compact", "--json").data["n_fragments"]["events"] == 1
    assert program("--store", store, "store", "compact").out.startswith("data files now: ")
    done = program("--store", store, "store", "reindex", "--json").data
    assert done == {"n_runs": 17, "encoder": "hashing-char-3-5-v1"}
    assert "17 runs indexed" in program("--store", store, "store", "reindex", "--embedder", "hashing").out
    assert program("--store", store, "store", "info", "--json").data["n_embedded"] == 17


def test_an_encoder_that_is_not_there_is_named(program, store: Path) -> None:
    assert "no/such-model" in program("--store", store, "store", "reindex", "--embedder", "no/such-model").error


def test_the_doctor_tells_versions_extras_settings_and_the_store(program, store: Path) -> None:
    done = program("--store", store, "doctor", "--json")
    assert (done.code, done.data["ok"]) == (0, True)
    assert list(done.data) == ["versions", "extras", "encoder", "store", "language_model", "settings", "ok"]
    assert done.data["encoder"]["identity"] == "hashing-char-3-5-v1"
    assert done.data["settings"]["store"] == {"value": str(store), "source": "--store"}
    assert done.data["settings"]["embedder"] == {"value": "hashing", "source": "$ADVISOR_EMBEDDER"}
    assert done.data["settings"]["reports"] == {"value": "reports", "source": "default"}
    wanted = {"name": None, "today": "no call", "budget": "1,000,000 tokens a day"}
    assert done.data["language_model"] == wanted
    assert "3 experiments, 17 runs" in program("--store", store, "doctor").out


def test_the_doctor_names_the_file_and_no_secret(program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "advisor.toml").write_text('reports = "written"\nnotify = ["slack://hidden-token-a/hidden-token-b"]\n')
    monkeypatch.setenv("ADVISOR_LLM_API_BASE", "https://me:hidden-password@host/v1")
    done = program("doctor", "--json")
    assert done.data["settings"]["reports"]["source"] == str(tmp_path / "advisor.toml")
    assert done.data["settings"]["notify"]["value"] == "1 addresses"
    assert "hidden" not in done.out + program("doctor").out
    assert "there is none yet" in done.data["store"]["message"]
    assert not (tmp_path / "advisor-store").exists()


def test_the_doctor_says_what_is_wrong(program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVISOR_EMBEDDER", "no/such-model")
    done = program("doctor", "--json")
    assert (done.code, done.data["ok"], done.data["encoder"]["ok"]) == (1, False, False)
    assert "something is wrong" in program("doctor").out


def test_the_doctor_asks_nothing_of_the_network(program) -> None:
    done = program("doctor", "--json", "--store", "s3://bucket/runs").data
    assert "not looked at" in done["store"]["message"]


def test_the_demo_refuses_a_folder_that_is_not_its_own(program, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("important")
    done = program("demo", "--store", tmp_path / "mine")
    assert (done.code, done.err.startswith("error: ")) == (2, True)
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_a_table_that_nobody_writes_to_is_over_and_one_written_just_now_says_why_it_is_not(
    program, tmp_path: Path
) -> None:
    for name, age_s in (("quiet", 90), ("fresh", 0)):
        path = tmp_path / f"{name}.csv"
        path.write_text("step,val_loss\n1,0.5\n2,0.4\n")
        os.utime(path, (time.time() - age_s,) * 2)
        said = program("--store", "new", "import", path).err
        assert ("1 run counts as running: its file was written to just now" in said) == (name == "fresh")
        (run,) = program("--store", "new", "runs", name, "--json").data
        assert run["state"] == {"quiet": "finished", "fresh": "running"}[name]
