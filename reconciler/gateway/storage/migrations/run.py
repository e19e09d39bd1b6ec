"""Alembic, called without its command line."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection

from reconciler.gateway.storage.migrate import ForeignSchema


def upgrade(connection: Connection) -> None:
    """Run every step that the database has not seen, inside the connection's transaction. Raises ForeignSchema."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise ForeignSchema(f"the database's schema is not one this version knows: {error}") from error
