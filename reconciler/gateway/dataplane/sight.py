"""What a probe may see: the runtime view of its namespace, narrowed to what its token allows."""

from __future__ import annotations

from reconciler.gateway.contract import ProbeGrant
from reconciler.gateway.runtime.backend import Sight
from reconciler.routing.config import Route


class ProbeSight:
    """Keeps `runtime.backend.Sight`; routes that the token does not name, or marks unavailable, are never chosen."""

    __slots__ = ("_grant", "_inner", "bound", "expired")

    def __init__(self, inner: Sight, grant: ProbeGrant) -> None:
        self._inner = inner
        self._grant = grant
        self.bound = inner.bound
        self.expired = inner.expired

    def sticky(self, logical_group: str, public_model: str, managed_key: str, session: str) -> str | None:
        return self._inner.sticky(logical_group, public_model, managed_key, session)

    def unavailable(self, route: Route) -> str | None:
        if route.name not in self._grant.routes:
            return "outside-token"
        return "marked" if route.name in self._grant.unavailable else self._inner.unavailable(route)

    def needs_trial(self, route: Route) -> bool:
        return self._inner.needs_trial(route)
