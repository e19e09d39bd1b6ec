"""One writer at a time. A lease is a row with an end; its fence tells an old holder from the new one.

A holder that was paused, partitioned or killed may still believe that it holds the lease. So each write checks, in its
own transaction, that the fence is the newest: what an old holder sends late is refused, not applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, select, update

from reconciler.errors import LeaseLost
from reconciler.state import tables
from reconciler.state.database import Database
from reconciler.state.model import Lease
from reconciler.state.texts import storable


class Leased:
    """What the parts of the store share: the database, the time, and transactions under a lease."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    @contextmanager
    def _write(self, lease: Lease) -> Iterator[Connection]:
        """Open a transaction for the holder of `lease`. Raises LeaseLost before anything is written."""
        with self._database.write() as connection:
            _require(_row(connection, shared=True), lease, self._now())
            yield connection

    @contextmanager
    def _write_maybe_leased(self, lease: Lease | None) -> Iterator[Connection]:
        if lease is not None:
            with self._write(lease) as connection:
                yield connection
        else:
            with self._database.write() as connection:
                yield connection


class Leases(Leased):
    """Taking, keeping and giving back the lease."""

    def acquire(self, holder: str, ttl_s: float, *, request_s: float = 0.0) -> Lease | None:
        """Take the lease for `ttl_s` seconds; None while somebody, `holder` itself included, has it.

        `holder` is for people and must differ between processes. `request_s` is the time-out, in seconds, of what it
        will send to hosts: if it never gives the lease back, the next holder's `quiet_at` is so long after the end.
        """
        with self._database.write() as connection:
            row = _row(connection)
            now = self._now()
            if row.holder is not None and row.expires_at > now:
                return None
            end = now + timedelta(seconds=ttl_s)
            lease = Lease(row.fence + 1, storable(holder, 255), end, ttl_s, request_s, row.quiet_at)
            _save(connection, lease)
            return lease

    def renew(self, lease: Lease) -> Lease:
        """Return the lease with a new end, as far from now as when it was taken.

        One that ended, and that nobody took since, may still be renewed: no other fence has been given out.
        Raises: LeaseLost.
        """
        with self._database.write() as connection:
            _require(_row(connection), lease, None)
            renewed = replace(lease, expires_at=self._now() + timedelta(seconds=lease.ttl_s))
            _save(connection, renewed)
            return renewed

    def release(self, lease: Lease) -> None:
        """Give the lease back; nothing happens when it is no longer ours.

        Nothing of ours is under way then. What a holder before us may have under way stays known.
        """
        with self._database.write() as connection:
            connection.execute(
                update(tables.lease)
                .where(tables.lease.c.fence == lease.fence)
                .values(holder=None, quiet_at=lease.quiet_at or self._now())
            )

    def check(self, lease: Lease) -> None:
        """Return when the lease is still ours and has not ended; raise LeaseLost otherwise.

        To be called right before each write to a host, which knows nothing of fences.
        """
        with self._database.read() as connection:
            _require(_row(connection, lock=False), lease, self._now())

    def holder(self) -> Lease | None:
        """Return the lease as it is held now, by whomever; None when it is free or has ended."""
        with self._database.read() as connection:
            row = _row(connection, lock=False)
        if row.holder is None or row.expires_at <= self._now():
            return None
        return Lease(row.fence, row.holder, row.expires_at, quiet_at=row.quiet_at)


class _Held(NamedTuple):
    """The lease's row."""

    holder: str | None
    fence: int
    expires_at: datetime
    quiet_at: datetime


# SQLite has no row locks and needs none: a writing transaction is alone. PostgreSQL's shared lock lets the holder write
# from several threads, and keeps a new holder out until they are done.
_SEEN = select(
    tables.lease.c.holder, tables.lease.c.fence, tables.lease.c.expires_at, tables.lease.c.quiet_at
)
_LOCKED = _SEEN.with_for_update()
_SHARED = _SEEN.with_for_update(read=True)


def _row(connection: Connection, *, lock: bool = True, shared: bool = False) -> _Held:
    statement = _SEEN if not lock else _SHARED if shared else _LOCKED
    return _Held(*connection.execute(statement).one())


def _require(row: _Held, lease: Lease, now: datetime | None) -> None:
    if row.fence != lease.fence:
        other = f"{row.holder!r} has it" if row.holder else "somebody had it since"
        raise LeaseLost(f"lost the lease {lease.fence}: {other} (fence {row.fence})", hint=_HINT)
    if row.holder is None:
        raise LeaseLost(f"the lease {lease.fence} was given back", hint=_HINT)
    if now is not None and row.expires_at <= now:
        raise LeaseLost(f"the lease {lease.fence} ended at {row.expires_at.isoformat()}", hint=_HINT)


_HINT = "Another reconciler of this installation may be at work; run again when it is done."


def _save(connection: Connection, lease: Lease) -> None:
    quiet_at = lease.expires_at + timedelta(seconds=lease.request_s)
    connection.execute(
        update(tables.lease).values(
            holder=lease.holder,
            fence=lease.fence,
            expires_at=lease.expires_at,
            quiet_at=max(quiet_at, lease.quiet_at or quiet_at),
        )
    )
