"""The gateway's tables. `migrations/` makes them; a test holds the two against each other."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData()

_TIME = 24
"""Length of `2026-01-31T12:00:00.000Z`."""
_ROW_ID = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only where the type is INTEGER."""

# Single facts: this control plane's instance id, the check value of its master key.
facts = Table(
    "facts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

revisions = Table(
    "revisions",
    metadata,
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("base", Integer),
    Column("state", String(16), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("comment", Text, nullable=False),
    Column("created_at", String(_TIME), nullable=False),
    Column("promoted_at", String(_TIME)),
    Column("expires_at", String(_TIME)),
    Column("document", LargeBinary),  # Canonical JSON, zlib; null once history was thinned out.
    Column("key_uses", LargeBinary),  # The stored key values it names, JSON, zlib.
    # The database itself keeps the first promise: there is never more than one active revision.
    Index(
        "one_active",
        "state",
        unique=True,
        sqlite_where=text("state = 'active'"),
        postgresql_where=text("state = 'active'"),
    ),
)

gateway_key_versions = Table(
    "gateway_key_versions",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("version", String(64), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("fingerprint", String(12), nullable=False),
    Column("created_at", String(_TIME), nullable=False),
)

managed_key_versions = Table(
    "managed_key_versions",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("version", String(64), primary_key=True),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("fingerprint", String(12), nullable=False),
    Column("created_at", String(_TIME), nullable=False),
)

fences = Table(
    "fences",
    metadata,
    Column("installation", String(128), primary_key=True),
    Column("fence", BigInteger, nullable=False),
)

replicas = Table(
    "replicas",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("active_revision", Integer, nullable=False),
    Column("loaded", Text, nullable=False),  # JSON list of revisions.
    Column("in_flight", Text, nullable=False),  # JSON object, revision -> requests.
    Column("seen_at", String(_TIME), nullable=False),
)

probe_uses = Table(
    "probe_uses",
    metadata,
    Column("token_id", String(64), primary_key=True),
    Column("used", Integer, nullable=False),
    Column("expires_at", String(_TIME), nullable=False, index=True),
)


def _log_table(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("id", _ROW_ID, primary_key=True, autoincrement=True),
        Column("at", String(_TIME), nullable=False, index=True),
        Column("request_id", String(64), index=True),
        Column("route_id", String(63), index=True),
        Column("from_route_id", String(63)),
        Column("probe", String(64)),
        Column("namespace", String(128)),
        Column("row", Text, nullable=False),  # The whole row as JSON; the other columns are for filters.
        sqlite_autoincrement=True,
    )


decisions = _log_table("decisions")
sticky_audit = _log_table("sticky_audit")
failover_events = _log_table("failover_events")
