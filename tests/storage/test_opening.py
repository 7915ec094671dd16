"""A store is opened when it is needed, and what was announced before is in it by then."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from storage.embed import HashingEmbedder
from storage.errors import SchemaTooNewError, StoreNotFoundError, StoreUnavailableError
from storage.opening import Opening
from storage.place import Place, read_catalog, write_catalog
from storage.records import Event
from storage.store import open_store


def opening_of(folder: Path) -> Opening:
    return Opening(str(folder), embedder=HashingEmbedder())


def test_nothing_is_opened_before_somebody_asks(tmp_path: Path) -> None:
    opening = opening_of(tmp_path / "store")
    assert opening.opened is None
    assert not (tmp_path / "store" / "events.lance").exists()
    assert opening.get() is opening.opened


def test_whoever_asks_finds_what_was_announced_in_its_order(tmp_path: Path) -> None:
    opening = opening_of(tmp_path / "store")
    opening.announce(lambda store: [Event.new("experiment.created", "a", description="first")], defines=True)
    opening.announce(
        lambda store: [Event.new("experiment.created", "b")] if store.experiment("a") else [], defines=True
    )
    opening.announce(lambda store: [Event.new("run.created", "b", "r0")])
    opening.announce(lambda store: [Event.new("run.created", "b", "r1")])
    store = opening.get()
    assert [experiment.name for experiment in store.experiments()] == ["a", "b"]
    assert [run.id for run in store.runs("b")] == ["r0", "r1"]
    assert not opening.waits


def test_threads_that_ask_at_once_get_one_store_and_every_announcement_once(tmp_path: Path) -> None:
    opening = opening_of(tmp_path / "store")
    opening.announce(lambda store: [Event.new("experiment.created", "a")], defines=True)
    for number in range(8):
        event = Event.new("run.created", "a", f"r{number}")
        opening.announce(lambda store, event=event: [event])  # type: ignore[misc]
    got: list[object] = []
    threads = [threading.Thread(target=lambda: got.append(opening.get())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(store) for store in got}) == 1
    assert [run.id for run in opening.get().runs("a")] == [f"r{number}" for number in range(8)]


def test_a_store_that_cannot_be_opened_is_tried_again_by_whoever_asks_again(tmp_path: Path) -> None:
    opening_of(tmp_path / "store").get()
    manifest = tmp_path / "store" / "migrations.lance" / "_versions"
    opening = opening_of(tmp_path / "store")
    opening.announce(lambda store: [Event.new("experiment.created", "a")], defines=True)
    manifest.rename(tmp_path / "away")
    with pytest.raises(StoreUnavailableError):
        opening.get()
    assert opening.waits
    (tmp_path / "away").rename(manifest)
    assert [experiment.name for experiment in opening.get().experiments()] == ["a"]


def test_what_was_announced_can_be_taken_back(tmp_path: Path) -> None:
    opening = opening_of(tmp_path / "store")
    opening.withdraw(opening.announce(lambda store: [Event.new("experiment.created", "a")], defines=True))
    assert opening.get().experiments() == []


def test_what_nobody_asks_for_is_delivered_after_a_while(tmp_path: Path) -> None:
    opening = opening_of(tmp_path / "store")
    opening.announce(lambda store: [Event.new("experiment.created", "a")], defines=True)
    opening.soon(0.01)
    for thread in threading.enumerate():
        if thread.name == "advisor-soon":
            thread.join(60)
    assert not opening.waits


def test_a_wrong_place_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    for name, said in (("file", "is a file"), ("other", "holds no store")):
        with pytest.raises(StoreNotFoundError, match=said):
            opening_of(tmp_path / name)
    with pytest.raises(StoreNotFoundError, match="no store at"):
        Opening(str(tmp_path / "none"), create=False)
    with pytest.raises(StoreUnavailableError, match="cannot"):
        opening_of(tmp_path / "file" / "below")


def test_the_catalog_lists_what_the_store_holds(tmp_path: Path) -> None:
    opening = opening_of(tmp_path / "store")
    space = {"lr": {"kind": "float", "low": 0.1, "high": 1.0}}
    body = {"objectives": [{"metric": "loss", "direction": "maximize"}], "space": space, "description": "é"}
    opening.announce(lambda store: [Event.new("experiment.created", "a", **body)], defines=True)
    record = opening.get().experiment("a")
    listed = read_catalog(Place(str(tmp_path / "store")))
    assert listed is not None
    assert (listed["a"].objectives, dict(listed["a"].space or {})) == (record.objectives, space)
    assert (listed["a"].description, listed["a"].created) == ("é", record.created)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 99}', '{"format": 1, "uri": "x"}'])
def test_a_torn_or_strange_catalog_says_nothing(tmp_path: Path, content: str) -> None:
    place = Place(str(tmp_path))
    write_catalog(place, [])
    assert read_catalog(place) == {}
    place.catalog_file().write_text(content, encoding="utf-8")
    assert read_catalog(place) is None


def test_a_store_of_a_newer_version_is_told_at_once(tmp_path: Path) -> None:
    opening_of(tmp_path / "store").get()
    file = Place(str(tmp_path / "store")).catalog_file()
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema": 999}), encoding="utf-8")
    with pytest.raises(SchemaTooNewError, match="schema 999"):
        opening_of(tmp_path / "store")


def test_logs_of_a_remote_store_lie_in_the_users_state(clean_environment: Path) -> None:
    folder = Place("s3://bucket/runs").spool_folder()
    assert folder.is_relative_to(clean_environment)
    assert folder != Place("s3://bucket/other").spool_folder()


def test_a_script_may_put_files_into_the_folder_before_the_store_is_made(tmp_path: Path) -> None:
    Place(str(tmp_path / "store")).check(create=True)
    (tmp_path / "store" / "plot.png").write_bytes(b"picture")
    assert open_store(tmp_path / "store").runs() == []
    assert (tmp_path / "store" / "plot.png").exists()
