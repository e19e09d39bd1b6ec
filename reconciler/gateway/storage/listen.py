"""Hearing of new revisions from PostgreSQL. Apart from `changes`, because psycopg takes 9 MB that SQLite needs not."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import psycopg
from sqlalchemy import URL

from reconciler.gateway.storage.database import CHANGES_CHANNEL

log = logging.getLogger(__name__)


class Listened:
    """Keeps `changes.Changes`: returns on a message, or after the polling interval when none comes."""

    def __init__(self, url: URL, *, poll_s: float) -> None:
        self._url = url
        self._poll_s = poll_s
        self._connection: psycopg.AsyncConnection | None = None
        self._listening = True

    async def wait(self) -> None:
        try:
            connection = self._connection or await self._listen()
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

    async def _listen(self) -> psycopg.AsyncConnection:
        plain = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        connection = await psycopg.AsyncConnection.connect(
            plain, autocommit=True, connect_timeout=5, keepalives_idle=5
        )
        await connection.execute(f"LISTEN {CHANGES_CHANNEL}")
        self._connection = connection
        self._listening = True
        return connection

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                await connection.close()
