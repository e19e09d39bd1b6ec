"""Doing several things at once so that nothing is still under way afterwards, also when it is interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines at once and return their results in order; the first error ends the others and is raised.

    Returns or raises only when every one has ended: what each does in its `finally` is done by then. `asyncio.gather`
    comes back from a cancellation at once, and whoever closes the connections next cuts that short.
    """
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return list(await asyncio.gather(*tasks))
    except asyncio.CancelledError:
        # They were cancelled with us. A second cancellation would interrupt them while they clean up.
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
