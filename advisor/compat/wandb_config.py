"""``wandb.config`` over a run's parameters: what is set later reaches the store, what changes unasked is refused.

Invariant: what the mapping shows is what the run's parameters are, but for secrets, which the store gets redacted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from advisor.compat import current
from advisor.errors import AdvisorError, ConfigError

if TYPE_CHECKING:
    from advisor.tracking.run import LiveRun


class Config:
    """Parameters by attribute and by item.

    Parameters
    ----------
    run
        The run that they belong to; None keeps them in memory only.
    values
        What there is already.
    may_change
        Whether a value may be replaced by another without ``allow_val_change``.
    suggested
        Names whose values are what the run was started for: they stay, as those of a sweep do.
    """

    def __init__(
        self,
        run: LiveRun | None,
        values: Mapping[str, Any] | None = None,
        *,
        may_change: bool = False,
        suggested: Iterable[str] = (),
    ) -> None:
        self._run: LiveRun | None
        self._values: dict[str, Any]
        self._may_change: bool
        self._suggested: frozenset[str]
        self.__dict__["_run"] = run
        self.__dict__["_values"] = dict(values or {})
        self.__dict__["_may_change"] = may_change
        self.__dict__["_suggested"] = frozenset(suggested)

    def update(self, values: Any, allow_val_change: bool | None = None) -> None:
        """Set several values: of a mapping, a namespace of argparse, or the YAML file of that name.

        Raises
        ------
        ConfigError
            If a value would change and that is not allowed.
        """
        may_change = self._may_change if allow_val_change is None else allow_val_change
        given = {name: value for name, value in read(values).items() if name not in self._suggested}
        for name, value in given.items():
            if not may_change and name in self._values and not _same(self._values[name], value):
                raise ConfigError(
                    f"{name} is {self._values[name]!r:.80} and would become {value!r:.80}; where that is meant, call "
                    "config.update(…, allow_val_change=True)"
                )
        new = {name: v for name, v in given.items() if name not in self._values or not _same(self._values[name], v)}
        self._values.update(given)
        if self._run is not None and new:
            self._run.set_params(new)

    def setdefaults(self, values: Any) -> None:
        """Set those of several values that are not set yet."""
        self.update({name: value for name, value in read(values).items() if name not in self._values})

    def as_dict(self) -> dict[str, Any]:
        """Return all values."""
        return dict(self._values)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value, or the default where there is none."""
        return self._values.get(name, default)

    def keys(self) -> Iterable[str]:
        """Return the names."""
        return list(self._values)

    def values(self) -> Iterable[Any]:
        """Return the values."""
        return list(self._values.values())

    def items(self) -> Iterable[tuple[str, Any]]:
        """Return names and values."""
        return list(self._values.items())

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"config has no {name!r}; it has {', '.join(self._values) or 'nothing'}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)


class CurrentConfig:
    """The name ``advisor.config``: the config of the current run at each use.

    What no run's config has is looked for in the module ``advisor.config``, of which this takes the name.
    """

    def replace_all(self, values: Any) -> None:
        """Set values where a script assigns to the name."""
        self._of_run().update(values, allow_val_change=True)

    def _of_run(self) -> Config:
        run = current.get()
        if run is None:
            raise AdvisorError("config belongs to a run, and there is none; call init(…) first")
        return of(run)

    def __getattr__(self, name: str) -> Any:
        run = current.get()
        if run is not None and not name.startswith("_"):
            config = of(run)
            if name in config or hasattr(Config, name):
                return getattr(config, name)
        return getattr(import_module("advisor.config"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._of_run()[name] = value

    def __getitem__(self, name: str) -> Any:
        return self._of_run()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._of_run()[name] = value

    def __contains__(self, name: object) -> bool:
        return name in self._of_run()

    def __iter__(self) -> Iterator[str]:
        return iter(self._of_run())

    def __len__(self) -> int:
        return len(self._of_run())

    def __repr__(self) -> str:
        return "{}" if current.get() is None else repr(self._of_run())


CURRENT: Final = CurrentConfig()


def of(run: LiveRun) -> Config:
    """Return the config of a run; one that was started in our own shape gets one at its first use."""
    known = run.__dict__.get("config")
    if known is None:
        suggested = run.params if run.suggestion_id is not None else ()
        known = run.__dict__["config"] = Config(run, run.params, suggested=suggested)
    assert isinstance(known, Config)
    return known


def read(given: Any) -> dict[str, Any]:
    """Return parameters given as a mapping, a namespace, or the name of a YAML file, with names as text.

    Raises
    ------
    ConfigError
        If it is none of these.
    """
    if given is None:
        return {}
    if isinstance(given, Config):
        return given.as_dict()
    if isinstance(given, (str, Path)):
        return _from_yaml(Path(given))
    if not isinstance(given, Mapping):
        if callable(getattr(given, "flag_values_dict", None)):  # absl
            given = given.flag_values_dict()
        elif callable(getattr(given, "items", None)):
            given = dict(given.items())
        elif hasattr(given, "__dict__"):
            given = vars(given)
        else:
            raise ConfigError(
                f"config is a {type(given).__name__}; give a dictionary, a namespace of argparse, or the name of a "
                "YAML file"
            )
    return {str(name): value for name, value in given.items()}


def _from_yaml(path: Path) -> dict[str, Any]:
    """Read a file as W&B writes them: each name has a value, or a mapping with a ``value`` and a ``desc``."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"config {str(path)!r} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"config {str(path)!r} holds a {type(content).__name__}; it must hold names and values")
    told = {str(k): v["value"] if isinstance(v, dict) and "value" in v else v for k, v in content.items()}
    return {name: value for name, value in told.items() if name not in ("wandb_version", "_wandb")}


def _same(before: Any, after: Any) -> bool:
    try:
        return bool(before is after or before == after or (before != before and after != after))
    except (TypeError, ValueError):  # arrays do not say as one
        return repr(before) == repr(after)
