"""What each gateway process serves, as it last said so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import msgspec
from sqlalchemy import select

from reconciler.gateway.contract import JsonObject
from reconciler.gateway.storage import schema
from reconciler.gateway.storage.database import Database
from reconciler.gateway.times import Now, rfc3339

GONE_AFTER = timedelta(seconds=30)
"""A replica that was silent this long is not shown any more; it beats every five seconds."""


@dataclass(frozen=True)
class ReplicaState:
    """One process: the revision it serves, all it has loaded, and the requests under way on each."""

    id: str
    active_revision: int
    loaded: tuple[int, ...]
    in_flight: Mapping[int, int]

    def as_json(self, seen_at: str) -> JsonObject:
        """Return it as the snapshot shows it."""
        return {
            "id": self.id,
            "active_revision": self.active_revision,
            "loaded": list(self.loaded),
            "in_flight": {str(revision): count for revision, count in self.in_flight.items()},
            "seen_at": seen_at,
        }


@dataclass(frozen=True)
class ReplicaStore:
    """Every method blocks, and raises StorageUnavailable when the database cannot be asked."""

    database: Database
    now: Now

    def report(self, state: ReplicaState) -> None:
        """Store what a replica says of itself, and forget replicas that have been silent for long."""
        table = schema.replicas
        moment = self.now()
        row = state.as_json(rfc3339(moment))
        row |= {key: msgspec.json.encode(row[key]).decode() for key in ("loaded", "in_flight")}
        with self.database.append() as connection:
            gone = table.c.seen_at < rfc3339(moment - 10 * GONE_AFTER)
            connection.execute(table.delete().where((table.c.id == state.id) | gone))
            connection.execute(table.insert().values(row))

    def forget(self, replica: str) -> None:
        """Remove a replica that stops."""
        with self.database.append() as connection:
            connection.execute(schema.replicas.delete().where(schema.replicas.c.id == replica))

    def present(self) -> list[JsonObject]:
        """Return the replicas that have spoken lately, by id."""
        table = schema.replicas
        since = rfc3339(self.now() - GONE_AFTER)
        query = select(table).where(table.c.seen_at >= since).order_by(table.c.id)
        with self.database.read() as connection:
            return [_shown(dict(row)) for row in connection.execute(query).mappings()]


def _shown(row: JsonObject) -> JsonObject:
    return row | {key: msgspec.json.decode(row[key]) for key in ("loaded", "in_flight")}
