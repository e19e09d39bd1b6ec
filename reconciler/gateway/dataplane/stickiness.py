"""How one request sticks to a route: its session's binding is read, kept, made or moved, and each step is audited."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from reconciler.gateway.contract import DecisionRow, ProbeGrant
from reconciler.gateway.dataplane.caller import Caller
from reconciler.gateway.dataplane.inbound import Inbound
from reconciler.gateway.dataplane.rows import Trail
from reconciler.gateway.runtime.backend import BindingKey, RuntimeBackend, Sight
from reconciler.routing.config import Index, LogicalGroup
from reconciler.routing.resolve import Decision, group_for
from reconciler.routing.sessions import session_of

if TYPE_CHECKING:
    from reconciler.gateway.dataplane.app import DataPlane


class Stickiness:
    """The sticky side of one request that names a session."""

    def __init__(
        self,
        backend: RuntimeBackend,
        trail: Trail,
        row: DecisionRow,
        group: LogicalGroup,
        grant: ProbeGrant | None,
    ) -> None:
        self._backend = backend
        self._trail = trail
        self._namespace = row.namespace
        self._key = BindingKey(group.name, row.public_model, row.managed_key, row.session or "")
        shorter = grant.sticky_ttl_seconds if grant is not None else None
        self._ttl_s = float(shorter if shorter is not None else group.sticky.ttl_seconds)
        self._bound: str | None = None
        self._cause = "first"

    async def look(self, *, slide: bool) -> Sight:
        """Read the binding; the first look of a request lets it live on from now."""
        return self._saw(await self._backend.look(self._namespace, self._key, self._ttl_s if slide else None))

    def look_then(self, then: Callable[[Sight], None]) -> None:
        """Do what the first look does, and call `then` with what was seen, at once or later."""
        self._backend.look_then(self._key, self._ttl_s, lambda sight: then(self._saw(sight)))

    def _saw(self, sight: Sight) -> Sight:
        if sight.expired is not None:
            self._trail.sticky("expire", self._key, sight.expired)
            self._cause = "expired"
        self._bound = sight.bound
        return sight

    def chosen(self, decision: Decision, sight: Sight, index: Index) -> None:
        """Note what the first choice of the request means for its binding."""
        route = decision.route
        if self._bound is None or route is None:
            return
        if decision.cause == "sticky":
            self._trail.sticky("hit", self._key, route)
        elif self._bound != route:
            self._cause = self._why_left(self._bound, sight, index)
            if self._cause != "revision":
                self._trail.failover(self._bound, route, self._cause)

    def _why_left(self, bound: str, sight: Sight, index: Index) -> str:
        tiers = index.tiers.get((self._key.logical_group, self._key.public_model), ())
        route = next((c.route for tier in tiers for c in tier if c.route.name == bound), None)
        if route is None:
            return "revision"
        return sight.unavailable(route) or "pinned"

    async def served(self, route: str, *, after: str | None) -> None:
        """Bind the session to the route that served, unless it is bound to it already.

        `after` is the failure class of an attempt of this request on another route.
        """
        if self._bound != route:
            now = await self._backend.bind(
                self._namespace, self._key, route, self._ttl_s, instead_of=self._bound
            )
            self._bind(route, now, after)

    def served_now(self, route: str) -> bool:
        """Do what `served` does after a first attempt; False: it must be awaited."""
        if self._bound == route:
            return True
        alone = self._backend.alone
        if alone is None:
            return False
        now = alone.bind_now(self._namespace, self._key, route, self._ttl_s, instead_of=self._bound)
        self._bind(route, now, None)
        return True

    def _bind(self, route: str, now: str, after: str | None) -> None:
        """Write down that the session is bound to `now`, which was to be `route`."""
        if now != route:
            return  # another request of the session bound it first
        before = self._bound
        self._bound = route
        if before is None:
            self._trail.sticky("bind", self._key, route, cause=self._cause)
        else:
            cause = self._cause if after is None else after
            self._trail.sticky("rebind", self._key, route, cause=cause, before=before)


def group_of(caller: Caller, model: str) -> LogicalGroup | None:
    """Return the logical group that serves a model to a caller, or None."""
    index = caller.revision.configuration.index
    name = group_for(index, caller.key, model)
    return index.groups[name] if name is not None else None


def sticking(
    plane: DataPlane,
    row: DecisionRow,
    caller: Caller,
    group: LogicalGroup | None,
    trail: Trail,
    inbound: Inbound,
    header: bytes | None,
) -> Stickiness | None:
    """Return how a request sticks to a route; None when its group's policy, or the request, names no session.

    Writes the group and the session, by its keyed hash, into the row. `header` is the explicit session header.
    """
    if group is None:
        return None
    row.logical_group = group.name
    if header is None and not inbound.may_name_session:
        return None
    named = None if header is None else header.decode("latin-1").strip()
    session = session_of(group.sticky.mode, named, inbound)
    if session is None:
        return None
    row.session = plane.revisions.hash_session(caller.key.name, session)
    return Stickiness(plane.runtime.backend, trail, row, group, caller.grant)
