"""Aim is stood in for by what is used of it, ``Repo(folder).get_run(hash)``; its databases are JSON files here.

``tests/data/sources/make/aim_repository.py`` holds the reader against the real one.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from advisor.errors import MissingExtraError, SourceError
from advisor.sources.aim import AimReader, metric_name
from advisor.sources.port import Found, Options
from storage.records import RunState
from tests.advisor.sources.recorded import find, read_all

READER = AimReader()
SCRIPT = Path(__file__).resolve().parents[2] / "data" / "sources" / "make" / "aim_repository.py"


class Metric:
    def __init__(self, folder: Path, said: dict[str, Any]) -> None:
        self.name, self._context, self._file = said["name"], said["context"], folder / said["file"]
        self.context = self.data = self

    def to_dict(self) -> dict[str, Any]:
        return dict(self._context)

    def view(self, columns: tuple[str, ...]) -> Metric:
        assert columns == ("val", "time")
        return self

    def numpy(self) -> tuple[Any, list[Any]]:
        content = json.loads(self._file.read_text())
        return np.array(content["steps"]), [np.array(content["values"]), np.array(content["times"])]


class Run:
    def __init__(self, folder: Path, known: str) -> None:
        self._series = folder / "seqs" / "chunks" / known
        said = json.loads((folder / "meta" / "chunks" / known / "run.json").read_text())
        self.__dict__.update({"end_time": None, "name": f"Run: {known}", "experiment": None, "tags": []} | said)
        self.archived, self.description = said.get("archived", False), said.get("description")

    def __getitem__(self, key: Any) -> Any:
        assert key is ...
        return self.__dict__["params"]

    def metrics(self) -> Iterator[Metric]:
        return (Metric(self._series, said) for said in self.__dict__["curves"])


class Repo:
    def __init__(self, path: str) -> None:
        self._path = Path(path) / ".aim"
        assert (self._path / "locks").is_dir()
        (self._path / "written").touch()  # Aim writes into what it opens

    def get_run(self, known: str) -> Run | None:
        there = (self._path / "meta" / "chunks" / known).is_dir()
        return Run(self._path, known) if there else None


@pytest.fixture(autouse=True)
def aim(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("aim")
    module.Repo = Repo  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "aim", module)


def write(folder: Path, known: str, params: dict[str, Any], curves: list[dict[str, Any]], **more: Any) -> None:
    at = folder / ".aim"
    for part in ("meta", "seqs"):
        (at / part / "chunks" / known).mkdir(parents=True, exist_ok=True)
    said = []
    for i, curve in enumerate(curves):
        points = {"steps": curve["steps"], "values": curve["values"], "times": [1_700_000_001.5] * len(curve["steps"])}
        (at / "seqs" / "chunks" / known / f"{i}.json").write_text(json.dumps(points))
        said.append({"name": curve["name"], "context": curve.get("context", {}), "file": f"{i}.json"})
    content = {"params": params, "curves": said, "creation_time": 1_700_000_000.0} | more
    (at / "meta" / "chunks" / known / "run.json").write_text(json.dumps(content))


def curve(name: str, *values: float, **context: Any) -> dict[str, Any]:
    return {"name": name, "steps": list(range(len(values))), "values": list(values), "context": context}


def test_a_run_with_its_contexts_is_read(tmp_path: Path) -> None:
    curves = [
        curve("loss", 1.0, math.nan, -math.inf, subset="train"),
        curve("loss", 2.0, subset="val"),
        curve("acc", 0.5, subset="test", fold=2),
        curve("lr", 1),
        curve("__system__cpu", 50.0),
    ]
    params = {"hparams": {"lr": 0.1, "seed": 7}, "__system_params": {"git_info": {"commit": {"hash": "c0ffee"}}}}
    write(
        tmp_path, "abc", params, curves,
        name="first", experiment="toy", tags=["base"], description="tried", end_time=1_700_000_060.0,
    )  # fmt: skip
    ((run, piece),) = read_all(READER, tmp_path)
    assert (run.key, run.experiment, run.name, run.state) == ("abc", "toy", "first", RunState.FINISHED)
    assert (run.params, run.seed) == ({"hparams.lr": 0.1, "hparams.seed": 7}, 7)
    assert (list(run.tags), list(run.notes), run.environment) == (["base"], ["tried"], {"git_commit": "c0ffee"})
    assert run.started is not None
    assert run.ended is not None
    assert (run.ended - run.started).total_seconds() == 60
    assert sorted(piece.curves) == ["acc[fold=2,subset=test]", "lr", "train_loss", "val_loss"]
    assert piece.curves["train_loss"].steps.tolist() == [0, 1, 2]
    assert math.isnan(piece.curves["train_loss"].values[1])
    assert piece.curves["train_loss"].times.tolist() == [1.5, 1.5, 1.5]
    assert (piece.is_whole, piece.cursor) == (True, None)


def test_two_sequences_never_become_one_metric(tmp_path: Path) -> None:
    write(tmp_path, "abc", {}, [curve("val_loss", 1.0), curve("loss", 2.0, subset="val")])
    ((run, piece),) = read_all(READER, tmp_path)
    assert sorted(piece.curves) == ["loss[subset=val]", "val_loss"]
    assert (run.name, run.experiment) == (None, "default")
    assert metric_name("val_loss", {"subset": "val"}) == "val_loss"


def test_without_an_end_a_run_goes_on_for_an_hour_and_is_then_crashed(tmp_path: Path) -> None:
    write(tmp_path, "abc", {}, [curve("loss", 1.0)])
    ((run, _),) = read_all(READER, tmp_path)
    assert (run.state, run.active is not None) == (RunState.RUNNING, True)
    os.utime(tmp_path / ".aim" / "seqs" / "chunks" / "abc" / "0.json", (1_700_000_000, 1_700_000_000))
    ((run, _),) = read_all(READER, tmp_path)
    assert run.state is RunState.CRASHED


def test_nothing_is_written_into_a_repository(tmp_path: Path) -> None:
    write(tmp_path, "abc", {}, [curve("loss", 1.0)])
    before = sorted(tmp_path.rglob("*"))
    list(read_all(READER, tmp_path))
    assert sorted(tmp_path.rglob("*")) == before


def test_what_changed_is_seen_without_opening_a_run(tmp_path: Path) -> None:
    for known in ("b", "a"):
        write(tmp_path, known, {}, [curve("loss", 1.0)])
    with closing(sqlite3.connect(tmp_path / ".aim" / "run_metadata.sqlite")) as database, database:
        database.execute("CREATE TABLE run (id, hash, name, created_at)")
        database.executemany("INSERT INTO run VALUES (?, ?, 'n', ?)", [(1, "b", "2024-01-01"), (2, "a", "2024-01-02")])

    def stamps() -> dict[str, str]:
        with READER.open(Found("aim", str(tmp_path)), Options()) as source:
            return {entry.place: entry.stamp for entry in source.entries()}

    before = stamps()
    assert list(before) == ["b", "a"]
    assert stamps() == before
    write(tmp_path, "a", {}, [curve("loss", 1.0, 2.0)])
    assert [place for place, stamp in stamps().items() if stamp != before[place]] == ["a"]
    before = stamps()
    with closing(sqlite3.connect(tmp_path / ".aim" / "run_metadata.sqlite")) as database, database:
        database.execute("UPDATE run SET name = 'renamed' WHERE hash = 'b'")
    assert [place for place, stamp in stamps().items() if stamp != before[place]] == ["b"]


def test_a_run_that_cannot_be_read_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    for known in ("bad", "good"):
        write(tmp_path, known, {}, [curve("loss", 1.0)])
    (tmp_path / ".aim" / "meta" / "chunks" / "bad" / "run.json").write_text("{")
    with READER.open(Found("aim", str(tmp_path)), Options()) as source:
        bad, good = source.entries()
        with pytest.raises(SourceError, match="Aim cannot read run bad"):
            bad.load()
        run = good.load()
        (tmp_path / ".aim" / "seqs" / "chunks" / "good" / "0.json").unlink()
        with pytest.raises(SourceError, match="Aim cannot read run good"):
            run.read(None)


def test_a_repository_is_found_and_a_missing_package_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "project", "abc", {}, [])
    (found,) = find(READER, tmp_path)
    assert (found.path, found.n_runs, found.claims) == (str(tmp_path / "project"), 1, frozenset({".aim"}))
    ((inside,),) = (find(READER, tmp_path / "project" / ".aim"),)
    assert (inside.path, inside.claims) == (found.path, None)
    monkeypatch.setitem(sys.modules, "aim", None)
    with pytest.raises(MissingExtraError, match=r"experiment-advisor\[aim\]"):
        READER.open(found, Options())


@pytest.mark.skipif(importlib.util.find_spec("aim") is None, reason="aim is not installed")
def test_the_real_package_gives_every_point(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[4])}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "repository")], env=environment, capture_output=True, text=True
    )
    assert "every point is equal, and nothing was written" in done.stdout, done.stderr
