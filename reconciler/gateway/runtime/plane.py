"""The runtime plane as the rest of the gateway sees it: a backend, and the requests under way in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeVar

from reconciler.gateway.contract import JsonObject, LoadedRevision
from reconciler.gateway.runtime.backend import BindingKey, HealthKey, RouteHealth, RuntimeBackend
from reconciler.routing.config import Route
from reconciler.routing.resolve import ResolveRequest, RuntimeView, group_for

K = TypeVar("K", int, str)


def health_key(route: Route) -> HealthKey:
    """Return what cools down when the route fails."""
    return HealthKey(route.shadow_host, route.shadow_group_id, route.gateway_key)


def rfc3339(seconds: float) -> str:
    """Return a time of the runtime plane (seconds since the epoch) as RFC 3339 UTC with milliseconds."""
    whole, micros = divmod(round(seconds * 1e6), 1_000_000)
    return f"{_to_the_second(whole)}.{micros // 1000:03d}Z"


@lru_cache(maxsize=64)
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class Runtime:
    """Keeps `contract.RuntimePlane`; the data plane works with `backend` itself."""

    def __init__(self, backend: RuntimeBackend) -> None:
        self.backend = backend
        self._in_flight: dict[
            int, int
        ] = {}  # no Counters: theirs are slow for what comes and goes all the time
        self._in_flight_routes: dict[str, int] = {}

    def enter(self, revision: int) -> None:
        """Count a request that began on a revision."""
        self._in_flight[revision] = self._in_flight.get(revision, 0) + 1

    def leave(self, revision: int) -> None:
        """Count it off again."""
        _take(self._in_flight, revision)

    def enter_route(self, route: str) -> None:
        """Count an attempt under way on a route."""
        self._in_flight_routes[route] = self._in_flight_routes.get(route, 0) + 1

    def leave_route(self, route: str) -> None:
        """Count it off again."""
        _take(self._in_flight_routes, route)

    def in_flight(self) -> Mapping[int, int]:
        return dict(self._in_flight)

    def in_flight_routes(self) -> Mapping[str, int]:
        """Return route -> attempts under way in this process."""
        return dict(self._in_flight_routes)

    async def route_states(self, revision: LoadedRevision, namespace: str | None) -> list[JsonObject]:
        known = {health.key: health for health in await self.backend.health(namespace)}
        return [
            self._state(route, known.get(health_key(route)), new=not _in_service(revision))
            for route in revision.configuration.routes
        ]

    def _state(self, route: Route, health: RouteHealth | None, *, new: bool) -> JsonObject:
        until = health.open_until if health is not None else None
        return {
            "route_id": route.name,
            "state": health.state if health is not None else "new" if new else "closed",
            "failures": health.failures if health is not None else 0,
            "open_until": None if until is None else rfc3339(until),
            "cooldowns": health.cooldowns if health is not None else 0,
            "last_failure_class": health.last_failure_class if health is not None else None,
            "in_flight": self._in_flight_routes.get(route.name, 0),
        }

    async def sticky_bindings(
        self, *, logical_group: str | None = None, namespace: str | None = None
    ) -> list[JsonObject]:
        return [
            {
                **binding.key._asdict(),
                "route_id": binding.route,
                "bound_at": rfc3339(binding.bound_at),
                "expires_at": rfc3339(binding.expires_at),
            }
            for binding in await self.backend.bindings(namespace, logical_group=logical_group)
        ]

    async def reset(self, revision: LoadedRevision, route: str, namespace: str | None) -> None:
        found = revision.configuration.index.routes.get(route)
        if found is not None:
            await self.backend.reset(namespace, health_key(found))

    async def namespaces(self) -> Sequence[str]:
        return await self.backend.namespaces()

    async def drop_namespace(self, namespace: str) -> None:
        await self.backend.drop_namespace(namespace)

    async def view(
        self, revision: LoadedRevision, *, request: ResolveRequest, namespace: str | None
    ) -> RuntimeView:
        """Return the view for a decision without a request; unlike a request it does not slide the binding."""
        index = revision.configuration.index
        key = index.keys.get(request.managed_key)
        group = group_for(index, key, request.public_model) if key is not None else None
        if group is None or request.session is None:
            return await self.backend.look(namespace, None, None)
        binding = BindingKey(group, request.public_model, request.managed_key, request.session)
        return await self.backend.look(namespace, binding, None)


def _take(counts: dict[K, int], key: K) -> None:
    left = counts[key] - 1
    if left > 0:
        counts[key] = left
    else:
        del counts[key]


def _in_service(revision: LoadedRevision) -> bool:
    return revision.info.state == "active"
