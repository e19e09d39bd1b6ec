"""What the gateway keeps: revisions, stored key values, fences, logs, replicas and used probe tokens.

SQLite for one machine, PostgreSQL for many. Everything blocks (call it from a worker thread) but `Changes`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import inspect, select

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
    "ForeignDatabase",
    "ForeignMasterKey",
    "ForeignSchema",
    "KeyRow",
    "LogFilter",
    "ReplicaState",
    "Storage",
]


_MASTER_KEY = "master_key_check"


class ForeignMasterKey(Exception):
    """The database's secrets were made with another master key: no stored key would ever match or open."""


class ForeignDatabase(Exception):
    """The database is not the one that this process serves a revision of."""


@dataclass
class Storage:
    """All stores of one database."""

    database: Database
    check_values: Sequence[str] = field(repr=False)
    """Of the master keys at hand, the one in use first."""
    revisions: RevisionStore
    key_versions: KeyVersionStore
    replicas: ReplicaStore
    probe_uses: ProbeUseStore
    logs: SqlLogStore
    instance: str = ""
    """Stable id of this control plane, the same for all replicas; empty until it is known."""

    @staticmethod
    def open(url: str, *, now: Now, check_values: Sequence[str]) -> Storage:
        """Connect and `check`. Raises what `check` raises."""
        storage = Storage.connect(url, now=now, check_values=check_values)
        try:
            storage.check()
        except BaseException:
            storage.close()
            raise
        return storage

    @staticmethod
    def connect(url: str, *, now: Now, check_values: Sequence[str]) -> Storage:
        """Return stores that raise StorageUnavailable until `check` has found the database to be ours."""
        database = Database(url)
        database.usable = False
        return Storage(
            database,
            check_values,
            RevisionStore(database, now),
            KeyVersionStore(database, now),
            ReplicaStore(database, now),
            ProbeUseStore(database, now),
            SqlLogStore(database, now),
        )

    def check(self) -> None:
        """Migrate, found an empty control plane where there is none, and let the stores be used.

        When `instance` is known already, nothing is founded: the database must hold that very control plane.
        Raises StorageUnavailable, ForeignSchema, ForeignDatabase, ForeignMasterKey when the database was made with none
        of the master keys.
        """
        database = Database(self.database.url)
        try:
            if self.instance:
                _require_instance(database, self.instance)
            migrate(database)
            instance = _fact(database, "instance", str(uuid.uuid4()))
            if _fact(database, _MASTER_KEY, self.check_values[0]) not in self.check_values:
                raise ForeignMasterKey("the master key is not the one that this database was made with")
            RevisionStore(database, self.revisions.now).found()
        finally:
            database.close()
        self.instance = instance
        self.database.usable = True

    def master_key_changed(self) -> None:
        """From now on the master key in use is the one that a start without any other needs."""
        table = schema.facts
        with self.database.write() as connection:
            mine = table.update().where(table.c.name == _MASTER_KEY)
            connection.execute(mine.values(value=self.check_values[0]))

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


def _require_instance(database: Database, instance: str) -> None:
    with database.read() as connection:
        facts = schema.facts
        stored = None
        if inspect(connection).has_table(facts.name):
            stored = connection.scalar(select(facts.c.value).where(facts.c.name == "instance"))
    if stored != instance:
        found = "no control plane" if stored is None else f"control plane {stored}"
        raise ForeignDatabase(f"the database holds {found}, but what is served is of {instance}")


def _fact(database: Database, name: str, value: str) -> str:
    """Return the stored fact, storing `value` when there is none yet."""
    table = schema.facts
    with database.write() as connection:
        stored = connection.scalar(select(table.c.value).where(table.c.name == name))
        if stored is None:
            connection.execute(table.insert().values(name=name, value=value))
            return value
        return str(stored)
