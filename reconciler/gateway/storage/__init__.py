"""What the gateway keeps: revisions, stored key values, fences, logs, replicas and used probe tokens.

SQLite for one machine, PostgreSQL for many. Everything blocks (call it from a worker thread) but `Changes`.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from sqlalchemy import select

from reconciler.gateway.storage import schema
from reconciler.gateway.storage.database import Database
from reconciler.gateway.storage.fences import Fence, check_fence
from reconciler.gateway.storage.key_versions import KeyRow, KeyVersionStore
from reconciler.gateway.storage.logs import LogFilter, SqlLogStore
from reconciler.gateway.storage.migrate import ForeignSchema, migrate
from reconciler.gateway.storage.probe_uses import ProbeUseStore
from reconciler.gateway.storage.replicas import ReplicaState, ReplicaStore
from reconciler.gateway.storage.revisions import RevisionStore
from reconciler.gateway.times import Now

__all__ = [
    "Fence",
    "ForeignMasterKey",
    "ForeignSchema",
    "KeyRow",
    "LogFilter",
    "ReplicaState",
    "Storage",
]


class ForeignMasterKey(Exception):
    """The database's secrets were made with another master key: no stored key would ever match or open."""


@dataclass(frozen=True)
class Storage:
    """All stores of one database."""

    database: Database
    instance: str
    """Stable id of this control plane, the same for all replicas."""
    revisions: RevisionStore
    key_versions: KeyVersionStore
    replicas: ReplicaStore
    probe_uses: ProbeUseStore
    logs: SqlLogStore

    @staticmethod
    def open(url: str, *, now: Now, check_value: str) -> Storage:
        """Connect, migrate, and found an empty control plane where there is none.

        Raises StorageUnavailable, ForeignSchema, ForeignMasterKey when `check_value` is not the one of the first start.
        """
        database = Database(url)
        try:
            migrate(database)
            instance = _fact(database, "instance", str(uuid.uuid4()))
            if _fact(database, "master_key_check", check_value) != check_value:
                raise ForeignMasterKey("the master key is not the one that this database was made with")
            revisions = RevisionStore(database, now)
            revisions.found()
        except BaseException:
            database.close()
            raise
        return Storage(
            database,
            instance,
            revisions,
            KeyVersionStore(database, now),
            ReplicaStore(database, now),
            ProbeUseStore(database, now),
            SqlLogStore(database, now),
        )

    def check_fence(self, fence: Fence | None) -> None:
        """Check, and remember, the fence of a write that storage itself takes no part in. Raises Clash."""
        if fence is not None:
            with self.database.write() as connection:
                check_fence(connection, fence)

    def ping(self) -> None:
        """Raises StorageUnavailable when the database does not answer."""
        with self.database.read() as connection:
            connection.execute(select(1))

    def close(self) -> None:
        """Close every connection."""
        self.database.close()


def _fact(database: Database, name: str, value: str) -> str:
    """Return the stored fact, storing `value` when there is none yet."""
    table = schema.facts
    with database.write() as connection:
        stored = connection.scalar(select(table.c.value).where(table.c.name == name))
        if stored is None:
            connection.execute(table.insert().values(name=name, value=value))
            return value
        return str(stored)
