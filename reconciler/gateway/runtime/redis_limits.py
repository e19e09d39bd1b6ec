"""Limits of managed keys that many processes hold together in Redis: requests per minute, and concurrent requests."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable

from reconciler.gateway.runtime import redis_scripts as scripts
from reconciler.gateway.runtime.allowance import BUSY_RETRY_S
from reconciler.gateway.runtime.redis_form import as_text
from reconciler.gateway.runtime.redis_link import RedisGone, RedisLink

ALIVE_S = 10
"""A process that gave no sign of life for this long no longer counts as running requests."""


class RedisLimits:
    """One process' share. Everything that asks Redis raises RedisGone, but `leave`."""

    def __init__(self, link: RedisLink, prefix: str, replica: str, clock: Callable[[], float]) -> None:
        self._link = link
        self._prefix = prefix
        self._replica = replica
        self._clock = clock
        self._alive = f"{prefix}:alive:"
        self._admissions = 0
        self._running: Counter[str] = Counter()
        """Managed key -> requests that this process counted as concurrent, whatever Redis knows of them."""

    async def admit(self, managed_key: str, per_minute: int | None, concurrent: int | None) -> float | None:
        """Take a request on; else return the seconds until it may be tried again."""
        if per_minute is None and concurrent is None:
            return None
        self._admissions += 1
        answer: bytes | None = await self._link.run(
            scripts.ADMIT,
            [f"{self._prefix}:minute:{managed_key}", self._running_name(managed_key)],
            as_text(self._clock()),
            "" if per_minute is None else per_minute,
            "" if concurrent is None else concurrent,
            self._replica,
            f"{self._replica}:{self._admissions}",
            self._alive,
            str(BUSY_RETRY_S),
        )
        return None if answer is None else max(0.0, float(answer))

    def count(self, managed_key: str) -> None:
        """Count a request that was taken on, by Redis or without it."""
        self._running[managed_key] += 1

    async def leave(self, managed_key: str) -> None:
        """Count it down again. What Redis misses is set right by `tell`."""
        self._running[managed_key] = max(0, self._running[managed_key] - 1)
        with contextlib.suppress(RedisGone):
            await self._link.ask("HINCRBY", self._running_name(managed_key), self._replica, -1)

    async def tell(self) -> None:
        """Tell Redis, which was away, what runs here."""
        for managed_key in [key for key, count in self._running.items() if not count]:
            del self._running[managed_key]
        for managed_key, count in list(self._running.items()):
            await self._link.ask("HSET", self._running_name(managed_key), self._replica, count)
        await self.live()

    async def live(self) -> None:
        """Give a sign of life, to be repeated within `ALIVE_S`."""
        await self._link.ask("SET", self._alive + self._replica, 1, "EX", ALIVE_S)

    async def die(self) -> None:
        """Take it back: the process ends."""
        await self._link.ask("DEL", self._alive + self._replica)

    def _running_name(self, managed_key: str) -> str:
        return f"{self._prefix}:running:{managed_key}"
