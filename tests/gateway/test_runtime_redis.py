"""Redis as the runtime backend: replicas that agree, and what happens when it is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest
import redis

from reconciler.gateway.runtime.backend import BindingKey, HealthKey, Sight
from reconciler.gateway.runtime.redis_backend import RedisBackend
from reconciler.routing.config import Route
from reconciler.routing.cooldown import CooldownRule
from tests.gateway.dataplane.stage import Clock
from tests.support.services import RedisServer

SESSION = BindingKey("chat", "fast", "team", "a" * 32)
ROUTE = Route("best", "chat", "east", "g", "7", "key-best", "1")
HEALTH = HealthKey("east", "7", "key-best")
RULE = CooldownRule(threshold=3, window_s=30, cooldown_s=10, max_cooldown_s=100)


@asynccontextmanager
async def replicas(
    url: str, clock: Clock, count: int = 2, **options: Any
) -> AsyncIterator[list[RedisBackend]]:
    plain: dict[str, Any] = {"clock": clock, "jitter": lambda: 0.0, "timeout_s": 5.0}
    made = [await RedisBackend.open(url, **{**plain, **options}) for _ in range(count)]
    yield made
    for backend in made:
        await backend.aclose()


async def fail(backend: RedisBackend, rule: CooldownRule = RULE) -> None:
    await backend.failed(None, HEALTH, rule, failure_class="reset", trial=False, retry_after_s=None)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what happens in another process' time; the test's own time-out is the limit."""
    reached = await condition()
    while not reached:
        await asyncio.sleep(0.02)
        reached = await condition()


async def test_replicas_share_bindings_at_once(redis_url: str) -> None:
    async with replicas(redis_url, Clock()) as (one, two):
        await one.bind(None, SESSION, "best", 60, instead_of=None)

        assert (await two.look(None, SESSION, 60)).bound == "best"


async def by_call(backend: RedisBackend) -> Sight:
    seen: asyncio.Future[Sight] = asyncio.get_running_loop().create_future()
    backend.look_then(SESSION, 60, seen.set_result)
    return await seen


async def test_a_look_by_call_teaches_redis_a_script_that_it_forgot(redis_url: str) -> None:
    async with replicas(redis_url, Clock(), count=1) as (one,):
        await one.bind(None, SESSION, "best", 60, instead_of=None)
        redis.Redis.from_url(redis_url).script_flush()

        assert (await by_call(one)).bound == "best"


async def test_a_look_by_call_is_answered_from_memory_when_redis_is_gone(redis_server: RedisServer) -> None:
    async with replicas(redis_server.url, Clock(), count=1) as (one,):
        redis_server.stop()
        await one.bind(None, SESSION, "best", 60, instead_of=None)

        assert (await by_call(one)).bound == "best"


async def test_replicas_share_cooldowns(redis_url: str) -> None:
    async with replicas(redis_url, Clock()) as (one, two):
        await fail(one)
        await fail(two)
        await fail(one)

        async def cooling() -> bool:
            return (await two.look(None, None, None)).unavailable(ROUTE) == "cooling"

        await until(cooling)


async def test_of_all_replicas_one_gets_the_trial(redis_url: str) -> None:
    clock = Clock()
    async with replicas(redis_url, clock, count=3) as backends:
        for _ in range(3):
            await fail(backends[0])
        clock.advance(10)

        claims = await asyncio.gather(*[backend.claim_trial(None, HEALTH, 60) for backend in backends * 10])

        assert claims.count(True) == 1


async def test_no_failure_is_lost_when_replicas_count_at_once(redis_url: str) -> None:
    rule = CooldownRule(threshold=100)
    async with replicas(redis_url, Clock(), count=3) as backends:
        await asyncio.gather(*[fail(backend, rule) for backend in backends * 10])

        assert (await backends[0].health())[0].failures == 30


async def test_of_all_replicas_one_reports_an_expired_binding(redis_url: str) -> None:
    clock = Clock()
    async with replicas(redis_url, clock) as (one, two):
        for number in range(1200):
            await one.bind(None, SESSION._replace(session=f"s{number}"), "best", 60, instead_of=None)
        clock.advance(61)

        swept = await asyncio.gather(one.sweep(), two.sweep())

        gone = [binding.key.session for batch in swept for _, binding in batch]
        assert len(gone) == len(set(gone)) == 1200


async def test_limits_hold_across_replicas(redis_url: str) -> None:
    async with replicas(redis_url, Clock()) as backends:
        asked = [backend.admit("team", requests_per_minute=5, concurrent=3) for backend in backends * 5]
        waits = await asyncio.gather(*asked)

        assert waits.count(None) == 3
        served = backends[waits.index(None) % 2]
        await served.leave("team", concurrent=3)
        assert await backends[1].admit("team", requests_per_minute=5, concurrent=3) is None


async def test_what_a_dead_replica_ran_no_longer_counts(redis_url: str) -> None:
    async with replicas(redis_url, Clock()) as (one, two):
        assert await one.admit("team", requests_per_minute=None, concurrent=1) is None
        assert await two.admit("team", requests_per_minute=None, concurrent=1) == 1.0
        with redis.Redis.from_url(
            redis_url
        ) as client:  # what its expiry does to a process without life signs
            client.delete(f"reconciler:alive:{one._limits._replica}")

        assert await two.admit("team", requests_per_minute=None, concurrent=1) is None


async def test_what_a_replica_ran_that_was_killed_does_not_count_for_the_one_of_its_name(
    redis_url: str,
) -> None:
    async with replicas(redis_url, Clock(), 1, replica="gateway-0") as (killed,):
        assert await killed.admit("team", requests_per_minute=None, concurrent=1) is None
        async with replicas(redis_url, Clock(), 1, replica="gateway-0") as (again,):
            with redis.Redis.from_url(redis_url) as client:
                assert client.delete(f"reconciler:alive:{killed._limits._replica}")

                assert await again.admit("team", requests_per_minute=None, concurrent=1) is None


async def test_gateways_with_different_prefixes_do_not_meet(redis_url: str) -> None:
    clock = Clock()
    async with replicas(redis_url, clock, 1) as (one,), replicas(redis_url, clock, 1, prefix="b") as (two,):
        await one.bind(None, SESSION, "best", 60, instead_of=None)

        assert (await two.look(None, SESSION, 60)).bound is None


async def test_only_the_index_that_sweeps_empty_has_no_end_in_redis(redis_url: str) -> None:
    async with replicas(redis_url, Clock(), 1) as (one,):
        await one.bind(None, SESSION, "best", 60, instead_of=None)
        await one.bind("drill-1", SESSION, "best", 60, instead_of=None)
        await one.failed("drill-1", HEALTH, RULE, failure_class="x", trial=False, retry_after_s=None)
        await one.admit("team", requests_per_minute=5, concurrent=5)
        with redis.Redis.from_url(redis_url, decode_responses=True) as client:
            endless = {name for name in client.scan_iter() if client.ttl(name) == -1}

    assert endless == {"reconciler:real:bindings"}


async def test_when_redis_is_gone_requests_are_served_from_memory_and_it_recovers_alone(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with replicas(redis_server.url, Clock(), 1) as (one,):
        await one.bind(None, SESSION, "best", 60, instead_of=None)
        for _ in range(3):
            await fail(one)
        redis_server.stop()

        sight = await one.look(None, SESSION, 60)
        assert (sight.bound, sight.unavailable(ROUTE)) == (None, "cooling")
        assert one.degraded
        assert await one.bind(None, SESSION, "spare", 60, instead_of=None) == "spare"
        assert (await one.look(None, SESSION, 60)).bound == "spare"
        assert await one.admit("team", requests_per_minute=5, concurrent=5) is None
        assert await one.namespaces() == []
        assert await one.sweep() == []

        redis_server.start()

        async def recovered() -> bool:
            return not one.degraded

        await until(recovered)
        assert (await one.look(None, SESSION, 60)).bound is None  # this Redis came back empty
        assert await one.bind(None, SESSION, "best", 60, instead_of=None) == "best"
        await fail(one)
    assert "is gone" in caplog.text
    assert "answers again" in caplog.text


async def test_what_runs_is_told_to_a_redis_that_came_back(redis_server: RedisServer) -> None:
    async with replicas(redis_server.url, Clock(), 1) as (one,):
        assert await one.admit("team", requests_per_minute=None, concurrent=2) is None
        redis_server.stop()
        assert await one.admit("team", requests_per_minute=None, concurrent=2) is None
        redis_server.start()

        async def recovered() -> bool:
            return not one.degraded

        await until(recovered)
        assert await one.admit("team", requests_per_minute=None, concurrent=2) == 1.0
        await one.leave("team", concurrent=2)
        assert await one.admit("team", requests_per_minute=None, concurrent=2) is None


async def test_a_redis_that_stalls_costs_one_time_out_and_then_nothing(redis_server: RedisServer) -> None:
    async with replicas(redis_server.url, Clock(), 1, timeout_s=0.2) as (one,):
        redis_server.pause()

        await asyncio.gather(*[one.look(None, SESSION, 60) for _ in range(50)])
        assert one.degraded
        began = asyncio.get_running_loop().time()
        for _ in range(50):
            await one.look(None, SESSION, 60)
        assert asyncio.get_running_loop().time() - began < 0.2 * 50 / 2

        redis_server.resume()

        async def recovered() -> bool:
            return not one.degraded

        await until(recovered)


async def test_a_redis_that_is_not_there_at_the_start_is_waited_for(redis_server: RedisServer) -> None:
    redis_server.stop()
    async with replicas(redis_server.url, Clock(), 1) as (one,):
        assert one.degraded
        assert await one.bind(None, SESSION, "best", 60, instead_of=None) == "best"
        redis_server.start()

        async def recovered() -> bool:
            return not one.degraded

        await until(recovered)


async def test_a_password_is_used_and_never_shown(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("requirepass", "canary-redis-password")
    right = redis_server.url.replace("redis://", "redis://:canary-redis-password@")
    wrong = redis_server.url.replace("redis://", "redis://:canary-wrong-password@")
    async with replicas(right, Clock(), 1) as (good,), replicas(wrong, Clock(), 1) as (bad,):
        assert (good.degraded, bad.degraded) == (False, True)
        assert "canary" not in repr((vars(good), vars(bad)))
    assert "canary" not in caplog.text


@pytest.mark.parametrize("url", ["http://x", "redis://", "nonsense"])
def test_an_unusable_url_is_an_error_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="Redis URL"):
        RedisBackend(url)


async def test_connection_lost_while_it_comes_up_is_made_again(redis_url: str) -> None:
    """A connection that broke in its first moments was taken for up: the process then decided alone for ever."""
    async with replicas(redis_url, Clock(), count=1) as (backend,):
        link, came_up, times = backend._link, backend._came_up, 0

        async def comes_up_and_breaks_once() -> None:
            nonlocal times
            times += 1
            await came_up()
            if times == 1:
                assert link._wire is not None
                link._wire.abort()

        link._on_up = comes_up_and_breaks_once
        assert link._wire is not None
        link._wire.abort()

        async def shared_again() -> bool:
            return times > 1 and not backend.degraded

        await until(shared_again)


@contextmanager
def refusing_writes(server: RedisServer) -> Iterator[None]:
    """Let Redis answer every write with an error, as a full one does, or a replica that nobody promoted yet."""
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory", 1)
        try:
            yield
        finally:
            client.config_set("maxmemory", 0)


async def _until_shared_again(backend: RedisBackend) -> None:
    async def shared() -> bool:
        return not backend.degraded

    await until(shared)


async def test_a_redis_that_refuses_writes_at_the_start_is_waited_for(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncExitStack() as stack:
        with refusing_writes(redis_server):
            (one,) = await stack.enter_async_context(replicas(redis_server.url, Clock(), 1))
            assert one.degraded
            assert await one.bind(None, SESSION, "best", 60, instead_of=None) == "best"
        assert "refuses us" in caplog.text
        await _until_shared_again(one)


async def test_a_redis_that_refuses_writes_as_it_comes_back_is_tried_again_and_told_what_runs(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with replicas(redis_server.url, Clock(), 1) as (one,):
        with refusing_writes(redis_server):
            assert one._link._wire is not None
            one._link._wire.abort()

            async def refused() -> bool:
                return "refuses us" in caplog.text

            await until(refused)
            assert one.degraded
            assert await one.admit("team", requests_per_minute=5, concurrent=1) is None
        await _until_shared_again(one)
        assert await one.admit("team", requests_per_minute=None, concurrent=1) == 1.0


async def test_a_redis_that_refuses_every_write_does_not_flood_the_log(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with replicas(redis_server.url, Clock(), 1) as (one,):
        with refusing_writes(redis_server):
            for number in range(20):
                session = SESSION._replace(session=str(number))
                assert await one.bind(None, session, "best", 60, instead_of=None) == "best"
    assert caplog.text.count("refuses a command") == 1


async def test_what_ends_or_begins_while_redis_refuses_writes_is_counted_once_it_takes_them(
    redis_server: RedisServer,
) -> None:
    limits: dict[str, Any] = {"requests_per_minute": None, "concurrent": 1}
    async with replicas(redis_server.url, Clock(), 2) as (one, two):
        assert await one.admit("ends", **limits) is None
        with refusing_writes(redis_server):
            await one.leave("ends", concurrent=1)
            assert await one.admit("begins", **limits) is None
            assert await one.sweep() == []
        await one._limits.live()

        assert await two.admit("ends", **limits) is None
        assert await two.admit("begins", **limits) == 1.0
        await one.leave("begins", concurrent=1)
        assert await two.admit("begins", **limits) is None


async def test_what_ended_while_redis_was_away_does_not_count_in_one_that_kept_its_memory(
    redis_server: RedisServer,
) -> None:
    async with replicas(redis_server.url, Clock(), 1) as (one,):
        assert await one.admit("team", requests_per_minute=None, concurrent=1) is None
        assert one._link._wire is not None
        one._link._wire.abort()
        await one.leave("team", concurrent=1)
        await _until_shared_again(one)

        assert await one.admit("team", requests_per_minute=None, concurrent=1) is None


async def test_a_health_that_this_version_cannot_read_counts_as_fresh_and_ends_nothing(
    redis_url: str,
) -> None:
    async with replicas(redis_url, Clock()) as (one, two):
        with redis.Redis.from_url(redis_url) as client:
            client.hset("reconciler:real:health", "\x1f".join(HEALTH), b'{"of": "a later version"')
            client.incr("reconciler:real:health-version")

        async def two_is(state: str) -> bool:
            return [health.state for health in two.peek()] == [state]

        await until(lambda: two_is("closed"))
        for _ in range(RULE.threshold):
            await fail(one)
        await until(lambda: two_is("open"))
