"""The contract that every host driver keeps. One conformance suite (`tests/hosts/conformance.py`) runs against each.

A driver is one file. It gets its transport handed in, is the only code that talks to its host, and maps every
answer to `reconciler.errors` in one place. It never lets a secret or a raw row out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from reconciler.manifest import GatewayKey, ProviderAccount, ShadowGroup, ShadowHost
from reconciler.plan.model import DesiredObject, Fields, Marker, ObservedObject


@dataclass(frozen=True)
class Capabilities:
    """What a driver can do, as data."""

    best_grade: str
    """The strongest proof it can give: exact, exclusive or circumstantial."""
    correlation_header: str | None
    """Response header of the data plane that names the request, or None."""
    kinds: frozenset[str] = frozenset({"ShadowGroup", "ProviderAccount", "GatewayKey", "KeyIssuer"})
    platforms: frozenset[str] = frozenset({"openai"})
    membership_delay_s: float = 0.0
    """How long a new binding of an account may take to be effective, in seconds."""
    usage_delay_s: float = 0.0
    """How late a usage row usually appears, in seconds."""
    rest_s: float = 0.0
    """Longest time in seconds for which the host may leave out, unseen, an account whose upstream failed."""
    aliases_verified: bool = False
    """True only if the host was verified to serve public aliases; the canonical shadow rule depends on it."""


@dataclass(frozen=True)
class HostStatus:
    """What `check` found. `gates` lists what an operator must do first, one sentence each."""

    version: str
    gates: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What an operator should know but need not mend, such as a version that nobody has verified."""


@dataclass(frozen=True)
class Gate:
    """A statement that the host wants from its operator before it serves the admin API."""

    version: str
    url: str
    """Where the text stands that is being agreed to."""
    phrase: str
    """The words that say so; sent only on the operator's explicit command."""


@dataclass(frozen=True)
class UsageRow:
    """The typed allow-list of a host's usage row. Raw rows stay inside the driver: they may hold plaintext keys."""

    row_id: str
    correlation_id: str
    group_id: str | None
    account_id: str
    account_name: str
    key_id: str
    model: str
    """The model that the gateway asked the host for."""
    upstream_model: str | None
    """The model that the host sent upstream; None when the host does not say."""
    upstream_response_model: str | None
    recorded_at: datetime
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    """None when the model has no price on the host: unknown, never 0."""
    inbound_endpoint: str | None = None
    upstream_endpoint: str | None = None
    session_id: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True)
class ErrorRow:
    """One line of a host's error log that names a request."""

    correlation_id: str
    account_id: str | None
    group_id: str | None
    status: int | None
    message: str
    """At most 256 characters, without secrets."""
    at: datetime


@dataclass(frozen=True)
class AccountMarks:
    """What a host itself has put on an account. Compared before and after a probe."""

    schedulable: bool
    status: str
    reasons: tuple[str, ...] = ()
    """Words such as "rate_limited", "temp_unschedulable", "error: ..."; sorted."""

    @property
    def paused_by_operator(self) -> bool:
        """True when a person took it out of service; the host's own doing has the status "error"."""
        return self.status == "inactive" or (self.status == "active" and not self.schedulable)

    @classmethod
    def of(cls, account: ObservedObject) -> AccountMarks:
        """Return the marks of an observed account; every driver shows them under these names in `runtime`."""
        shown = account.runtime
        return cls(bool(shown["schedulable"]), str(shown["status"]), tuple(shown["reasons"]))

    @property
    def healthy(self) -> bool:
        return self.schedulable and self.status == "active" and not self.reasons


@dataclass(frozen=True)
class Secrets:
    """Secret values for one write; never logged, never in repr.

    Names: ProviderAccount "credential", GatewayKey "value", KeyIssuer "password".
    """

    values: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return "Secrets(…)"


class HostDriver(ABC):
    """One shadow host, spoken to in its own dialect.

    All methods are coroutines except `normalize` and the class data. Every one raises the `RemoteError` branch that
    fits, with `where` naming the ShadowHost. Object kinds are "ShadowGroup", "ProviderAccount", "GatewayKey",
    "KeyIssuer" (the service user) and "Channel".
    """

    NAME: ClassVar[str]
    CAPABILITIES: ClassVar[Capabilities]
    SETTINGS_SCHEMAS: ClassVar[Mapping[str, Mapping[str, Any]]]
    """Manifest kind -> JSON Schema (2020-12) of its `spec.settings`."""

    @abstractmethod
    async def check(self) -> HostStatus:
        """Verify credentials, version and gates. Raises Blocked for a closed gate, Unauthorized for a bad key."""

    @abstractmethod
    async def observe(self) -> list[ObservedObject]:
        """Return every object of the driver's kinds, ours and foreign, sorted by (kind, id). Reads all pages.

        An object listed on a page but gone when read again is left out. Fields are in canonical form. The planner
        compares the top-level fields that the desired object has; others are there to be shown.
        """

    @abstractmethod
    async def get(self, kind: str, object_id: str) -> ObservedObject | None:
        """Return one object as it stands now; None when it is gone. The second read that confirms an absence."""

    @abstractmethod
    def normalize(
        self, desired: ShadowGroup | ProviderAccount | GatewayKey | ShadowHost, context: NormalizeContext
    ) -> list[DesiredObject]:
        """Return the host objects that a manifest asks for, in the host's canonical form. Pure.

        Fields hold only what we own; what the host changes or defaults by itself is not in them, so that planning
        after apply finds nothing. References to other objects are by manifest name (`groups: ["chat"]`).
        """

    @abstractmethod
    async def create(
        self, desired: DesiredObject, marker: Marker, secrets: Secrets, refs: Refs
    ) -> ObservedObject:
        """Make the object, with our marker on it, and read it back.

        Looks for the marker first, so that a retry after a lost answer finds what it made instead of making a twin;
        a driver may leave that out, once, for what its last `observe` showed not to be there.
        Raises Conflict when a foreign object has the name.
        """

    @abstractmethod
    async def update(
        self, object_id: str, desired: DesiredObject, marker: Marker, secrets: Secrets, refs: Refs
    ) -> ObservedObject:
        """Bring the object to the desired fields and leave everything else as it is; read it back.

        An empty `secrets` keeps the secret that the host has. Raises NotFound when the object is gone.
        """

    @abstractmethod
    async def delete(self, kind: str, object_id: str, marker: Marker | None) -> None:
        """Delete the object; succeed when it is already gone.

        With a marker, re-read first and refuse (Conflict) what does not carry it.
        """

    @abstractmethod
    async def bind(
        self, account_id: str, group_ids: frozenset[str], *, seen: ObservedObject | None = None
    ) -> ObservedObject:
        """Set exactly which groups an account serves, and read it back. An empty set unbinds it from all.

        `seen` is how the account stood a moment ago, when nobody but us knew of it: it may save a reading.
        """

    @abstractmethod
    async def usage(self, correlation_id: str) -> list[UsageRow]:
        """Return the usage rows of one data-plane request; empty when there is none yet."""

    @abstractmethod
    async def usage_of_key(self, key_id: str, *, since: datetime, until: datetime) -> list[UsageRow]:
        """Return the rows of one key in a window, oldest first."""

    @abstractmethod
    async def errors(self, correlation_id: str) -> list[ErrorRow]:
        """Return what the host's error log says of one request; empty when nothing or unsupported."""

    @abstractmethod
    async def marks(self, account_id: str) -> AccountMarks:
        """Return the run-time marks of an account. Raises NotFound."""

    @abstractmethod
    async def members(self, group_id: str) -> list[ObservedObject]:
        """Return the accounts bound to a group right now, ours and foreign."""

    @abstractmethod
    def correlation(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Return the host's own id of a data-plane answer, or None. Pure."""

    async def issuer_balance(self) -> float | None:
        """Return the USD balance of the key issuer; None when the host has none."""
        return None

    async def top_up(self, amount_usd: float, *, idempotency_key: str) -> float:
        """Add to the key issuer's balance and return the new one. The ceiling is the caller's business.

        The same `idempotency_key` (at most 128 printable ASCII characters) with the same amount adds only once.
        """
        raise NotImplementedError(f"driver {self.NAME} has no key issuer")

    async def gate(self) -> Gate | None:
        """Return the statement that the host is waiting for; None when it waits for none."""
        return None

    async def accept_gate(self, gate: Gate) -> None:
        """Make the statement in the operator's name. Only ever called on the operator's explicit command."""
        raise NotImplementedError(f"driver {self.NAME} has no gate")

    @property
    def requests_sent(self) -> int:
        """Admin requests sent so far, retries included."""
        return 0

    @abstractmethod
    async def close(self) -> None:
        """Release connections."""


@dataclass(frozen=True)
class NormalizeContext:
    """What `normalize` needs besides the manifest itself."""

    host: ShadowHost
    resolve_endpoint: Mapping[str, str]
    """Endpoints as written -> as reachable (embedded:// names); an endpoint that is not in it stays as it is."""
    source: Any
    """Location of the manifest, copied into the DesiredObject."""
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """Secret -> keyed fingerprint; empty when secrets were not resolved. Names are the manifest's field paths
    ("spec.credential", "spec.keyIssuer.passwordFrom"), and "value" for the derived value of an issued GatewayKey."""


@dataclass(frozen=True)
class Refs:
    """Ids that a write refers to: (kind, manifest name) -> the host's id."""

    ids: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def id(self, kind: str, name: str) -> str:
        """Return the id. Raises KeyError when the object has not been made yet."""
        return self.ids[(kind, name)]


__all__ = [
    "AccountMarks",
    "Capabilities",
    "ErrorRow",
    "Fields",
    "Gate",
    "HostDriver",
    "HostStatus",
    "NormalizeContext",
    "Refs",
    "Secrets",
    "UsageRow",
]
