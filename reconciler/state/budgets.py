"""What proving may cost: reserved before it is spent, at once, so that no two processes share the last bit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from math import ceil, floor

from sqlalchemy import Connection, select, update

from reconciler.state import tables
from reconciler.state.database import insert_if_absent, upsert
from reconciler.state.leases import Leased
from reconciler.state.model import Ceilings, Charge, OverBudget, Spent

_MICRO = 1_000_000
_NANO_PER_MICRO = 1000


def price_of(tokens: int, nano_usd_per_token: int) -> int:
    """Return what so many tokens cost, in millionths of a dollar rounded up."""
    return ceil(nano_usd_per_token * tokens / _NANO_PER_MICRO)


class Budgets(Leased):
    """Counts per UTC day. They need no lease: each call is atomic, and only ever adds up to its ceiling."""

    def reserve(self, ceilings: Sequence[Ceilings], day: date, charge: Charge) -> OverBudget | None:
        """Reserve a charge with every Acceptance given; or nothing with any, and return the ceiling it would pass.

        A charge of unknown cost is counted as such, and refused only where the money is used up already.
        Raises: ValueError for a negative amount.
        """
        if charge.requests < 0 or charge.tokens < 0 or (charge.micro_usd or 0) < 0:
            raise ValueError("a reservation cannot be negative")
        if not ceilings:
            return None
        try:
            with self._database.write() as connection:
                for each in sorted(ceilings, key=lambda ceiling: ceiling.acceptance):
                    _reserve(connection, each, day.isoformat(), charge)
        except _Refused as refused:
            return refused.why
        return None

    def settle(self, acceptances: Iterable[str], day: date, *, reserved: int | None, actual: int) -> None:
        """Put what a request did cost in the place of what was reserved for it; both in millionths of a dollar.

        `reserved` None means that its cost was not known then; now it is.
        """
        columns = tables.budgets.c
        values = (
            {"micro_usd": columns.micro_usd + actual, "unpriced": columns.unpriced - 1}
            if reserved is None
            else {"micro_usd": columns.micro_usd + actual - reserved}
        )
        with self._database.write() as connection:
            for acceptance in sorted(acceptances):
                same = (columns.acceptance == acceptance) & (columns.day == day.isoformat())
                connection.execute(update(tables.budgets).where(same).values(values))

    def spent(self, acceptance: str, day: date) -> Spent:
        """Return what is reserved of an Acceptance's day; zeros when nothing is."""
        with self._database.read() as connection:
            return _spent(connection, acceptance, day.isoformat())

    def learn_price(self, host: str, model: str, *, tokens: int, usd: float) -> None:
        """Remember what a host charged for a request of so many tokens. Raises: ValueError unless both are positive."""
        if tokens <= 0 or usd <= 0:
            raise ValueError("a price is learnt from a cost and the tokens that it was for")
        nano = ceil(usd * _MICRO * _NANO_PER_MICRO / tokens)
        row = {"host": host, "model": model, "nano_usd_per_token": nano, "seen_at": self._now()}
        with self._database.write() as connection:
            upsert(connection, tables.prices, row)

    def price(self, host: str, model: str, *, tokens: int) -> int | None:
        """Return what so many tokens would cost, in millionths of a dollar rounded up; None when no price was seen."""
        columns = tables.prices.c
        same = (columns.host == host) & (columns.model == model)
        with self._database.read() as connection:
            nano = connection.execute(select(columns.nano_usd_per_token).where(same)).scalar_one_or_none()
        return None if nano is None else price_of(tokens, nano)

    def prices(self) -> dict[tuple[str, str], int]:
        """Return every price seen, by (host, model), in billionths of a dollar per token."""
        with self._database.read() as connection:
            rows = connection.execute(select(tables.prices)).all()
        return {(row.host, row.model): row.nano_usd_per_token for row in rows}

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


class _Refused(Exception):
    """Rolls a reservation back."""

    def __init__(self, why: OverBudget) -> None:
        super().__init__(why.what)
        self.why = why


def _reserve(connection: Connection, ceilings: Ceilings, on: str, charge: Charge) -> None:
    """Add a charge in one statement that holds to the ceilings. Raises _Refused."""
    columns, name = tables.budgets.c, ceilings.acceptance
    nothing = {"acceptance": name, "day": on, "requests": 0, "tokens": 0, "micro_usd": 0, "unpriced": 0}
    insert_if_absent(connection, tables.budgets, nothing)
    statement = update(tables.budgets).where(
        columns.acceptance == name,
        columns.day == on,
        columns.requests + charge.requests <= ceilings.requests,
        columns.tokens + charge.tokens <= ceilings.tokens,
    )
    if ceilings.micro_usd is not None:
        # What is used up is used up, also for a request whose cost nobody knows.
        statement = statement.where(columns.micro_usd + max(charge.micro_usd or 0, 1) <= ceilings.micro_usd)
    unknown = charge.requests if charge.micro_usd is None else 0
    done = connection.execute(
        statement.values(
            requests=columns.requests + charge.requests,
            tokens=columns.tokens + charge.tokens,
            micro_usd=columns.micro_usd + (charge.micro_usd or 0),
            unpriced=columns.unpriced + unknown,
        )
    )
    if done.rowcount != 1:
        spent = _spent(connection, name, on)
        raise _Refused(OverBudget(name, _passed(spent, ceilings, charge), spent))


def _passed(spent: Spent, ceilings: Ceilings, charge: Charge) -> str:
    if spent.requests + charge.requests > ceilings.requests:
        return "requests"
    return "tokens" if spent.tokens + charge.tokens > ceilings.tokens else "usd"


def _spent(connection: Connection, acceptance: str, on: str) -> Spent:
    columns = tables.budgets.c
    same = (columns.acceptance == acceptance) & (columns.day == on)
    asked = select(columns.requests, columns.tokens, columns.micro_usd, columns.unpriced).where(same)
    row = connection.execute(asked).one_or_none()
    return Spent(row.requests, row.tokens, row.micro_usd, row.unpriced) if row is not None else Spent()
