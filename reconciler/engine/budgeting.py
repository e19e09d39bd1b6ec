"""The day's budgets of the Acceptances, in the store: requests, tokens and money, reserved before a probe is sent.

Money is what a host's own usage rows say. Until one has named a price, a probe's cost is `unknown`: it is counted as
such, never as 0, and bounded by requests and tokens alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil

from reconciler.hosts.contract import UsageRow
from reconciler.manifest import Acceptance
from reconciler.proof.budget import Reservation
from reconciler.proof.model import PathKey
from reconciler.proof.scope import Scope
from reconciler.state.model import Ceilings, Charge, OverBudget
from reconciler.state.store import Store

MICRO = 1_000_000
PriceOf = Callable[[str, str, int], int | None]
"""(host, shadow model, tokens) -> millionths of a dollar; None where no price is known."""


@dataclass
class StoreBudget:
    """Keeps `proof.budget.Budget` for one manifest set."""

    store: Store
    scope: Scope
    now: Callable[[], datetime]
    _learnt: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict, repr=False)
    """(host, shadow model) -> tokens and USD of the newest row, so that each price is written once."""

    def reserve(
        self, path: PathKey, *, host: str, model: str, tokens: int, others: Collection[tuple[str, str]] = ()
    ) -> Reservation:
        """Reserve one request with every Acceptance that covers the path, or with none of them."""
        day = self.now().date()
        covering = self.scope.covering(path)
        price = dearest(self._price, {(host, model), *others}, tokens) if covering else None
        over = self.store.reserve([ceilings_of(each) for each in covering], day, Charge(1, tokens, price))
        return Reservation(
            host=host,
            model=model,
            day=day,
            acceptances=tuple(each.name for each in covering),
            micro_usd=price,
            refused=sentence(over, covering) if over else "",
        )

    def _price(self, host: str, model: str, tokens: int) -> int | None:
        return self.store.price(host, model, tokens=tokens)

    def settle(self, reservation: Reservation, row: UsageRow) -> None:
        """Count what the row says; a row without a price leaves things as they were reserved."""
        if row.cost_usd is None:
            return
        self._learn(reservation, row)
        if reservation.acceptances:
            self.store.settle(
                reservation.acceptances,
                reservation.day,
                reserved=reservation.micro_usd,
                actual=ceil(row.cost_usd * MICRO - 1e-6),
            )

    def _learn(self, reservation: Reservation, row: UsageRow) -> None:
        tokens, cost = row.input_tokens + row.output_tokens, row.cost_usd or 0.0
        key, seen = (reservation.host, reservation.model), (tokens, cost)
        if tokens > 0 and cost > 0 and self._learnt.get(key) != seen:
            self._learnt[key] = seen
            self.store.learn_price(*key, tokens=tokens, usd=cost)


def dearest(price_of: PriceOf, ends: Iterable[tuple[str, str]], tokens: int) -> int | None:
    """Return what so many tokens cost at the dearest of some (host, shadow model); None where no price is known."""
    known = [price for end in ends if (price := price_of(*end, tokens)) is not None]
    return max(known, default=None)


def ceilings_of(acceptance: Acceptance) -> Ceilings:
    """Return what an Acceptance allows per UTC day."""
    budget = acceptance.spec.budget
    money = None if budget.max_usd is None else int(budget.max_usd * MICRO)
    return Ceilings(acceptance.name, budget.max_requests, budget.max_tokens, money)


def sentence(over: OverBudget, covering: list[Acceptance]) -> str:
    """Return which ceiling of which Acceptance is reached, in words."""
    budget = next(each.spec.budget for each in covering if each.name == over.acceptance)
    spent = {
        "requests": f"{over.spent.requests} of {budget.max_requests} requests",
        "tokens": f"{over.spent.tokens} of {budget.max_tokens} tokens",
        "usd": f"{over.spent.micro_usd / MICRO:.6f} of {budget.max_usd} USD",
    }[over.what]
    return (
        f"Acceptance/{over.acceptance}: {spent} of today's budget are reserved; the next probe would pass it"
    )
