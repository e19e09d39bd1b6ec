"""How a replica hears of new revisions."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from reconciler.gateway.documents import prepare
from reconciler.gateway.storage import Storage
from reconciler.gateway.storage.changes import Changes, changes_of
from reconciler.gateway.storage.database import Database
from reconciler.gateway.storage.listen import Listened
from tests.gateway.storage.stores import open_storage
from tests.gateway.world import Clock

NEVER_S = 3600.0
"""A polling interval that no test lives to see."""


def _stage(storage: Storage, name: str) -> int:
    document = {"logical_groups": [{"name": name}]}
    base = storage.revisions.live()[0].revision
    return storage.revisions.stage(prepare(document), base=base, comment="", fence=None).revision


async def _listening(changes: Changes) -> asyncio.Task[None]:
    """Return the task that waits, once nothing that happens from now on can be missed."""
    assert isinstance(changes, Listened)
    if changes._connection is None:
        await changes._listen()
    return asyncio.create_task(changes.wait())


async def test_every_write_of_a_revision_wakes_the_listener(postgres_url: str) -> None:
    with open_storage(postgres_url, Clock()) as storage:
        changes = changes_of(storage.database, poll_s=NEVER_S)
        try:
            for write in (
                lambda: _stage(storage, "a"),
                lambda: storage.revisions.promote(2, fence=None),
                lambda: _stage(storage, "b"),
                lambda: storage.revisions.drop(3, fence=None),
            ):
                waiting = await _listening(changes)
                await asyncio.to_thread(write)
                await asyncio.wait_for(waiting, 30)
        finally:
            await changes.aclose()


async def test_refused_write_wakes_nobody(postgres_url: str) -> None:
    with open_storage(postgres_url, Clock()) as storage:
        changes = changes_of(storage.database, poll_s=NEVER_S)
        waiting = await _listening(changes)
        with pytest.raises(Exception, match="unknown-revision"):
            storage.revisions.promote(9, fence=None)
        await asyncio.sleep(0.1)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await changes.aclose()


async def test_lost_connection_is_polled_over_and_made_again(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with open_storage(postgres_url, Clock()) as storage:
        changes = changes_of(storage.database, poll_s=0.05)
        await _listening(changes)
        with storage.database.read() as connection:
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
            connection.execute(text(others))
        await asyncio.wait_for(changes.wait(), 30)
        await (await _listening(changes))
        await changes.aclose()
        assert [record.message for record in caplog.records] == [
            "listening for changes failed, polling instead"
        ]


async def test_unreachable_database_is_waited_for_without_a_busy_loop() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/none")
    changes = changes_of(database, poll_s=0.05)
    began = time.monotonic()
    for _ in range(3):
        await changes.wait()
    assert time.monotonic() - began >= 0.15
    await changes.aclose()
    database.close()


async def test_sqlite_is_looked_at_every_interval(tmp_path: Path) -> None:
    with open_storage(f"sqlite:///{tmp_path}/gateway.db", Clock()) as storage:
        changes = changes_of(storage.database, poll_s=0.01)
        await asyncio.wait_for(changes.wait(), 30)
        await changes.aclose()
