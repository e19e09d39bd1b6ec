"""Revisions in the database: staging, promoting and dropping, each one transaction.

The states of a revision:

    staged ──promote──► active ──(another is promoted)──► retired
      └──drop, expire──► dropped
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Table, func, select, update

from reconciler.gateway.contract import RevisionInfo
from reconciler.gateway.documents import KeyUses, KeyVersion, Prepared, pack, paused, prepare, unpack
from reconciler.gateway.refusals import Clash, Invalid, Missing
from reconciler.gateway.storage import schema
from reconciler.gateway.storage.database import Database
from reconciler.gateway.storage.fences import Fence, check_fence
from reconciler.gateway.times import Now, rfc3339

STAGED_FOR = timedelta(hours=1)
KEPT_DOCUMENTS = 100
"""Retired and dropped revisions whose documents are kept; older ones stay in history as a line."""

_t = schema.revisions.c
_INFO = (_t.revision, _t.base, _t.state, _t.digest, _t.comment, _t.created_at, _t.promoted_at, _t.expires_at)
_LIVE = select(*_INFO).where(_t.state.in_(("active", "staged"))).order_by(_t.state, _t.revision)
"""Made once: it is asked several times a second, and each statement leaves circles for the garbage collector."""
_LISTED = 20
"""Missing key values that a refusal names."""


@dataclass(frozen=True)
class RevisionStore:
    """Every method blocks, and raises StorageUnavailable when the database cannot be asked."""

    database: Database
    now: Now

    def found(self) -> None:
        """Make revision 1, the empty configuration, the active one of a database that has no revision."""
        empty = prepare({})
        with self.database.write() as connection:
            if connection.scalar(select(func.count()).select_from(schema.revisions)):
                return
            self._insert(connection, 1, None, "active", empty, "the empty configuration")

    def live(self) -> tuple[RevisionInfo, ...]:
        """Return the active revision and, in order, the staged ones that have not expired."""
        with self.database.read() as connection:
            return self._live(connection)

    def info(self, revision: int) -> RevisionInfo:
        """Raises Missing."""
        with self.database.read() as connection:
            return _require(connection, revision)

    def page(self, *, state: str | None, before: int | None, limit: int) -> tuple[RevisionInfo, ...]:
        """Return up to `limit` revisions, newest first, with numbers below `before`."""
        query = select(*_INFO).order_by(_t.revision.desc()).limit(limit)
        if state is not None:
            query = query.where(_t.state == state)
        if before is not None:
            query = query.where(_t.revision < before)
        with self.database.read() as connection:
            return tuple(_info(row) for row in connection.execute(query))

    def text(self, revision: int) -> bytes:
        """Return a revision's canonical JSON. Raises Missing, also when history was thinned out."""
        return unpack(self.packed(revision))

    def packed(self, revision: int) -> bytes:
        """Return what `text` is unpacked from. Raises Missing."""
        with self.database.read() as connection:
            _require(connection, revision)
            packed = connection.scalar(select(_t.document).where(_t.revision == revision))
        if packed is None:
            raise Missing("revision-pruned", f"the configuration of revision {revision} is no longer kept")
        return bytes(packed)

    def stage(
        self, prepared: Prepared, *, base: int, comment: str, fence: Fence | None, reuse: bool = False
    ) -> RevisionInfo:
        """Store a staged revision on the active one; with `reuse`, an equal one that is staged already will do.

        Raises Clash (`base-not-active`, `stale-fence`), Invalid when it names key values that are not stored.
        """
        uses = prepared.key_uses
        with self.database.write() as connection:
            check_fence(connection, fence)
            live = self._live(connection)
            active = _active(live)
            if base != active.revision:
                raise Clash(
                    "base-not-active", f"revision {base} is not active; the active one is {active.revision}"
                )
            _check_key_uses(connection, uses)
            if reuse and (equal := _staged_equal(live, base, prepared.digest)):
                return equal
            number = 1 + (connection.scalar(select(func.max(_t.revision))) or 0)
            self._insert(connection, number, base, "staged", prepared, comment)
            return _require(connection, number)

    def promote(self, revision: int, *, fence: Fence | None) -> RevisionInfo:
        """Make a staged revision the active one; the active one itself is answered as it is.

        Raises Missing, Clash (`base-not-active`, `revision-expired`, `not-staged`, `stale-fence`).
        """
        with self.database.write() as connection:
            check_fence(connection, fence)
            info = _require(connection, revision)
            if info.state == "active":
                return info
            self._refuse_promotion(info, connection)
            moment = rfc3339(self.now())
            _set(connection, info.base, state="retired")
            _set(connection, revision, state="active", promoted_at=moment, expires_at=None)
            self.database.announce(connection)
            return _require(connection, revision)

    def _refuse_promotion(self, info: RevisionInfo, connection: Connection) -> None:
        if info.state != "staged":
            raise Clash(
                "not-staged", f"revision {info.revision} is {info.state}; only a staged one can be promoted"
            )
        if self._expired(info):
            raise Clash(
                "revision-expired", f"revision {info.revision} expired at {info.expires_at}: stage it again"
            )
        active = _active(self._live(connection))
        if info.base != active.revision:
            raise Clash(
                "base-not-active",
                f"revision {info.revision} was made on {info.base}; the active one is {active.revision}",
            )

    def drop(self, revision: int, *, fence: Fence | None) -> None:
        """Drop a staged revision; a dropped one is fine. Raises Missing, Clash (`not-staged`, `stale-fence`)."""
        with self.database.write() as connection:
            check_fence(connection, fence)
            info = _require(connection, revision)
            if info.state == "dropped":
                return
            if info.state != "staged":
                raise Clash(
                    "not-staged", f"revision {revision} is {info.state}; only a staged one can be dropped"
                )
            _set(connection, revision, state="dropped", expires_at=None)
            self.database.announce(connection)

    def tidy(self) -> None:
        """Mark expired revisions as dropped, and thin out the documents of old ones."""
        ended = _t.state.in_(("retired", "dropped"))
        kept = select(_t.revision).where(ended).order_by(_t.revision.desc()).limit(KEPT_DOCUMENTS)
        with self.database.write() as connection:
            expired = (_t.state == "staged") & (_t.expires_at <= rfc3339(self.now()))
            connection.execute(
                update(schema.revisions).where(expired).values(state="dropped", expires_at=None)
            )
            old = ended & _t.document.is_not(None) & _t.revision.not_in(kept)
            connection.execute(update(schema.revisions).where(old).values(document=None, key_uses=None))

    def _live(self, connection: Connection) -> tuple[RevisionInfo, ...]:
        rows = (_info(row) for row in connection.execute(_LIVE))
        return tuple(info for info in rows if not self._expired(info))

    def _expired(self, info: RevisionInfo) -> bool:
        return info.expires_at is not None and info.expires_at <= rfc3339(self.now())

    def _insert(
        self,
        connection: Connection,
        number: int,
        base: int | None,
        state: str,
        prepared: Prepared,
        comment: str,
    ) -> None:
        moment = self.now()
        staged = state == "staged"
        connection.execute(
            schema.revisions.insert().values(
                revision=number,
                base=base,
                state=state,
                digest=prepared.digest,
                comment=comment,
                created_at=rfc3339(moment),
                promoted_at=None if staged else rfc3339(moment),
                expires_at=rfc3339(moment + STAGED_FOR) if staged else None,
                document=pack(prepared.text),
                key_uses=prepared.key_uses.packed(),
            )
        )
        self.database.announce(connection)


def live_key_uses(connection: Connection) -> dict[int, KeyUses]:
    """Return what every active or staged revision names, expired ones included until they are tidied away."""
    query = select(_t.revision, _t.key_uses).where(_t.state.in_(("active", "staged")))
    return {row.revision: KeyUses.unpacked(row.key_uses) for row in connection.execute(query)}


def _check_key_uses(connection: Connection, uses: KeyUses) -> None:
    problems = [
        *_absent(connection, schema.gateway_key_versions, uses.gateway, "gateway key"),
        *_absent(connection, schema.managed_key_versions, uses.managed, "managed key"),
    ]
    if problems:
        raise Invalid(
            "invalid-configuration",
            "the configuration names key values that are not stored",
            problems[:_LISTED],
        )


def _absent(
    connection: Connection,
    table: Table,
    uses: frozenset[KeyVersion],
    word: str,
) -> list[str]:
    if not uses:
        return []
    rows = connection.execute(select(table.c.name, table.c.version))
    stored = {(name, version) for name, version in paused(rows)}
    return [
        f"{word} {name!r}: no value is stored for version {version!r}"
        for name, version in sorted(uses - stored)
    ]


def _staged_equal(live: tuple[RevisionInfo, ...], base: int, digest: str) -> RevisionInfo | None:
    return next((i for i in live if i.state == "staged" and i.base == base and i.digest == digest), None)


def _active(live: tuple[RevisionInfo, ...]) -> RevisionInfo:
    return next(info for info in live if info.state == "active")


def _set(connection: Connection, revision: int | None, **values: str | None) -> None:
    connection.execute(update(schema.revisions).where(_t.revision == revision).values(values))


def _require(connection: Connection, revision: int) -> RevisionInfo:
    row = connection.execute(select(*_INFO).where(_t.revision == revision)).one_or_none()
    if row is None:
        raise Missing("unknown-revision", f"there is no revision {revision}")
    return _info(row)


def _info(row: Sequence[Any]) -> RevisionInfo:
    return RevisionInfo(*row)
