"""How a replica learns that revisions changed: PostgreSQL tells it; otherwise it looks often enough."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Protocol

from reconciler.gateway.storage.database import Database

POLL_S = 0.4
"""The floor: even when no message arrives, a promote is seen within a second, loading included."""


class Changes(Protocol):
    """Waits for news. One task may wait at a time."""

    async def wait(self) -> None:
        """Return when revisions may have changed: at once on a message, else after the polling interval."""

    async def aclose(self) -> None:
        """Close what it holds open."""


class Polled:
    """Keeps `Changes` for a database that sends no messages."""

    def __init__(self, *, poll_s: float) -> None:
        self._poll_s = poll_s

    async def wait(self) -> None:
        await asyncio.sleep(self._poll_s)

    async def aclose(self) -> None:
        return None


def changes_of(database: Database, *, poll_s: float = POLL_S) -> Changes:
    """Return what waits for news of a database."""
    if database.is_sqlite:
        return Polled(poll_s=poll_s)
    listened: Changes = import_module("reconciler.gateway.storage.listen").Listened(
        database.url, poll_s=poll_s
    )
    return listened
