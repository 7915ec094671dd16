from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from advisor.errors import SourceError
from advisor.sources.keras import KerasReader
from advisor.sources.port import Found, Options, Piece, SourceRun
from storage.records import RunState
from tests.advisor.sources.recorded import DATA, assert_survives, expected, listing, read_all

FOLDERS = ("keras-3.15.1", "keras-2.15.0")
READER = KerasReader()


def one(path: Path) -> tuple[SourceRun, Piece]:
    (found,) = read_all(READER, path)
    return found


@pytest.mark.parametrize("release", FOLDERS)
@pytest.mark.parametrize("file", ["{}/training.log", "{}/history.json", "{}.json"])
def test_a_table_and_histories_tell_what_the_training_returned(release: str, file: str) -> None:
    for told in expected(DATA / release):
        run, piece = one(DATA / release / file.format(told["name"]))
        assert sorted(piece.curves) == sorted(told["history"])
        for metric, values in told["history"].items():
            assert piece.curves[metric].steps.tolist() == list(range(len(values)))
            np.testing.assert_allclose(piece.curves[metric].values, values, rtol=1e-7, err_msg=metric)
        assert run.state is (None if file.endswith(".log") else RunState.FINISHED)


def test_settings_within_a_history_are_parameters() -> None:
    run, _ = one(DATA / FOLDERS[0] / "a.json")
    assert run.params["epochs"] == 5


def test_a_history_beside_a_table_is_not_read_twice() -> None:
    (found,) = READER.find(listing(DATA / FOLDERS[0] / "a"))
    assert found.claims == {"training.log", "history.json"}
    with READER.open(found, Options()) as source:
        list(source.entries())
        assert source.notes == ["history.json was not read beside the table of CSVLogger"]


def test_a_history_by_itself_is_found_in_a_folder_and_other_json_is_not(tmp_path: Path) -> None:
    (tmp_path / "chat_history.json").write_text('{"messages": ["hello"]}')
    (tmp_path / "my_history.json").write_text(
        '{"loss": [1, null, NaN, "inf"], "val_loss": [], "lr": [0.1, 0.1, 0.1, 1]}'
    )
    assert READER.find(listing(tmp_path)) == []
    (tmp_path / "my_history.json").write_text('{"loss": [1, null, NaN, "inf"], "lr": [0.1, 0.1, 0.1, 1]}')
    (found,) = READER.find(listing(tmp_path))
    assert Path(found.path).name == "my_history.json"
    _, piece = one(tmp_path / "my_history.json")
    np.testing.assert_array_equal(piece.curves["loss"].values, [1, math.nan, math.nan, math.inf])


def test_a_training_that_was_resumed_keeps_its_rows_in_order(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss,val_loss\n0,3,NA\n1,2,2.5\n0,1.5,\n1,1,inf\n")
    (found,) = READER.find(listing(tmp_path))
    assert found.path == str(path)
    _, piece = one(path)
    assert piece.curves["loss"].steps.tolist() == [0, 1, 0, 1]
    assert piece.curves["val_loss"].values.tolist() == [2.5, math.inf]


def test_saved_models_are_refused_with_what_to_give_instead(tmp_path: Path) -> None:
    found = READER.find_file(tmp_path / "model.keras")
    assert isinstance(found, Found)
    with pytest.raises(
        SourceError, match=r"holds no history; give the table of CSVLogger, or History\.history as JSON"
    ):
        READER.open(found, Options())
    (tmp_path / "other.csv").write_text("epoch,val_loss,loss\n0,1,2\n")  # not in the logger's order
    assert READER.find_file(tmp_path / "other.csv") is None


def test_damaged_files_end_in_a_run_or_a_refusal(tmp_path: Path) -> None:
    shutil.copytree(DATA / FOLDERS[0], tmp_path / "from")
    for name in ("a", "b"):
        shutil.rmtree(tmp_path / "from" / name)
        (tmp_path / "from" / f"{name}.json").rename(tmp_path / "from" / f"{name}_history.json")
    history = json.loads((tmp_path / "from" / "a_history.json").read_text())
    (tmp_path / "from" / "log").mkdir()
    text = "epoch,loss\n" + "".join(f"{i},{value}\n" for i, value in enumerate(history["history"]["loss"]))
    (tmp_path / "from" / "log" / "training.csv").write_text(text)
    assert_survives(READER, tmp_path / "from", n=100, seed=5, scratch=tmp_path / "to")
