"""What a probe may cost, asked before it is sent: the seam between proofs and the store that counts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from reconciler.hosts.contract import UsageRow
from reconciler.proof.model import PathKey


@dataclass(frozen=True)
class Reservation:
    """One request's share of the day's budgets, taken before it is sent; or, with `refused`, why there is none."""

    host: str
    model: str
    """The shadow model."""
    day: date
    acceptances: tuple[str, ...] = ()
    micro_usd: int | None = None
    """What is reserved in millionths of a dollar; None when the host's price is not known yet."""
    refused: str = ""


class Budget(Protocol):
    """Reserves each request before it is sent, and learns afterwards what it did cost.

    A crash between the two costs some of the day's budget, never more than it allows.
    """

    def reserve(
        self, path: PathKey, *, host: str, model: str, tokens: int, others: Collection[tuple[str, str]] = ()
    ) -> Reservation:
        """Reserve one request of at most `tokens` tokens; the answer's `refused` is empty when it may be sent.

        `others` are (host, shadow model) of routes that may serve it as well: it is reserved at the dearest price.
        """

    def settle(self, reservation: Reservation, row: UsageRow) -> None:
        """Put what the host's own row says that the request cost in the place of what was reserved."""
