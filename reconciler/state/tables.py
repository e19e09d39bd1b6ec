"""The tables, as the newest migration leaves them; a test compares the two on every database we support."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import JSON, BigInteger, Boolean, Column, DateTime, Integer, MetaData, String, Table, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

metadata = MetaData()


class UtcTime(TypeDecorator[datetime]):
    """An instant: aware and in UTC in Python, whatever the database can store."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


installation = Table(
    "installation",
    metadata,
    Column("only", Integer, primary_key=True, autoincrement=False),
    Column("id", String(64), nullable=False),
    Column("key_check", String(64), nullable=True),
    Column("created_at", UtcTime, nullable=False),
)
"""One row. `key_check` recognises the installation key without revealing it."""

lease = Table(
    "lease",
    metadata,
    Column("only", Integer, primary_key=True, autoincrement=False),
    Column("holder", String(255), nullable=True),
    Column("fence", BigInteger, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("quiet_at", UtcTime, nullable=False),
)
"""One row, made by the migration. `holder` is null when nobody has it; `fence` never goes back.

From `quiet_at` on nothing that a holder sent to a host is under way any more, unless it renews its lease.
"""

inventory = Table(
    "inventory",
    metadata,
    Column("plane", String(128), primary_key=True),
    Column("kind", String(64), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("object_id", Text, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("adopted", Boolean, nullable=False),
    Column("prunable", Boolean, nullable=False),
)

generations = Table(
    "generations",
    metadata,
    Column("kind", String(64), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("digest", String(128), nullable=False),
    Column("generation", BigInteger, nullable=False),
)

statuses = Table(
    "statuses",
    metadata,
    Column("kind", String(64), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("api_version", String(128), nullable=False),
    Column("observed_generation", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=True),
    Column("conditions", JSON, nullable=False),
    Column("proofs", JSON, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("kind", String(64), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("type", String(16), nullable=False),
    Column("reason", String(128), nullable=False),
    Column("message", Text, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("first_at", UtcTime, nullable=False),
    Column("last_at", UtcTime, nullable=False, index=True),
)
"""`digest` is of (type, reason, message): the same thing happening again is counted in its row."""

proofs = Table(
    "proofs",
    metadata,
    Column("route", String(255), primary_key=True),
    Column("public_model", String(255), primary_key=True),
    Column("account", String(255), primary_key=True),
    Column("observed_at", UtcTime, nullable=False),
    Column("body", JSON, nullable=False),
)
"""An absent route or account is the empty text: names are never empty, and keys cannot be null."""

secrets = Table(
    "secrets",
    metadata,
    Column("kind", String(64), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("path", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
)
"""Keyed fingerprints only; no secret value is ever written to the store."""

secret_origins = Table(
    "secret_origins",
    metadata,
    Column("secret", String(64), primary_key=True),
    Column("origin", Text, primary_key=True),
)
"""`secret` is a word for the place that a secret comes from, or for its value; it has a row for every origin."""

budgets = Table(
    "budgets",
    metadata,
    Column("acceptance", String(255), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("micro_usd", BigInteger, nullable=False, server_default="0"),
    Column("unpriced", BigInteger, nullable=False, server_default="0"),
)
"""`unpriced` counts requests whose cost is not known: as long as there is one, the day's cost is not known either."""

prices = Table(
    "prices",
    metadata,
    Column("host", String(255), primary_key=True),
    Column("model", String(255), primary_key=True),
    Column("nano_usd_per_token", BigInteger, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
)
"""What a host's own usage rows charged for a model, per token of either kind."""

top_ups = Table(
    "top_ups",
    metadata,
    Column("host", String(255), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("micro_usd", BigInteger, nullable=False),
)

evidence = Table(
    "evidence",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("recorded_at", UtcTime, nullable=False, index=True),
    Column("verdict", String(64), nullable=False),
    Column("grade", String(32), nullable=False),
    Column("location", Text, nullable=False),
    Column("route", String(255), nullable=True),
    Column("public_model", String(255), nullable=True),
    Column("account", String(255), nullable=True),
    Column("revision", BigInteger, nullable=True),
    Column("body", JSON, nullable=False),
)
