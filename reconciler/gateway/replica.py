"""This process as one of several: it follows what others promote, and tells them what it serves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from reconciler.gateway.contract import JsonObject, StorageUnavailable
from reconciler.gateway.revisions import Revisions
from reconciler.gateway.storage import (
    ForeignDatabase,
    ForeignMasterKey,
    ForeignSchema,
    ReplicaState,
    Storage,
)
from reconciler.gateway.storage.changes import Changes
from reconciler.gateway.threads import Threads
from reconciler.gateway.times import rfc3339

HEARTBEAT_S = 5.0
"""A replica reports itself this often even when nothing changed."""
TIDY_S = 60.0

log = logging.getLogger(__name__)


class Replica:
    """One process. `in_flight` counts its requests under way by revision."""

    def __init__(
        self,
        name: str,
        *,
        storage: Storage,
        threads: Threads,
        revisions: Revisions,
        in_flight: Callable[[], Mapping[int, int]],
    ) -> None:
        self.name = name
        self._storage = storage
        self._threads = threads
        self._revisions = revisions
        self._in_flight = in_flight
        self._reported: ReplicaState | None = None
        self._reported_at = 0.0
        self._tidied_at = 0.0
        self._why_away: type[Exception] | None = None
        self._away = not storage.database.usable

    @property
    def away(self) -> bool:
        """Whether storage did not answer when it was asked last."""
        return self._away

    def state(self) -> ReplicaState:
        """Return what this process serves at this moment."""
        active = self._revisions.active
        return ReplicaState(
            self.name,
            active.info.revision if active else 0,
            self._revisions.loaded(),
            dict(self._in_flight()),
        )

    async def all(self) -> list[JsonObject]:
        """Return all replicas that live, by name; this one as it is now, the others as they last said."""
        present = await self._threads.run(self._storage.replicas.present)
        mine = self.state().as_json(rfc3339(self._storage.replicas.now()))
        return sorted(
            [mine, *(row for row in present if row["id"] != self.name)], key=lambda row: str(row["id"])
        )

    async def follow(self, changes: Changes) -> None:
        """Load, report and tidy until cancelled. Survives a storage that is away."""
        try:
            while True:
                await changes.wait()
                try:
                    await self._catch_up()
                except (StorageUnavailable, ForeignDatabase, ForeignMasterKey, ForeignSchema) as error:
                    self._say_away(error)
                # A defect must not end the loop: a replica that never hears of a promote again is worse than noise.
                except Exception:
                    log.exception("following the storage failed, it is tried again")
        finally:
            await changes.aclose()

    async def _catch_up(self) -> None:
        if not self._storage.database.usable:
            await self._threads.run(self._storage.check)
        await self._revisions.refresh()
        await self._revisions.renew_hashes()
        await self._revisions.keep()
        await self._revisions.let_go(self._in_flight())
        if self._away:
            log.info("storage is back")
        self._away = False
        now = asyncio.get_running_loop().time()
        await self._report(now)
        if now - self._tidied_at > TIDY_S:
            self._tidied_at = now
            await self._threads.run(self._storage.revisions.tidy)
            await self._threads.run(self._storage.probe_uses.tidy)

    def _say_away(self, error: Exception) -> None:
        if not self._away or type(error) is not self._why_away:  # once per cause
            level = logging.WARNING if isinstance(error, StorageUnavailable) else logging.ERROR
            log.log(level, "storage is away, serving what is loaded", extra={"error": str(error)})
        self._away, self._why_away = True, type(error)

    async def _report(self, now: float) -> None:
        state = self.state()
        # Requests on the active revision come and go; only those that hold up a retired one are news.
        news = self._reported is None or _essence(state) != _essence(self._reported)
        if news or now - self._reported_at >= HEARTBEAT_S:
            await self._threads.run(self._storage.replicas.report, state)
            self._reported, self._reported_at = state, now

    async def leave(self) -> None:
        """Go off the list: this process serves nothing any more. Raises StorageUnavailable."""
        await self._threads.run(self._storage.replicas.forget, self.name)


def _essence(state: ReplicaState) -> tuple[object, ...]:
    retired = {
        revision: count for revision, count in state.in_flight.items() if revision != state.active_revision
    }
    return state.active_revision, state.loaded, retired
