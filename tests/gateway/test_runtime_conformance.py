"""What every runtime backend keeps, with fake time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from reconciler.gateway.runtime.backend import BindingKey, HealthKey, RouteHealth, RuntimeBackend, Sight
from reconciler.gateway.runtime.memory import MemoryBackend
from reconciler.gateway.runtime.redis_backend import RedisBackend
from reconciler.routing.config import Route
from reconciler.routing.cooldown import CooldownRule
from tests.gateway.dataplane.stage import Clock

SESSION = BindingKey("chat", "fast", "team", "a" * 32)
OTHER = BindingKey("chat", "fast", "other", "a" * 32)
ROUTE = Route("best", "chat", "east", "g", "7", "key-best", "1")
HEALTH = HealthKey("east", "7", "key-best")
RULE = CooldownRule(threshold=3, window_s=30, cooldown_s=10, max_cooldown_s=100)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "redis"])
async def backend(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[RuntimeBackend]:
    made: RuntimeBackend
    if request.param == "memory":
        made = MemoryBackend(clock=clock, jitter=lambda: 0.0)
    else:
        url = request.getfixturevalue("redis_url")
        made = await RedisBackend.open(url, clock=clock, jitter=lambda: 0.0, timeout_s=5.0)
        assert not made.degraded
    yield made
    await made.aclose()


async def bind(backend: RuntimeBackend, route: str, *, instead_of: str | None = None, **fields: Any) -> str:
    namespace = fields.get("namespace")
    return await backend.bind(namespace, fields.get("key", SESSION), route, 60, instead_of=instead_of)


async def fail(backend: RuntimeBackend, times: int = 1, **fields: Any) -> RouteHealth:
    plain: dict[str, Any] = {"failure_class": "reset", "trial": False, "retry_after_s": None}
    namespace = fields.pop("namespace", None)
    for _ in range(times - 1):
        await backend.failed(namespace, HEALTH, RULE, **{**plain, **fields})
    return await backend.failed(namespace, HEALTH, RULE, **{**plain, **fields})


async def test_a_session_is_unbound_until_it_is_bound(backend: RuntimeBackend) -> None:
    assert (await backend.look(None, SESSION, 60)).bound is None

    assert await bind(backend, "best") == "best"

    sight = await backend.look(None, SESSION, 60)
    assert (sight.bound, sight.expired) == ("best", None)
    assert sight.sticky(*SESSION) == "best"


async def by_call(backend: RuntimeBackend, key: BindingKey = SESSION) -> Sight:
    seen: asyncio.Future[Sight] = asyncio.get_running_loop().create_future()
    backend.look_then(key, 60, seen.set_result)
    return await seen


async def test_a_look_by_call_is_a_look(backend: RuntimeBackend, clock: Clock) -> None:
    assert (await by_call(backend)).bound is None
    await bind(backend, "best")

    for _ in range(3):
        clock.advance(59)
        assert (await by_call(backend)).bound == "best", "each look lets it live on"
    assert (await by_call(backend, OTHER)).bound is None
    clock.advance(60)
    assert (await by_call(backend)).expired == "best"
    assert (await by_call(backend)).expired is None

    await fail(backend, 3)
    assert (await by_call(backend)).unavailable(ROUTE) == "cooling"


async def test_bindings_differ_by_managed_key(backend: RuntimeBackend) -> None:
    await bind(backend, "best")

    assert (await backend.look(None, OTHER, 60)).bound is None


async def test_a_binding_slides_when_looked_at_and_expires_when_not(
    backend: RuntimeBackend, clock: Clock
) -> None:
    await bind(backend, "best")
    clock.advance(59)
    assert (await backend.look(None, SESSION, 60)).bound == "best"
    clock.advance(59)
    assert (await backend.look(None, SESSION, 60)).bound == "best"
    clock.advance(60)

    sight = await backend.look(None, SESSION, 60)

    assert (sight.bound, sight.expired) == (None, "best")
    assert (await backend.look(None, SESSION, 60)).expired is None


async def test_a_look_without_time_to_live_changes_nothing(backend: RuntimeBackend, clock: Clock) -> None:
    await bind(backend, "best")
    clock.advance(59)
    assert (await backend.look(None, SESSION, None)).bound == "best"
    clock.advance(1)

    assert (await backend.look(None, SESSION, None)).expired == "best"
    assert (await backend.look(None, SESSION, None)).expired == "best"


async def test_the_first_to_bind_wins(backend: RuntimeBackend) -> None:
    assert await bind(backend, "best") == "best"
    assert await bind(backend, "spare") == "best"
    assert (await backend.look(None, SESSION, 60)).bound == "best"


async def test_a_binding_moves_only_from_where_it_was_seen(backend: RuntimeBackend) -> None:
    await bind(backend, "best")

    assert await bind(backend, "spare", instead_of="third") == "best"
    assert await bind(backend, "spare", instead_of="best") == "spare"


async def test_an_expired_binding_stands_in_nobodys_way(backend: RuntimeBackend, clock: Clock) -> None:
    await bind(backend, "best")
    clock.advance(61)

    assert await bind(backend, "spare") == "spare"


async def test_binding_again_keeps_when_it_was_first_bound(backend: RuntimeBackend, clock: Clock) -> None:
    await bind(backend, "best")
    began = clock.now
    clock.advance(5)
    await bind(backend, "best")

    (binding,) = await backend.bindings()

    assert (binding.key, binding.route, binding.bound_at, binding.expires_at) == (
        SESSION,
        "best",
        began,
        clock.now + 60,
    )


async def test_unbinding_forgets(backend: RuntimeBackend) -> None:
    await bind(backend, "best")
    await backend.unbind(None, SESSION)
    await backend.unbind(None, SESSION)

    assert (await backend.look(None, SESSION, 60)).bound is None
    assert await backend.bindings() == []


async def test_live_bindings_are_listed_in_order_and_by_group(backend: RuntimeBackend, clock: Clock) -> None:
    more = BindingKey("more", "fast", "team", "b")
    await bind(backend, "gone", key=BindingKey("chat", "fast", "zoe", "c"))
    clock.advance(61)
    for key in (more, SESSION, OTHER):
        await bind(backend, "best", key=key)

    assert [item.key for item in await backend.bindings()] == [OTHER, SESSION, more]
    assert [item.key for item in await backend.bindings(logical_group="more")] == [more]
    assert await backend.bindings(logical_group="mor") == []


async def test_a_sweep_returns_each_expired_binding_once(backend: RuntimeBackend, clock: Clock) -> None:
    await bind(backend, "best")
    await bind(backend, "best", namespace="drill-1")
    clock.advance(30)
    await bind(backend, "spare", key=OTHER)
    clock.advance(31)

    gone = await backend.sweep()

    assert [(namespace, item.key, item.route) for namespace, item in gone] == [
        (None, SESSION, "best"),
        ("drill-1", SESSION, "best"),
    ]
    assert await backend.sweep() == []
    assert [item.key for item in await backend.bindings()] == [OTHER]


async def test_failures_open_and_time_half_opens(backend: RuntimeBackend, clock: Clock) -> None:
    assert (await fail(backend, 2)).state == "closed"
    assert (await backend.look(None, None, None)).unavailable(ROUTE) is None

    opened = await fail(backend)

    assert (opened.state, opened.open_until, opened.cooldowns) == ("open", clock.now + 10, 1)
    assert (await backend.look(None, None, None)).unavailable(ROUTE) == "cooling"
    clock.advance(10)
    sight = await backend.look(None, None, None)
    assert (sight.unavailable(ROUTE), sight.needs_trial(ROUTE)) == (None, True)
    assert [health.state for health in await backend.health()] == ["half-open"]


async def test_a_sight_with_a_session_sees_health_too(backend: RuntimeBackend) -> None:
    await fail(backend, 3)

    assert (await backend.look(None, SESSION, 60)).unavailable(ROUTE) == "cooling"


async def test_other_routes_stay_available(backend: RuntimeBackend) -> None:
    await fail(backend, 3)
    other = Route("twin", "chat", "east", "g", "7", "key-twin", "1")

    sight = await backend.look(None, None, None)

    assert (sight.unavailable(other), sight.needs_trial(other)) == (None, False)


async def test_one_trial_at_a_time(backend: RuntimeBackend, clock: Clock) -> None:
    assert not await backend.claim_trial(None, HEALTH, 60)
    await fail(backend, 3)
    assert not await backend.claim_trial(None, HEALTH, 60)
    clock.advance(10)

    assert await backend.claim_trial(None, HEALTH, 60)
    assert not await backend.claim_trial(None, HEALTH, 60)
    assert (await backend.look(None, None, None)).unavailable(ROUTE) == "trial"
    clock.advance(60)
    assert await backend.claim_trial(None, HEALTH, 60)


async def test_a_trial_that_served_makes_the_route_fresh(backend: RuntimeBackend, clock: Clock) -> None:
    await fail(backend, 3)
    clock.advance(10)
    await backend.claim_trial(None, HEALTH, 60)

    await backend.trial_ended(None, HEALTH, served=True)

    assert await backend.health() == []
    assert (await fail(backend, 2)).state == "closed"


async def test_a_trial_that_told_nothing_is_free_again(backend: RuntimeBackend, clock: Clock) -> None:
    await fail(backend, 3)
    clock.advance(10)
    await backend.claim_trial(None, HEALTH, 60)

    await backend.trial_ended(None, HEALTH, served=False)

    assert await backend.claim_trial(None, HEALTH, 60)


async def test_a_failed_trial_opens_for_longer(backend: RuntimeBackend, clock: Clock) -> None:
    await fail(backend, 3)
    clock.advance(10)
    await backend.claim_trial(None, HEALTH, 60)

    again = await fail(backend, trial=True)

    assert (again.state, again.cooldowns, again.open_until) == ("open", 2, clock.now + 20)


async def test_a_trial_of_an_unknown_route_ends_quietly(backend: RuntimeBackend) -> None:
    await backend.trial_ended(None, HEALTH, served=True)
    await backend.trial_ended(None, HEALTH, served=False)

    assert await backend.health() == []


async def test_retry_after_is_kept(backend: RuntimeBackend, clock: Clock) -> None:
    opened = await fail(backend, failure_class="rate-limited", retry_after_s=42.0)

    assert (opened.open_until, opened.last_failure_class) == (clock.now + 42, "rate-limited")
    assert await backend.health() == [opened]


async def test_a_reset_makes_fresh(backend: RuntimeBackend) -> None:
    await fail(backend, 3)

    await backend.reset(None, HEALTH)

    assert await backend.health() == []
    assert (await backend.look(None, None, None)).unavailable(ROUTE) is None


async def test_namespaces_are_worlds_of_their_own(backend: RuntimeBackend) -> None:
    await bind(backend, "spare", namespace="drill-1")
    await fail(backend, 3, namespace="drill-2")

    assert await backend.namespaces() == ["drill-1", "drill-2"]
    assert (await backend.look(None, SESSION, 60)).bound is None
    assert (await backend.look("drill-2", SESSION, 60)).bound is None
    assert (await backend.look("drill-1", SESSION, 60)).bound == "spare"
    assert (await backend.look(None, None, None)).unavailable(ROUTE) is None
    assert (await backend.look("drill-1", None, None)).unavailable(ROUTE) is None
    assert (await backend.look("drill-2", None, None)).unavailable(ROUTE) == "cooling"
    assert await backend.health() == []


async def test_a_dropped_namespace_is_gone_and_others_stay(backend: RuntimeBackend) -> None:
    for namespace in (None, "drill-1", "drill-2"):
        await bind(backend, "best", namespace=namespace)
        await fail(backend, 3, namespace=namespace)

    await backend.drop_namespace("drill-1")
    await backend.drop_namespace("drill-1")

    assert await backend.namespaces() == ["drill-2"]
    assert await backend.bindings("drill-1") == []
    assert await backend.health("drill-1") == []
    assert len(await backend.bindings()) == len(await backend.bindings("drill-2")) == 1
    assert len(await backend.health()) == 1


async def test_never_more_requests_than_the_limit_in_any_minute(
    backend: RuntimeBackend, clock: Clock
) -> None:
    async def ask() -> float | None:
        return await backend.admit("team", requests_per_minute=3, concurrent=None)

    admitted = []
    for _ in range(200):
        if await ask() is None:
            admitted.append(clock.now)
        clock.advance(1)

    assert len(admitted) == 12
    for first in admitted:
        assert len([at for at in admitted if first <= at < first + 60]) <= 3


async def test_the_wait_is_when_the_next_request_will_be_admitted(
    backend: RuntimeBackend, clock: Clock
) -> None:
    for _ in range(2):
        assert await backend.admit("team", requests_per_minute=2, concurrent=None) is None
        clock.advance(10)

    assert await backend.admit("team", requests_per_minute=2, concurrent=None) == pytest.approx(40)
    clock.advance(40)
    assert await backend.admit("team", requests_per_minute=2, concurrent=None) is None


async def test_a_clock_that_is_set_back_does_not_lock_a_key_out(
    backend: RuntimeBackend, clock: Clock
) -> None:
    assert await backend.admit("team", requests_per_minute=1, concurrent=None) is None
    clock.advance(-3600)

    assert await backend.admit("team", requests_per_minute=1, concurrent=None) is None
    assert await backend.admit("team", requests_per_minute=1, concurrent=None) == pytest.approx(60)


async def test_concurrent_requests_are_counted_and_given_back(backend: RuntimeBackend) -> None:
    async def ask() -> float | None:
        return await backend.admit("team", requests_per_minute=None, concurrent=2)

    assert [await ask(), await ask(), await ask()] == [None, None, 1.0]
    await backend.leave("team", concurrent=2)
    assert [await ask(), await ask()] == [None, 1.0]
    assert await backend.admit("other", requests_per_minute=None, concurrent=2) is None


async def test_a_request_refused_for_concurrency_does_not_count_for_the_minute(
    backend: RuntimeBackend,
) -> None:
    async def ask() -> float | None:
        return await backend.admit("team", requests_per_minute=2, concurrent=1)

    assert await ask() is None
    assert await ask() == 1.0
    await backend.leave("team", concurrent=1)
    assert await ask() is None


async def test_without_limits_everybody_is_admitted(backend: RuntimeBackend) -> None:
    assert await backend.admit("team", requests_per_minute=None, concurrent=None) is None
    await backend.leave("team", concurrent=None)


async def test_health_of_long_ago_is_forgotten(backend: RuntimeBackend, clock: Clock) -> None:
    await fail(backend, 3)
    clock.advance(2 * 86_400)

    await backend.sweep()

    assert await backend.health() == []
