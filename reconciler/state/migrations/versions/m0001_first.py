"""The first schema."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_WHEN = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make all tables, and the lease's one row."""
    _identity()
    _manifests()
    _proof()
    _money()


def _identity() -> None:
    op.create_table(
        "installation",
        sa.Column("only", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("key_check", sa.String(64), nullable=True),
        sa.Column("created_at", _WHEN, nullable=False),
    )
    lease = op.create_table(
        "lease",
        sa.Column("only", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("holder", sa.String(255), nullable=True),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("expires_at", _WHEN, nullable=False),
    )
    op.bulk_insert(
        lease, [{"only": 1, "holder": None, "fence": 0, "expires_at": datetime(1970, 1, 1, tzinfo=UTC)}]
    )
    op.create_table(
        "inventory",
        sa.Column("plane", sa.String(128), primary_key=True),
        sa.Column("kind", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("object_id", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("adopted", sa.Boolean, nullable=False),
        sa.Column("prunable", sa.Boolean, nullable=False),
    )


def _manifests() -> None:
    op.create_table(
        "generations",
        sa.Column("kind", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("digest", sa.String(128), nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "statuses",
        sa.Column("kind", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("api_version", sa.String(128), nullable=False),
        sa.Column("observed_generation", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=True),
        sa.Column("conditions", sa.JSON, nullable=False),
        sa.Column("proofs", sa.JSON, nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("kind", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(128), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("seen", sa.BigInteger, nullable=False),
        sa.Column("first_at", _WHEN, nullable=False),
        sa.Column("last_at", _WHEN, nullable=False),
    )
    op.create_index("ix_events_last_at", "events", ["last_at"])


def _proof() -> None:
    op.create_table(
        "proofs",
        sa.Column("route", sa.String(255), primary_key=True),
        sa.Column("public_model", sa.String(255), primary_key=True),
        sa.Column("account", sa.String(255), primary_key=True),
        sa.Column("observed_at", _WHEN, nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
    )
    op.create_table(
        "secrets",
        sa.Column("kind", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("path", sa.String(255), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
    )
    op.create_table(
        "evidence",
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column("recorded_at", _WHEN, nullable=False),
        sa.Column("verdict", sa.String(64), nullable=False),
        sa.Column("grade", sa.String(32), nullable=False),
        sa.Column("location", sa.Text, nullable=False),
        sa.Column("route", sa.String(255), nullable=True),
        sa.Column("public_model", sa.String(255), nullable=True),
        sa.Column("account", sa.String(255), nullable=True),
        sa.Column("revision", sa.BigInteger, nullable=True),
        sa.Column("body", sa.JSON, nullable=False),
    )
    op.create_index("ix_evidence_recorded_at", "evidence", ["recorded_at"])


def _money() -> None:
    op.create_table(
        "budgets",
        sa.Column("acceptance", sa.String(255), primary_key=True),
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "top_ups",
        sa.Column("host", sa.String(255), primary_key=True),
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("micro_usd", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Refuse: there is nothing before the first schema."""
    raise NotImplementedError("the first schema has no predecessor")
