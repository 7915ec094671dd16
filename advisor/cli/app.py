"""The program ``advisor``: its commands, and the edge at which every error becomes one line and an exit code.

Invariant: a traceback is shown only where ``ADVISOR_DEBUG`` asks for it, and data alone go to stdout.
"""

from __future__ import annotations

import gc
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

import typer
from typer.main import get_command

from advisor.cli import (
    check,
    compare,
    demo,
    digest,
    doctor,
    experiment,
    export,
    forecast,
    importing,
    ledger,
    lifecycle,
    log,
    mcp,
    notes,
    optimize,
    report,
    runs,
    search,
    serve,
    show,
    silence,
    store,
    suggest,
    tell,
    triage,
    verdict,
    verify,
    watch,
)
from advisor.cli.session import remember

COMMANDS: Final = (
    demo, triage, runs, show, search, log, check, verdict, watch, silence, notes, report, compare, digest, verify,
    serve, mcp, suggest,
    optimize, forecast, ledger, tell, experiment, lifecycle, importing, export, store, doctor,
)  # fmt: skip
"""Modules of the commands, in the order of the help."""
MISTAKE: Final = 2
"""Exit code of what the user can mend."""
DEFECT: Final = 70
"""Exit code of an error in the program itself; EX_SOFTWARE of sysexits.h."""
INTERRUPTED: Final = 130
"""Exit code of a program that was interrupted from the keyboard: 128 + SIGINT."""
DEBUG: Final = "ADVISOR_DEBUG"


def build() -> typer.Typer:
    """Return the program with all its commands."""
    app = typer.Typer(
        name="advisor",
        help="What should I try next, what went wrong, and what did we learn? Answers from your own training runs.",
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(remember)
    for module in COMMANDS:
        module.register(app)
    return app


RARELY: Final = (50_000, 20, 20)
"""How often garbage is looked for: a command lives for seconds, and importing libraries makes objects that stay."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; see ``advisor.cli.main``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # text from runs must not fail in a terminal that lacks a character
            stream.reconfigure(errors="backslashreplace")
    gc.set_threshold(*RARELY)
    try:
        code = get_command(build()).main(
            None if arguments is None else list(arguments), prog_name="advisor", standalone_mode=False
        )
    except typer.Abort:
        return INTERRUPTED
    except SystemExit as exit_:  # the shell completion ends the process itself
        code = exit_.code
    except Exception as error:  # noqa: BLE001  # the edge of the process
        return _told(error)
    return code if isinstance(code, int) else 0


def _told(error: Exception) -> int:
    """Say in one line what went wrong; return the exit code."""
    if os.environ.get(DEBUG, "") not in ("", "0"):
        traceback.print_exception(error)
    message = _mistake(error)
    if message is not None:
        sys.stderr.write(f"error: {message}\n")
        return MISTAKE
    what = " ".join(f"{type(error).__name__}: {error}".split())
    sys.stderr.write(
        f"error: this is a defect of the program, not of your input ({what[:500]}); "
        f"{DEBUG}=1 shows where it happened, please report it with that\n"
    )
    return DEFECT


def _mistake(error: Exception) -> str | None:
    """Return what the user can do about an error, None where it is the program's own."""
    if isinstance(error, typer.TyperException):
        return _usage(error)
    from advisor.cli.output import one_line
    from advisor.errors import AdvisorError
    from storage.errors import StorageError

    if isinstance(error, AdvisorError | StorageError):
        return one_line(str(error), limit=2000)
    if isinstance(error, OSError) and error.filename is not None:
        return one_line(f"{error.filename}: {error.strerror}", limit=2000)
    return None


def _usage(error: typer.TyperException) -> str:
    message = " ".join(error.format_message().replace("Value error, ", "").split())
    command = getattr(getattr(error, "ctx", None), "command_path", "advisor")
    told = f"{message[:1].lower()}{message[1:].rstrip('.')}"
    if command == "advisor optimize" and message.startswith("No such option"):
        told = f"{told}; {optimize.AFTER_DASHES}"
    return f"{told}; see '{command} --help'"
