"""Alembic's entry: runs the migrations on the connection and in the transaction that our code hands in."""

from __future__ import annotations

from alembic import context

from reconciler.state.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # Both databases undo schema changes with their transaction; alembic assumes otherwise for SQLite, because the
    # driver used to commit by itself. Ours does not: see `reconciler.state.database`.
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
