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
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from uuid import uuid4

import hiredis
import msgspec

from reconciler.gateway.runtime import redis_scripts as scripts
from reconciler.gateway.runtime.allowance import BUSY_RETRY_S
from reconciler.gateway.runtime.backend import MOST_LISTED, Binding, BindingKey, HealthKey, RouteHealth
from reconciler.gateway.runtime.memory import MemoryBackend, MemorySight, is_long_past, shown
from reconciler.gateway.runtime.redis_link import RedisGone, RedisLink
from reconciler.routing import cooldown
from reconciler.routing.cooldown import FRESH, CooldownRule, Health

log = logging.getLogger(__name__)

POLL_S = 0.1
"""How late another process' cooldown may be noticed."""
_ALIVE_S = 10
"""A process that gave no sign of life for this long no longer counts as running requests."""
_GRACE_MS = 300_000
"""Redis keeps an expired binding this long, for a sweep to find and report it."""
_DRILL_S = 86_400
"""What a drill left behind is gone after a day, whoever forgot it."""
_SWEPT_AT_ONCE = 500
_MOST_EXCHANGES = 50
_SEPARATOR = "\x1f"

T = TypeVar("T")
Transition = Callable[[Health], Health | None]
"""The health after something happened; None: it cannot happen."""


class _Names:
    """Redis' names for one namespace."""

    def __init__(self, prefix: str, namespace: str | None) -> None:
        base = f"{prefix}:real" if namespace is None else f"{prefix}:drill:{namespace}"
        self.binding = f"{base}:binding:"
        self.index = f"{base}:bindings"
        self.health = f"{base}:health"
        self.version = f"{base}:health-version"


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
        self._replica = replica or uuid4().hex
        self._clock = clock
        self._jitter = jitter
        self._real = _Names(prefix, None)
        self._drills = f"{prefix}:drills"
        self._alive = f"{prefix}:alive:"
        self._link = RedisLink(url, timeout_s=timeout_s, on_up=self._came_up)
        self._mirror: dict[HealthKey, Health] = {}
        self._version: bytes | None = None
        self._running: Counter[str] = Counter()
        """Managed key -> requests that this process counted as concurrent, whatever Redis knows of them."""
        self._local = self._new_local()
        self._admissions = 0
        self._looking: set[asyncio.Task[MemorySight]] = set()
        self._polling: asyncio.Task[None] | None = None

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
            log.warning("runtime: Redis refuses a command: %s", str(refused)[:200])
            return await local()

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
        return _seen(await self._link.run(scripts.LOOK, *_question(names, key, now, ttl_s)), health, now)

    def look_then(self, key: BindingKey, ttl_s: float, then: Callable[[MemorySight], None]) -> None:
        now = self._clock()
        keys, *arguments = _question(self._real, key, now, ttl_s)
        asked = self._link.start(scripts.LOOK, keys, *arguments)

        def told(answer: asyncio.Future[Any]) -> None:
            if answer.cancelled() or answer.exception() is not None:
                self._look_slowly(key, ttl_s, then)
            else:
                then(_seen(answer.result(), self._mirror, now))

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
        names, field = self._names(namespace), _SEPARATOR.join(key)
        bound: bytes = await self._link.run(
            scripts.BIND,
            [names.binding + field, names.index],
            _text(now),
            route,
            _text(now + ttl_s),
            _expiry_ms(ttl_s),
            field,
            instead_of or "",
        )
        if namespace is not None:
            await self._enlist(namespace, names.index)
        return bound.decode()

    async def unbind(self, namespace: str | None, key: BindingKey) -> None:
        names, field = self._names(namespace), _SEPARATOR.join(key)
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
        fields = await self._link.ask("ZRANGEBYSCORE", names.index, f"({_text(self._clock())}", "+inf")
        wanted = sorted(field.decode() for field in fields)
        if logical_group is not None:
            wanted = [field for field in wanted if field.startswith(logical_group + _SEPARATOR)]
        wanted = wanted[:MOST_LISTED]
        if not wanted:
            return []
        values = await self._link.ask("MGET", *[names.binding + field for field in wanted])
        return [_binding(field, value) for field, value in zip(wanted, values, strict=True) if value]

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
        names, field = self._names(namespace), _SEPARATOR.join(key)
        seen = _encoded(self._mirror.get(key, FRESH)) if namespace is None else b""
        for _ in range(_MOST_EXCHANGES):
            after = transition(_decoded(seen))
            wanted = seen if after is None else _encoded(after)
            done, present = await self._link.run(
                scripts.EXCHANGE, [names.health, names.version], field, seen, wanted
            )
            if done:
                await self._changed(namespace, names, key, _decoded(wanted))
                return after
            seen = present
        raise RedisGone("a health changes faster than it can be exchanged")

    async def _changed(self, namespace: str | None, names: _Names, key: HealthKey, health: Health) -> None:
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

    async def _health_of(self, names: _Names) -> dict[HealthKey, Health]:
        flat = await self._link.ask("HGETALL", names.health)
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return {HealthKey(*field.decode().split(_SEPARATOR)): _decoded(value) for field, value in pairs}

    # Limits.

    async def admit(
        self, managed_key: str, *, requests_per_minute: int | None, concurrent: int | None
    ) -> float | None:
        wait_s = await self._shared(
            self._admit(managed_key, requests_per_minute, concurrent),
            lambda: self._local.admit(
                managed_key, requests_per_minute=requests_per_minute, concurrent=concurrent
            ),
        )
        if wait_s is None and concurrent is not None:
            self._running[managed_key] += 1
        return wait_s

    async def _admit(self, managed_key: str, per_minute: int | None, concurrent: int | None) -> float | None:
        if per_minute is None and concurrent is None:
            return None
        self._admissions += 1
        answer: bytes | None = await self._link.run(
            scripts.ADMIT,
            [f"{self._prefix}:minute:{managed_key}", self._running_name(managed_key)],
            _text(self._clock()),
            "" if per_minute is None else per_minute,
            "" if concurrent is None else concurrent,
            self._replica,
            f"{self._replica}:{self._admissions}",
            self._alive,
            str(BUSY_RETRY_S),
        )
        return None if answer is None else max(0.0, float(answer))

    async def leave(self, managed_key: str, *, concurrent: int | None) -> None:
        if concurrent is None:
            return
        self._running[managed_key] = max(0, self._running[managed_key] - 1)
        await self._local.leave(managed_key, concurrent=concurrent)
        with contextlib.suppress(RedisGone):  # set right when Redis is back
            await self._link.ask("HINCRBY", self._running_name(managed_key), self._replica, -1)

    def _running_name(self, managed_key: str) -> str:
        return f"{self._prefix}:running:{managed_key}"

    # Namespaces, sweeping, following.

    def _names(self, namespace: str | None) -> _Names:
        return self._real if namespace is None else _Names(self._prefix, namespace)

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
        except RedisGone:
            return await self._local.sweep()
        return [item for batch in gone for item in batch]

    async def _sweep(self, namespace: str | None) -> list[tuple[str | None, Binding]]:
        names = self._names(namespace)
        gone: list[tuple[str | None, Binding]] = []
        while True:
            flat = await self._link.run(
                scripts.SWEEP, [names.index], _text(self._clock()), names.binding, _SWEPT_AT_ONCE
            )
            pairs = list(zip(flat[::2], flat[1::2], strict=True))
            gone += [(namespace, _binding(field.decode(), value)) for field, value in pairs if value]
            if len(pairs) < _SWEPT_AT_ONCE:
                return gone

    async def _came_up(self) -> None:
        """Take Redis' state for true again, and tell it what runs here."""
        await self._refresh(force=True)
        self._local = self._new_local()
        for managed_key in [key for key, count in self._running.items() if not count]:
            del self._running[managed_key]
        for managed_key, count in list(self._running.items()):
            await self._link.ask("HSET", self._running_name(managed_key), self._replica, count)
        await self._link.ask("SET", self._alive + self._replica, 1, "EX", _ALIVE_S)

    async def _poll(self) -> None:
        """Follow what other processes learn."""
        rounds = 0
        while True:
            await asyncio.sleep(POLL_S)
            rounds += 1
            with contextlib.suppress(RedisGone, hiredis.ReplyError):
                await self._refresh()
                if rounds % round(_ALIVE_S / POLL_S / 4) == 0:
                    await self._link.ask("SET", self._alive + self._replica, 1, "EX", _ALIVE_S)

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
        with contextlib.suppress(RedisGone):
            await self._link.ask("DEL", self._alive + self._replica)
        await self._link.aclose()


def _text(seconds: float) -> str:
    return f"{seconds:.6f}"


def _expiry_ms(ttl_s: float) -> int:
    return int(ttl_s * 1000) + _GRACE_MS


def _binding(field: str, value: bytes) -> Binding:
    route, since, until = value.decode().split("|")
    return Binding(BindingKey(*field.split(_SEPARATOR)), route, float(since), float(until))


def _encoded(health: Health) -> bytes:
    """Return a health as Redis holds it; a fresh one is not held at all."""
    return b"" if health == FRESH else msgspec.json.encode(health)


def _decoded(value: bytes) -> Health:
    return msgspec.json.decode(value, type=Health) if value else FRESH


def _question(
    names: _Names, key: BindingKey, now: float, ttl_s: float | None
) -> tuple[list[str], str, str, str | int, str]:
    """Return keys and arguments of the script that reads a binding, and slides it when `ttl_s` is given."""
    field = _SEPARATOR.join(key)
    until, ms = ("", "") if ttl_s is None else (_text(now + ttl_s), _expiry_ms(ttl_s))
    return [names.binding + field, names.index], _text(now), until, ms, field


def _seen(found: list[bytes], health: dict[HealthKey, Health], now: float) -> MemorySight:
    """Return what that script told."""
    word = found[0]
    route = None if word == b"none" else found[1].decode()
    return MemorySight(
        health,
        now,
        bound=route if word == b"bound" else None,
        expired=route if word == b"expired" else None,
    )
