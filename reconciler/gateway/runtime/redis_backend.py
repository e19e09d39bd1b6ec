"""The runtime backend of many processes and machines: bindings, health and limits shared in Redis or Valkey.

Health is decided by the same pure rules as in memory: read, computed here, and exchanged only when nobody else changed
it meanwhile. Each process keeps a mirror of real traffic's health, refreshed every `POLL_S`, so that a request without
a session costs no round trip, and one with a session costs one.

When Redis is gone, requests are served by priority and weight from what this process remembers: the mirror, and
bindings and counts made since. It is logged, and Redis' own state counts again as soon as it answers. Clocks of the
machines should agree to within a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from uuid import uuid4

import hiredis

from reconciler.gateway.runtime import redis_scripts as scripts
from reconciler.gateway.runtime.backend import MOST_LISTED, Binding, BindingKey, HealthKey, RouteHealth
from reconciler.gateway.runtime.memory import MemoryBackend, MemorySight, is_long_past, shown
from reconciler.gateway.runtime.redis_form import (
    SEPARATOR,
    Names,
    as_text,
    decoded,
    encoded,
    expiry_ms,
    question,
    read_binding,
    read_sight,
)
from reconciler.gateway.runtime.redis_limits import ALIVE_S, RedisLimits
from reconciler.gateway.runtime.redis_link import RedisGone, RedisLink
from reconciler.routing import cooldown
from reconciler.routing.cooldown import FRESH, CooldownRule, Health

log = logging.getLogger(__name__)

POLL_S = 0.1
"""How late another process' cooldown may be noticed."""
_DRILL_S = 86_400
"""What a drill left behind is gone after a day, whoever forgot it."""
_SWEPT_AT_ONCE = 500
_MOST_EXCHANGES = 50
_TELL_EVERY_S = 10.0

T = TypeVar("T")
Transition = Callable[[Health], Health | None]
"""The health after something happened; None: it cannot happen."""


class RedisBackend:
    """Keeps `RuntimeBackend`. Made by `open`; `prefix` keeps several gateways in one Redis apart."""

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "reconciler",
        replica: str | None = None,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        timeout_s: float = 0.25,
    ) -> None:
        self._prefix = prefix
        self._clock = clock
        self._jitter = jitter
        self._real = Names(prefix, None)
        self._drills = f"{prefix}:drills"
        self._link = RedisLink(url, timeout_s=timeout_s, on_up=self._came_up)
        self._mirror: dict[HealthKey, Health] = {}
        self._version: bytes | None = None
        # A process that is started again under its name is another one: what the dead one ran must not count for ever.
        self._limits = RedisLimits(self._link, prefix, f"{replica or 'gateway'}:{uuid4().hex}", clock)
        self._local = self._new_local()
        self._looking: set[asyncio.Task[MemorySight]] = set()
        self._polling: asyncio.Task[None] | None = None
        self._tell_again_at = 0.0

    @classmethod
    async def open(cls, url: str, **options: Any) -> RedisBackend:
        """Return a backend that follows Redis; one that is not there yet is waited for in the background."""
        backend = cls(url, **options)
        await backend._link.open()
        backend._polling = asyncio.get_running_loop().create_task(backend._poll())
        return backend

    @property
    def degraded(self) -> bool:
        """True while Redis does not answer."""
        return not self._link.up

    def _new_local(self) -> MemoryBackend:
        """Return the memory that is decided from while Redis is gone; it starts from the mirror."""
        return MemoryBackend(clock=self._clock, jitter=self._jitter, health=self._mirror)

    async def _shared(self, shared: Awaitable[T], local: Callable[[], Awaitable[T]]) -> T:
        """Return what Redis says; when it says nothing, what this process knows."""
        try:
            return await shared
        except RedisGone:
            return await local()
        except hiredis.ReplyError as refused:
            self._tell_refusal(refused)
            return await local()

    def _tell_refusal(self, refused: hiredis.ReplyError) -> None:
        """Log what Redis said: not for every request, while it refuses them all."""
        now = asyncio.get_running_loop().time()
        if now >= self._tell_again_at:
            self._tell_again_at = now + _TELL_EVERY_S
            log.warning("runtime: Redis refuses a command: %s", str(refused)[:200])

    @property
    def alone(self) -> None:
        return None

    # Bindings.

    def sight(self) -> MemorySight:
        return MemorySight(self._mirror, self._clock())

    async def look(self, namespace: str | None, key: BindingKey | None, ttl_s: float | None) -> MemorySight:
        if namespace is None and key is None:
            return self.sight()
        return await self._shared(
            self._look(namespace, key, ttl_s), lambda: self._local.look(namespace, key, ttl_s)
        )

    async def _look(self, namespace: str | None, key: BindingKey | None, ttl_s: float | None) -> MemorySight:
        now = self._clock()
        names = self._names(namespace)
        health = self._mirror if namespace is None else await self._health_of(names)
        if key is None:
            return MemorySight(health, now)
        return read_sight(await self._link.run(scripts.LOOK, *question(names, key, now, ttl_s)), health, now)

    def look_then(self, key: BindingKey, ttl_s: float, then: Callable[[MemorySight], None]) -> None:
        now = self._clock()
        keys, *arguments = question(self._real, key, now, ttl_s)
        asked = self._link.start(scripts.LOOK, keys, *arguments)

        def told(answer: asyncio.Future[Any]) -> None:
            if answer.cancelled() or answer.exception() is not None:
                self._look_slowly(key, ttl_s, then)
            else:
                then(read_sight(answer.result(), self._mirror, now))

        if asked is None:
            self._look_slowly(key, ttl_s, then)
        else:
            asked.add_done_callback(told)

    def _look_slowly(self, key: BindingKey, ttl_s: float, then: Callable[[MemorySight], None]) -> None:
        """Look as `look` does, which knows what to do when Redis is gone or has forgotten the script."""
        task = asyncio.get_running_loop().create_task(self.look(None, key, ttl_s))
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)
        task.add_done_callback(lambda done: None if done.cancelled() else then(done.result()))

    async def bind(
        self, namespace: str | None, key: BindingKey, route: str, ttl_s: float, *, instead_of: str | None
    ) -> str:
        return await self._shared(
            self._bind(namespace, key, route, ttl_s, instead_of),
            lambda: self._local.bind(namespace, key, route, ttl_s, instead_of=instead_of),
        )

    async def _bind(
        self, namespace: str | None, key: BindingKey, route: str, ttl_s: float, instead_of: str | None
    ) -> str:
        now = self._clock()
        names, field = self._names(namespace), SEPARATOR.join(key)
        bound: bytes = await self._link.run(
            scripts.BIND,
            [names.binding + field, names.index],
            as_text(now),
            route,
            as_text(now + ttl_s),
            expiry_ms(ttl_s),
            field,
            instead_of or "",
        )
        if namespace is not None:
            await self._enlist(namespace, names.index)
        return bound.decode()

    async def unbind(self, namespace: str | None, key: BindingKey) -> None:
        names, field = self._names(namespace), SEPARATOR.join(key)
        await self._shared(
            self._link.run(scripts.UNBIND, [names.binding + field, names.index], field),
            lambda: self._local.unbind(namespace, key),
        )

    async def bindings(
        self, namespace: str | None = None, *, logical_group: str | None = None
    ) -> Sequence[Binding]:
        return await self._shared(
            self._bindings(namespace, logical_group),
            lambda: self._local.bindings(namespace, logical_group=logical_group),
        )

    async def _bindings(self, namespace: str | None, logical_group: str | None) -> Sequence[Binding]:
        names = self._names(namespace)
        fields = await self._link.ask("ZRANGEBYSCORE", names.index, f"({as_text(self._clock())}", "+inf")
        wanted = sorted(field.decode() for field in fields)
        if logical_group is not None:
            wanted = [field for field in wanted if field.startswith(logical_group + SEPARATOR)]
        wanted = wanted[:MOST_LISTED]
        if not wanted:
            return []
        values = await self._link.ask("MGET", *[names.binding + field for field in wanted])
        return [read_binding(field, value) for field, value in zip(wanted, values, strict=True) if value]

    # Health.

    async def claim_trial(self, namespace: str | None, key: HealthKey, lease_s: float) -> bool:
        def claim(health: Health) -> Health | None:
            return cooldown.claim_trial(health, self._clock(), lease_s=lease_s)

        return await self._shared(
            self._taken(namespace, key, claim), lambda: self._local.claim_trial(namespace, key, lease_s)
        )

    async def _taken(self, namespace: str | None, key: HealthKey, claim: Transition) -> bool:
        return await self._change(namespace, key, claim) is not None

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
        now, jitter = self._clock(), self._jitter()

        def fail(health: Health) -> Health:
            return cooldown.failed(
                health,
                rule,
                now,
                failure_class=failure_class,
                jitter=jitter,
                trial=trial,
                retry_after_s=retry_after_s,
            )

        async def shared() -> RouteHealth:
            return shown(key, await self._change(namespace, key, fail) or FRESH, now)

        return await self._shared(
            shared(),
            lambda: self._local.failed(
                namespace, key, rule, failure_class=failure_class, trial=trial, retry_after_s=retry_after_s
            ),
        )

    async def trial_ended(self, namespace: str | None, key: HealthKey, *, served: bool) -> None:
        def end(health: Health) -> Health:
            return cooldown.succeeded(health, trial=True) if served else cooldown.trial_dropped(health)

        async def shared() -> None:
            await self._change(namespace, key, end)

        await self._shared(shared(), lambda: self._local.trial_ended(namespace, key, served=served))

    async def reset(self, namespace: str | None, key: HealthKey) -> None:
        async def shared() -> None:
            await self._change(namespace, key, lambda _: FRESH)

        await self._shared(shared(), lambda: self._local.reset(namespace, key))

    async def _change(self, namespace: str | None, key: HealthKey, transition: Transition) -> Health | None:
        """Exchange a health for what follows from it, as often as another process was faster."""
        names, field = self._names(namespace), SEPARATOR.join(key)
        seen = encoded(self._mirror.get(key, FRESH)) if namespace is None else b""
        for _ in range(_MOST_EXCHANGES):
            after = transition(decoded(seen))
            wanted = seen if after is None else encoded(after)
            done, present = await self._link.run(
                scripts.EXCHANGE, [names.health, names.version], field, seen, wanted
            )
            if done:
                await self._changed(namespace, names, key, decoded(wanted))
                return after
            seen = present
        raise RedisGone("a health changes faster than it can be exchanged")

    async def _changed(self, namespace: str | None, names: Names, key: HealthKey, health: Health) -> None:
        if namespace is not None:
            await self._enlist(namespace, names.health, names.version)
        elif health == FRESH:
            self._mirror.pop(key, None)
        else:
            self._mirror[key] = health

    def peek(self) -> Sequence[RouteHealth]:
        now = self._clock()
        return [shown(key, health, now) for key, health in self._mirror.items()]

    async def health(self, namespace: str | None = None) -> Sequence[RouteHealth]:
        async def shared() -> Sequence[RouteHealth]:
            now = self._clock()
            known = await self._health_of(self._names(namespace))
            return [shown(key, health, now) for key, health in sorted(known.items())]

        return await self._shared(shared(), lambda: self._local.health(namespace))

    async def _health_of(self, names: Names) -> dict[HealthKey, Health]:
        flat = await self._link.ask("HGETALL", names.health)
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return {HealthKey(*field.decode().split(SEPARATOR)): decoded(value) for field, value in pairs}

    # Limits.

    async def admit(
        self, managed_key: str, *, requests_per_minute: int | None, concurrent: int | None
    ) -> float | None:
        async def local() -> float | None:
            wait_s = await self._local.admit(
                managed_key, requests_per_minute=requests_per_minute, concurrent=concurrent
            )
            if wait_s is None and concurrent is not None:
                self._limits.owe(managed_key, 1)
            return wait_s

        wait_s = await self._shared(self._limits.admit(managed_key, requests_per_minute, concurrent), local)
        if wait_s is None and concurrent is not None:
            self._limits.count(managed_key)
        return wait_s

    async def leave(self, managed_key: str, *, concurrent: int | None) -> None:
        if concurrent is not None:
            await self._local.leave(managed_key, concurrent=concurrent)
            await self._limits.leave(managed_key)

    # Namespaces, sweeping, following.

    def _names(self, namespace: str | None) -> Names:
        return self._real if namespace is None else Names(self._prefix, namespace)

    async def _enlist(self, namespace: str, *held: str) -> None:
        """Remember a drill's namespace, and let what it holds end by itself."""
        await asyncio.gather(
            self._link.ask("SADD", self._drills, namespace),
            self._link.ask("EXPIRE", self._drills, _DRILL_S),
            *[self._link.ask("EXPIRE", name, _DRILL_S) for name in held],
        )

    async def namespaces(self) -> Sequence[str]:
        async def shared() -> Sequence[str]:
            names = sorted(name.decode() for name in await self._link.ask("SMEMBERS", self._drills))
            held = [await self._link.ask("EXISTS", *self._holding(name)) for name in names]
            return [name for name, count in zip(names, held, strict=True) if count]

        return await self._shared(shared(), self._local.namespaces)

    def _holding(self, namespace: str) -> list[str]:
        names = self._names(namespace)
        return [names.index, names.health]

    async def drop_namespace(self, namespace: str) -> None:
        names = self._names(namespace)
        keys = [names.index, names.health, names.version, self._drills]
        await self._local.drop_namespace(namespace)
        await self._shared(
            self._link.run(scripts.DROP, keys, names.binding, namespace),
            lambda: self._local.drop_namespace(namespace),
        )

    async def sweep(self) -> Sequence[tuple[str | None, Binding]]:
        try:
            gone = [await self._sweep(namespace) for namespace in (None, *await self.namespaces())]
            for key in [key for key, health in self._mirror.items() if is_long_past(health, self._clock())]:
                await self._change(None, key, lambda _: FRESH)
        except (RedisGone, hiredis.ReplyError):
            return await self._local.sweep()
        return [item for batch in gone for item in batch]

    async def _sweep(self, namespace: str | None) -> list[tuple[str | None, Binding]]:
        names = self._names(namespace)
        gone: list[tuple[str | None, Binding]] = []
        while True:
            flat = await self._link.run(
                scripts.SWEEP, [names.index], as_text(self._clock()), names.binding, _SWEPT_AT_ONCE
            )
            pairs = list(zip(flat[::2], flat[1::2], strict=True))
            gone += [(namespace, read_binding(field.decode(), value)) for field, value in pairs if value]
            if len(pairs) < _SWEPT_AT_ONCE:
                return gone

    async def _came_up(self) -> None:
        """Take Redis' state for true again, and tell it what runs here."""
        await self._refresh(force=True)
        self._local = self._new_local()
        await self._limits.tell()

    async def _poll(self) -> None:
        """Follow what other processes learn."""
        rounds = 0
        while True:
            await asyncio.sleep(POLL_S)
            rounds += 1
            with contextlib.suppress(RedisGone, hiredis.ReplyError):
                await self._refresh()
                if rounds % round(ALIVE_S / POLL_S / 4) == 0:
                    await self._limits.live()

    async def _refresh(self, *, force: bool = False) -> None:
        version = await self._link.ask("GET", self._real.version)
        if version == self._version and not force:
            return
        known = await self._health_of(self._real)
        self._version = version
        self._mirror.clear()
        self._mirror.update(known)

    async def save(self) -> None:
        """Nothing to do: Redis holds it."""

    async def aclose(self) -> None:
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)
        with contextlib.suppress(RedisGone, hiredis.ReplyError):
            await self._limits.die()
        await self._link.aclose()
