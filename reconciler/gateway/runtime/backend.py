"""What every runtime backend keeps: sticky bindings, route health and the counts behind managed-key limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from reconciler.routing.config import Route
from reconciler.routing.cooldown import CooldownRule

MOST_LISTED = 10_000
"""Bindings that one listing returns at most."""


class BindingKey(NamedTuple):
    """What a sticky binding is about. `session` is the keyed hash of `routing.sessions.session_digest`."""

    logical_group: str
    public_model: str
    managed_key: str
    session: str


class HealthKey(NamedTuple):
    """What cools down: routes that share host, group and gateway key rest together."""

    shadow_host: str
    shadow_group_id: str
    gateway_key: str


@dataclass(frozen=True, slots=True)
class Binding:
    key: BindingKey
    route: str
    bound_at: float
    """Seconds since the epoch, like every time of the runtime plane."""
    expires_at: float


@dataclass(frozen=True, slots=True)
class RouteHealth:
    """`state`: closed, open, half-open; `failures` inside the window; `cooldowns` in a row."""

    key: HealthKey
    state: str
    failures: int
    cooldowns: int
    open_until: float | None
    last_failure_class: str | None


class Sight(Protocol):
    """The runtime plane as it was when one request was looked up; keeps `routing.resolve.RuntimeView`."""

    expired: str | None
    """Route of the session's binding that was found expired, else None."""
    bound: str | None
    """Route of the session's binding, else None."""

    def sticky(self, logical_group: str, public_model: str, managed_key: str, session: str) -> str | None:
        """Return the bound route of the session that was looked up."""

    def unavailable(self, route: Route) -> str | None:
        """Return "cooling", "trial" or None."""

    def needs_trial(self, route: Route) -> bool:
        """Return True when a request to the route must claim its trial first."""


class AtOnce(Protocol):
    """The steps of `RuntimeBackend` that every request takes, without waiting. They do what their namesakes do."""

    def bind_now(
        self, namespace: str | None, key: BindingKey, route: str, ttl_s: float, *, instead_of: str | None
    ) -> str: ...

    def admit_now(
        self, managed_key: str, *, requests_per_minute: int | None, concurrent: int | None
    ) -> float | None: ...

    def leave_now(self, managed_key: str, *, concurrent: int | None) -> None: ...


class RuntimeBackend(Protocol):
    """What the gateway learns while running. `namespace` None is real traffic; any other is one drill's own world.

    Nothing here raises because a backend is gone: it is logged, and what is known locally is used instead.
    """

    @property
    def degraded(self) -> bool:
        """True while a shared backend does not answer, and this process decides from its own memory."""

    @property
    def alone(self) -> AtOnce | None:
        """What answers without waiting, when this process alone decides; None when others must be asked."""

    def sight(self) -> Sight:
        """Return what a request without a session sees of real traffic, without asking anybody."""

    async def look(self, namespace: str | None, key: BindingKey | None, ttl_s: float | None) -> Sight:
        """Read what a decision needs, in one go.

        A live binding of `key` slides to `ttl_s` from now; with None it stays as it is.
        """

    def look_then(self, key: BindingKey, ttl_s: float, then: Callable[[Sight], None]) -> None:
        """Do what `look` does for real traffic, and call `then` with what was seen, at once or later."""

    async def bind(
        self, namespace: str | None, key: BindingKey, route: str, ttl_s: float, *, instead_of: str | None
    ) -> str:
        """Bind a session, unless another request bound it elsewhere since it was read as `instead_of`.

        Returns the route that it is bound to now.
        """

    async def unbind(self, namespace: str | None, key: BindingKey) -> None:
        """Forget a binding; nothing happens when there is none."""

    async def claim_trial(self, namespace: str | None, key: HealthKey, lease_s: float) -> bool:
        """Take the one trial request of a half-open route; False when somebody else has it."""

    async def failed(
        self,
        namespace: str | None,
        key: HealthKey,
        rule: CooldownRule,
        *,
        failure_class: str,
        trial: bool,
        retry_after_s: float | None,
    ) -> RouteHealth:
        """Count a failure that is the route's fault and return what became of it."""

    async def trial_ended(self, namespace: str | None, key: HealthKey, *, served: bool) -> None:
        """Report a trial that did not fail: it served (closes the route) or told nothing (frees the trial)."""

    async def admit(
        self, managed_key: str, *, requests_per_minute: int | None, concurrent: int | None
    ) -> float | None:
        """Count a request against its key's limits.

        Returns None when it may go on (`leave` must follow), else the seconds after which trying again is worth it.
        """

    async def leave(self, managed_key: str, *, concurrent: int | None) -> None:
        """Give back what `admit` counted as concurrent."""

    def peek(self) -> Sequence[RouteHealth]:
        """Return what this process knows of real traffic's health, without asking anybody; in no order."""

    async def health(self, namespace: str | None = None) -> Sequence[RouteHealth]:
        """Return every health that differs from a fresh one, sorted by key."""

    async def bindings(
        self, namespace: str | None = None, *, logical_group: str | None = None
    ) -> Sequence[Binding]:
        """Return the live bindings, sorted by key; at most `MOST_LISTED`."""

    async def reset(self, namespace: str | None, key: HealthKey) -> None:
        """Make a route's health fresh again."""

    async def namespaces(self) -> Sequence[str]:
        """Return the names of the drills' namespaces that hold anything, sorted."""

    async def drop_namespace(self, namespace: str) -> None:
        """Remove everything of one namespace."""

    async def sweep(self) -> Sequence[tuple[str | None, Binding]]:
        """Remove expired bindings and stale health; return the bindings removed, each once among all replicas."""

    async def save(self) -> None:
        """Keep what a crash should not lose. Raises OSError."""

    async def aclose(self) -> None:
        """Persist what should survive a restart and let go of connections."""
