"""One database, SQLite or PostgreSQL: engines, transactions, and errors in our own words.

Everything in this package blocks: call it from a worker thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from reconciler.gateway.contract import StorageUnavailable

BUSY_TIMEOUT_S = 5
"""How long a write waits for another one. Writes take milliseconds; five seconds mean that something is wrong."""
STATEMENT_TIMEOUT_S = 30
_PAGE_BYTES = 8192
"""Of a new SQLite database: rows of the log are 0.7 KB, and fewer, larger pages take a sixth less time to write."""
CHANGES_CHANNEL = "reconciler_gateway_revisions"
"""PostgreSQL's channel on which replicas hear of new revisions."""
_WRITE_LOCK = 0x7265636F6E63
"""PostgreSQL's advisory lock that makes configuration writes one at a time, as SQLite's are anyway."""


class StorageFault(Exception):
    """The database refused what was written: a defect of ours. Says which rule was broken, never with what values."""


class Database:
    """Connections to one database, in two flavours: configuration is durable, log rows are fast."""

    def __init__(self, url: str | URL) -> None:
        self.url = _normal(url)
        self.usable = True
        """False: it was not looked at yet, and answers as if it were away."""
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._durable = _engine(self.url, synchronous="FULL")
        # A log row may be lost when the machine loses power, never when the process dies: that is NORMAL in WAL mode.
        self._fast = _engine(self.url, synchronous="NORMAL") if self.is_sqlite else self._durable

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view. Raises StorageUnavailable."""
        with self._transaction(self._durable, "BEGIN") as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that no other configuration write overlaps. Raises StorageUnavailable."""
        with self._transaction(self._durable, "BEGIN IMMEDIATE") as connection:
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITE_LOCK})
            yield connection

    @contextmanager
    def append(self) -> Iterator[Connection]:
        """One transaction for log rows and counters: overlaps freely on PostgreSQL. Raises StorageUnavailable."""
        with self._transaction(self._fast, "BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def _transaction(self, engine: Engine, begin: str) -> Iterator[Connection]:
        if not self.usable:
            raise StorageUnavailable("the database did not answer yet since this process started")
        try:
            with engine.connect().execution_options(begin=begin) as connection, connection.begin():
                yield connection
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            raise StorageUnavailable(_summary(error)) from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise StorageUnavailable(_summary(error)) from error
            # Not chained: PostgreSQL's own text quotes the row that it refused.
            raise StorageFault(_kind(error)) from None

    def announce(self, connection: Connection) -> None:
        """Tell all replicas, when this transaction commits, that revisions changed; SQLite's look by themselves."""
        if not self.is_sqlite:
            connection.execute(text(f"NOTIFY {CHANGES_CHANNEL}"))

    def close(self) -> None:
        """Close every connection."""
        self._durable.dispose()
        self._fast.dispose()


def _normal(url: str | URL) -> URL:
    parsed = make_url(url)
    if parsed.drivername in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    return parsed


def _engine(url: URL, *, synchronous: str) -> Engine:
    # hide_parameters: an error's text must never carry what was being stored.
    if url.get_backend_name() != "sqlite":
        options = f"-c statement_timeout={STATEMENT_TIMEOUT_S * 1000} -c lock_timeout={BUSY_TIMEOUT_S * 1000}"
        return create_engine(
            url,
            hide_parameters=True,
            pool_pre_ping=True,
            pool_size=8,
            pool_timeout=BUSY_TIMEOUT_S,
            connect_args={"connect_timeout": BUSY_TIMEOUT_S, "options": options, "keepalives_idle": 5},
        )
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The driver's own transaction handling is switched off: it would begin too late, and never IMMEDIATE.
        connection.isolation_level = None
        for pragma in (
            f"page_size={_PAGE_BYTES}",
            "journal_mode=WAL",
            f"synchronous={synchronous}",
            "foreign_keys=ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN IMMEDIATE"))

    return engine


def _kind(error: DBAPIError) -> str:
    """Return the kind of the driver's error, and the table and rule it is about."""
    original: Any = error.orig
    if (diagnosis := getattr(original, "diag", None)) is not None:
        words = (diagnosis.sqlstate, diagnosis.table_name, diagnosis.column_name, diagnosis.constraint_name)
        return " ".join([type(original).__name__, *filter(None, words)])
    return f"{type(original).__name__} {original}"[:200]


def _summary(error: Exception) -> str:
    """Return the first line of what the driver said, without statement and parameters."""
    original = getattr(error, "orig", None) or error
    return str(original).strip().partition("\n")[0][:200]
