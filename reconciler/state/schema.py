"""Bringing a database to the newest schema. Repeating it is harmless, also by several processes at once."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from reconciler.errors import InvalidInput
from reconciler.state.database import Database

_FOLDER = Path(__file__).parent / "migrations"

# Any number will do, as long as all versions of this program use the same: it keeps two migrations apart.
_MIGRATION_LOCK = 7_318_846_501


def newest() -> str:
    """Return the revision of the newest migration."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def current(connection: Connection) -> str | None:
    """Return the revision of a database; None when it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


def migrate(database: Database) -> None:
    """Bring the schema to the newest revision, in one transaction: a crash leaves the old one.

    Raises: InvalidInput when a newer version of this program has been here.
    """
    head = newest()
    with database.read() as connection:
        if current(connection) == head:
            return
    with database.write() as connection:
        if database.dialect == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        _upgrade(connection, database.where)


def _upgrade(connection: Connection, where: str) -> None:
    found = current(connection)
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found is not None and found not in known:
        raise InvalidInput(
            f"the {where} has schema {found!r}, which this version does not know",
            hint="A newer version of reconcile has used it; use that one, or another store.",
        )
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
