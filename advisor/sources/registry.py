"""Which readers there are, in the order in which they are asked: the more particular a format, the earlier."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import Final

from advisor.errors import ConfigError
from advisor.sources.port import Reader
from storage.errors import did_you_mean

READERS: Final = (
    ("interchange", "InterchangeReader"),
    ("mlflow", "MLflowReader"),
    ("optuna", "OptunaReader"),
    ("ray", "RayReader"),
    ("huggingface", "HuggingFaceReader"),
    ("lightning", "LightningReader"),
    ("sb3", "SB3Reader"),
    ("keras", "KerasReader"),
    ("tensorboard", "TensorBoardReader"),
    ("wandb", "WandbReader"),
    ("trackio", "TrackioReader"),
    ("aim", "AimReader"),
    ("neptune", "NeptuneReader"),
    ("tables", "TablesReader"),
)
"""(module and short name, class). A folder goes to the first that claims it."""


@cache
def readers() -> tuple[Reader, ...]:
    """Return one of each reader."""
    return tuple(getattr(import_module(f"advisor.sources.{module}"), name)() for module, name in READERS)


def reader_of(tool: str) -> Reader:
    """Return the reader of a tool.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    for reader in readers():
        if reader.tool == tool:
            return reader
    names = [reader.tool for reader in readers()]
    close = did_you_mean(tool, names) if get_close_matches(tool, names) else f"there are: {', '.join(names)}"
    raise ConfigError(f"there is no reader of {tool!r}; {close}")


def chosen(tools: Sequence[str]) -> tuple[Reader, ...]:
    """Return the readers of some tools, in the order in which they are asked; all where none is named.

    Raises
    ------
    ConfigError
        If there is none of a name.
    """
    wanted = {reader_of(tool).tool for tool in tools}
    return tuple(reader for reader in readers() if not wanted or reader.tool in wanted)
