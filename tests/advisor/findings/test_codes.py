from __future__ import annotations

import re
from pathlib import Path

import pytest

from advisor import findings
from advisor.findings import (
    CODES,
    check,
    codes,
    configuration,
    context,
    design,
    duck,
    forest,
    monitor,
    pace,
    rules,
    state,
    taught,
    trail,
)

PAGE = (Path(__file__).parents[3] / "docs" / "findings.md").read_text(encoding="utf-8")
SECTIONS = {part.split("\n", 1)[0].strip(): part for part in re.split(r"^## ", PAGE, flags=re.M)[1:]}


def test_the_front_door_is_pinned() -> None:
    assert findings.__all__ == ["CODES", "Checked", "Monitor", "NotJudged", "RunScore", "check_experiment"]
    assert all(hasattr(findings, name) for name in findings.__all__)


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_is_documented_in_three_parts(code: str) -> None:
    section = SECTIONS[code]
    assert CODES[code].slug in section
    for heading in ("How it is detected.", "Why it matters.", "What to do."):
        assert f"**{heading}**" in section


def test_no_code_is_documented_that_does_not_exist() -> None:
    assert {name for name in SECTIONS if name.startswith("ADV")} == set(CODES)


def test_the_documented_thresholds_are_those_of_the_code() -> None:
    stated = dict(re.findall(r"`([A-Z_]+)`\s+=\s+([0-9.]*[0-9])", PAGE))
    assert len(stated) > 20
    for name, value in stated.items():
        modules = (rules, pace, trail, state, duck, context, design, forest, taught, check, monitor, configuration)
        homes = [module for module in modules if hasattr(module, name)]
        assert homes, f"{name} is documented and does not exist"
        assert getattr(homes[0], name) == pytest.approx(float(value)), name


def test_every_threshold_of_a_rule_is_documented() -> None:
    for module in (rules, pace, trail, state):
        for name in vars(module):
            if (
                name.isupper()
                and not name.startswith("_")
                and name != "KW_ONLY"
                and isinstance(getattr(module, name), int | float)
            ):
                assert f"`{name}`" in PAGE, name


def test_the_same_trouble_has_the_same_id_and_another_has_another() -> None:
    assert codes.finding_id("r", "ADV101", "loss") == codes.finding_id("r", "ADV101", "loss")
    others = {
        codes.finding_id(*key) for key in [("r", "ADV101", "loss"), ("r", "ADV101", None), ("s", "ADV101", "loss")]
    }
    assert len(others) == 3
