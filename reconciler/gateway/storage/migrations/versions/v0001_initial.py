"""The first tables.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TIME = sa.String(24)
_ACTIVE = sa.text("state = 'active'")


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "facts",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "revisions",
        sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("base", sa.Integer),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("promoted_at", _TIME),
        sa.Column("expires_at", _TIME),
        sa.Column("document", sa.LargeBinary),
        sa.Column("key_uses", sa.LargeBinary),
    )
    op.create_index(
        "one_active", "revisions", ["state"], unique=True, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE
    )
    for table, kept in (("gateway_key_versions", "sealed"), ("managed_key_versions", "hash")):
        op.create_table(
            table,
            sa.Column("name", sa.String(63), primary_key=True),
            sa.Column("version", sa.String(64), primary_key=True),
            sa.Column(kept, sa.LargeBinary, nullable=False, unique=kept == "hash"),
            sa.Column("fingerprint", sa.String(12), nullable=False),
            sa.Column("created_at", _TIME, nullable=False),
        )
    _small_tables()
    for name in ("decisions", "sticky_audit", "failover_events"):
        _log_table(name)


def _small_tables() -> None:
    op.create_table(
        "fences",
        sa.Column("installation", sa.String(128), primary_key=True),
        sa.Column("fence", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "replicas",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("active_revision", sa.Integer, nullable=False),
        sa.Column("loaded", sa.Text, nullable=False),
        sa.Column("in_flight", sa.Text, nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
    )
    op.create_table(
        "probe_uses",
        sa.Column("token_id", sa.String(64), primary_key=True),
        sa.Column("used", sa.Integer, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
    )
    op.create_index("ix_probe_uses_expires_at", "probe_uses", ["expires_at"])


def _log_table(name: str) -> None:
    op.create_table(
        name,
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True
        ),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("request_id", sa.String(64)),
        sa.Column("route_id", sa.String(63)),
        sa.Column("from_route_id", sa.String(63)),
        sa.Column("probe", sa.String(64)),
        sa.Column("namespace", sa.String(128)),
        sa.Column("row", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    for column in ("at", "request_id", "route_id"):
        op.create_index(f"ix_{name}_{column}", name, [column])
