"""Stored values of keys: gateway keys sealed, consumers' keys as keyed hashes. A plain value never gets here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Table, select

from reconciler.gateway.contract import JsonObject
from reconciler.gateway.documents import KeyUses, KeyVersion, paused
from reconciler.gateway.refusals import Clash, Missing
from reconciler.gateway.storage import schema
from reconciler.gateway.storage.database import Database
from reconciler.gateway.storage.fences import Fence, check_fence
from reconciler.gateway.storage.revisions import live_key_uses
from reconciler.gateway.times import Now, rfc3339


@dataclass(frozen=True)
class KeyRow:
    """What may be shown of a stored value."""

    name: str
    version: str
    fingerprint: str
    created_at: str

    def as_json(self) -> JsonObject:
        return dict(vars(self))


@dataclass(frozen=True)
class KeyVersionStore:
    """Every method blocks, and raises StorageUnavailable when the database cannot be asked."""

    database: Database
    now: Now

    def put_gateway_key(
        self,
        name: str,
        version: str,
        *,
        sealed: bytes,
        fingerprint: str,
        same: Callable[[bytes], bool],
        fence: Fence | None,
    ) -> tuple[KeyRow, bool]:
        """Store a sealed value; return its row and whether it is new. `same` says if a stored seal holds the value.

        Raises Clash (`value-differs`, `stale-fence`).
        """
        table = schema.gateway_key_versions
        with self.database.write() as connection:
            check_fence(connection, fence)
            if stored := _find(connection, table, name, version):
                if not same(stored.sealed):
                    raise _differs("gateway key", name, version)
                return _row(stored), False
            return self._insert(connection, table, name, version, fingerprint, {"sealed": sealed}), True

    def put_managed_key(
        self,
        name: str,
        version: str,
        *,
        hashed: bytes,
        other_hashes: Sequence[bytes] = (),
        fingerprint: str,
        fence: Fence | None,
    ) -> tuple[KeyRow, bool]:
        """Store a keyed hash; return its row and whether it is new.

        `other_hashes` are the value's under other master keys: one that is stored gives way to `hashed`.

        Raises Clash (`value-differs`, `value-in-use` when another key or version has this value, `stale-fence`).
        """
        table = schema.managed_key_versions
        with self.database.write() as connection:
            check_fence(connection, fence)
            if stored := _find(connection, table, name, version):
                if stored.hash not in (hashed, *other_hashes):
                    raise _differs("managed key", name, version)
                _rehash(connection, {bytes(stored.hash): hashed})
                return _row(stored), False
            same = table.c.hash.in_([hashed, *other_hashes])
            if connection.scalar(select(table.c.name).where(same)) is not None:
                raise Clash(
                    "value-in-use", "another managed key or version has this value: use a value of its own"
                )
            return self._insert(connection, table, name, version, fingerprint, {"hash": hashed}), True

    def rehash(self, moves: Mapping[bytes, bytes]) -> None:
        """Put new hashes in the place of old ones; an old one that is not stored any more is fine."""
        with self.database.write() as connection:
            _rehash(connection, moves)

    def reseal(self, again: Callable[[str, str, bytes], bytes | None]) -> int:
        """Put what `again` makes of each gateway key's (name, version, seal) in its place; return how many it made.

        `again` returns None for a seal that is to stay.
        """
        table = schema.gateway_key_versions
        with self.database.write() as connection:
            rows = connection.execute(select(table.c.name, table.c.version, table.c.sealed)).all()
            made = [(row.name, row.version, again(row.name, row.version, bytes(row.sealed))) for row in rows]
            fresh = [(name, version, sealed) for name, version, sealed in made if sealed is not None]
            for name, version, sealed in fresh:
                its = (table.c.name == name) & (table.c.version == version)
                connection.execute(table.update().where(its).values(sealed=sealed))
        return len(fresh)

    def hashed_otherwise(self, key_id: bytes) -> tuple[KeyVersion, ...]:
        """Return the managed keys' values whose hashes do not begin with a master key's id, in order."""
        table = schema.managed_key_versions
        query = select(table.c.name, table.c.version, table.c.hash).order_by(table.c.name, table.c.version)
        with self.database.read() as connection:
            rows = connection.execute(query)
            return tuple(
                (name, version) for name, version, hashed in rows if not bytes(hashed).startswith(key_id)
            )

    def delete(self, kind: str, name: str, version: str, *, fence: Fence | None) -> None:
        """Forget a value of a `gateway` or `managed` key; an absent one is fine.

        Raises Clash (`in-use` while an active or staged revision names it, `stale-fence`).
        """
        table = schema.gateway_key_versions if kind == "gateway" else schema.managed_key_versions
        with self.database.write() as connection:
            check_fence(connection, fence)
            for revision, uses in live_key_uses(connection).items():
                if (name, version) in _of(uses, kind):
                    raise Clash(
                        "in-use", f"revision {revision} uses version {version!r} of {kind} key {name!r}"
                    )
            connection.execute(table.delete().where(table.c.name == name, table.c.version == version))

    def rows(self, kind: str) -> tuple[KeyRow, ...]:
        """Return every stored value of `gateway` or `managed` keys, by name and version."""
        table = schema.gateway_key_versions if kind == "gateway" else schema.managed_key_versions
        c = table.c
        query = select(c.name, c.version, c.fingerprint, c.created_at).order_by(c.name, c.version)
        with self.database.read() as connection:
            return tuple(KeyRow(*row) for row in connection.execute(query))

    def sealed(self, wanted: frozenset[KeyVersion]) -> Mapping[KeyVersion, bytes]:
        """Return the sealed values of the wanted gateway keys. Raises Missing when one is not stored."""
        return self._values(schema.gateway_key_versions, "sealed", wanted)

    def hashes(self, wanted: frozenset[KeyVersion]) -> Mapping[KeyVersion, bytes]:
        """Return the keyed hashes of the wanted managed keys. Raises Missing when one is not stored."""
        return self._values(schema.managed_key_versions, "hash", wanted)

    def _values(self, table: Table, column: str, wanted: frozenset[KeyVersion]) -> Mapping[KeyVersion, bytes]:
        if not wanted:
            return {}
        found: dict[KeyVersion, bytes] = {}
        with self.database.read() as connection:
            rows = connection.execute(select(table.c.name, table.c.version, table.c[column]))
            for name, version, value in paused(rows):
                if (name, version) in wanted:
                    found[name, version] = bytes(value)
        for name, version in sorted(wanted - found.keys()):
            raise Missing("unknown-key-version", f"{table.name} holds no {name!r} of version {version!r}")
        return found

    def _insert(
        self,
        connection: Connection,
        table: Table,
        name: str,
        version: str,
        fingerprint: str,
        secret: Mapping[str, bytes],
    ) -> KeyRow:
        row = KeyRow(name, version, fingerprint, rfc3339(self.now()))
        connection.execute(table.insert().values(**row.as_json(), **secret))
        return row


def _rehash(connection: Connection, moves: Mapping[bytes, bytes]) -> None:
    table = schema.managed_key_versions
    for old, new in moves.items():
        if old != new:
            connection.execute(table.update().where(table.c.hash == old).values(hash=new))


def _find(connection: Connection, table: Table, name: str, version: str) -> Row[*tuple[Any, ...]] | None:
    return connection.execute(
        select(table).where(table.c.name == name, table.c.version == version)
    ).one_or_none()


def _row(row: Row[*tuple[Any, ...]]) -> KeyRow:
    return KeyRow(row.name, row.version, row.fingerprint, row.created_at)


def _of(uses: KeyUses, kind: str) -> frozenset[KeyVersion]:
    return uses.gateway if kind == "gateway" else uses.managed


def _differs(word: str, name: str, version: str) -> Clash:
    return Clash(
        "value-differs",
        f"version {version!r} of {word} {name!r} has another value: give this one a new version",
    )
