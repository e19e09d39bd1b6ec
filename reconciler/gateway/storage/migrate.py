"""Bring a database to the tables this version knows, in one transaction; several processes may start at once."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError

from reconciler.gateway.storage.database import Database


class ForeignSchema(Exception):
    """The database was made by a newer version of this program, or is not ours."""


def migrate(database: Database) -> None:
    """Run every step that the database has not seen. Raises ForeignSchema, StorageUnavailable."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with database.write() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise ForeignSchema(f"the database's schema is not one this version knows: {error}") from error
