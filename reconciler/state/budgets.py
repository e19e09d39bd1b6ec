"""What proving may cost: reserved before it is spent, in one statement, so that no two processes share the last bit."""

from __future__ import annotations

from datetime import date
from math import floor

from sqlalchemy import select, update

from reconciler.state import tables
from reconciler.state.database import insert_if_absent
from reconciler.state.leases import Leased
from reconciler.state.model import Spent

_MICRO = 1_000_000


class Budgets(Leased):
    """Counts per UTC day. They need no lease: each call is atomic, and only ever adds up to its ceiling."""

    def reserve(
        self,
        acceptance: str,
        day: date,
        requests: int,
        tokens: int,
        max_requests: int,
        max_tokens: int,
    ) -> bool:
        """Reserve probes of an Acceptance for a UTC day; False, and nothing is reserved, when it would pass a ceiling.

        Raises: ValueError for a negative amount.
        """
        if requests < 0 or tokens < 0:
            raise ValueError("a reservation cannot be negative")
        columns, on = tables.budgets.c, day.isoformat()
        statement = update(tables.budgets).where(
            columns.acceptance == acceptance,
            columns.day == on,
            columns.requests + requests <= max_requests,
            columns.tokens + tokens <= max_tokens,
        )
        with self._database.write() as connection:
            nothing = {"acceptance": acceptance, "day": on, "requests": 0, "tokens": 0}
            insert_if_absent(connection, tables.budgets, nothing)
            done = connection.execute(
                statement.values(requests=columns.requests + requests, tokens=columns.tokens + tokens)
            )
            return done.rowcount == 1

    def spent(self, acceptance: str, day: date) -> Spent:
        """Return what is reserved of an Acceptance's day; zeros when nothing is."""
        columns = tables.budgets.c
        same = (columns.acceptance == acceptance) & (columns.day == day.isoformat())
        with self._database.read() as connection:
            row = connection.execute(select(columns.requests, columns.tokens).where(same)).one_or_none()
        return Spent(row.requests, row.tokens) if row is not None else Spent()

    def top_up(self, host: str, day: date, amount: float, max_per_day: float) -> float:
        """Reserve USD for a host's key issuer; return how much of `amount` is allowed, 0 when the day's sum is used up.

        Counted in millionths of a dollar, rounded down. Raises: ValueError for a negative amount.
        """
        if amount < 0:
            raise ValueError("a top-up cannot be negative")
        columns, on = tables.top_ups.c, day.isoformat()
        same = (columns.host == host) & (columns.day == on)
        with self._database.write() as connection:
            insert_if_absent(connection, tables.top_ups, {"host": host, "day": on, "micro_usd": 0})
            used = connection.execute(select(columns.micro_usd).where(same).with_for_update()).scalar_one()
            allowed = max(0, min(floor(amount * _MICRO + 1e-6), floor(max_per_day * _MICRO + 1e-6) - used))
            connection.execute(update(tables.top_ups).where(same).values(micro_usd=used + allowed))
        return float(allowed / _MICRO)
