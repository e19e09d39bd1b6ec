"""Where an embedded host keeps what must survive a restart: one SQLite file.

Objects (groups, accounts, keys ...) are few and read on every request, so they live in memory and every change is
written through. Logs (usage, errors) are many and stay in the file. Survives `kill -9`, not a power cut.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (kind TEXT NOT NULL, id INTEGER NOT NULL, doc TEXT NOT NULL,
    PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sequences (kind TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS usage_logs (id INTEGER PRIMARY KEY AUTOINCREMENT, visible_at REAL NOT NULL,
    request_id TEXT NOT NULL, user_id INTEGER NOT NULL, api_key_id INTEGER NOT NULL, account_id INTEGER NOT NULL,
    group_id INTEGER, model TEXT NOT NULL, stream INTEGER NOT NULL, mismatch INTEGER, doc TEXT NOT NULL,
    UNIQUE (request_id, api_key_id));
CREATE INDEX IF NOT EXISTS usage_by_key ON usage_logs (api_key_id, visible_at);
CREATE INDEX IF NOT EXISTS usage_by_time ON usage_logs (visible_at);
CREATE TABLE IF NOT EXISTS ops_errors (id INTEGER PRIMARY KEY AUTOINCREMENT, visible_at REAL NOT NULL,
    client_request_id TEXT NOT NULL, doc TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS ops_by_request ON ops_errors (client_request_id);
CREATE INDEX IF NOT EXISTS ops_by_time ON ops_errors (visible_at);
"""


class Table:
    """The objects of one kind, by id. `save` after every change of a row."""

    def __init__(self, database: Database, kind: str) -> None:
        self._database = database
        self._kind = kind
        self.rows: dict[int, Row] = {}

    def insert(self, row: Row) -> Row:
        """Give `row` the next id, keep it, and return it. Ids are never used twice."""
        row["id"] = self._database.next_id(self._kind)
        self.rows[row["id"]] = row
        self.save(row)
        return row

    def save(self, row: Row) -> None:
        """Write one row through to the file."""
        self._database.write(
            "INSERT OR REPLACE INTO objects (kind, id, doc) VALUES (?, ?, ?)",
            (self._kind, row["id"], json.dumps(row, ensure_ascii=False, separators=(",", ":"))),
        )

    def remove(self, row_id: int) -> None:
        """Delete a row for good."""
        self.rows.pop(row_id, None)
        self._database.write("DELETE FROM objects WHERE kind = ? AND id = ?", (self._kind, row_id))

    def live(self) -> Iterator[Row]:
        """Yield the rows that are not soft-deleted, by id."""
        return (row for row in self.rows.values() if row.get("deleted_at") is None)

    def get(self, row_id: int | None) -> Row | None:
        """Return the row, or None when there is none or it is soft-deleted."""
        row = self.rows.get(row_id) if row_id is not None else None
        return row if row is not None and row.get("deleted_at") is None else None

    def first(self, test: Callable[[Row], bool]) -> Row | None:
        """Return the live row with the lowest id that passes, or None."""
        return next((row for row in self.live() if test(row)), None)


class Database:
    """One host's state. `path` None keeps it in memory only."""

    def __init__(self, path: Path | None = None) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
        self.connection = sqlite3.connect(path if path is not None else ":memory:", isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        # NORMAL: a killed process loses nothing, and no write waits for the disk.
        self.connection.execute("PRAGMA synchronous = NORMAL")
        self.connection.executescript(_SCHEMA)
        self.tables: dict[str, Table] = {}
        self._sequences: dict[str, int] = dict(self.connection.execute("SELECT kind, last FROM sequences"))

    def table(self, kind: str) -> Table:
        """Return the table of a kind, loaded."""
        if kind not in self.tables:
            table = Table(self, kind)
            found = self.connection.execute("SELECT id, doc FROM objects WHERE kind = ? ORDER BY id", (kind,))
            table.rows.update((row_id, json.loads(doc)) for row_id, doc in found)
            self.tables[kind] = table
        return self.tables[kind]

    def write(self, statement: str, values: tuple[Any, ...]) -> int:
        """Run one statement in a transaction of its own; return the row id of an insert."""
        return self.connection.execute(statement, values).lastrowid or 0

    def next_id(self, kind: str) -> int:
        """Use up one id of a kind."""
        self._sequences[kind] = self._sequences.get(kind, 0) + 1
        self.write(
            "INSERT OR REPLACE INTO sequences (kind, last) VALUES (?, ?)", (kind, self._sequences[kind])
        )
        return self._sequences[kind]

    def setting(self, name: str) -> str | None:
        """Return a stored setting, or None."""
        found = self.connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return str(found[0]) if found else None

    def set_setting(self, name: str, value: str | None) -> None:
        """Store a setting; None removes it."""
        if value is None:
            self.write("DELETE FROM settings WHERE name = ?", (name,))
        else:
            self.write("INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)", (name, value))

    def close(self) -> None:
        """Close the file."""
        self.connection.close()
