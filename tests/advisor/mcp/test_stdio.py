"""The server as a process of its own: nothing but the protocol on stdout, and a clean end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from advisor.cli import main
from tests.advisor.mcp.conftest import command

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


@contextmanager
def started(store: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start the server and read its first answer."""
    told = command(store, *arguments)
    # As the installed program does, the exit code of the command is that of the process.
    program = "import sys; from advisor.cli import main; sys.exit(main())"
    with subprocess.Popen(
        [told.command, "-c", program, *told.args[2:]],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=told.env,
    ) as process:  # fmt: skip
        try:
            say(process, HELLO)
            yield process
        finally:
            process.kill()


def say(process: subprocess.Popen[str], message: dict[str, object]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()


def heard(process: subprocess.Popen[str]) -> dict[str, object]:
    assert process.stdout is not None
    found = json.loads(process.stdout.readline())
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(("how", "code"), [("eof", 0), ("SIGINT", 130), ("SIGTERM", 0)])
def test_it_ends_at_once_when_it_is_told_to(store: Path, how: str, code: int) -> None:
    with started(store) as process:
        assert heard(process)["result"]
        if how == "eof":
            assert process.stdin is not None
            process.stdin.close()
        else:
            process.send_signal(signal.Signals[how])
        assert process.wait(10) == code
        assert process.stdout is not None
        assert process.stdout.read() == ""
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_only_the_protocol_is_on_stdout_and_what_cannot_be_read_is_refused_in_it(store: Path) -> None:
    with started(store) as process:
        first = heard(process)
        assert first["id"] == 1
        say(process, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert process.stdin is not None
        process.stdin.write("this is not JSON\n")
        say(process, {"jsonrpc": "2.0", "id": 2, "method": "no/such/method"})
        say(process, {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "list_experiments"}})
        answers = {}
        while 3 not in answers:
            message = heard(process)
            answers[message.get("id")] = message
        assert answers[2]["error"]["code"] == -32601
        assert "digits" in answers[3]["result"]["content"][0]["text"]


def test_a_store_that_is_not_there_is_said_before_anything_is_served(tmp_path: Path) -> None:
    told = command(tmp_path / "nothing", "--read-only")
    program = "import sys; from advisor.cli import main; sys.exit(main())"
    done = subprocess.run(
        [told.command, "-c", program, *told.args[2:]], capture_output=True, text=True, env=told.env, timeout=30
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: no store at ")
    assert not (tmp_path / "nothing").exists()


def test_what_goes_with_http_is_not_passed_over(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--store", str(store), "mcp", "--port", "9000"]) == 2
    assert capsys.readouterr().err.startswith("error: --host, --port and --allow-host go with --http")


def test_without_the_extra_the_command_says_what_to_install(store: Path) -> None:
    program = (
        "import sys; sys.modules['mcp'] = None\n"
        "from advisor.cli import main; sys.exit(main(['--store', sys.argv[1], 'mcp']))"
    )
    told = command(store)
    done = subprocess.run(
        [sys.executable, "-c", program, str(store)], capture_output=True, text=True, env=told.env, timeout=30
    )
    assert done.returncode == 2
    assert "pip install 'experiment-advisor[mcp]'" in done.stderr


@pytest.mark.parametrize("start", ["import advisor", "from advisor.cli import main; main(['--help'])"])
def test_what_does_not_serve_agents_does_not_load_what_serves_them(start: str, store: Path) -> None:
    program = (
        f"import sys; {start}; print({{'mcp', 'mcp_types', 'pydantic', 'starlette', 'uvicorn'}} & set(sys.modules))"
    )
    told = command(store)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=told.env, timeout=30)
    assert done.stdout.endswith("set()\n"), done.stdout[-500:] + done.stderr
