"""``report``, ``compare``, ``digest``, ``verify``: documents from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def test_documents_are_written_verified_and_found_wrong(program: Any, store: Path) -> None:
    done = program("--store", store, "compare", "digits#1", "digits#2", "-o", "pair.html")
    assert (done.code, done.out) == (0, "pair.html\n")
    assert program("--store", store, "verify", "pair.html").code == 0
    path = Path("pair.html")
    path.write_text(path.read_text(encoding="utf-8").replace("rank 2", "rank 1", 1), encoding="utf-8")
    wrong = program("--store", store, "verify", "pair.html")
    assert wrong.code == 1
    assert "not as the store says" in wrong.out
    found = program("--store", store, "verify", "pair.html", "--json").data
    assert found["ok"] is False
    assert found["n_figures"] > 10
    assert {"line", "written", "expected", "why"} == found["failures"][0].keys()


def test_any_text_is_verified_as_well(program: Any, store: Path) -> None:
    Path("answer.txt").write_text("digits#2 used lr 0.4 and ran for 75 s.", encoding="utf-8")
    done = program("--store", store, "verify", "answer.txt")
    assert (done.code, done.out) == (0, "2 figures: 2 supported, 0 contradicted, 0 unknown\n")
    Path("answer.txt").write_text("digits#2 used lr 0.5.", encoding="utf-8")
    done = program("--store", store, "verify", "answer.txt", "--json")
    assert (done.code, done.data["n_contradicted"]) == (1, 1)


def test_a_digest_and_a_checklist_are_printed(program: Any, store: Path) -> None:
    done = program("--store", store, "digest", "digits", "--since", "2020-01-01", "-o", "-")
    assert done.code == 0
    assert "runs ended in `digits`" in done.out
    done = program("--store", store, "report", "digits", "--kind", "checklist", "--format", "json", "-o", "-")
    assert json.loads(done.out)["kind"] == "Reproducibility checklist"
    data = program("--store", store, "report", "digits", "--run", "2", "--kind", "model-card", "--json").data
    assert (data["kind"], data["version"]) == ("model-card", 1)


def test_mistakes_are_one_line(program: Any, store: Path) -> None:
    assert "name an experiment" in program("--store", store, "report").error
    assert "--finding" in program("--store", store, "report", "digits", "--kind", "incident").error
    assert "leave --run" in program("--store", store, "report", "digits", "--finding", "x", "--run", "1").error
    assert "no such file" in program("--store", store, "verify", "nothing.md").error.lower()
    Path("bytes.bin").write_bytes(b"\xff\xfe\x00")
    assert "no text in UTF-8" in program("--store", store, "verify", "bytes.bin").error
