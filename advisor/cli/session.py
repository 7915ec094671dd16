"""What all commands share: the store, the form of the output, and how a function becomes a command.

``--store``, ``--json`` and ``--version`` are accepted before and after the name of a command; what comes later wins.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from advisor.cli.output import note

if TYPE_CHECKING:
    from advisor.app import Advisor
    from storage.records import Run

Answer = TypeVar("Answer", bound=Callable[..., int | None])

READER_GONE: Final = 141
"""Exit code of a program that SIGPIPE ended: 128 + 13."""


@dataclass(frozen=True, slots=True)
class Session:
    """One call of the program."""

    store: str | None = None
    """Address of the store; None lets the settings say."""
    as_json: bool = False
    """Whether data are printed as JSON."""

    def later(self, store: str | None, *, as_json: bool) -> Session:
        """Return what holds after options that came later on the command line."""
        return Session(self.store if store is None else store, self.as_json or as_json)

    def open(self, *, create: bool = False, lazily: bool = False, **settings: Any) -> Advisor:
        """Open the store, with some settings of the command's own, and say which runs were brought home on the way.

        Parameters
        ----------
        lazily
            Whether to leave the opening to what reads, for a command that may have nothing to read.

        Raises
        ------
        StoreNotFoundError
            If there is none and ``create`` is false.
        """
        from advisor.app import open as open_advisor

        if lazily:
            return open_advisor(self.store, create=create, **settings)
        from storage.lance import load_lean

        load_lean()
        adv = open_advisor(self.store, create=create, **settings)
        for found in adv.store.recovered:
            note(f"recovered run {found.run_id} of {found.experiment}: {found.n_calls} log calls, now {found.state}")
        return adv


def _show_version(wanted: bool) -> None:
    if wanted:
        from advisor import __version__

        sys.stdout.write(f"advisor {__version__}\n")
        raise typer.Exit


StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URI",
        help="Folder or address of the store. Default: $ADVISOR_STORE, the setting 'store', or ./advisor-store.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print data as JSON.")]
VersionOption = Annotated[
    bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and end.")
]


def remember(
    ctx: typer.Context, store: StoreOption = None, as_json: JsonOption = False, version: VersionOption = False
) -> None:
    """Keep the options that came before the command; without a command show the help."""
    ctx.obj = (ctx.obj or Session()).later(store, as_json=as_json)
    if ctx.invoked_subcommand is None:
        help_text = ctx.get_help()  # prints by itself where rich renders it
        if help_text:
            typer.echo(help_text)
        raise typer.Exit


def command(app: typer.Typer, name: str, *, panel: str | None = None) -> Callable[[Answer], Answer]:
    """Register a function as a command; its first parameter is the ``Session``, what it returns the exit code."""

    def register(function: Answer) -> Answer:
        app.command(name, rich_help_panel=panel)(_with_options(function))
        return function

    return register


_SHARED: Final = (("store", StoreOption, None), ("as_json", JsonOption, False), ("version", VersionOption, False))


def _with_options(function: Callable[..., int | None]) -> Callable[..., int | None]:
    """Return the function with the shared options in place of its session."""

    @functools.wraps(function)
    def run(**given: Any) -> int | None:
        ctx, store, as_json, _ = (given.pop(name) for name in ("ctx", "store", "as_json", "version"))
        try:
            code = function((ctx.obj or Session()).later(store, as_json=as_json), **given)
            sys.stdout.flush()
        except BrokenPipeError:
            # Python would complain again when it flushes at its end: let it flush into nothing.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(READER_GONE) from None
        return code

    own = inspect.signature(function, eval_str=True)
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("ctx", kind, annotation=typer.Context)]
    parameters += [parameter.replace(kind=kind) for parameter in list(own.parameters.values())[1:]]
    parameters += [inspect.Parameter(name, kind, annotation=of, default=default) for name, of, default in _SHARED]
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # read by inspect.signature
    return run


def find_run(adv: Advisor, reference: str) -> Run:
    """Return a run by what people call it, see ``advisor.references.find_run``."""
    from advisor.references import find_run as found

    return found(adv.store, reference)
