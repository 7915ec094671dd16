"""Memory of the process that serves: what is free goes back to the system.

glibc keeps a heap for each thread, and blocks of up to 32 MiB once it has seen one that large; with the threads of a
server and curves of 8 MB an array, 0.2 GB of a store of 100,000 runs were free and kept. Where the C library is
another one nothing is done.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Final

ARENA_MAX: Final = (-8, 2)
"""glibc's ``M_ARENA_MAX``: heaps that threads share."""
MMAP_THRESHOLD: Final = (-3, 1 << 20)
"""glibc's ``M_MMAP_THRESHOLD``: bytes from which a block is the system's own; setting it keeps it from growing."""


def be_frugal() -> None:
    """Have the C library keep little that is free; called before threads are."""
    if sys.platform != "linux":
        return
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune is not None:  # musl has none
        for option in (ARENA_MAX, MMAP_THRESHOLD):
            tune(*option)
