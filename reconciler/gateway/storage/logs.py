"""Decision rows, the sticky audit and failover events: written in batches, read in pages, newest first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, func, select

from reconciler.gateway.contract import DecisionRow, JsonObject
from reconciler.gateway.storage import schema
from reconciler.gateway.storage.database import Database
from reconciler.gateway.times import Now, rfc3339

TABLES: Mapping[str, Table] = {
    "decisions": schema.decisions,
    "sticky-audit": schema.sticky_audit,
    "failover-events": schema.failover_events,
}
"""By the name that the control API uses."""

_AUDITS = {"sticky": schema.sticky_audit, "failover": schema.failover_events}
_COLUMNS = ("at", "request_id", "route_id", "from_route_id", "probe", "namespace", "row")
_MARKS = f"({', '.join('?' * len(_COLUMNS))})"
_PORTIONS = (256, 64, 16, 4, 1)
"""Rows of one statement: few sizes, because the driver keeps each statement that it has seen."""
MAX_DELETED = 10_000
"""Rows that one tidying transaction deletes at most, so that no writer waits long."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True)
class LogFilter:
    """Which rows; None means any. `probe`: a token's id, or True or False for any probe or none."""

    request_id: str | None = None
    route_id: str | None = None
    since: str | None = None
    """RFC 3339 as `times.rfc3339` writes it; included."""
    until: str | None = None
    """Not included."""
    probe: str | bool | None = None
    namespace: str | None = None


@dataclass(frozen=True)
class SqlLogStore:
    """Keeps `contract.LogStore`. Every method blocks, and raises StorageUnavailable."""

    database: Database
    now: Now

    def write(self, decisions: Sequence[DecisionRow], audits: Sequence[tuple[str, JsonObject]]) -> None:
        batches: dict[str, list[tuple[Any, ...]]] = {}
        if decisions:
            batches[schema.decisions.name] = [_decision_values(row) for row in decisions]
        for kind, audit in audits:
            batches.setdefault(_AUDITS[kind].name, []).append(_audit_values(audit))
        if not batches:
            return
        with self.database.append() as connection:
            for table, values in batches.items():
                self._insert(connection, table, values)

    def _insert(self, connection: Connection, table: str, values: list[tuple[Any, ...]]) -> None:
        columns = ", ".join(f'"{column}"' for column in _COLUMNS)
        if self.database.is_sqlite:
            # One statement for many rows: the driver lets go of the interpreter once per statement, and each time it
            # must take it back from the event loop, which then waits for a row of the log.
            for rows in _portions(values):
                marks = ", ".join([_MARKS] * len(rows))
                statement = f"INSERT INTO {table} ({columns}) VALUES {marks}"  # noqa: S608 - names of ours
                connection.exec_driver_sql(statement, tuple(chain.from_iterable(rows)))
            return
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
            for row in values:
                copy.write_row(row)

    def page(
        self, log: str, wanted: LogFilter, *, before: int | None, limit: int
    ) -> list[tuple[int, JsonObject]]:
        """Return up to `limit` rows of a log (a key of TABLES) as (id, row), newest first, with ids below `before`."""
        table = TABLES[log]
        query = select(table.c.id, table.c.row).where(*_conditions(table, wanted))
        query = query.order_by(table.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(table.c.id < before)
        with self.database.read() as connection:
            return [(row.id, _decode(row.row)) for row in connection.execute(query)]

    def tidy(self, *, keep_for: timedelta, keep_rows: int) -> int:
        """Delete rows that are older than `keep_for`, or beyond the newest `keep_rows` of their log; return how many.

        Deletes at most a batch of each log per call.
        """
        oldest = rfc3339(self.now() - keep_for)
        deleted = 0
        for table in TABLES.values():
            with self.database.append() as connection:
                newest = connection.scalar(select(func.max(table.c.id))) or 0
                old = (table.c.at < oldest) | (table.c.id <= newest - keep_rows)
                some = select(table.c.id).where(old).order_by(table.c.id).limit(MAX_DELETED)
                deleted += connection.execute(table.delete().where(table.c.id.in_(some))).rowcount
        return deleted


def _portions(rows: Sequence[tuple[Any, ...]]) -> Iterator[Sequence[tuple[Any, ...]]]:
    start = 0
    for size in _PORTIONS:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


def _conditions(table: Table, wanted: LogFilter) -> list[ColumnElement[bool]]:
    c = table.c
    conditions: list[ColumnElement[bool]] = []
    if wanted.request_id is not None:
        conditions.append(c.request_id == wanted.request_id)
    if wanted.route_id is not None:
        conditions.append((c.route_id == wanted.route_id) | (c.from_route_id == wanted.route_id))
    if wanted.namespace is not None:
        conditions.append(c.namespace == wanted.namespace)
    if wanted.since is not None:
        conditions.append(c.at >= wanted.since)
    if wanted.until is not None:
        conditions.append(c.at < wanted.until)
    if isinstance(wanted.probe, str):
        conditions.append(c.probe == wanted.probe)
    elif wanted.probe is not None:
        conditions.append(c.probe.is_not(None) if wanted.probe else c.probe.is_(None))
    return conditions


def _decision_values(row: DecisionRow) -> tuple[Any, ...]:
    return row.at, row.request_id, row.route_id, None, row.probe, row.namespace, _text(row)


def _audit_values(row: JsonObject) -> tuple[Any, ...]:
    get = row.get
    return (
        row["at"],
        get("request_id"),
        get("route_id"),
        get("from_route_id"),
        get("probe"),
        get("namespace"),
        _text(row),
    )


def _text(row: DecisionRow | JsonObject) -> str:
    try:
        return _encode(row).decode()
    except UnicodeEncodeError:  # half of a character pair, from a client: it is no text, and shown as such
        plain = row if isinstance(row, dict) else msgspec.structs.asdict(row)
        return json.dumps(plain, ensure_ascii=False).encode("utf-8", "replace").decode()
