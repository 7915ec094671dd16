"""docs/spaces.md is executed: its Python runs in order in one place, its YAML is the space that its Python declares."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FENCE = re.compile(r"^```(python|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page_on_spaces_runs(repository: Path, tmp_path: Path) -> None:
    found = FENCE.findall((repository / "docs" / "spaces.md").read_text(encoding="utf-8"))
    (tmp_path / "space.yaml").write_text(next(body for kind, body in found if kind == "yaml"), encoding="utf-8")
    first, *rest = [body for kind, body in found if kind == "python"]
    same = "from advisor.suggest.space import Space\nassert Space.from_yaml('space.yaml') == exp.space()[0]\n"
    (tmp_path / "page.py").write_text("\n".join([first, same, *rest]), encoding="utf-8")
    done = subprocess.run([sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = [line for line in done.stdout.splitlines() if line]
    assert shown[0] == "momentum has no meaning with optimizer = 'adam'; leave it out"
    printed = re.findall(r"^# (fixed: .*)$", "".join(rest), re.MULTILINE)
    assert len(printed) == 3
    assert shown[1:4] == printed
    assert shown[4].startswith("not enough repeats to tell how noisy val_loss is")
    assert "1 of its 1 runs lie inside" in done.stderr
