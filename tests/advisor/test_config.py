"""Settings come from one place, in a stated order, and a mistake in them is one clear sentence."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from advisor.config import SETTINGS, Settings, resolve
from advisor.errors import ConfigError
from advisor.redact import looks_secret

CANARY = "hunter2-canary"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_hold_where_nothing_is_configured(tmp_path: Path) -> None:
    assert resolve(cwd=tmp_path, environ={}) == Settings()
    assert Settings().store == "advisor-store"
    assert Settings().llm is None


def test_file_beats_defaults_environment_beats_file_and_arguments_beat_all(tmp_path: Path) -> None:
    write(tmp_path / "advisor.toml", 'llm = "from-file"\nllm_api_base = "http://file"\nembedder = "from-file"\n')
    environ = {"ADVISOR_LLM": "from-env", "ADVISOR_LLM_API_BASE": "http://env"}
    settings = resolve(cwd=tmp_path, environ=environ, llm="from-argument", llm_api_base=None)
    assert settings.llm == "from-argument"
    assert settings.llm_api_base == "http://env"
    assert settings.embedder == "from-file"
    assert settings.file == tmp_path / "advisor.toml"


def test_the_nearest_file_upwards_is_used_and_folders_in_it_are_relative_to_it(tmp_path: Path) -> None:
    write(tmp_path / "advisor.toml", 'store = "far"')
    write(tmp_path / "a" / "pyproject.toml", '[tool.advisor]\nstore = "near"\nreports = "out"\n')
    write(tmp_path / "a" / "b" / "pyproject.toml", '[project]\nname = "other"\n')
    settings = resolve(cwd=tmp_path / "a" / "b", environ={})
    assert settings.store == str(tmp_path / "a" / "near")
    assert settings.reports == tmp_path / "a" / "out"
    assert settings.file == tmp_path / "a" / "pyproject.toml"


def test_advisor_toml_beats_pyproject_toml_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "advisor.toml", 'llm = "own"')
    write(tmp_path / "pyproject.toml", '[tool.advisor]\nllm = "project"')
    assert resolve(cwd=tmp_path, environ={}).llm == "own"


def test_an_address_in_a_file_is_left_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "advisor.toml", 'store = "s3://bucket/runs"')
    assert resolve(cwd=tmp_path, environ={}).store == "s3://bucket/runs"


def test_an_absolute_folder_in_a_file_is_left_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "advisor.toml", 'store = "/data/runs"')
    assert resolve(cwd=tmp_path, environ={}).store == "/data/runs"


@pytest.mark.parametrize("given", ["json://a/x,slack://b", " json://a/x  slack://b ", "json://a/x, slack://b"])
def test_several_channels_are_separated_by_commas_or_blanks(tmp_path: Path, given: str) -> None:
    assert resolve(cwd=tmp_path, environ={"ADVISOR_NOTIFY": given}).notify == ("json://a/x", "slack://b")


def test_channels_in_a_file_may_be_a_list(tmp_path: Path) -> None:
    write(tmp_path / "advisor.toml", 'notify = ["console", "json://a"]')
    assert resolve(cwd=tmp_path, environ={}).notify == ("console", "json://a")


@pytest.mark.parametrize(("word", "meant"), [("1", True), ("true", True), ("No", False), ("off", False)])
def test_a_flag_can_be_said_in_several_ways(tmp_path: Path, word: str, meant: bool) -> None:
    assert resolve(cwd=tmp_path, environ={"ADVISOR_CAPTURE": word}).capture is meant


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    assert resolve(cwd=tmp_path, environ={"ADVISOR_STORE": " "}).store == "advisor-store"


def test_a_path_object_is_accepted_as_the_store(tmp_path: Path) -> None:
    assert resolve(cwd=tmp_path, environ={}, store=tmp_path / "runs").store == str(tmp_path / "runs")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('stor = "x"', "unknown setting 'stor'.*did you mean 'store'"),
        ('zzz = "x"', "unknown setting 'zzz'.*'store'"),
        ("store = 3", "store in .* must be a text"),
        ('store = ""', "must be a text that is not empty"),
        ('capture = "maybe"', "must be true or false, not 'maybe'"),
        ("diff_limit_bytes = -1", "at least 0, not -1"),
        ("diff_limit_bytes = true", "whole number"),
        ("llm_timeout_s = 0", "positive number, not 0"),
        ("llm_cost_per_day = nan", "positive number, not nan"),
        ("llm_tokens_per_day = -1", "at least 0, not -1"),
        ('notify_severity = "fatal"', "one of info, warning, error, not 'fatal'"),
        ("notify = 3", "list of addresses"),
        ("notify = [3]", "list of addresses"),
        ("store = ", "is not valid TOML"),
        ('file = "x"', "unknown setting 'file'"),
    ],
)
def test_a_mistake_in_the_file_is_one_clear_sentence(tmp_path: Path, text: str, said: str) -> None:
    write(tmp_path / "advisor.toml", text)
    with pytest.raises(ConfigError, match=said) as caught:
        resolve(cwd=tmp_path, environ={})
    assert "\n" not in str(caught.value)


def test_a_mistake_in_the_environment_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"^ADVISOR_SYSTEM_METRICS must be a positive number of seconds.*'on' or 'off'"
    ):
        resolve(environ={"ADVISOR_SYSTEM_METRICS": "-5"})
    with pytest.raises(ConfigError, match=r"ADVISOR_DIFF_LIMIT_BYTES.*'many'"):
        resolve(cwd=tmp_path, environ={"ADVISOR_DIFF_LIMIT_BYTES": "many"})


def test_an_unknown_argument_names_the_closest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'embedder'"):
        resolve(cwd=tmp_path, environ={}, embeder="x")


def test_a_key_in_the_file_is_refused_without_being_repeated(tmp_path: Path) -> None:
    write(tmp_path / "advisor.toml", f'openai_api_key = "{CANARY}"')
    with pytest.raises(ConfigError, match="environment variable") as caught:
        resolve(cwd=tmp_path, environ={})
    assert CANARY not in str(caught.value)


def test_neither_repr_nor_errors_show_the_secret_of_an_address(tmp_path: Path) -> None:
    settings = resolve(
        cwd=tmp_path, environ={}, notify=[f"slack://{CANARY}/x"], llm_api_base=f"https://me:{CANARY}@host:1/v1"
    )
    assert CANARY not in repr(settings)
    assert "notify='<1 addresses>'" in repr(settings)
    assert "https://…@host:1/v1" in repr(settings)
    with pytest.raises(ConfigError) as caught:
        resolve(cwd=tmp_path, environ={}, notify=[f"slack://{CANARY}", 3])
    assert CANARY not in str(caught.value)


def test_settings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().store = "other"  # type: ignore[misc]


def test_no_setting_holds_a_key() -> None:
    assert not [name for name in SETTINGS if looks_secret(name)]
