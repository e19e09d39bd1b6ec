"""Memory of large revisions: made, kept and freed without a pause that a request would feel.

Loading 10,000 routes and as many keys leaves 12 MB of objects behind, and 25 MB of freed buffers on top, which glibc
would keep. Source: mallopt(3), malloc_trim(3).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

_M_ARENA_MAX = -8
_ARENAS = 2
"""Threads share this many heaps; each of its own would keep its own leftovers."""


def share_heaps() -> None:
    """Keep the number of heaps small; call it before threads start. Does nothing where libc is not glibc."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(_M_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Return freed memory to the system. Takes about a millisecond, without the interpreter's lock."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


class _Growth:
    """How many threads make much that lasts, and whether collections were on before the first of them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.threads = 0
        self.collecting = True


_growth = _Growth()
_FREED_AT_ONCE = 256
_PAUSE_S = 0.0002


@contextlib.contextmanager
def growing() -> Iterator[None]:
    """Make much that lasts: the garbage collector looks at nothing meanwhile, nor soon afterwards.

    A collection stops every thread; one that has to walk through 10,000 new routes takes tens of milliseconds. What
    exists at the end goes to the oldest generation unseen (freezing and unfreezing moves it there), which is walked
    through once in millions of requests: these objects end by their reference counts anyway. Garbage would stay there
    too, so what is young at the beginning is collected first: it is little, and takes less than a millisecond.
    """
    with _growth.lock:
        if not _growth.threads:
            _growth.collecting = gc.isenabled()
            gc.collect(1)
            gc.disable()
        _growth.threads += 1
    try:
        yield
    finally:
        with _growth.lock:
            _growth.threads -= 1
            if not _growth.threads:
                gc.freeze()
                gc.unfreeze()
                if _growth.collecting:
                    gc.enable()


def free(kept: list[Any]) -> None:
    """Free objects slice by slice, with pauses: give them as the last references to what is large. Blocks."""
    while kept:
        del kept[-_FREED_AT_ONCE:]
        time.sleep(_PAUSE_S)
