"""Bringing a database to the newest schema. Repeating it is harmless, also by several processes at once."""

from __future__ import annotations

from importlib import import_module

from sqlalchemy import Connection, inspect, text

from reconciler.state.database import Database

HEAD = "0005"
"""The newest step in `migrations/versions`."""
VERSION_TABLE = "alembic_version"

# Any number will do, as long as all versions of this program use the same: it keeps two migrations apart.
_MIGRATION_LOCK = 7_318_846_501


def current(connection: Connection) -> str | None:
    """Return the revision of a database; None when it is empty."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
    return version


def migrate(database: Database) -> None:
    """Bring the schema to the newest revision, in one transaction: a crash leaves the old one.

    Raises: InvalidInput when a newer version of this program has been here.
    """
    with database.read() as connection:
        if current(connection) == HEAD:
            return
    with database.write() as connection:
        if database.dialect == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        # Only now: a command that finds the schema as it should be need not wait for alembic.
        import_module("reconciler.state.migrations.run").upgrade(connection, database.where)
