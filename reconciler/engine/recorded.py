"""What a state store knew of proofs and their cost when an observation was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from reconciler.state.budgets import price_of
from reconciler.state.model import ProofRecord, Spent


@dataclass(frozen=True)
class RecordedLedger:
    """Keeps `surroundings.Ledger`."""

    proofs: Sequence[ProofRecord]
    prices: Mapping[tuple[str, str], int]
    """(host, model) -> billionths of a dollar per token."""
    day: date
    spent_that_day: Mapping[str, Spent]

    def latest_proofs(self) -> tuple[ProofRecord, ...]:
        return tuple(self.proofs)

    def price(self, host: str, model: str, *, tokens: int) -> int | None:
        """Return what so many tokens would cost, in millionths of a dollar; None when no price was seen."""
        nano = self.prices.get((host, model))
        return None if nano is None else price_of(tokens, nano)

    def spent(self, acceptance: str, day: date) -> Spent:
        """Return what was reserved of an Acceptance's day; of another day nothing is known, which is nothing."""
        return self.spent_that_day.get(acceptance, Spent()) if day == self.day else Spent()
