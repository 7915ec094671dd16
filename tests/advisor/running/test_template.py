"""Commands with places for parameters."""

from __future__ import annotations

import pytest

from advisor.errors import ConfigError
from advisor.running.template import Template

NAMES = ["lr", "layers", "model.depth", "opt"]


def filled(*arguments: str, **params: object) -> list[str]:
    return Template.parse(arguments, NAMES).fill(params, run_id="r1", seed=7)


def test_a_place_may_be_anywhere_in_an_argument() -> None:
    assert filled("t", "--lr={lr}", "{lr}x{layers}", lr=0.1, layers=3) == ["t", "--lr=0.1", "0.1x3"]
    assert filled("t", "{model.depth}", **{"model.depth": 2}) == ["t", "2"]


def test_doubled_braces_are_braces() -> None:
    assert filled("t", '{{"lr": {lr}}}', "{{lr}}", lr=1e-05) == ["t", '{"lr": 1e-05}', "{lr}"]


def test_one_argument_stays_one_whatever_it_holds() -> None:
    nasty = "a b; rm -rf $HOME `x` \n\"'{lr}"
    assert filled("t", "{opt}", opt=nasty) == ["t", nasty]


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "True"), (None, "None"), (3, "3"), (0.1 + 0.2, "0.30000000000000004"), ([1, "b"], '[1, "b"]')],
)
def test_values_are_written_so_that_they_read_back(value: object, text: str) -> None:
    assert filled("{opt}", opt=value) == [text]


def test_the_run_and_its_seed_are_known() -> None:
    assert filled("t", "{run_id}/{seed}") == ["t", "r1/7"]
    assert Template.parse(["{seed}"], ["seed"]).fill({"seed": 1}, run_id="r", seed=7) == ["1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["t", "{layer}"], "did you mean 'layers'"),
        (["t", "{}"], "no parameter"),
        (["t", '{"a": 1}'], r"Braces themselves are written \{\{ and \}\}"),
        (["t", "{lr"], "lone '{'; write {{"),
        (["t", "lr}"], "lone '}'; write }}"),
        ([], "no command"),
        ([" "], "no command"),
        ("train.py", "give a list of its words"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Template.parse(arguments, NAMES)


def test_what_was_not_suggested_is_said() -> None:
    with pytest.raises(ConfigError, match="not suggested this time"):
        filled("t", "{lr}")


def test_what_the_command_does_not_use_is_known() -> None:
    assert Template.parse(["t", "{lr}", "{seed}"], NAMES).unused(NAMES) == ["layers", "model.depth", "opt"]


@pytest.mark.parametrize(
    ("option", "kept"),
    [
        (["--momentum", "{m}"], ["--momentum", "0.9"]),
        (["-m", "{m}"], ["-m", "0.9"]),
        (["--momentum={m}"], ["--momentum=0.9"]),
        (["+opt.momentum={m}"], ["+opt.momentum=0.9"]),
    ],
)
def test_an_option_without_a_meaning_is_left_out_with_its_flag(option: list[str], kept: list[str]) -> None:
    template = Template.parse(["t", "a.py", *option, "--lr", "{lr}"], ["lr", "m"], conditional=["m"])
    assert template.fill({"lr": 1, "m": 0.9}, run_id="r", seed=0) == ["t", "a.py", *kept, "--lr", "1"]
    assert template.fill({"lr": 1}, run_id="r", seed=0, inactive=["m"]) == ["t", "a.py", "--lr", "1"]
    with pytest.raises(ConfigError, match="not suggested this time"):
        template.fill({"lr": 1}, run_id="r", seed=0)


@pytest.mark.parametrize(
    "arguments",
    [
        ["{m}"],
        ["t", "{m}"],
        ["t", "a.py", "{m}"],
        ["t", "-1", "{m}"],
        ["t", "--a=b", "{m}"],
        ["t", "--both={lr},{m}"],
        ["t", "sh", "-c", "train --momentum {m}"],
    ],
)
def test_what_could_not_be_left_out_is_refused_at_once(arguments: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"make it an option of its own, --m \{m\} or --m=\{m\}"):
        Template.parse(arguments, ["lr", "m"], conditional=["m"])
