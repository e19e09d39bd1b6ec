from __future__ import annotations

import asyncio

from reconciler.manifest.shadow_host import RequestBudget
from reconciler.remote.budget import Budget
from tests.support.fake_time import FakeTime


def budget(time: FakeTime, *, rate: float = 10, burst: int = 2, in_flight: int = 16) -> Budget:
    limits = RequestBudget(requests_per_second=rate, burst=burst, max_in_flight=in_flight)
    return Budget(limits, clock=time.clock, sleep=time.sleep)


async def spend(budget: Budget, times: int) -> None:
    for _ in range(times):
        async with budget.admit():
            pass


async def test_a_burst_goes_out_at_once_and_the_rest_at_the_rate() -> None:
    time = FakeTime()

    await spend(budget(time, rate=10, burst=2), 5)

    assert [round(wait, 3) for wait in time.slept] == [0.1, 0.1, 0.1]


async def test_a_pause_fills_the_bucket_no_higher_than_the_burst() -> None:
    time = FakeTime()
    limited = budget(time, rate=10, burst=2)
    await spend(limited, 2)
    time.seconds += 3600

    await spend(limited, 3)

    assert [round(wait, 3) for wait in time.slept] == [0.1]


async def test_a_hold_stops_everybody_until_it_ends() -> None:
    time = FakeTime()
    limited = budget(time, burst=100)
    limited.hold(7)
    limited.hold(3)

    await spend(limited, 1)

    assert time.slept == [7]


async def test_no_more_than_so_many_are_under_way() -> None:
    limited, under_way, most = budget(FakeTime(), burst=100, in_flight=3), 0, 0

    async def work() -> None:
        nonlocal under_way, most
        async with limited.admit():
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1

    await asyncio.gather(*[work() for _ in range(20)])

    assert most == 3
