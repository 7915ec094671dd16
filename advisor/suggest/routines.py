"""The dozen routines of SciPy that a suggestion needs: LAPACK's on factors of a matrix, and three special functions.

They are taken from SciPy's compiled modules alone. Their packages, ``scipy.linalg`` and ``scipy.special``, take 0.2 s
of CPU to import, a tenth of what a command that suggests may; the functions are the very same. Where a version of SciPy
has them elsewhere, they come from its public modules.
"""

from __future__ import annotations

import functools
import importlib
import threading
from typing import Any

from storage.light_import import alone

_LAPACK = ("dpotrf", "dpotri", "dpotrs", "dtrtrs")
_SPECIAL = ("erfcx", "ndtr", "ndtri")
_importing = threading.Lock()


@functools.cache
def lapack() -> Any:
    """Return what has ``dpotrf``, ``dpotri``, ``dpotrs`` and ``dtrtrs``; see ``scipy.linalg.lapack``."""
    return _module("scipy.linalg._flapack", "scipy.linalg.lapack", _LAPACK)


@functools.cache
def special() -> Any:
    """Return what has ``erfcx``, ``ndtr`` and ``ndtri``; see ``scipy.special``."""
    return _module("scipy.special._ufuncs", "scipy.special", _SPECIAL)


def _module(compiled: str, public: str, names: tuple[str, ...]) -> Any:
    with _importing:
        try:
            module = alone(compiled)
        except ImportError:
            module = None
        if all(hasattr(module, name) for name in names):
            return module
        return importlib.import_module(public)
