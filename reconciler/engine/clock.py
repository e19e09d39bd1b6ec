"""Real time, behind the seam that tests replace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

from reconciler.proof.clock import Clock

T = TypeVar("T")


class SystemClock:
    """Wall-clock instants in UTC, monotonic seconds, and asyncio's sleep."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def within(limit_s: float, clock: Clock, work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` comes to, or cancel it after `limit_s` seconds of `clock`. Raises TimeoutError."""
    doing = asyncio.ensure_future(work)
    timer = asyncio.ensure_future(clock.sleep(limit_s))
    try:
        await asyncio.wait((doing, timer), return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        raise TimeoutError
    finally:
        doing.cancel()
        timer.cancel()
        await asyncio.gather(doing, timer, return_exceptions=True)
