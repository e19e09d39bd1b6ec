"""Taking over from a run that was killed: its lease is waited out, and then what it may have under way on a host."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from reconciler.engine.leasing import WRITES, lease_of, leased
from reconciler.errors import LeaseLost
from reconciler.hosts.contract import HostDriver
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


@pytest.mark.parametrize("write", WRITES)
async def test_a_host_is_not_written_to_once_the_lease_is_lost(write: str) -> None:
    driver = Recorder()

    def lost() -> None:
        raise LeaseLost("somebody else has it")

    with pytest.raises(LeaseLost):
        await getattr(leased(cast(HostDriver, driver), lost), write)("what", at="once")
    assert driver.written == []

    await getattr(leased(cast(HostDriver, driver), lambda: None), write)("what", at="once")
    assert driver.written == [(write, ("what",), {"at": "once"})]


def test_every_method_of_a_driver_is_a_write_that_is_checked_or_known_to_be_none() -> None:
    reads = {
        "check", "observe", "get", "normalize", "usage", "usage_of_key", "errors", "marks", "members",
        "correlation", "issuer_balance", "gate", "requests_sent",
    }  # fmt: skip
    by_hand = {"accept_gate"}
    """Only an operator's own command does it, which holds no lease."""

    methods = {
        name for name, _ in inspect.getmembers(HostDriver) if not name.startswith("_") and name.islower()
    }
    assert methods - reads - by_hand - {"close"} == set(WRITES)


class Recorder:
    """A driver of nothing: notes each write."""

    def __init__(self) -> None:
        self.written: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        if name not in WRITES:
            raise AttributeError(name)

        async def write(*args: Any, **options: Any) -> None:
            self.written.append((name, args, options))

        return write


def test_a_run_that_lost_its_lease_leaves_hosts_as_they_are_at_that_moment(tmp_path: Path) -> None:
    """Temporary objects included: the run that took over finds them by their mark."""

    async def main(clock: VirtualClock) -> None:
        async with opened(tmp_path / "world", clock) as world:
            await world.apply()
            writes: list[str] = []

            async def take_over(request: httpx.Request) -> None:
                host, path = request.url.host, request.url.path
                if (
                    host == "gateway.test"
                    or request.method == "GET"
                    or "/auth/" in path
                    or path.startswith("/v1/")
                ):
                    return
                writes.append(f"{host} {request.method} {path}")
                if len(writes) == 1:
                    holder = world.store.holder()
                    assert holder is not None
                    world.store.release(holder)
                    assert world.store.acquire("another", LEASE_S, request_s=REQUEST_S) is not None

            world.net.before.append(take_over)
            with pytest.raises(LeaseLost):
                await world.verify()

            # Each host was asked for its first temporary group; what follows that is never sent.
            assert writes
            assert {write.split(" ", 1)[1] for write in writes} == {"POST /api/v1/admin/groups"}
            assert len(writes) == len(set(writes))

    run(main)
