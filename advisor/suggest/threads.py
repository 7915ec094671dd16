"""One thread for small matrices: more of them make a suggestion slower, and a training beside it too."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from typing import Any

from advisor.suggest.routines import lapack


def one_thread() -> AbstractContextManager[Any]:
    """Keep the linear algebra libraries to one thread within the block.

    On two busy cores a solve of 25 equations took 3 ms with two threads and 0.1 ms with one.
    """
    found: AbstractContextManager[Any] = _controller().limit(limits=1)
    return found


@functools.cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    lapack()  # its library must be loaded to be found
    return ThreadpoolController()
