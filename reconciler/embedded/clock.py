"""Time for the embedded room. Handed in, so that a test can make a week pass without waiting."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Protocol


class Clock(Protocol):
    """What the embedded host and upstream know of time."""

    def now(self) -> float:
        """Return the present as seconds since 1970."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        ...


class SystemClock:
    """The machine's own time."""

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that moves only when told; its `sleep` moves it and returns at once.

    Two tasks that sleep at the same time both move it: fine for delays, not for measuring.
    """

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once."""
        self._now += seconds

    async def sleep(self, seconds: float) -> None:
        self._now += max(seconds, 0.0)
        await asyncio.sleep(0)


def stamp(moment: float, utc_offset_minutes: int = 0) -> str:
    """Return `moment` as Go prints it: RFC 3339, up to microseconds, trailing zeros of the fraction cut.

    >>> stamp(0.25)
    '1970-01-01T00:00:00.25Z'
    """
    zone = timezone(timedelta(minutes=utc_offset_minutes)) if utc_offset_minutes else UTC
    text = datetime.fromtimestamp(round(moment, 6), zone).isoformat(timespec="microseconds")
    whole, rest = text.split(".")
    fraction, offset = rest[:6].rstrip("0"), rest[6:]
    return f"{whole}.{fraction}{_zulu(offset)}" if fraction else f"{whole}{_zulu(offset)}"


def _zulu(offset: str) -> str:
    return "Z" if offset == "+00:00" else offset


def unstamp(text: str) -> float:
    """Return the moment that an RFC 3339 text names, in seconds since 1970. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone")
    return moment.timestamp()
