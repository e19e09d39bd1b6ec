"""The seams inside the gateway: storage, runtime plane, upstream client and decision log, as small protocols.

Control API, data plane and process each depend on these, never on one another's insides.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from reconciler.routing.config import Configuration
from reconciler.routing.resolve import ResolveRequest, RuntimeView

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class RevisionInfo:
    """One revision as history shows it. `state`: staged, active, retired or dropped. Times are RFC 3339 UTC."""

    revision: int
    base: int | None
    state: str
    digest: str
    comment: str
    created_at: str
    promoted_at: str | None = None
    expires_at: str | None = None
    """Only staged revisions expire."""


@dataclass(frozen=True)
class LoadedRevision:
    """A revision as the data plane serves it: parsed, indexed, with its secrets opened."""

    info: RevisionInfo
    configuration: Configuration
    gateway_keys: Mapping[tuple[str, str], str] = field(repr=False)
    """(key name, version) -> the host API key."""
    managed_keys: Mapping[bytes, tuple[str, str]] = field(repr=False)
    """Keyed hash of a consumer's key -> (managed key name, version)."""


class RevisionSource(Protocol):
    """What the data plane knows of revisions. Reads are plain attribute and dict access: no I/O on the request path."""

    active: LoadedRevision | None

    def staged(self, revision: int) -> LoadedRevision | None:
        """Return a staged (or the active) revision when this replica has loaded it, else None."""

    def hash_key(self, presented: str) -> bytes:
        """Return the keyed hash under which `LoadedRevision.managed_keys` knows a consumer's key."""

    def known_otherwise(self, revision: LoadedRevision, presented: str) -> tuple[str, str] | None:
        """Return (managed key name, version) of a key that is known by another master key's hash, else None."""

    def hash_session(self, managed_key: str, session: str) -> str:
        """Return `routing.sessions.session_digest` under the gateway's own secret."""

    def hash_host_session(self, shadow_host: str, digest: str) -> str:
        """Return `routing.sessions.host_session` under the gateway's own secret."""


@dataclass(frozen=True)
class ProbeGrant:
    """A verified probe token: what this one request may ask for."""

    token_id: str
    managed_key: str
    """Whose entitlements (not limits) the request has."""
    revision: int | None
    """The revision to route by; None: the active one."""
    routes: frozenset[str]
    """Routes the token may touch."""
    namespace: str
    """Runtime namespace of its own: bindings, counters and cooldowns there are invisible to real traffic."""
    pin: str | None = None
    unavailable: frozenset[str] = frozenset()
    """Routes marked unavailable in the namespace."""
    faults: Mapping[str, str] = field(default_factory=dict)
    """Route -> injected fault: "refused", "timeout", "429", "500", "502", "503", "401"."""
    sticky_ttl_seconds: int | None = None
    cooldown_seconds: float | None = None
    """Shortened times for drills; None: the group's own."""


class ProbeTokens(Protocol):
    """Redeems probe tokens. A token is HMAC-signed, lives at most 300 s and is used up by count on all replicas."""

    async def redeem(self, token: str) -> ProbeGrant:
        """Verify, and use up one of the token's requests in storage. Raises `ProbeDenied` with a reason word."""


class ProbeDenied(Exception):
    """A probe token that does not count. The request is answered 403.

    `reason`: "malformed", "forged", "expired", "used-up" or "unavailable" (storage cannot be asked: answered 503).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DecisionRow(
    msgspec.Struct
):  # made and encoded for every request: several times faster than a dataclass
    """One data-plane request: what was resolved, each attempt, what came back. Prompts and answers are never in it."""

    request_id: str
    at: str
    """Arrival, RFC 3339 UTC with milliseconds."""
    revision: int | None
    managed_key: str
    logical_group: str
    public_model: str
    endpoint: str
    """"/v1/chat/completions" and its siblings."""
    session: str | None
    """Keyed hash of the session, never the client's own value."""
    route_id: str | None
    shadow_host_id: str | None
    shadow_group_id: str | None
    shadow_model: str | None
    gateway_key_source: str | None
    status: int
    """What the client got."""
    upstream_status: int | None
    correlation_id: str | None
    """The host's own id of the served request."""
    attempts: Sequence[JsonObject]
    """Per attempt: route_id, shadow_host_id, upstream_status, correlation_id, failure_class, fault, duration_ms."""
    cause: str
    """Why this route: "priority", "weighted", "sticky", "failover", "pinned", "exhausted", "denied", ..."""
    duration_ms: float
    stream: bool = False
    probe: str | None = None
    """Token id, for probes."""
    namespace: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class DecisionLog(Protocol):
    """Takes rows off the request path. Bounded; drops on overflow and counts what it dropped."""

    def put(self, row: DecisionRow) -> None:
        """Enqueue; never blocks, never raises."""

    async def put_now(self, row: DecisionRow) -> None:
        """Store before returning: for probes."""

    def audit(self, kind: str, row: JsonObject) -> None:
        """Enqueue a row of the sticky audit (`kind` "sticky") or a failover event ("failover")."""

    dropped: int


class LogStore(Protocol):
    """Where a DecisionLog's batches end up. Blocking: call it from a worker thread, never from the event loop."""

    def write(self, decisions: Sequence[DecisionRow], audits: Sequence[tuple[str, JsonObject]]) -> None:
        """Store all rows in one transaction.

        An audit is (`kind`, row), kind "sticky" or "failover"; of its row, `at` (RFC 3339 UTC with milliseconds) is
        required, and `request_id`, `route_id`, `namespace` and `probe` are what the control API can filter by.

        Raises: StorageUnavailable when the database cannot be reached or is busy; nothing was stored then.
        """


class StorageUnavailable(Exception):
    """The database cannot be reached, or stays locked. What was asked has not happened; it may be tried again."""


class RuntimePlane(Protocol):
    """What the gateway learns while running, as the control API shows and resets it.

    `namespace` None is real traffic; any other name is a probe's own.
    """

    async def route_states(self, revision: LoadedRevision, namespace: str | None) -> list[JsonObject]:
        """Return one object per route of the revision, sorted by name.

        Keys: route_id, state ("closed", "open", "half-open", "new"), failures, open_until (RFC 3339 or None),
        cooldowns, last_failure_class, in_flight.
        """

    async def sticky_bindings(self, *, logical_group: str | None, namespace: str | None) -> list[JsonObject]:
        """Return live bindings: logical_group, public_model, managed_key, session (hashed), route_id, expires_at."""

    async def reset(self, revision: LoadedRevision, route: str, namespace: str | None) -> None:
        """Forget a route's failures and end its cooldown."""

    async def namespaces(self) -> Sequence[str]:
        """Return the names of the probes' namespaces that hold anything, sorted."""

    async def drop_namespace(self, namespace: str) -> None:
        """Forget everything a probe's namespace holds; one that is gone already is fine."""

    async def view(
        self, revision: LoadedRevision, *, request: ResolveRequest, namespace: str | None
    ) -> RuntimeView:
        """Return what `resolve` may look at for one request, fetched before it is asked."""

    def in_flight(self) -> Mapping[int, int]:
        """Return revision -> requests under way in this process; revisions without any may be absent."""


@dataclass(slots=True)  # not frozen: that would double the time to make one
class UpstreamRequest:
    """One attempt towards a host. `headers` are lower-case and complete but for host and content-length."""

    origin: str
    """Base URL, scheme://host:port, optionally with a path prefix."""
    path: str
    headers: Sequence[tuple[bytes, bytes]] = field(repr=False)
    body: bytes = field(repr=False)
    method: str = "POST"
    first_byte_timeout_s: float = 120.0
    """From when the host can have taken the whole request; see `taking_s`."""
    idle_timeout_s: float = 120.0
    connect_timeout_s: float = 5.0


SLOWEST_HOST = 1_000_000
"""Bytes of a request that a host takes in a second at least: a 20 MB image may take half a minute."""


def taking_s(body: bytes) -> float:
    """Return how long a host may take to take a request, seconds: time-outs for its answer begin after it."""
    return len(body) / SLOWEST_HOST


class UpstreamResponse(Protocol):
    """An answer whose head has arrived; the body follows as it comes."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives. Raises `UpstreamFailed` when it ends wrongly."""

    async def read(self, limit: int) -> bytes:
        """Return the whole body. Raises `UpstreamFailed`; "too-large" when it is longer than `limit` bytes."""

    async def aclose(self) -> None:
        """Give the connection back, or drop it when the body was not read to its end."""


class UpstreamFailed(Exception):
    """The attempt failed on the wire.

    `kind`: refused, connect-timeout, reset, first-byte-timeout, idle-timeout, malformed, truncated, too-large.
    `sent` says whether any byte of the request may have reached the host.
    """

    def __init__(self, kind: str, *, sent: bool) -> None:
        super().__init__(kind)
        self.kind = kind
        self.sent = sent


class UpstreamClient(Protocol):
    """A connection pool. Never sends a request twice."""

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Return once the response head is there. Raises UpstreamFailed."""

    async def aclose(self) -> None:
        """Close every connection."""
