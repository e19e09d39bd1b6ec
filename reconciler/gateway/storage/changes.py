"""How a replica learns that revisions changed: PostgreSQL tells it; otherwise it looks often enough."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import psycopg
from sqlalchemy import URL

from reconciler.gateway.storage.database import CHANGES_CHANNEL, Database

POLL_S = 0.4
"""The floor: even when no message arrives, a promote is seen within a second, loading included."""

log = logging.getLogger(__name__)


class Changes:
    """Waits for news. One task may wait at a time."""

    def __init__(self, database: Database, *, poll_s: float = POLL_S) -> None:
        self._url: URL | None = None if database.is_sqlite else database.url
        self._poll_s = poll_s
        self._connection: psycopg.AsyncConnection | None = None
        self._listening = True

    async def wait(self) -> None:
        """Return when revisions may have changed: at once on a message, else after the polling interval."""
        if self._url is None:
            await asyncio.sleep(self._poll_s)
            return
        try:
            connection = self._connection or await self._listen(self._url)
            async for _message in connection.notifies(timeout=self._poll_s, stop_after=1):
                pass
        except (psycopg.Error, OSError) as error:
            if self._listening:  # once per loss, not once per attempt
                log.warning(
                    "listening for changes failed, polling instead", extra={"error": type(error).__name__}
                )
            self._listening = False
            await self.aclose()
            await asyncio.sleep(self._poll_s)

    async def _listen(self, url: URL) -> psycopg.AsyncConnection:
        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        connection = await psycopg.AsyncConnection.connect(
            plain, autocommit=True, connect_timeout=5, keepalives_idle=5
        )
        await connection.execute(f"LISTEN {CHANGES_CHANNEL}")
        self._connection = connection
        self._listening = True
        return connection

    async def aclose(self) -> None:
        """Close the listening connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                await connection.close()
