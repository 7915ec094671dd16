"""Settings, resolved once: defaults < file < environment < arguments.

The file is ``advisor.toml``, or ``[tool.advisor]`` in ``pyproject.toml``, whichever is found first on the way up from
the working directory. Variables are ``ADVISOR_`` and the name in capitals.

Keys and tokens of providers are no settings: the provider's own variable (``OPENAI_API_KEY`` for one) is read by the
library that needs it, so no object here can leak one. Addresses of channels do carry secrets, and are never shown.

Invariant: a ``Settings`` has been checked; whoever holds one need not look at the environment again.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, cast, get_args

from advisor.errors import ConfigError
from storage.errors import did_you_mean

SeverityName = Literal["info", "warning", "error"]
Fsync = Literal["always", "interval", "never"]

SYSTEM_METRICS_EVERY_S = 15.0
PREFIX = "ADVISOR_"
_SHOWN_AS_COUNT = "notify"
_HAS_ADDRESS = ("llm_api_base", "store")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """What can be configured. Each field is also a key of the file and, with ``ADVISOR_`` before it, a variable."""

    store: str = "advisor-store"
    """Folder or address of the store. A relative folder in a file is relative to that file."""
    llm: str | None = None
    """Language model that may write sentences, as litellm names it; None means templates write them."""
    llm_api_base: str | None = None
    """Address of the model's server where it is not the provider's own."""
    llm_timeout_s: float = 60.0
    """Seconds for all that one document asks of the model; then the template writes it."""
    llm_tokens_per_day: int = 1_000_000
    """Most tokens that models may read and write on one day (UTC) for one store; 0 asks none."""
    llm_cost_per_day: float | None = None
    """Most US dollars that models of known price may cost on one day (UTC) for one store; None for no limit."""
    notify: tuple[str, ...] = ()
    """Addresses that findings are sent to; several are separated by commas or blanks."""
    notify_severity: SeverityName = "warning"
    """The least severity that is sent."""
    notify_quiet: str | None = None
    """Hours of the day in which a watcher sends nothing, like ``22:00-07:00``, by this machine's clock."""
    notify_per_hour: int = 10
    """Most messages that a watcher sends to one channel within an hour; what is beyond goes into a digest."""
    notify_per_run: int = 5
    """Most messages about one run within a day."""
    learned_head: bool = True
    """Whether what was learned from faults put into other trainings has a say in how unusual a run is."""
    reports: Path = Path("reports")
    """Folder that documents are written to."""
    on_finish: tuple[str, ...] = ()
    """Documents that are written by themselves when a run has ended: ``run-summary``, ``report``, ``model-card``,
    ``checklist``."""
    on_finding: tuple[str, ...] = ()
    """Documents that are written by themselves for a finding of at least ``notify_severity``: ``incident``."""
    embedder: str | None = None
    """Name or path of the text encoder for search; None lets the program choose."""
    capture: bool = True
    """Whether code, environment and hardware of a run are captured."""
    diff_limit_bytes: int = 200_000
    """Most of an uncommitted change that is kept with a run, in bytes; 0 keeps none."""
    fsync: Fsync = "never"
    """When what is logged is made safe from a power cut: ``always`` before ``log()`` returns, at ``interval`` about
    once a second in the background, ``never`` leaves it to the system. A killed process loses nothing in any case."""
    system_metrics: float = SYSTEM_METRICS_EVERY_S
    """Seconds between two samples of processor, memory, disk, network and GPUs while a run trains; ``off`` or 0 takes
    none."""
    strict: bool = False
    """Whether trouble of the store or of the write-ahead log is raised in the training, instead of being logged."""
    file: Path | None = None
    """The file that was read; None where there was none. Not a setting itself."""

    def __repr__(self) -> str:
        """Show everything but the addresses' secrets."""
        shown = []
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == _SHOWN_AS_COUNT:
                value = f"<{len(value)} addresses>"
            elif field.name in _HAS_ADDRESS and value is not None and "@" in value:
                value = value.partition("://")[0] + "://…@" + value.rpartition("@")[2]
            shown.append(f"{field.name}={value!r}")
        return f"Settings({', '.join(shown)})"


SETTINGS = tuple(field.name for field in fields(Settings) if field.name != "file")
"""Names of all settings."""


def resolve(*, cwd: Path | None = None, environ: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """Return the settings that hold here.

    Parameters
    ----------
    cwd
        Where the search for a file begins; the working directory by default.
    environ
        The process's own by default.
    **overrides
        Settings that win over everything; None means not given.

    Raises
    ------
    ConfigError
        If a name is unknown, a value cannot be used, or the file cannot be read.

    Examples
    --------
    >>> resolve(cwd=Path("/"), environ={"ADVISOR_STORE": "s3://bucket/runs"}).store
    's3://bucket/runs'
    """
    environ = os.environ if environ is None else environ
    found: dict[str, Any] = {}
    file, content = _find_file(cwd or Path.cwd())
    for name, value in content.items():
        _check_known(name, str(file))
        found[name] = _anchored(name, _checked(name, value, f"{name} in {file}"), file)
    for name in SETTINGS:
        variable = PREFIX + name.upper()
        if environ.get(variable, "").strip():
            found[name] = _checked(name, environ[variable], variable)
    for name, value in overrides.items():
        _check_known(name, "the arguments")
        if value is not None:
            found[name] = _checked(name, value, f"argument {name}")
    return Settings(**found, file=file)


# -- the file


def _find_file(folder: Path) -> tuple[Path | None, Mapping[str, Any]]:
    for parent in (folder.absolute(), *folder.absolute().parents):
        own = parent / "advisor.toml"
        if own.is_file():
            return own, _read_toml(own)
        project = parent / "pyproject.toml"
        if project.is_file():
            tools = _read_toml(project).get("tool")
            table = tools.get("advisor") if isinstance(tools, dict) else None
            if isinstance(table, dict):
                return project, table
    return None, {}


def _read_toml(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} is not valid TOML: {exc}") from exc


def _anchored(name: str, value: Any, file: Path | None) -> Any:
    """Make a relative folder of a file relative to that file, wherever the program was started."""
    if file is None or name not in ("store", "reports") or "://" in str(value):
        return value
    return type(value)(str(file.parent / value)) if name == "store" else file.parent / value


# -- names and values


def _check_known(name: str, where: str) -> None:
    if name in SETTINGS:
        return
    if any(word in name.lower() for word in ("key", "token", "secret", "password")):
        raise ConfigError(
            f"{name!r} in {where} is not a setting: keys are never kept in settings; "
            "set the provider's own environment variable, for instance OPENAI_API_KEY"
        )
    raise ConfigError(f"unknown setting {name!r} in {where}; {did_you_mean(name, SETTINGS, show=20)}")


def _checked(name: str, value: object, where: str) -> Any:
    return _CHECKS[name](value, where)


def _text(value: object, where: str) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{where} must be a text that is not empty, not {value!r}")
    return value.strip()


def _address(value: object, where: str) -> str:
    text = _text(value, where)
    return text if "://" in text else os.path.expanduser(text)


def _folder(value: object, where: str) -> Path:
    return Path(_address(value, where))


def _addresses(value: object, where: str) -> tuple[str, ...]:
    """Return addresses; a message never shows what was given, since addresses carry secrets."""
    if isinstance(value, str):
        return tuple(value.replace(",", " ").split())
    if isinstance(value, list | tuple) and all(isinstance(item, str) and item.strip() for item in value):
        return tuple(item.strip() for item in value)
    raise ConfigError(f"{where} must be one address or a list of addresses (texts), not {type(value).__name__}")


def _kinds(*allowed: str) -> Callable[[object, str], tuple[str, ...]]:
    def check(value: object, where: str) -> tuple[str, ...]:
        given = value.replace(",", " ").split() if isinstance(value, str) else value
        words = [str(word).strip().lower() for word in given] if isinstance(given, list | tuple) else [str(given)]
        unknown = [word for word in words if word not in allowed]
        if unknown:
            raise ConfigError(f"{where} names {unknown[0]!r}; it may name {', '.join(allowed)}, or be empty")
        return tuple(dict.fromkeys(words))

    return check


def _flag(value: object, where: str) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise ConfigError(f"{where} must be true or false, not {value!r}")


def _count(value: object, where: str) -> int:
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"{where} must be a whole number of at least 0, not {value!r}")
    return value


def _at_least_one(value: object, where: str) -> int:
    n = _count(value, where)
    if n == 0:
        raise ConfigError(f"{where} must be at least 1, not 0; leave 'notify' empty to send nothing")
    return n


def _positive(value: object, where: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(cast(Any, value))
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < math.inf:
        raise ConfigError(f"{where} must be a positive number, not {value!r}")
    return number


def _interval(value: object, where: str) -> float:
    """Return seconds: ``on`` is the default, ``off`` is 0."""
    word = value.strip().lower() if isinstance(value, str) else value
    if word is True or word in ("true", "yes", "on"):
        return SYSTEM_METRICS_EVERY_S
    if word is False or word in ("0", "false", "no", "off") or word == 0:
        return 0.0
    try:
        return _positive(value, where)
    except ConfigError:
        raise ConfigError(f"{where} must be a positive number of seconds, 'on' or 'off', not {value!r}") from None


def _hours(value: object, where: str) -> str:
    text = _text(value, where)
    hours = re.fullmatch(r"((?:[01]?\d|2[0-3]):[0-5]\d)\s*-\s*((?:[01]?\d|2[0-3]):[0-5]\d)", text)
    if hours is None or hours[1].zfill(5) == hours[2].zfill(5):
        raise ConfigError(f"{where} must be a part of the day like 22:00-07:00, not {value!r}")
    return text


def _severity(value: object, where: str) -> SeverityName:
    allowed = get_args(SeverityName)
    word = value.strip().lower() if isinstance(value, str) else value
    if word not in allowed:
        raise ConfigError(f"{where} must be one of {', '.join(allowed)}, not {value!r}")
    return cast(SeverityName, word)


def _fsync(value: object, where: str) -> Fsync:
    allowed = get_args(Fsync)
    word = value.strip().lower() if isinstance(value, str) else value
    if word not in allowed:
        raise ConfigError(f"{where} must be one of {', '.join(allowed)}, not {value!r}")
    return cast(Fsync, word)


_CHECKS: dict[str, Callable[[object, str], Any]] = {
    "store": _address,
    "llm": _text,
    "llm_api_base": _text,
    "llm_timeout_s": _positive,
    "llm_tokens_per_day": _count,
    "llm_cost_per_day": _positive,
    "notify": _addresses,
    "notify_severity": _severity,
    "notify_quiet": _hours,
    "notify_per_hour": _at_least_one,
    "notify_per_run": _at_least_one,
    "reports": _folder,
    "on_finish": _kinds("run-summary", "report", "model-card", "checklist"),
    "on_finding": _kinds("incident"),
    "embedder": _text,
    "capture": _flag,
    "diff_limit_bytes": _count,
    "fsync": _fsync,
    "strict": _flag,
    "system_metrics": _interval,
}
