"""Alembic, called without its command line."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from reconciler.errors import InvalidInput
from reconciler.state.schema import current

_FOLDER = Path(__file__).parent


def upgrade(connection: Connection, where: str) -> None:
    """Run every step that the database has not seen, inside the connection's transaction. Raises InvalidInput."""
    found = current(connection)
    config = config_of(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise InvalidInput(
            f"the {where} has schema {found!r}, which this version does not know",
            hint="A newer version of reconcile has used it; use that one, or another store.",
        )
    command.upgrade(config, "head")


def config_of(connection: Connection) -> Config:
    """Return alembic's configuration for work on a connection."""
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
