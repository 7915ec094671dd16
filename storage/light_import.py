"""Imports of a package's submodules without the package's own ``__init__``, until somebody asks for what it defines.

LanceDB needs a few modules of ``lance_namespace_urllib3_client``, whose ``__init__`` builds a client for a service that
a store does not talk to: 1.0 of the 2.4 seconds that importing lancedb took (0.40, two cores). Nothing of the package
is changed: the first attribute that is missing runs its ``__init__`` as usual.
"""

from __future__ import annotations

import importlib.util
import sys
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
