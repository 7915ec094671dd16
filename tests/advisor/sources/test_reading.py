from __future__ import annotations

import pytest

from advisor.errors import SourceError
from advisor.sources.reading import parse_yaml
from advisor.sources.values import from_text, seed_of, tag


@pytest.mark.parametrize("text", ["a: &x [1]\nb: *x\n", "&x [*x]", "a: &x {b: 1}\nc: {<<: *x}\n"])
def test_yaml_aliases_are_refused_since_they_unfold_to_any_size(text: str) -> None:
    with pytest.raises(SourceError, match="aliases, which are not followed"):
        parse_yaml(text)


def test_yaml_with_stars_and_ampersands_in_texts_is_read() -> None:
    assert parse_yaml("glob: '*.py & more'\nother: a & b * c\n") == {"glob": "*.py & more", "other": "a & b * c"}


def test_text_becomes_a_number_only_where_it_can_mean_nothing_else() -> None:
    for text in ("3.10", "007", "1_000", "0x10", "+1", "1e400000", "1e10abc", "", " 1", "true", "9" * 400):
        assert from_text(text) == text
    for text, value in (("-3", -3), ("100.0", 100.0), ("2.5E-4", 2.5e-4), ("1e+20", 1e20), ("-inf", float("-inf"))):
        assert from_text(text) == value
        assert type(from_text(text)) is type(value)


def test_the_seed_is_found_by_its_usual_names() -> None:
    assert seed_of({"lr": 1, "seed": 4, "train.seed": 5}) == 4
    assert seed_of({"train/random_state": 5}) == 5
    assert seed_of({"seed": None, "n_seeds": 3}) is None
    assert seed_of({"seed": True}) is None


def test_a_tag_of_a_secret_name_hides_its_value() -> None:
    assert tag("db_password", "hunter2") == "db_password=[redacted]"
    assert (tag("team", "vision"), tag("baseline", "true")) == ("team=vision", "baseline")
