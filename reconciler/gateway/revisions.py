"""The revisions that this process serves: loaded off the event loop, swapped in by one assignment."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Mapping

from reconciler.gateway.contract import JsonObject, LoadedRevision, RevisionInfo, StorageUnavailable
from reconciler.gateway.documents import Prepared, configure, decode, key_uses
from reconciler.gateway.keys import Keys, Unsealable
from reconciler.gateway.refusals import Invalid, Missing
from reconciler.gateway.storage import ReplicaState, Storage
from reconciler.gateway.storage.changes import Changes
from reconciler.gateway.threads import Threads
from reconciler.gateway.times import rfc3339
from reconciler.routing.config import Configuration

HEARTBEAT_S = 5.0
"""A replica reports itself this often even when nothing changed."""
TIDY_S = 60.0

log = logging.getLogger(__name__)


class Revisions:
    """Keeps `contract.RevisionSource`.

    `refresh` after a write makes it visible here at once; `run` follows what other processes write.
    """

    def __init__(self, storage: Storage, keys: Keys, threads: Threads, *, replica: str) -> None:
        self.active: LoadedRevision | None = None
        self.replica = replica
        self.hash_key = keys.hash_key
        self.hash_session = keys.hash_session
        self.hash_host_session = keys.hash_host_session
        self._staged: Mapping[int, LoadedRevision] = {}
        self._storage = storage
        self._keys = keys
        self._threads = threads
        self._refreshing = asyncio.Lock()
        self._failed: dict[int, str] = {}
        self._prepared: dict[str, Configuration] = {}
        self._reported: ReplicaState | None = None
        self._reported_at = 0.0

    def staged(self, revision: int) -> LoadedRevision | None:
        """Return a staged or the active revision when this process has loaded it."""
        active = self.active
        if active is not None and active.info.revision == revision:
            return active
        return self._staged.get(revision)

    def expect(self, prepared: Prepared) -> None:
        """Remember what was parsed to be staged, so that loading it need not parse again."""
        self._prepared[prepared.digest] = prepared.configuration

    async def refresh(self) -> None:
        """Load what is new and swap it in. Raises StorageUnavailable; what is served stays then as it is."""
        async with self._refreshing:
            infos = await self._threads.run(self._storage.revisions.live)
            loaded: dict[int, LoadedRevision] = {}
            for info in infos:
                if revision := await self._load(info):
                    loaded[info.revision] = revision
            active = next(info.revision for info in infos if info.state == "active")
            self._swap(loaded, active)
            self._prepared.clear()

    def _swap(self, loaded: Mapping[int, LoadedRevision], active: int) -> None:
        before = self.active.info.revision if self.active else None
        # Staged first: a probe that names the revision being promoted finds it at every instant.
        self._staged = loaded
        self.active = loaded.get(active, self.active)
        self._staged = {number: revision for number, revision in loaded.items() if number != active}
        now = self.active.info.revision if self.active else None
        if now != before:
            log.info("serving revision", extra={"revision": now, "before": before})

    async def _load(self, info: RevisionInfo) -> LoadedRevision | None:
        known = self.staged(info.revision)
        if known is not None and known.info.digest == info.digest:
            return known if known.info == info else dataclasses.replace(known, info=info)
        try:
            loaded = await self._threads.run(self._read, info)
        except (Missing, Invalid, Unsealable) as error:
            self._mourn(info.revision, str(error))
            return None
        self._failed.pop(info.revision, None)
        return loaded

    def _mourn(self, revision: int, error: str) -> None:
        if self._failed.get(revision) != error:  # once per cause: it is tried again at every refresh
            log.error("revision does not load", extra={"revision": revision, "error": error})
        self._failed[revision] = error

    def _read(self, info: RevisionInfo) -> LoadedRevision:
        configuration = self._prepared.get(info.digest)
        if configuration is None:
            configuration = configure(decode(self._storage.revisions.text(info.revision)))
        uses = key_uses(configuration)
        sealed = self._storage.key_versions.sealed(uses.gateway)
        hashes = self._storage.key_versions.hashes(uses.managed)
        return LoadedRevision(
            info=info,
            configuration=configuration,
            gateway_keys={use: self._keys.open(*use, value) for use, value in sealed.items()},
            managed_keys={hashed: use for use, hashed in hashes.items()},
        )

    def state(self, in_flight: Mapping[int, int]) -> ReplicaState:
        """Return what this process serves, as other processes are told."""
        active = self.active.info.revision if self.active else 0
        return ReplicaState(
            self.replica, active, tuple(sorted({*self._staged, active} - {0})), dict(in_flight)
        )

    async def replicas(self, in_flight: Mapping[int, int]) -> list[JsonObject]:
        """Return all replicas that live; this one as it is at this very moment."""
        others = await self._threads.run(self._storage.replicas.present)
        mine = self.state(in_flight).as_json(rfc3339(self._storage.replicas.now()))
        return sorted(
            [mine, *(row for row in others if row["id"] != self.replica)], key=lambda row: str(row["id"])
        )

    async def run(self, changes: Changes, in_flight: Callable[[], Mapping[int, int]]) -> None:
        """Follow the storage until cancelled: load, report, tidy. Survives a storage that is away for a while."""
        loop = asyncio.get_running_loop()
        away = False
        tidied_at = loop.time()
        try:
            while True:
                await changes.wait()
                try:
                    await self.refresh()
                    await self._report(in_flight(), loop.time())
                    if loop.time() - tidied_at > TIDY_S:
                        tidied_at = loop.time()
                        await self._threads.run(self._tidy)
                except StorageUnavailable as error:
                    if not away:
                        log.warning("storage is away, serving what is loaded", extra={"error": str(error)})
                    away = True
                else:
                    if away:
                        log.info("storage is back")
                    away = False
        finally:
            await changes.aclose()

    async def _report(self, in_flight: Mapping[int, int], now: float) -> None:
        state = self.state(in_flight)
        # Requests on the active revision come and go; only those that hold up a retired one are news.
        news = self._reported is None or _essence(state) != _essence(self._reported)
        if news or now - self._reported_at >= HEARTBEAT_S:
            await self._threads.run(self._storage.replicas.report, state)
            self._reported, self._reported_at = state, now

    def _tidy(self) -> None:
        self._storage.revisions.tidy()
        self._storage.probe_uses.tidy()

    async def forget_me(self) -> None:
        """Take this replica off the list: it serves nothing any more."""
        await self._threads.run(self._storage.replicas.forget, self.replica)


def _essence(state: ReplicaState) -> tuple[object, ...]:
    retired = {
        revision: count for revision, count in state.in_flight.items() if revision != state.active_revision
    }
    return state.active_revision, state.loaded, retired
