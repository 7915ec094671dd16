"""``advisor mcp``: the door that agents use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from advisor.cli.options import AllowHostOption, HostOption, PortOption, TokenOption
from advisor.cli.output import note, say
from advisor.cli.session import Session, command

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

HOST = "127.0.0.1"
PORT = 8518
INTERRUPTED = 130
"""As of every command that Ctrl-C ended: 128 + SIGINT."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "mcp", panel="Look")
    def mcp(
        session: Session,
        http: Annotated[
            bool,
            typer.Option(
                "--http",
                help="Serve over HTTP at /mcp instead of stdin and stdout; needed by --host and --port.",
            ),
        ] = False,
        host: HostOption = HOST,
        port: PortOption = PORT,
        token: TokenOption = None,
        allow_host: AllowHostOption = None,
        read_only: Annotated[bool, typer.Option("--read-only", help="Leave out the tools that write.")] = False,
    ) -> int | None:
        """Let an agent ask and tell: the store as a server of the Model Context Protocol, on stdin and stdout."""
        from advisor.errors import ConfigError, MissingExtraError

        if not http and (host, port, allow_host or []) != (HOST, PORT, []):
            raise ConfigError(
                "--host, --port and --allow-host go with --http; on stdin and stdout nothing is listened on"
            )
        try:
            from advisor.mcp import create_server
        except ImportError as error:
            raise MissingExtraError.of("the server for agents", "mcp") from error

        with session.open(create=not read_only, lazily=True) as adv:
            server = create_server(adv, read_only=read_only)
            if http:
                return _over_http(server, host=host, port=port, token=token, names=tuple(allow_host or ()))
            from advisor.mcp import stdio

            note("serving agents on stdin and stdout; the end of stdin or Ctrl-C ends it")
            return INTERRUPTED if stdio.serve(server) == stdio.CTRL_C else 0


def _over_http(
    server: Server[object], *, host: str, port: int, token: str | None, names: tuple[str, ...]
) -> int | None:
    from advisor.mcp import http
    from advisor.web.options import Options
    from advisor.web.serving import bind

    sock, options = bind(Options(host=host, port=port, token=token, names=names))

    def tell() -> None:
        say(options.address.rstrip("/") + http.PATH)
        if options.token and options.token != token:
            note(f"every request has to bring the header 'Authorization: Bearer {options.token}'")
        note("agents are served; Ctrl-C ends it")

    try:
        http.serve(server, options, sock=sock, started=tell)
    finally:
        sock.close()
    return None
