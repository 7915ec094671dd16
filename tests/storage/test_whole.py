"""What the file system cuts short is taken back: a limit on file sizes that lies in the last bytes of a data file."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from storage.lance import Database
from storage.whole import cut_short, data_files

pytest.importorskip("resource", reason="limits on file sizes are those of Unix")

LIMITED = """
    import json, resource, shutil, sys
    from pathlib import Path
    from storage.errors import StoreUnavailableError
    from storage.lance import Database

    COLUMNS = {"number": "int64", "name": "string"}
    folder = Path(sys.argv[1])
    data = folder / "runs.lance" / "data"

    def rows(*numbers):
        return {"number": list(numbers), "name": [f"run {n} " + "".join(map(str, range(n, 900 + n))) for n in numbers]}

    def written(what):
        "Bytes of the data file that something writes."
        before = set(data.iterdir()) if data.exists() else set()
        what()
        return max(path.stat().st_size for path in set(data.iterdir()) - before)

    def attempt(what, size):
        "Do it where no file may be as large as it gets, by a few bytes."
        resource.setrlimit(resource.RLIMIT_FSIZE, (size - 20, resource.RLIM_INFINITY))
        try:
            what()
        except StoreUnavailableError as error:
            said.append(str(error))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    said = []
    database = Database(folder, create=True)
    database.create("runs", COLUMNS)
"""
"""What each process below begins with."""

SAID = "the file system cut a data file short (is the disk full, or a quota or a limit on file sizes reached?)"


def limited(folder: Path, then: str) -> list[Any]:
    """Run a process on a new database and return what it printed as JSON."""
    program = textwrap.dedent(LIMITED) + textwrap.dedent(then)
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def numbers(folder: Path) -> list[int]:
    database = Database(folder, create=False)
    database.read_through("runs")
    return sorted(map(int, database.columns("runs", {"number": "number"})["number"]))


def test_an_append_that_was_cut_short_is_taken_back_and_can_be_tried_again(tmp_path: Path) -> None:
    (said,) = limited(
        tmp_path / "db",
        """
        size = written(lambda: database.append("runs", rows(1), COLUMNS))
        attempt(lambda: database.append("runs", rows(2), COLUMNS), size)
        Database(folder, create=False).append("runs", rows(3), COLUMNS)
        database.append("runs", rows(4), COLUMNS)
        print(json.dumps(said))
        """,
    )
    assert said == f"cannot append to 'runs' in the store at {str(tmp_path / 'db')!r}: {SAID}; nothing of it was kept"
    assert numbers(tmp_path / "db") == [1, 3, 4]


def test_rows_that_were_to_be_replaced_are_still_there(tmp_path: Path) -> None:
    (said,) = limited(
        tmp_path / "db",
        """
        size = written(lambda: database.upsert("runs", rows(1, 2), COLUMNS, key="number"))
        attempt(lambda: database.upsert("runs", rows(1, 2), COLUMNS, key="number"), size)
        print(json.dumps(said))
        """,
    )
    assert SAID in said
    assert numbers(tmp_path / "db") == [1, 2]


@pytest.mark.parametrize("others", ["nobody adds", "others have added"])
def test_a_compaction_that_was_cut_short_costs_no_row(tmp_path: Path, others: str) -> None:
    said, more = limited(
        tmp_path / "db",
        f"""
        for number in range(5):
            database.append("runs", rows(number), COLUMNS)
        shutil.copytree(folder, folder.parent / "copy")
        data = folder.parent / "copy" / "runs.lance" / "data"
        size = written(lambda: Database(folder.parent / "copy", create=False).optimize("runs"))
        if {others == "others have added"}:  # after the compaction, and before it is seen that it was cut short
            looked, more = database._cut_short, rows(9)
            def late(*args, **how):
                database._cut_short = looked
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                Database(folder, create=False).append("runs", more, COLUMNS)
                return looked(*args, **{{**how, "version": database.version("runs")}})
            database._cut_short = late
        attempt(lambda: database.optimize("runs"), size)
        print(json.dumps([*said, Database(folder, create=False).count("runs")]))
        """,
    )
    assert said.startswith(f"cannot compact the store at {str(tmp_path / 'db')!r}: {SAID}")
    if others == "nobody adds":
        assert said.endswith("; nothing of it was kept")
        assert numbers(tmp_path / "db") == [0, 1, 2, 3, 4]
    else:  # nothing is given up that somebody has added since; a person decides
        assert "could not be taken back" in said
        assert more == 6


def test_the_files_of_a_version_are_known(tmp_path: Path) -> None:
    """Holds for the installed release of the library; without it nothing would ever be found cut short."""
    database = Database(tmp_path / "db", create=True)
    columns = {"number": "int64"}
    database.create("runs", columns)
    versions = [database.append("runs", {"number": [number]}, columns) for number in range(30)]
    table = tmp_path / "db" / "runs.lance"
    assert data_files(table, versions[-1]) == {path.name for path in (table / "data").iterdir()}
    assert len(data_files(table, versions[3]) - data_files(table, versions[2])) == 1
    assert cut_short(table, since=0, version=versions[-1]) == frozenset()
    database.optimize("runs")
    merged = data_files(table, database.version("runs")) - data_files(table, versions[-1])
    assert len(merged) == 1
    (name,) = merged
    path = table / "data" / name
    path.write_bytes(path.read_bytes()[:-1])
    assert cut_short(table, since=versions[-1], version=database.version("runs")) == merged
    path.unlink()
    assert cut_short(table, since=versions[-1], version=database.version("runs")) == merged
    assert data_files(table, 10_000) == frozenset()
