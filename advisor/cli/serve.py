"""``advisor serve``: the page, and the JSON API beside it."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from advisor.cli.options import AllowHostOption, HostOption, PortOption, TokenOption
from advisor.cli.output import note, say
from advisor.cli.session import Session, command

if TYPE_CHECKING:
    from advisor.app import Advisor

PORT = 8517


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "serve", panel="Look")
    def serve(
        session: Session,
        host: HostOption = "127.0.0.1",
        port: PortOption = PORT,
        token: TokenOption = None,
        read_only: Annotated[bool, typer.Option("--read-only", help="Show everything, change nothing.")] = False,
        allow_host: AllowHostOption = None,
        browser: Annotated[
            bool, typer.Option("--open/--no-open", help="Whether to open the page in a browser.")
        ] = False,
    ) -> None:
        """Show the store as a page in the browser, live, on this machine only unless told otherwise."""
        from advisor.errors import MissingExtraError

        try:
            from advisor.web.options import Options
            from advisor.web.serving import bind, give_way, own_names, reachable, serve
        except ImportError as error:
            raise MissingExtraError.of("the page", "web") from error
        names = (*(allow_host or ()), *own_names(host))
        wanted = Options(host=host, port=port, token=token, read_only=read_only, names=names)
        give_way()  # before the database starts its threads, which are as nice as who starts them
        with _opened(session, create=not read_only) as adv:
            sock, options = bind(wanted)
            brought = f"?token={options.token}" if options.token else ""
            addresses = [address + brought for address in reachable(options)]
            try:
                serve(adv, options, sock=sock, started=lambda: _tell(addresses, open_it=browser))
            finally:
                sock.close()


def _opened(session: Session, *, create: bool) -> Advisor:
    """Open the store; where that makes one, say so: its name may be a slip."""
    from storage.errors import StoreNotFoundError

    try:
        return session.open()
    except StoreNotFoundError:
        if not create:
            raise
    adv = session.open(create=True)
    place = adv.opening.place.folder
    note(f"there was no store; a new, empty store is at {adv.opening.uri if place is None else place}")
    return adv


def _tell(addresses: Sequence[str], *, open_it: bool) -> None:
    for address in addresses:
        say(address)
    note("the page is served; Ctrl-C ends it")
    if open_it:
        webbrowser.open(addresses[-1])
