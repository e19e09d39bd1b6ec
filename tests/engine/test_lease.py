"""Taking over from a run that was killed: its lease is waited out, and then what it may have under way on a host."""

from __future__ import annotations

from pathlib import Path

import httpx

from reconciler.engine.leasing import lease_of
from reconciler.remote.transport import REQUEST_S
from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import opened

LEASE_S = 15.0


def vanish(folder: Path, *, ago_s: float) -> float:
    """Return how long, in seconds, a run waits for one that was killed `ago_s` before, until it first writes."""
    writes: list[float] = []

    async def main(clock: VirtualClock) -> float:
        async with opened(folder / "world", clock) as world:
            world.store.acquire("killed", LEASE_S, request_s=REQUEST_S)
            clock.seconds += ago_s
            started = clock.seconds

            async def look(request: httpx.Request) -> None:
                if request.method != "GET":
                    writes.append(clock.seconds)

            world.net.before.append(look)
            await world.apply()
            return writes[0] - started

    return run(main)


def test_after_a_kill_nothing_is_written_before_lease_and_request_are_over(tmp_path: Path) -> None:
    assert vanish(tmp_path, ago_s=LEASE_S) == REQUEST_S


def test_time_that_has_passed_since_the_kill_counts(tmp_path: Path) -> None:
    assert vanish(tmp_path / "some", ago_s=LEASE_S + REQUEST_S - 2) == 2
    assert vanish(tmp_path / "all", ago_s=LEASE_S + REQUEST_S) == 0


def test_a_run_after_one_that_ended_in_order_waits_for_nothing(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> float:
        async with opened(tmp_path / "world", clock) as world, world.workspace() as workspace:
            started = clock.seconds
            for _ in range(2):
                async with lease_of(workspace):
                    pass
            return clock.seconds - started

    assert run(main) == 0
