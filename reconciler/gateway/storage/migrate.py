"""Bring a database to the tables this version knows, in one transaction; several processes may start at once."""

from __future__ import annotations

from importlib import import_module

from sqlalchemy import Connection, inspect, text

from reconciler.gateway.storage.database import Database

HEAD = "0001"
"""The newest step in `migrations/versions`."""
VERSION_TABLE = "gateway_schema"


class ForeignSchema(Exception):
    """The database was made by a newer version of this program, or is not ours."""


def migrate(database: Database) -> None:
    """Run every step that the database has not seen. Raises ForeignSchema, StorageUnavailable."""
    with database.read() as connection:
        if _version(connection) == HEAD:
            return
    with database.write() as connection:
        # Only now: alembic takes 8 MB and a tenth of a second, which most starts can do without.
        import_module("reconciler.gateway.storage.migrations.run").upgrade(connection)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
    return version
