"""The revisions that this process serves: loaded off the event loop, swapped in by one assignment."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping

from reconciler.gateway.contract import LoadedRevision, RevisionInfo
from reconciler.gateway.documents import (
    KeyVersion,
    Prepared,
    configure,
    decode,
    key_uses,
    parts_of,
    paused,
    unpack,
)
from reconciler.gateway.keys import Keys, Unsealable
from reconciler.gateway.last_revision import Kept, LastRevision
from reconciler.gateway.memory import collect, free, give_back
from reconciler.gateway.refusals import Invalid, Missing
from reconciler.gateway.storage import Storage
from reconciler.gateway.threads import Threads
from reconciler.routing.config import Configuration

log = logging.getLogger(__name__)


class Revisions:
    """Keeps `contract.RevisionSource`.

    `refresh` after a write makes it visible here at once; what other processes write is followed by `replica.Replica`.
    """

    def __init__(
        self, storage: Storage, keys: Keys, threads: Threads, copy: LastRevision | None = None
    ) -> None:
        self.active: LoadedRevision | None = None
        self.hash_key = keys.hash_key
        self.hash_session = keys.hash_session
        self.hash_host_session = keys.hash_host_session
        self._staged: Mapping[int, LoadedRevision] = {}
        self._storage = storage
        self._keys = keys
        self._threads = threads
        self._copy = copy
        self._copied: RevisionInfo | None = None
        self._refreshing = asyncio.Lock()
        self._failed: dict[int, str] = {}
        self._prepared: dict[str, Configuration] = {}
        self._retired: list[LoadedRevision] = []
        self._discarded: list[Configuration] = []
        """Parsed to be staged; most are also those of revisions."""
        self._moves: dict[bytes, bytes] = {}
        """Hashes to be stored anew: that of another master key -> that of the one in use."""
        self._moved: set[bytes] = set()

    def staged(self, revision: int) -> LoadedRevision | None:
        """Return a staged or the active revision when this process has loaded it."""
        active = self.active
        if active is not None and active.info.revision == revision:
            return active
        return self._staged.get(revision)

    def known_otherwise(self, revision: LoadedRevision, presented: str) -> tuple[str, str] | None:
        """Return (managed key name, version) of a key hashed under another master key; its hash will be renewed."""
        for other in self._keys.other_hashes(presented):
            if (use := revision.managed_keys.get(other)) is not None:
                if other not in self._moved:
                    self._moves[other] = self._keys.hash_key(presented)
                return use
        return None

    async def renew_hashes(self) -> None:
        """Store the hashes of keys that were used under another master key anew. Raises StorageUnavailable."""
        if self._moves:
            moves = dict(self._moves)
            await self._threads.run(self._storage.key_versions.rehash, moves)
            self._moved |= moves.keys()
            self._moves = {old: new for old, new in self._moves.items() if old not in moves}
            self._copied = None
            log.info("managed keys hashed anew", extra={"keys": len(moves)})

    @contextlib.contextmanager
    def expecting(self, prepared: Prepared) -> Iterator[None]:
        """Meanwhile take what was parsed to be staged for what storage has of it: it is not read and parsed again."""
        self._prepared[prepared.digest] = prepared.configuration
        try:
            yield
        finally:
            self._prepared.pop(prepared.digest, None)
            self.discard(prepared)

    def discard(self, prepared: Prepared) -> None:
        """Have what was parsed and may serve nobody freed in slices, soon, instead of at once by whoever parsed it."""
        self._discarded.append(prepared.configuration)

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

    def _swap(self, loaded: Mapping[int, LoadedRevision], active: int) -> None:
        before = self.active.info.revision if self.active else None
        held = [*self._staged.values(), *([self.active] if self.active else [])]
        # Staged first: a probe that names the revision being promoted finds it at every instant.
        self._staged = loaded
        self.active = loaded.get(active, self.active)
        self._staged = {number: revision for number, revision in loaded.items() if number != active}
        now = self.active.info.revision if self.active else None
        kept = {id(revision.configuration) for revision in (*self._staged.values(), self.active) if revision}
        self._retired += [revision for revision in held if id(revision.configuration) not in kept]
        if now != before:
            log.info("serving revision", extra={"revision": now, "before": before})

    async def let_go(self, in_flight: Mapping[int, int]) -> None:
        """Free what is not served any more and has no request under way, without a pause that others would feel."""
        ended = [revision for revision in self._retired if revision.info.revision not in in_flight]
        self._retired = [revision for revision in self._retired if revision.info.revision in in_flight]
        while ended:
            await self._threads.run(_end, [ended.pop()])
        discarded, self._discarded = self._discarded, []
        while discarded:
            configuration = discarded.pop()
            if not self._holds(configuration):
                kept = parts_of(configuration)
                del configuration
                await self._threads.run(free, kept)

    def _holds(self, configuration: Configuration) -> bool:
        held = (*self._retired, *self._staged.values(), self.active)
        return any(revision is not None and revision.configuration is configuration for revision in held)

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
        loaded = self._with_keys(info, configuration)
        collect()  # it learns now, not in a request's time, that nothing of this needs to be looked at
        give_back()
        return loaded

    def _with_keys(self, info: RevisionInfo, configuration: Configuration) -> LoadedRevision:
        # On its own, so that what came from storage is gone when garbage is collected: it is as large as the keys.
        uses = key_uses(configuration)
        sealed = self._storage.key_versions.sealed(uses.gateway)
        hashes = self._storage.key_versions.hashes(uses.managed)
        return self._opened(info, configuration, sealed.items(), hashes.items())

    def _opened(
        self,
        info: RevisionInfo,
        configuration: Configuration,
        sealed: Iterable[tuple[KeyVersion, bytes]],
        hashes: Iterable[tuple[KeyVersion, bytes]],
    ) -> LoadedRevision:
        return LoadedRevision(
            info=info,
            configuration=configuration,
            gateway_keys={use: self._keys.open(*use, value) for use, value in sealed},
            managed_keys={hashed: use for use, hashed in paused(hashes)},
        )

    async def keep(self) -> None:
        """Copy what is served to disk, when it is not there yet. Raises StorageUnavailable."""
        active = self.active
        if self._copy is None or active is None or active.info == self._copied:
            return
        try:
            await self._threads.run(self._write_copy, self._copy, active)
        except (OSError, Missing) as error:
            log.warning("copy of the last revision not written", extra={"error": type(error).__name__})
        self._copied = active.info

    def _write_copy(self, copy: LastRevision, active: LoadedRevision) -> None:
        uses = key_uses(active.configuration)
        copy.write(
            Kept(
                self._storage.instance,
                active.info,
                self._storage.revisions.packed(active.info.revision),
                list(self._storage.key_versions.sealed(uses.gateway).items()),
                list(self._storage.key_versions.hashes(uses.managed).items()),
            )
        )

    async def restore(self) -> bool:
        """Serve the copy on disk, and hold storage to be of the same control plane. False: there is no copy."""
        loaded = await self._threads.run(self._read_copy)
        if loaded is None:
            return False
        self._swap({loaded.info.revision: loaded}, loaded.info.revision)
        log.warning(
            "serving the copy of the last revision on disk: storage is away",
            extra={"revision": loaded.info.revision, "promoted_at": loaded.info.promoted_at},
        )
        return True

    def _read_copy(self) -> LoadedRevision | None:
        kept = self._copy.read() if self._copy else None
        if kept is None:
            return None
        if self._storage.instance not in ("", kept.instance):
            log.error("copy of the last revision is of another control plane: it is not served")
            return None
        try:
            configuration = configure(decode(unpack(kept.document)))
            loaded = self._opened(kept.info, configuration, kept.gateway_keys, kept.managed_keys)
        except (Invalid, Unsealable) as error:
            log.warning("copy of the last revision does not load", extra={"error": str(error)})
            return None
        self._storage.instance = kept.instance
        return loaded

    def loaded(self) -> tuple[int, ...]:
        """Return the revisions that this process has ready, in order."""
        active = {self.active.info.revision} if self.active else set()
        return tuple(sorted({*self._staged, *active}))


def _end(last: list[LoadedRevision]) -> None:
    """Free a revision to which there is no other reference, slice by slice. Blocks."""
    revision = last.pop()
    kept = [
        *parts_of(revision.configuration),
        *revision.managed_keys,
        *revision.managed_keys.values(),
    ]
    del revision
    free(kept)
