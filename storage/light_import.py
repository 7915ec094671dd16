"""Imports that cost less: a package's ``__init__`` put off until it is needed, packages left out, checks skipped.

LanceDB needs a few modules of ``lance_namespace_urllib3_client``, whose ``__init__`` builds a client for a service that
a store does not talk to: 1.0 of the 2.4 seconds that importing lancedb took (0.40, two cores). Nothing of the package
is changed: the first attribute that is missing runs its ``__init__`` as usual.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from typing import Any


def put_off_init(name: str) -> None:
    """Put a package into ``sys.modules`` that runs its ``__init__`` when it is first needed.

    Does nothing where the package is imported already, cannot be found, or is no package of plain files.
    """
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None or spec.submodule_search_locations is None:
        return
    loader, module = spec.loader, importlib.util.module_from_spec(spec)

    def look_up(attribute: str) -> Any:
        if attribute.startswith("__"):  # what the import system itself asks for
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
        del module.__dict__["__getattr__"]
        loader.exec_module(module)
        return getattr(module, attribute)

    module.__dict__["__getattr__"] = look_up
    sys.modules[name] = module


def alone(name: str) -> Any:
    """Return a module of a package, imported without the package's ``__init__`` unless that has run already.

    For a module that needs nothing of its package. The package itself stays as if it had never been asked for.

    Raises
    ------
    ImportError
        If there is no such module, or it needs its package.
    """
    package, _, _ = name.rpartition(".")
    if name in sys.modules or package in sys.modules:
        return importlib.import_module(name)
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    stand_in = types.ModuleType(package)
    stand_in.__path__ = list(spec.submodule_search_locations)
    stand_in.__spec__ = spec
    sys.modules[package] = stand_in
    try:
        return importlib.import_module(name)
    finally:
        if sys.modules.get(package) is stand_in:
            del sys.modules[package]


@contextlib.contextmanager
def left_out(name: str) -> Iterator[None]:
    """Let an optional package count as not installed for whatever is imported meanwhile; one that is loaded stays so.

    Only for a process of our own, such as a command: what is imported here may remember that the package is missing.
    """
    refusal = _Refusal(name)
    sys.meta_path.insert(0, refusal)
    try:
        yield
    finally:
        sys.meta_path.remove(refusal)


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """Let classes that are defined meanwhile skip what costs time and changes nothing: 0.2 of 0.7 s of LanceDB.

    A method that the package ``overrides`` marks is not looked up in the classes above, which Python's own decorator,
    taken by LanceDB from Python 3.12 on, does not do either; and a model of pydantic builds its validator when it is
    first used.
    """
    with contextlib.ExitStack() as undo:
        if sys.version_info < (3, 12) and importlib.util.find_spec("overrides") is not None:
            undo.enter_context(_replaced(importlib.import_module("overrides"), "override", _marked))
        if importlib.util.find_spec("pydantic") is not None:
            base = importlib.import_module("pydantic").BaseModel
            undo.enter_context(_replaced(base, "model_config", {**base.model_config, "defer_build": True}))
        yield


def _marked(method: Any = None, **_: Any) -> Any:
    """Mark a method as overriding; see ``typing.override``."""
    if method is None:
        return _marked
    with contextlib.suppress(AttributeError, TypeError):
        method.__override__ = True
    return method


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


class _Refusal:
    """An import finder that knows of one package that there is none."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == self._name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
