"""Limits of managed keys that many processes hold together in Redis: requests per minute, and concurrent requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import hiredis

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
        self._owed: Counter[str] = Counter()
        """Managed key -> what Redis' count lacks, because it was away or refused a command."""

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

    def owe(self, managed_key: str, change: int) -> None:
        """Note a change of Redis' count that it does not know of; `live` or `tell` brings it."""
        self._owed[managed_key] += change

    async def leave(self, managed_key: str) -> None:
        """Count it down again."""
        self._running[managed_key] = max(0, self._running[managed_key] - 1)
        try:
            await self._change(managed_key, -1)
        except (RedisGone, hiredis.ReplyError):
            self.owe(managed_key, -1)

    async def tell(self) -> None:
        """Tell Redis, which was away, what runs here. It may have kept what it knew of requests that ended since."""
        self._owed.clear()
        for managed_key in list(self._running):
            name, count = self._running_name(managed_key), self._running[managed_key]
            if count:
                await self._link.ask("HSET", name, self._replica, count)
            else:
                del self._running[managed_key]
                await self._link.ask("HDEL", name, self._replica)
        await self.live()

    async def live(self) -> None:
        """Give a sign of life, to be repeated within `ALIVE_S`, and bring what is owed."""
        await self._link.ask("SET", self._alive + self._replica, 1, "EX", ALIVE_S)
        for managed_key, change in list(self._owed.items()):
            await self._change(managed_key, change)
            self.owe(managed_key, -change)
            if not self._owed[managed_key]:
                del self._owed[managed_key]

    async def die(self) -> None:
        """Take it back: the process ends."""
        await self._link.ask("DEL", self._alive + self._replica)

    async def _change(self, managed_key: str, change: int) -> None:
        await self._link.ask("HINCRBY", self._running_name(managed_key), self._replica, change)

    def _running_name(self, managed_key: str) -> str:
        return f"{self._prefix}:running:{managed_key}"
