"""Channels deliver to real receivers, and never show their addresses."""

from __future__ import annotations

import io
import json
import logging
import socket
import subprocess
import sys
import time
import traceback
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from advisor.errors import ConfigError, NotificationError
from advisor.notify.channels import (
    AppriseChannel,
    ConsoleChannel,
    DeliveryError,
    ProgramChannel,
    WebhookChannel,
    channel_id,
    open_channel,
    signature,
)
from advisor.notify.render import Message
from storage.records import Severity

CANARY = "s3cret-canary"
MESSAGE = Message(
    "✖ e run 1: loss is NaN", text="ADV101\n\nadvisor show x", severity=Severity.ERROR, fields={"run_id": "x"}
)


def refused(channel: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        channel.send(MESSAGE)
    shown = "".join(traceback.format_exception(caught.value))
    assert CANARY not in shown
    return caught.value


def test_the_console_shows_title_and_text_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    channel = open_channel("console")
    channel.send(MESSAGE)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "✖ e run 1: loss is NaN\n  ADV101\n  advisor show x\n"
    assert (channel.id, channel.describe()) == ("console", "console")


def test_a_console_of_few_characters_still_takes_the_message() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    ConsoleChannel(stream).send(MESSAGE)
    assert raw.getvalue().startswith(b"? e run 1: loss is NaN\n")


def test_a_closed_console_is_a_notification_error() -> None:
    stream = io.StringIO()
    stream.close()
    with pytest.raises(NotificationError):
        ConsoleChannel(stream).send(MESSAGE)


def test_a_webhook_gets_the_documented_json(receiver: Any) -> None:
    open_channel(receiver.url).send(MESSAGE)
    [(path, headers, body)] = receiver.requests
    assert path == f"/hook/{CANARY}"
    assert headers["Content-Type"] == "application/json"
    assert body == {
        "version": 1,
        "source": "experiment-advisor",
        "title": MESSAGE.title,
        "text": MESSAGE.text,
        "severity": "error",
        "run_id": "x",
    }


def test_user_and_password_of_a_webhook_become_basic_authorization(receiver: Any) -> None:
    open_channel(f"http://me:p%40ss@127.0.0.1:{receiver.port}/hook").send(MESSAGE)
    [(_, headers, _)] = receiver.requests
    assert headers["Authorization"] == f"Basic {b64encode(b'me:p@ss').decode()}"


@pytest.mark.parametrize(
    ("status", "is_final"), [(400, True), (404, True), (302, True), (429, False), (500, False), (503, False)]
)
def test_a_refusal_tells_whether_to_try_again(receiver: Any, status: int, is_final: bool) -> None:
    receiver.statuses = [status]
    receiver.headers = {"Location": "/elsewhere"} if status == 302 else {}
    error = refused(open_channel(receiver.url))
    assert str(status) in str(error)
    assert error.is_final is is_final
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("given", "expected_s"),
    [("7", 7.0), ("-3", 0.0), ("nan", None), ("soon", None), ("1e9", 3600.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_how_long_the_receiver_wants_to_be_left_alone_is_read(
    receiver: Any, given: str, expected_s: float | None
) -> None:
    receiver.statuses, receiver.headers = [429], {"Retry-After": given}
    assert refused(open_channel(receiver.url)).retry_after_s == expected_s


def test_a_receiver_that_does_not_answer_is_given_up_in_time(receiver: Any) -> None:
    receiver.may_answer.clear()
    error = refused(WebhookChannel(receiver.url, timeout_s=0.2))
    assert "no answer within 0.2 s" in str(error)
    assert not error.is_final


def test_a_receiver_that_is_not_there_is_a_delivery_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = refused(open_channel(f"http://127.0.0.1:{port}/{CANARY}"))
    assert f"http://127.0.0.1:{port} was not reached" in str(error)


def test_apprise_delivers_to_a_real_receiver(receiver: Any, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("apprise")
    caplog.set_level(logging.DEBUG)
    channel = open_channel(f"json://127.0.0.1:{receiver.port}/{CANARY}")
    assert isinstance(channel, AppriseChannel)
    channel.send(MESSAGE)
    [(path, _, body)] = receiver.requests
    assert path.rstrip("/") == f"/{CANARY}"
    assert (body["title"], body["message"], body["type"]) == (MESSAGE.title, MESSAGE.text, "failure")
    receiver.statuses = [500]
    assert not refused(channel).is_final
    assert CANARY not in caplog.text


def test_apprise_is_told_apart_from_addresses_it_does_not_know(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("apprise")
    for address in (f"nosuchservice://{CANARY}", f"slack://{CANARY}", f"slack://[{CANARY}"):
        with pytest.raises(ConfigError, match="cannot be used") as caught:
            open_channel(address)
        assert CANARY not in str(caught.value)
    assert CANARY not in caplog.text
    logging.getLogger("apprise").warning("the program's own")
    assert "the program's own" in caplog.text


def test_nothing_of_the_address_but_scheme_and_host_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    webhook = open_channel(f"https://{CANARY}:{CANARY}@example.org:8443/{CANARY}?token={CANARY}")
    assert webhook.describe() == "https://example.org:8443"
    pytest.importorskip("apprise")
    discord = open_channel(f"discord://4174216298/{CANARY}-JHMHQjtYlsB9QAGZ")
    assert discord.describe() == "discord://…"
    mail = open_channel(f"mailto://me:{CANARY}@example.org")
    assert mail.describe() == "mailto://example.org"
    for channel in (webhook, discord, mail):
        assert CANARY not in channel.id + repr(channel)
    assert CANARY not in caplog.text


def test_the_identity_of_a_channel_is_the_same_in_every_process() -> None:
    address = f"https://example.org/{CANARY}"
    assert open_channel(address).id == channel_id(address) == open_channel(f" {address} ").id
    assert channel_id(address) != channel_id(address + "x")
    assert len(channel_id(address)) == 12


@pytest.mark.parametrize(
    "address", ["", "slack", "example.org/hook", "://x", "https://", "http://:80/x", "http://host:port/x", "https://[/"]
)
def test_an_address_that_is_none_is_one_clear_sentence(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_channel(address)
    assert "\n" not in str(caught.value)


def test_apprise_is_imported_only_where_an_address_needs_it() -> None:
    code = """
import sys
from advisor.notify import open_channel
open_channel("console"); open_channel("https://example.org/x")
print("apprise" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_apprise_the_command_that_installs_it_is_named() -> None:
    code = """
import sys
sys.modules["apprise"] = None
from advisor.errors import MissingExtraError
from advisor.notify import open_channel
try:
    open_channel("slack://a/b/c")
except MissingExtraError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'experiment-advisor[notify]'" in done.stdout


def test_a_receiver_on_this_machine_is_reached_past_a_proxy(receiver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    open_channel(receiver.url).send(MESSAGE)
    assert len(receiver.accepted) == 1


def test_without_a_secret_nothing_is_signed_and_with_one_in_the_environment_it_is(
    receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_channel(receiver.url).send(MESSAGE)
    monkeypatch.setenv("ADVISOR_WEBHOOK_SECRET", "from the environment")
    open_channel(receiver.url).send(replace(MESSAGE, id="m1"))
    [(_, plain, _), (_, signed, body)] = receiver.requests
    assert "X-Advisor-Signature" not in plain
    assert "Idempotency-Key" not in plain
    content = json.dumps(body).encode()
    expected = signature(b"from the environment", signed["X-Advisor-Timestamp"], content)
    assert signed["X-Advisor-Signature"] == expected
    assert abs(int(signed["X-Advisor-Timestamp"]) - time.time()) < 60
    assert (signed["Idempotency-Key"], body["id"]) == ("m1", "m1")


def test_the_secret_of_a_webhook_is_no_part_of_its_identity() -> None:
    assert open_channel("https://example.org/x#one").id == open_channel("https://example.org/x#two").id
    assert open_channel("https://example.org/x#one").id == channel_id("https://example.org/x")


def script(folder: Path, text: str) -> Path:
    path = folder / "page me.py"
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o700)
    return path


def test_a_program_gets_the_message_on_its_standard_input_and_no_shell_sees_it(tmp_path: Path) -> None:
    path = script(tmp_path, "import sys; open(sys.argv[1], 'w').write(sys.stdin.read() + '|' + sys.argv[2])")
    nasty = replace(MESSAGE, title="$(touch /tmp/x); `id` 'quoted'", id="m1")
    channel = open_channel(f"exec://{quote(str(path))}?arg={quote(str(tmp_path / 'out'))}&arg=%24HOME;%20ls")
    channel.send(nasty)
    content, _, argument = (tmp_path / "out").read_text().rpartition("|")
    assert argument == "$HOME; ls"
    body = json.loads(content)
    assert (body["title"], body["id"], body["run_id"]) == (nasty.title, "m1", "x")
    assert channel.describe() == "exec://…/page me.py"


def test_a_program_that_fails_is_missing_or_hangs_is_a_delivery_error(tmp_path: Path) -> None:
    path = script(tmp_path, "import sys; sys.exit(3)")
    assert str(refused(open_channel(f"exec://{quote(str(path))}"))).endswith("ended with exit code 3")
    assert "could not be started: No such file" in str(refused(open_channel(f"exec://{tmp_path}/nothing")))
    path = script(
        tmp_path, "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    )
    begun = time.monotonic()
    error = refused(ProgramChannel(f"exec://{quote(str(path))}", timeout_s=0.5))
    assert time.monotonic() - begun < 10
    assert "did not end within 0.5 s" in str(error)
    assert error.is_doubtful


@pytest.mark.parametrize("address", ["exec://notify.sh", "exec:///", "exec:///bin/x?arg=a&user=b", "exec:///bin/%00"])
def test_a_program_that_is_not_named_by_its_whole_path_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="exec:///whole/path"):
        open_channel(address)


def test_apprise_sends_a_picture_along(receiver: Any) -> None:
    pytest.importorskip("apprise")
    open_channel(f"json://127.0.0.1:{receiver.port}/x").send(replace(MESSAGE, picture=b"\x89PNG"))
    [(_, _, body)] = receiver.requests
    [attached] = body["attachments"]
    assert (attached["filename"], attached["mimetype"]) == ("curve.png", "image/png")
