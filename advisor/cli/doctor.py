"""``advisor doctor``: what is installed, what is configured and from where, whether the store can be read.

Asks nothing of the network: a store that is not a local folder is not opened, and no model is fetched.
"""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, distribution, version
from typing import TYPE_CHECKING, Any, Final

import typer

from advisor.cli.output import Column, note, print_json, print_pairs, print_table, say
from advisor.cli.session import Session, command

if TYPE_CHECKING:
    from advisor.config import Settings

DISTRIBUTION: Final = "experiment-advisor"
NO_FEATURES: Final = frozenset({"all", "dev"})
"""Extras that name no feature of their own."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "doctor", panel="Care")
    def doctor(session: Session) -> int:
        """Show versions, extras, settings and the state of the store; exits with 1 if something is wrong."""
        from advisor.config import resolve

        settings = resolve(store=session.store)
        found: dict[str, Any] = {
            "versions": _versions(),
            "extras": _extras(),
            "encoder": _encoder(settings),
            "store": _store(settings, named=session.store is not None),
            "language_model": _language_model(settings),
            "settings": _settings(settings, session),
        }
        found["ok"] = found["store"]["ok"] and found["encoder"]["ok"]
        if session.as_json:
            print_json(found)
        else:
            _print(found)
        return 0 if found["ok"] else 1


def _required() -> dict[str, list[str]]:
    """Return the distributions that each extra needs, under "" those always needed.

    Empty where the program runs without having been installed.
    """
    try:
        lines = distribution(DISTRIBUTION).requires or []
    except PackageNotFoundError:
        return {}
    out: dict[str, list[str]] = {}
    for line in lines:
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", line)
        if name is not None and name.group() != DISTRIBUTION:
            out.setdefault("" if extra is None else extra.group(1), []).append(name.group())
    return out


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _versions() -> dict[str, str | None]:
    from advisor import __version__

    own = {"advisor": __version__, "python": platform.python_version(), "platform": platform.platform(terse=True)}
    return own | {name: _version(name) for name in _required().get("", [])}


def _extras() -> dict[str, dict[str, Any]]:
    extras = {extra: names for extra, names in _required().items() if extra and extra not in NO_FEATURES}
    out = {}
    for extra, names in extras.items():
        found = {name: _version(name) for name in names}
        out[extra] = {"installed": None not in found.values(), "packages": found}
    return out


def _encoder(settings: Settings) -> dict[str, Any]:
    from storage.embed import choose_embedder
    from storage.errors import EmbeddingError

    try:
        return {"ok": True, "identity": choose_embedder(settings.embedder).identity, "message": ""}
    except EmbeddingError as error:
        return {"ok": False, "identity": None, "message": str(error)}


def _store(settings: Settings, *, named: bool) -> dict[str, Any]:
    from advisor.redact import scrub
    from storage.errors import StorageError, StoreNotFoundError
    from storage.store import open_store

    uri = scrub(settings.store)
    if "://" in settings.store:
        return {"ok": True, "uri": uri, "message": "not looked at, it is not on this machine; see 'advisor store info'"}
    try:
        info = open_store(settings.store, create=False).info()
    except StoreNotFoundError:
        return {"ok": not named, "uri": uri, "message": "there is none yet; the first run or import makes it"}
    except StorageError as error:
        return {"ok": False, "uri": uri, "message": str(error)}
    return {"ok": True, "uri": uri, "message": f"{info.n_experiments} experiments, {info.n_runs} runs"}


def _language_model(settings: Settings) -> dict[str, Any]:
    """Return which model is configured and what models took today; nobody is asked."""
    import sqlite3

    from advisor.documents.configured import budget, call_book
    from storage.records import utc_now

    try:
        today = call_book(settings, utc_now).today().words
    except (sqlite3.Error, OSError) as error:
        today = f"not known: {error}"
    return {"name": settings.llm, "today": today, "budget": budget(settings).words}


def _settings(settings: Settings, session: Session) -> dict[str, dict[str, Any]]:
    """Return each setting and where it comes from, without the secrets that addresses carry."""
    from advisor.config import PREFIX, SETTINGS, Settings
    from advisor.redact import scrub

    defaults, out = Settings(), {}
    for name in SETTINGS:
        value = getattr(settings, name)
        variable = PREFIX + name.upper()
        source = str(settings.file)
        if name == "store" and session.store is not None:
            source = "--store"
        elif os.environ.get(variable, "").strip():
            source = f"${variable}"
        elif value == getattr(defaults, name):
            source = "default"
        if name == "notify":
            value = f"{len(value)} addresses"
        elif value is not None and not isinstance(value, bool | int | float):
            value = scrub(str(value))
        out[name] = {"value": value, "source": source}
    return out


def _print(found: dict[str, Any]) -> None:
    print_pairs("versions", found["versions"])
    rows = [
        [
            extra,
            "yes" if entry["installed"] else f"no: pip install '{DISTRIBUTION}[{extra}]'",
            ", ".join(f"{name} {version or 'missing'}" for name, version in entry["packages"].items()),
        ]
        for extra, entry in found["extras"].items()
    ]
    if rows:
        print_table([Column("extra"), Column("installed"), Column("packages", optional=True)], rows)
    else:
        note(f"{DISTRIBUTION} is not installed as a package, so its extras are not known")
    columns = [Column("setting"), Column("value"), Column("from")]
    print_table(columns, [[name, entry["value"], entry["source"]] for name, entry in found["settings"].items()])
    say(f"text encoder: {found['encoder']['identity'] or found['encoder']['message']}")
    say(f"store {found['store']['uri']}: {found['store']['message']}")
    model = found["language_model"]
    say(f"language model: {model['name'] or 'none'}; today {model['today']}, budget {model['budget']}")
    say("all is well" if found["ok"] else "something is wrong, see above")
