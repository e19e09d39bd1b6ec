"""Memory of large revisions: made, kept and freed without a pause that a request would feel.

Loading 10,000 routes and as many keys leaves 12 MB of objects behind, and 25 MB of freed buffers on top, which glibc
would keep. Source: mallopt(3), malloc_trim(3).
"""

from __future__ import annotations

import ctypes
import functools
import gc
import time
from typing import Any

_M_ARENA_MAX = -8
_ARENAS = 2
"""Threads share this many heaps; each of its own would keep its own leftovers."""


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    """Return the C library; None where it is another one. Kept, because each loading makes classes, in a circle."""
    try:
        return ctypes.CDLL("libc.so.6")
    except OSError:
        return None


def share_heaps() -> None:
    """Keep the number of heaps small; call it before threads start. Does nothing where libc is not glibc."""
    if (glibc := _glibc()) is not None:
        glibc.mallopt(_M_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Return freed memory to the system. Takes about a millisecond, without the interpreter's lock."""
    if (glibc := _glibc()) is not None:
        glibc.malloc_trim(0)


_FREED_AT_ONCE = 256
_PAUSE_S = 0.0002

_YOUNG, _MIDDLE, _NEVER = 2_000, 2, 1_000_000_000
"""New objects before young ones are looked at; such looks before a larger one, which then walks through few; never."""


def settle() -> None:
    """Leave what the process was started with out of collections for good, and collect young objects only.

    A full collection stops every thread. Of its own accord the collector would start one while a revision is loaded,
    when there is most to walk through; `collect` says when instead.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _NEVER)


def collect() -> None:
    """End the circles that errors and closed connections left behind: to be called now and then, from any thread.

    It takes a millisecond or two however large the revisions are, as they consist of what the collector does not track.
    """
    gc.collect()


def free(kept: list[Any]) -> None:
    """Free objects slice by slice, with pauses: give them as the last references to what is large. Blocks."""
    while kept:
        del kept[-_FREED_AT_ONCE:]
        time.sleep(_PAUSE_S)
