"""How one request sticks to a route: its session's binding is read, kept, made or moved, and each step is audited."""

from __future__ import annotations

from reconciler.gateway.contract import DecisionRow, ProbeGrant
from reconciler.gateway.dataplane.rows import Trail
from reconciler.gateway.runtime.backend import BindingKey, RuntimeBackend, Sight
from reconciler.routing.config import Index, LogicalGroup
from reconciler.routing.resolve import Decision


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
        sight = await self._backend.look(self._namespace, self._key, self._ttl_s if slide else None)
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
        if self._bound == route:
            return
        before = self._bound
        now = await self._backend.bind(self._namespace, self._key, route, self._ttl_s, instead_of=before)
        if now != route:
            return  # another request of the session bound it first
        self._bound = route
        if before is None:
            self._trail.sticky("bind", self._key, route, cause=self._cause)
        else:
            cause = self._cause if after is None else after
            self._trail.sticky("rebind", self._key, route, cause=cause, before=before)
