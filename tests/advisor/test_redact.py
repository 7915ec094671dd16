"""Secrets go, everything else stays."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.redact import REDACTED, looks_secret, redact, redact_command, scrub

CANARY = "c4n4ry-Zx81Qq"


SECRET_NAMES = """
    api_key apiKey APIKEY api-key OPENAI_API_KEY openai_key WANDB_KEY secret client_secret SECRET_KEY
    aws_secret_access_key AWS_ACCESS_KEY_ID private_key ssh_key password PASSWORD db_password dbPassword passwd
    passphrase user_pwd SMTP_PASS token TOKEN hf_token HF_TOKEN HUGGING_FACE_HUB_TOKEN GITHUB_TOKEN access_token
    accessToken auth_token refresh_token token2 api_tokens bearer Authorization auth http_auth cookie webhook
    slack_webhook_url credentials gcp_creds dsn SENTRY_DSN jwt connection_string AZURE_STORAGE_CONNECTION_STRING
    model.api_key --api-key access_keys encryption_key
"""
HARMLESS_NAMES = """
    token_dim n_tokens max_tokens num_tokens tokens maxTokens tokenizer tokenization tokens_per_batch token_count
    token_id eos_token pad_token bos_token_id mask_token padToken special_token n_token keyframe num_keys key keys
    sort_key rng_key primary_key query_key key_dim d_key target_key monkey keyboard forward_pass n_pass pass first_pass
    PWD OLDPWD author authors lr hidden optimizer compass bypass passes pathkey access_time session seed secretary path
    cls_token max_new_tokens num_key_value_heads label_key hockey signature authentic_loss val_loss
"""


def test_names_of_secrets_are_recognised() -> None:
    assert [name for name in SECRET_NAMES.split() if not looks_secret(name)] == []


def test_innocuous_names_survive() -> None:
    assert [name for name in HARMLESS_NAMES.split() if looks_secret(name)] == []


def test_values_are_redacted_by_name_at_any_depth() -> None:
    given = {
        "lr": 0.1,
        "api_key": CANARY,
        "nested": {"list": [{"password": CANARY}, 3, ("x", {"token": CANARY})], "max_tokens": 5},
        "credentials": {"user": "me", "id": CANARY},
        "n": None,
        "use_auth_token": True,
        "password": 12345678,
    }
    assert redact(given) == {
        "lr": 0.1,
        "api_key": REDACTED,
        "nested": {"list": [{"password": REDACTED}, 3, ("x", {"token": REDACTED})], "max_tokens": 5},
        "credentials": REDACTED,
        "n": None,
        "use_auth_token": True,
        "password": REDACTED,
    }


def test_redacting_leaves_the_original_alone() -> None:
    given = {"token": CANARY, "inner": {"token": CANARY}}
    redact(given)
    assert given == {"token": CANARY, "inner": {"token": CANARY}}


def test_a_structure_without_end_does_not_hang() -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    assert CANARY not in str(redact(endless))


@pytest.mark.parametrize(
    "text",
    [
        f"password={CANARY}",
        f"password: {CANARY}",
        f"config: password={CANARY}",
        f"url=https://host/x?a=1&api_key={CANARY}",
        f"password = '{CANARY}'",
        f'"api_key": "{CANARY}"',
        f"{{'api_key': '{CANARY}', 'lr': 1}}",
        f'os.environ["HF_TOKEN"] = "{CANARY}"',
        f"export WANDB_API_KEY={CANARY}",
        f"+API_TOKEN='{CANARY}'",
        f"train.py --api-key {CANARY} --lr 3",
        f"train.py --api-key={CANARY}",
        f"Authorization: Bearer {CANARY}",
        f"Authorization: token {CANARY}",
        f"-H 'Authorization: Basic {CANARY}'",
        f"curl with bearer {CANARY}",
        f"Cookie: session={CANARY}; other={CANARY}",
        f"https://me:{CANARY}@github.com/me/x.git",
        f"https://{CANARY}@github.com/me/x.git",
        f"postgresql+psycopg2://u:{CANARY}@host:5432/db",
        f"https://host/x?token={CANARY}&lr=1",
        f"https://account.blob.core.windows.net/x?sv=1&sig={CANARY}",
        f"sk-proj-{CANARY}{CANARY}",
        "AKIAIOSFODNN7EXAMPLE",
        f"https://hooks.slack.com/services/T0/B0/{CANARY}",
        f"https://discord.com/api/webhooks/1/{CANARY}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{CANARY}",
    ],
)
def test_secrets_in_text_are_scrubbed(text: str) -> None:
    cleaned = scrub(text, environ={})
    assert CANARY not in cleaned
    assert "AKIAIOSFODNN7EXAMPLE" not in cleaned
    assert REDACTED in cleaned


@pytest.mark.parametrize(
    "key",
    [
        "hf_" + "a1B2" * 9,
        "ghp_" + "a1B2" * 9,
        "github_pat_" + "a1B2_" * 8,
        "glpat-" + "a1B2c3D4e5F6g7H8i9J0",
        "xoxb-" + "1234567890-abcdef",
        "AIza" + "a1B2c" * 7,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc_DEF-123",
        "123456789:AA" + "a1B2c" * 7,
    ],
)
def test_keys_of_known_shape_are_scrubbed_anywhere(key: str) -> None:
    assert scrub(f"it was {key}, I think", environ={}) == f"it was {REDACTED}, I think"


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens=5 token_dim: 64 num_keys = 3",
        "train.py --lr 0.1 --max-tokens 5",
        "commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
        "ssh://git@github.com/me/x.git",
        "git@github.com:me/x.git",
        "see https://example.org/a?page=2#b and mail me@example.org",
        "basic idea: the learning rate was too high",
        "loss went from 2.3 to nan at step 40; val_loss=0.5, key=3",
        "risk-averse task-oriented-decomposition-of-everything",
        "",
    ],
)
def test_ordinary_text_survives(text: str) -> None:
    assert scrub(text, environ={}) == text


def test_values_of_secret_variables_are_scrubbed_wherever_they_occur() -> None:
    environ = {"MY_TOKEN": CANARY, "HOME": "/home/somebody", "SHORT_TOKEN": "abc"}
    cleaned = scrub(f"echo {CANARY} in /home/somebody abc", environ=environ)
    assert cleaned == f"echo {REDACTED} in /home/somebody abc"


def test_texts_in_a_mapping_are_scrubbed_with_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", CANARY)
    assert CANARY not in str(redact({"note": f"I used {CANARY}", "list": [CANARY]}))


def test_a_command_line_keeps_its_shape() -> None:
    command = [
        "train.py",
        "--api-key",
        CANARY,
        "--token=" + CANARY,
        "model.password=" + CANARY,
        "--lr",
        "-1",
        "--token",
        "--x",
    ]
    hidden = ["--api-key", REDACTED, f"--token={REDACTED}", f"model.password={REDACTED}"]
    assert redact_command(command) == ["train.py", *hidden, "--lr", "-1", "--token", "--x"]


@settings(max_examples=200, deadline=None)
@given(st.text("ab:=@/ '\"-_?&\nkeytokenAPI1", max_size=60))
def test_scrubbing_twice_changes_nothing_more(text: str) -> None:
    once = scrub(text, environ={})
    assert scrub(once, environ={}) == once


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["api_key", "HF_TOKEN", "password"]), st.text(st.characters(categories=["L", "N"]), min_size=1))
def test_no_value_of_a_secret_name_survives(name: str, value: str) -> None:
    assert scrub(f"{name}={value}", environ={}) == f"{name}={REDACTED}"


@pytest.mark.parametrize(
    "unit", ["a", "a.", "-", "a=", "://", "a@", "x:", "'", "eyJ", "sk-", " ", "-----BEGIN PRIVATE KEY-----"]
)
def test_a_large_text_without_structure_is_read_in_little_time(unit: str) -> None:
    text = unit * (200_000 // len(unit))
    start = time.perf_counter()
    scrub(text, environ={})
    assert time.perf_counter() - start < 3
