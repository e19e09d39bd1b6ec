"""How hard one host may be worked: a token bucket for the rate, a semaphore for what is under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from reconciler.manifest.shadow_host import RequestBudget

Clock = Callable[[], float]
"""Monotonic seconds."""
Sleep = Callable[[float], Awaitable[None]]


class Budget:
    """Admits requests to one host, in the order in which they ask.

    A request reserves its token at once and waits until that token exists, so a burst spreads out evenly and nobody
    is overtaken. `hold` makes everybody wait: a host that says "slow down" says it to all requests, not to one.
    """

    def __init__(self, limits: RequestBudget, *, clock: Clock, sleep: Sleep) -> None:
        self._rate = limits.requests_per_second
        self._burst = float(limits.burst)
        self._tokens = self._burst
        self._clock = clock
        self._sleep = sleep
        self._counted_at = clock()
        self._held_until = self._counted_at
        self._in_flight = asyncio.Semaphore(limits.max_in_flight)

    @asynccontextmanager
    async def admit(self) -> AsyncIterator[None]:
        """Wait for a token and a free place; hold the place for the length of the block."""
        async with self._in_flight:
            wait_s = self._reserve()
            if wait_s > 0:
                await self._sleep(wait_s)
            yield

    def hold(self, seconds: float) -> None:
        """Let nothing out for so long; never shortens a hold that is already on."""
        self._held_until = max(self._held_until, self._clock() + seconds)

    def _reserve(self) -> float:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._counted_at) * self._rate)
        self._counted_at = now
        self._tokens -= 1
        return max(-self._tokens / self._rate, self._held_until - now, 0.0)
