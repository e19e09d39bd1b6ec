"""The words of the state store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

ConditionStatus = Literal["True", "False", "Unknown"]
Said = tuple[ConditionStatus, str, str]
"""Status, reason and message of a condition."""

TOO_OLD = "found so long ago that it may have changed; run reconcile verify"
"""What is said of a finding that is older than the freshness that was asked for."""


@dataclass(frozen=True)
class Installation:
    """Who we are on every plane. The key never reaches a repr, a log or the database."""

    id: str
    key: bytes = field(repr=False)
    """32 bytes; all our fingerprints are keyed with it."""


@dataclass(frozen=True)
class Lease:
    """The right to write, until `expires_at`. `fence` grows with each new holder and is never used twice."""

    fence: int
    holder: str
    expires_at: datetime
    ttl_s: float = field(default=30.0, compare=False)
    """Seconds it was taken for, which is what a renewal adds."""
    request_s: float = field(default=0.0, compare=False)
    """Seconds that a request of this holder may be under way: what it sends last may take effect so much later."""
    quiet_at: datetime | None = field(default=None, compare=False)
    """From when on nothing that an earlier holder sent is under way; None when that is not known."""


@dataclass(frozen=True)
class Expiry:
    """When what a condition rests on becomes too old, and what is said of it then."""

    at: datetime
    reason: str
    """The reason of a condition that was True."""
    message: str = ""

    def over(self, now: datetime) -> bool:
        """True once the time has passed."""
        return now > self.at

    def said_of(self, status: ConditionStatus, reason: str, message: str) -> Said:
        """Return what a condition says once the time has passed.

        What was True is not known any more. Age mends nothing: what was not True keeps its status and its reason, and
        its message tells besides that nobody has looked since.
        """
        if status == "True":
            return "Unknown", self.reason, self.message
        return status, reason, "; ".join(filter(None, (message, TOO_OLD)))


@dataclass(frozen=True)
class Condition:
    """One aspect of a manifest's state. `last_transition_time` is set by the store when `status` changes."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""
    observed_generation: int = 0
    last_transition_time: datetime | None = None
    until: Expiry | None = None
    """Until when it holds by what is known now; None: until something else is found."""

    def as_of(self, now: datetime) -> Condition:
        """Return the condition as it is at a moment, by `Expiry.said_of`."""
        end = self.until
        if end is None or not end.over(now):
            return self
        status, reason, message = end.said_of(self.status, self.reason, self.message)
        since = self.last_transition_time if status == self.status else end.at
        return replace(
            self, status=status, reason=reason, message=message, last_transition_time=since, until=None
        )


@dataclass(frozen=True)
class Status:
    """All that is known of one manifest."""

    api_version: str
    kind: str
    name: str
    observed_generation: int = 0
    revision: int | None = None
    """The control plane's revision that the status is about; None: none yet."""
    conditions: tuple[Condition, ...] = ()
    proofs: tuple[Mapping[str, Any], ...] = ()
    """Plain JSON, with the keys of a proof in the status document."""

    def condition(self, of_type: str) -> Condition | None:
        """Return the condition of a type, or None."""
        return next((each for each in self.conditions if each.type == of_type), None)

    def as_of(self, now: datetime) -> Status:
        """Return the status as it is at a moment, by what was known when it was written."""
        return replace(self, conditions=tuple(each.as_of(now) for each in self.conditions))


@dataclass(frozen=True)
class Event:
    """Something that happened to a manifest; repetitions of the same are counted."""

    kind: str
    name: str
    type: str
    """"Normal" or "Warning"."""
    reason: str
    message: str
    count: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True)
class ProofRecord:
    """The latest proof of one path: (route, public model), or an account by itself (no route)."""

    route: str | None
    public_model: str
    account: str | None
    observed_at: datetime
    body: Mapping[str, Any]
    """Plain JSON."""


@dataclass(frozen=True)
class SecretMemory:
    """What was last used for one secret reference: a keyed fingerprint."""

    fingerprint: str


@dataclass(frozen=True)
class Spent:
    """What an Acceptance has reserved on one UTC day."""

    requests: int = 0
    tokens: int = 0
    micro_usd: int = 0
    """Millionths of a dollar of those requests whose cost is known."""
    unpriced: int = 0
    """Requests whose cost is not known."""

    @property
    def usd(self) -> float | None:
        """Return what the day has cost; None when that is not known."""
        return None if self.unpriced else self.micro_usd / 1_000_000


@dataclass(frozen=True)
class Ceilings:
    """What an Acceptance may cost on one UTC day; None is no ceiling."""

    acceptance: str
    requests: int
    tokens: int
    micro_usd: int | None = None


@dataclass(frozen=True)
class Charge:
    """What is to be reserved; `micro_usd` None when the cost is not known."""

    requests: int
    tokens: int
    micro_usd: int | None = None


@dataclass(frozen=True)
class OverBudget:
    """Which ceiling a reservation would have passed, and what was reserved before."""

    acceptance: str
    what: str
    """requests, tokens or usd."""
    spent: Spent


@dataclass(frozen=True)
class EvidenceRecord:
    """Where one evidence file is, and what it is about."""

    id: str
    recorded_at: datetime
    verdict: str
    grade: str
    location: str
    """Path of the file, or whatever else the writer finds it by."""
    route: str | None = None
    public_model: str | None = None
    account: str | None = None
    revision: int | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON, for listing without opening the file."""
