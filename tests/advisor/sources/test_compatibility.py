from __future__ import annotations

from pathlib import Path

from advisor.sources.registry import readers
from tests.advisor.sources import compatibility
from tests.advisor.sources.recorded import DATA

WITHOUT_FIXTURES = {"advisor", "aim"}
"""Our own form, and one that only its tool can read."""


def test_the_page_says_what_the_fixtures_show() -> None:
    said = compatibility.written()
    assert said == compatibility.table(), "run python -m tests.advisor.sources.compatibility"


def test_every_reader_was_tried_on_files_of_its_tool_and_has_its_page() -> None:
    docs = Path(__file__).resolve().parents[3] / "docs" / "sources"
    for reader in readers():
        if reader.tool not in WITHOUT_FIXTURES:
            assert list(DATA.glob(f"{reader.tool}-*")), reader.tool
            assert (docs / f"{reader.tool}.md").is_file(), reader.tool
