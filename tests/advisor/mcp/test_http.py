"""The server over HTTP, behind the guard of the page."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from advisor.app import Advisor
from tests.advisor.mcp.conftest import command, in_a_thread, serving, talk

TOKEN = "a-token-that-nobody-guesses"
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
ACCEPT = {"accept": "application/json, text/event-stream"}


def posted(address: str, headers: dict[str, str] | None = None, **given: Any) -> httpx.Response:
    return httpx.post(address, headers=ACCEPT | (headers or {}), **(given or {"json": LIST}))


async def names(client: Client) -> list[str]:
    return [tool.name for tool in (await client.list_tools()).tools]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_clients_of_this_and_of_earlier_protocols_are_answered(adv: Advisor, mode: str) -> None:
    with serving(adv) as address:
        assert "list_experiments" in talk(address, names, mode=mode)


def test_other_names_and_other_sites_are_refused(adv: Advisor) -> None:
    with serving(adv) as address:
        assert posted(address).status_code == 200
        assert posted(address, {"host": "evil.example"}).status_code == 421
        assert posted(address, {"origin": "http://evil.example"}).status_code == 403
        assert posted(address, {"origin": "null"}).status_code == 403
        assert posted(address, {"sec-fetch-site": "cross-site"}).status_code == 403
        form = posted(address, {"content-type": "text/plain"}, content='{"jsonrpc":"2.0","id":1,"method":"tools/list"}')
        assert form.status_code == 400


def test_another_name_can_be_allowed(adv: Advisor) -> None:
    with serving(adv, names=("advisor.example",)) as address:
        assert posted(address, {"host": "advisor.example"}).status_code == 200


def test_with_a_token_only_who_brings_it_is_answered(adv: Advisor) -> None:
    with serving(adv, token=TOKEN) as address:
        assert posted(address).status_code == 401
        assert "with the token of 'advisor mcp --http'" in posted(address).text
        assert posted(address, {"authorization": "Bearer another"}).status_code == 401
        assert posted(address + f"?token={TOKEN}").status_code == 401  # addresses are written down by proxies
        brought = {"authorization": f"Bearer {TOKEN}"}
        assert posted(address, brought).status_code == 200

        async def asked() -> list[str]:
            http = create_mcp_http_client(headers=brought)
            async with http, Client(streamable_http_client(address, http_client=http)) as client:
                return await names(client)

        assert "list_experiments" in in_a_thread(asked)


def test_what_is_too_long_or_no_request_is_refused(adv: Advisor) -> None:
    with serving(adv) as address:
        assert posted(address, json=LIST | {"params": {"x": "y" * (1 << 20)}}).status_code == 413
        assert posted(address, {"content-type": "application/json"}, content="{").status_code == 400
        assert httpx.get(address, headers=ACCEPT).status_code == 405
        assert httpx.delete(address).status_code == 405
        elsewhere = httpx.get(address.replace("/mcp", "/static/../mcp.py"))
        assert elsewhere.status_code == 404
        assert httpx.get(address.removesuffix("/mcp")).text == "nothing is here; the protocol is at /mcp\n"


def test_what_is_read_only_offers_nothing_that_writes(adv: Advisor) -> None:
    with serving(adv, read_only=True) as address:
        tools = posted(address).json()["result"]["tools"]
        assert tools
        assert all(tool["annotations"]["readOnlyHint"] for tool in tools)


def test_the_command_tells_its_address_and_beyond_this_machine_makes_up_a_token(store: Path) -> None:
    told = command(store, "--http", "--port", "0", "--host", "0.0.0.0")
    program = "import sys; from advisor.cli import main; sys.exit(main())"
    start = [told.command, "-c", program, *told.args[2:]]
    with subprocess.Popen(
        start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=told.env, cwd=told.cwd
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            address = process.stdout.readline().strip().replace("0.0.0.0", "127.0.0.1")
            token = re.search(r"'Authorization: Bearer (\S+)'", process.stderr.readline())
            assert token is not None
            assert posted(address).status_code == 401
            assert posted(address, {"authorization": f"Bearer {token[1]}"}).status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()
