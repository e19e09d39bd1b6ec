"""Runs the steps on the connection, and inside the transaction, that `migrate` hands in."""

from __future__ import annotations

from alembic import context

from reconciler.gateway.storage.migrate import VERSION_TABLE
from reconciler.gateway.storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
