"""The connection to the database: URLs, transactions, and errors in our own words. Nothing here knows a table."""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from reconciler.errors import InvalidInput, Unavailable

BUSY_TIMEOUT_S = 30
"""How long a SQLite writer waits for another one, in seconds. Writes take milliseconds."""

CONNECT_TIMEOUT_S = 10

_WRITES = "reconciler_writes"

_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
"""Scheme of a URL -> the driver we use, whichever the URL names."""


def read_url(text: str) -> URL:
    """Return a database URL for our driver. Raises InvalidInput for what is not SQLite in a file or PostgreSQL."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise InvalidInput(
            "the state URL cannot be read",
            hint="Write sqlite:///PATH or postgresql://USER@HOST/DATABASE.",
        ) from error
    driver = _DRIVERS.get(url.get_backend_name())
    if driver is None:
        raise InvalidInput(
            f"the state URL names {url.get_backend_name()!r}",
            hint="The state store is SQLite (sqlite:///PATH) or PostgreSQL (postgresql://USER@HOST/DATABASE).",
        )
    if driver == "sqlite" and (
        not url.database or url.database == ":memory:" or url.database.startswith("file:")
    ):
        raise InvalidInput(
            "the state URL names no file", hint="State must outlive the process: write sqlite:///PATH."
        )
    return url.set(drivername=driver)


def sqlite_file(url: URL) -> Path | None:
    """Return the file of a SQLite URL, or None for PostgreSQL."""
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def make_private(file: Path) -> None:
    """See to it that only we may read a SQLite file and its folder; a folder that was there already is left as it is.

    SQLite makes the files beside it (-wal, -shm) with the mode of the file itself.
    Raises: InvalidInput when it cannot be made.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            for each in (file, *(file.with_name(file.name + end) for end in ("-wal", "-shm"))):
                if each.exists():
                    each.chmod(0o600)
    except OSError as error:
        raise InvalidInput(
            f"the state store {file} cannot be opened: {error.strerror}",
            hint="see --state; the folder must be one that this user can write to",
        ) from error


class Database:
    """Transactions on one database; safe to share between threads.

    Every operation raises Unavailable when the database cannot be reached or stays locked.
    """

    def __init__(self, url: URL, *, durable: bool = True) -> None:
        """`durable` False: a SQLite file that nobody needs after a power cut, so that no write waits for the disk."""
        self.where = f"state store ({url.render_as_string(hide_password=True)})"
        self._engine = _sqlite_engine(url, durable) if sqlite_file(url) else _postgres_engine(url)
        self._writer = self._engine.execution_options(**{_WRITES: True})

    @property
    def dialect(self) -> str:
        """Return "sqlite" or "postgresql"."""
        return self._engine.dialect.name

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads: one consistent view."""
        with self._mapped(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that writes; on SQLite it is the only one from its first moment."""
        with self._mapped(), self._writer.begin() as connection:
            yield connection

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            # The driver's own first line; statements and parameters are SQLAlchemy's addition and are left out.
            lines = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
            raise Unavailable(lines[0][:200], where=self.where) from error
        except SQLAlchemyError as error:
            raise Unavailable(type(error).__name__, where=self.where) from error


def _postgres_engine(url: URL) -> Engine:
    return create_engine(
        url,
        pool_size=5,
        max_overflow=10,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "reconciler"},
    )


def _sqlite_engine(url: URL, durable: bool) -> Engine:
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The driver must not begin and commit by itself; `begin` below does.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
        cursor.execute("PRAGMA journal_mode = WAL")
        # A promise kept in the inventory must survive a power cut, not only a killed process.
        cursor.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later fails when somebody wrote in between; IMMEDIATE waits instead.
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def upsert(connection: Connection, table: Table, values: Mapping[str, Any]) -> None:
    """Insert a row, or bring the row with its primary key to these values."""
    connection.execute(_upsert(connection.dialect.name, table, tuple(values)), values)


def insert_if_absent(connection: Connection, table: Table, values: Mapping[str, Any]) -> None:
    """Insert a row unless there is one with its primary key."""
    connection.execute(_insert_if_absent(connection.dialect.name, table), values)


# A statement is made once: that takes longer than to carry it out.
@functools.cache
def _upsert(dialect: str, table: Table, columns: tuple[str, ...]) -> sqlite.Insert | postgresql.Insert:
    keys = _keys(table)
    statement = _insert(dialect, table)
    rest = {name: statement.excluded[name] for name in columns if name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=rest)


@functools.cache
def _insert_if_absent(dialect: str, table: Table) -> sqlite.Insert | postgresql.Insert:
    return _insert(dialect, table).on_conflict_do_nothing(index_elements=_keys(table))


def _insert(dialect: str, table: Table) -> sqlite.Insert | postgresql.Insert:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def _keys(table: Table) -> Sequence[str]:
    return [column.name for column in table.primary_key]
