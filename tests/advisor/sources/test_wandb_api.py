"""The client is stood in for: what is used of it is small, and a server cannot be reached from the tests."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from advisor.errors import MissingExtraError, SourceError
from advisor.sources.port import Options
from advisor.sources.wandb import WandbReader
from advisor.sources.wandb_api import ApiSource
from storage.records import RunState


@dataclass
class Run:
    id: str = "abc"
    name: str = "first one"
    state: str = "finished"
    entity: str = "ann"
    project: str = "toy"
    created_at: str = "2024-01-01T10:00:00Z"
    config: Mapping[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    url: str = "https://wandb.ai/ann/toy/runs/abc"
    summary: Mapping[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    _attrs: dict[str, Any] = field(default_factory=dict)

    def scan_history(self, *, page_size: int = 1_000, min_step: int = 0) -> Iterator[dict[str, Any]]:
        assert page_size >= 1_000
        yield from (row for row in self.rows if row["_step"] >= min_step)


@dataclass
class Api:
    all_runs: list[Run]

    def runs(self, path: str, *, order: str = "", per_page: int = 50) -> list[Run]:
        assert (path, order) == ("ann/toy", "+created_at")
        return self.all_runs

    def run(self, path: str) -> Run:
        for run in self.all_runs:
            if path == f"ann/toy/{run.id}":
                return run
        raise ValueError(f"Could not find run <Run {path} (not found)>")


def source(*runs: Run, address: str = "ann/toy") -> ApiSource:
    return ApiSource(address, Options(), Api(list(runs)))


def rows(*values: Any) -> list[dict[str, Any]]:
    return [
        {"_step": i, "_timestamp": 1_704_103_200 + i, "_runtime": i, "loss": value} for i, value in enumerate(values)
    ]


def test_a_project_is_read_with_every_row() -> None:
    history = rows(1, 0.5, "NaN", math.inf, None, {"f1": 2, "_note": "x"}, {"_type": "histogram"})
    run = Run(
        config={"lr": 0.1, "model": {"depth": 3}, "_wandb": {}, "seed": 4},
        tags=["t"],
        summary={"best": 0.5, "_step": 9, "image": {"_type": "image-file"}},
        rows=history,
        _attrs={"heartbeatAt": "2024-01-01T11:00:00", "notes": "a note", "commit": "c0ffee", "group": "g", "host": "h"},
    )
    (entry,) = source(run).entries()
    loaded = entry.load()
    piece = loaded.read(None)
    assert (loaded.key, loaded.experiment, loaded.name, loaded.seed) == ("ann/toy/abc", "toy", "first one", 4)
    assert loaded.params == {"lr": 0.1, "model.depth": 3, "seed": 4}
    assert (loaded.state, list(loaded.tags), list(loaded.notes)) == (RunState.FINISHED, ["t"], ["a note"])
    assert loaded.environment == {"git_commit": "c0ffee", "hostname": "h"}
    assert (loaded.meta["group"], loaded.meta["url"]) == ("g", run.url)
    assert loaded.attributes == {"best": 0.5}
    assert loaded.started is not None
    assert loaded.ended is not None
    loss = piece.curves["loss"]
    assert loss.steps.tolist() == [0, 1, 2, 3]
    assert math.isnan(loss.values[2])
    assert (loss.values[3], loss.times.tolist()) == (math.inf, [0.0, 1.0, 2.0, 3.0])
    assert piece.curves["loss.f1"].values.tolist() == [2.0]
    assert piece.notes == ("2 values that are no numbers were left out",)


def test_a_reading_goes_on_after_the_last_step() -> None:
    run = Run(state="running", rows=rows(1, 2))
    loaded = next(iter(source(run).entries())).load()
    first = loaded.read(None)
    run.rows = rows(1, 2, 3)
    rest = loaded.read(first.cursor)
    assert (loaded.state, rest.is_whole, rest.curves["loss"].steps.tolist()) == (RunState.RUNNING, False, [2])


def test_the_stamp_changes_with_the_run() -> None:
    run = Run(state="running", _attrs={"historyLineCount": 3})
    (before,) = source(run).entries()
    run._attrs["historyLineCount"] = 4
    (after,) = source(run).entries()
    assert before.stamp != after.stamp


def test_what_the_client_raises_is_one_sentence() -> None:
    with pytest.raises(SourceError, match="did not give what was asked for: Could not find run"):
        list(source(Run(), address="ann/toy/none").entries())

    class Broken(Run):
        def scan_history(self, *, page_size: int = 1_000, min_step: int = 0) -> Iterator[dict[str, Any]]:
            raise TimeoutError("read timed out")

    (entry,) = source(Broken(), address="ann/toy/abc").entries()
    with pytest.raises(SourceError, match="read timed out"):
        entry.load().read(None)


def test_an_address_is_known_and_must_name_a_project(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = WandbReader()
    assert reader.find_address("https://example.org/ann/toy") is None
    found = reader.find_address("wandb://ann/toy")
    assert found is not None
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(MissingExtraError, match=r"experiment-advisor\[wandb\]"):
        reader.open(found, Options())
    with pytest.raises(SourceError, match="give wandb://entity/project"):
        ApiSource("ann", Options(), Api([]))
