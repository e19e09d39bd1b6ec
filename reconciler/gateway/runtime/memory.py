"""The runtime backend of one process: dictionaries, kept over a restart by a snapshot file."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from reconciler.gateway.runtime import snapshot
from reconciler.gateway.runtime.allowance import Allowances
from reconciler.gateway.runtime.backend import MOST_LISTED, Binding, BindingKey, HealthKey, RouteHealth
from reconciler.gateway.runtime.snapshot import Bound, PlainKey, Space
from reconciler.routing import cooldown
from reconciler.routing.config import Route
from reconciler.routing.cooldown import FRESH, CooldownRule, Health

_SWEEP_SLICE = 1000
"""Bindings looked at between two pauses of a sweep."""
_FORGET_HEALTH_AFTER_S = 86400.0
"""A route that came out of its cooldown this long ago and was not used since starts fresh."""


class MemorySight:
    """What one request sees of a namespace. Health is read live: nothing is awaited between look and choice."""

    __slots__ = ("_health", "_now", "bound", "expired")

    def __init__(
        self,
        health: dict[HealthKey, Health],
        now: float,
        bound: str | None = None,
        expired: str | None = None,
    ) -> None:
        self._health = health
        self._now = now
        self.bound = bound
        self.expired = expired

    def sticky(self, logical_group: str, public_model: str, managed_key: str, session: str) -> str | None:
        return self.bound

    def unavailable(self, route: Route) -> str | None:
        if not self._health:
            return None
        health = self._health.get(HealthKey(route.shadow_host, route.shadow_group_id, route.gateway_key))
        return None if health is None else cooldown.unavailable(health, self._now)

    def needs_trial(self, route: Route) -> bool:
        if not self._health:
            return False
        health = self._health.get(HealthKey(route.shadow_host, route.shadow_group_id, route.gateway_key))
        return health is not None and cooldown.needs_trial(health, self._now)


class MemoryBackend:
    """Keeps `RuntimeBackend`.

    `clock` gives seconds since the epoch, `jitter` numbers from 0 to 1. `path` is the snapshot read now and written by
    `aclose` and `save`; None: nothing survives. Beyond `most_bindings`, the binding used longest ago is dropped.
    `health` is real traffic's, shared with whoever gives it.
    """

    degraded = False

    def __init__(
        self,
        *,
        path: Path | None = None,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        most_bindings: int = 100_000,
        health: dict[HealthKey, Health] | None = None,
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._path = path
        self._most_bindings = most_bindings
        self._real = snapshot.read(path) if path is not None else Space()
        if health is not None:
            self._real.health = health
        self._drills: dict[str, Space] = {}
        self._allowances = Allowances()

    def _space(self, namespace: str | None) -> Space:
        if namespace is None:
            return self._real
        return self._drills.setdefault(namespace, Space())

    def _existing(self, namespace: str | None) -> Space:
        return self._real if namespace is None else self._drills.get(namespace) or Space()

    @property
    def alone(self) -> MemoryBackend:
        return self

    def sight(self) -> MemorySight:
        return MemorySight(self._real.health, self._clock())

    async def look(self, namespace: str | None, key: BindingKey | None, ttl_s: float | None) -> MemorySight:
        return self._look(namespace, key, ttl_s)

    def look_then(self, key: BindingKey, ttl_s: float, then: Callable[[MemorySight], None]) -> None:
        then(self._look(None, key, ttl_s))

    def _look(self, namespace: str | None, key: BindingKey | None, ttl_s: float | None) -> MemorySight:
        now = self._clock()
        space = self._existing(namespace)
        if key is None:
            return MemorySight(space.health, now)
        bound = space.bindings.get(key)
        if bound is None:
            return MemorySight(space.health, now)
        if bound.expires_at <= now:
            if ttl_s is not None:
                del space.bindings[key]
            return MemorySight(space.health, now, expired=bound.route)
        if ttl_s is not None:
            bound.expires_at = now + ttl_s
            del space.bindings[key]
            space.bindings[_plain(key)] = bound
        return MemorySight(space.health, now, bound=bound.route)

    async def bind(
        self, namespace: str | None, key: BindingKey, route: str, ttl_s: float, *, instead_of: str | None
    ) -> str:
        return self.bind_now(namespace, key, route, ttl_s, instead_of=instead_of)

    def bind_now(
        self, namespace: str | None, key: BindingKey, route: str, ttl_s: float, *, instead_of: str | None
    ) -> str:
        """Do what `bind` does."""
        now = self._clock()
        bindings = self._space(namespace).bindings
        present = bindings.pop(key, None)
        if present is not None and present.expires_at > now and present.route not in (route, instead_of):
            bindings[_plain(key)] = present
            return present.route
        since = present.bound_at if present is not None and present.route == route else now
        bindings[_plain(key)] = Bound(route, since, now + ttl_s)
        if len(bindings) > self._most_bindings:
            del bindings[next(iter(bindings))]
        return route

    async def unbind(self, namespace: str | None, key: BindingKey) -> None:
        self._existing(namespace).bindings.pop(key, None)

    async def claim_trial(self, namespace: str | None, key: HealthKey, lease_s: float) -> bool:
        health = self._existing(namespace).health
        claimed = cooldown.claim_trial(health.get(key, FRESH), self._clock(), lease_s=lease_s)
        if claimed is None:
            return False
        health[key] = claimed
        return True

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
        health = self._space(namespace).health
        now = self._clock()
        health[key] = cooldown.failed(
            health.get(key, FRESH),
            rule,
            now,
            failure_class=failure_class,
            jitter=self._jitter(),
            trial=trial,
            retry_after_s=retry_after_s,
        )
        return shown(key, health[key], now)

    async def trial_ended(self, namespace: str | None, key: HealthKey, *, served: bool) -> None:
        health = self._existing(namespace).health
        if key not in health:
            return
        if served:
            del health[key]
        else:
            health[key] = cooldown.trial_dropped(health[key])

    async def admit(
        self, managed_key: str, *, requests_per_minute: int | None, concurrent: int | None
    ) -> float | None:
        return self.admit_now(managed_key, requests_per_minute=requests_per_minute, concurrent=concurrent)

    def admit_now(
        self, managed_key: str, *, requests_per_minute: int | None, concurrent: int | None
    ) -> float | None:
        """Do what `admit` does."""
        return self._allowances.admit(
            managed_key, self._clock(), requests_per_minute=requests_per_minute, concurrent=concurrent
        )

    async def leave(self, managed_key: str, *, concurrent: int | None) -> None:
        self.leave_now(managed_key, concurrent=concurrent)

    def leave_now(self, managed_key: str, *, concurrent: int | None) -> None:
        """Do what `leave` does."""
        self._allowances.leave(managed_key, concurrent=concurrent)

    def peek(self) -> Sequence[RouteHealth]:
        now = self._clock()
        return [shown(key, health, now) for key, health in self._real.health.items()]

    async def health(self, namespace: str | None = None) -> Sequence[RouteHealth]:
        now = self._clock()
        return [shown(key, health, now) for key, health in sorted(self._existing(namespace).health.items())]

    async def bindings(
        self, namespace: str | None = None, *, logical_group: str | None = None
    ) -> Sequence[Binding]:
        now = self._clock()
        live = sorted(
            (key, bound)
            for key, bound in self._existing(namespace).bindings.items()
            if bound.expires_at > now and logical_group in (None, key[0])
        )
        return [_shown_binding(key, bound) for key, bound in live[:MOST_LISTED]]

    async def reset(self, namespace: str | None, key: HealthKey) -> None:
        self._existing(namespace).health.pop(key, None)

    async def namespaces(self) -> Sequence[str]:
        return sorted(name for name, space in self._drills.items() if space.bindings or space.health)

    async def drop_namespace(self, namespace: str) -> None:
        self._drills.pop(namespace, None)

    async def sweep(self) -> Sequence[tuple[str | None, Binding]]:
        gone: list[tuple[str | None, Binding]] = []
        for namespace in (None, *self._drills):
            space = self._existing(namespace)
            keys = list(space.bindings)
            for start in range(0, len(keys), _SWEEP_SLICE):
                gone += self._expire(namespace, space, keys[start : start + _SWEEP_SLICE])
                await asyncio.sleep(0)
            self._forget_health(space)
        self._allowances.sweep(self._clock())
        return gone

    def _expire(
        self, namespace: str | None, space: Space, keys: Sequence[PlainKey]
    ) -> list[tuple[str | None, Binding]]:
        now = self._clock()
        gone = []
        for key in keys:
            bound = space.bindings.get(key)
            if bound is not None and bound.expires_at <= now:
                del space.bindings[key]
                gone.append((namespace, _shown_binding(key, bound)))
        return gone

    def _forget_health(self, space: Space) -> None:
        for key in [key for key, health in space.health.items() if is_long_past(health, self._clock())]:
            del space.health[key]

    async def save(self) -> None:
        """Write the snapshot, off the event loop; nothing without a path."""
        if self._path is None:
            return
        written = snapshot.encode(self._real)
        await asyncio.to_thread(snapshot.write, self._path, written)

    async def aclose(self) -> None:
        with contextlib.suppress(OSError):  # reported by `write`; a gateway that cannot save must still stop
            await self.save()


def _plain(key: BindingKey) -> PlainKey:
    group, model, managed_key, session = key
    return group, model, managed_key, session


def _shown_binding(key: PlainKey, bound: Bound) -> Binding:
    return Binding(BindingKey(*key), bound.route, bound.bound_at, bound.expires_at)


def is_long_past(health: Health, now: float) -> bool:
    """Return True when nothing of a health matters any more."""
    long_ago = now - _FORGET_HEALTH_AFTER_S
    return (health.open_until or 0) < long_ago and all(at < long_ago for at in health.failures)


def shown(key: HealthKey, health: Health, now: float) -> RouteHealth:
    """Return a health as the API shows it."""
    return RouteHealth(
        key=key,
        state=cooldown.state(health, now),
        failures=len(health.failures),
        cooldowns=health.cooldowns,
        open_until=health.open_until,
        last_failure_class=health.last_class,
    )
