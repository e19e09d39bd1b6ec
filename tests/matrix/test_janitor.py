"""An account proof interrupted at any write: everything temporary goes again, and the bindings are as before."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.engine.hostwork import HostWork
from reconciler.engine.leasing import lease_of
from reconciler.engine.prospect import look
from reconciler.engine.proving import Proofs
from reconciler.engine.values import read_values
from tests.matrix.manifests import ACCOUNTS, host_of
from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import HOSTS, World, copied, opened

SUBJECT = "alpha"
HOST = host_of(ACCOUNTS[SUBJECT][0])
STEPS = 7
"""Writes to the host that proving one account with two models takes at least: each is a place to be interrupted at."""


class Killed(BaseException):
    """Ends a run like a signal: no handler of ours catches it."""


async def standing(world: World) -> dict[str, Any]:
    """Return which groups every account serves, and every group and key there is, as the hosts tell it."""
    found: dict[str, Any] = {}
    for host in HOSTS:
        for account in await world.rows(host, "/accounts"):
            found[f"{host}/account/{account['name']}"] = sorted(account["group_ids"])
        found[f"{host}/groups"] = sorted(each["name"] for each in await world.rows(host, "/groups"))
        for user in await world.rows(host, "/users"):
            keys = await world.rows(host, f"/users/{user['id']}/api-keys")
            found[f"{host}/keys/{user['email']}"] = sorted(each["name"] for each in keys)
    return found


class Interruption:
    """Lets `after` writes to the host pass; then `strike` happens at every one, or only at the first."""

    def __init__(self, after: int, strike: Callable[[], object], *, once: bool) -> None:
        self.left, self.strike, self.once = after, strike, once
        self.fell = False

    async def __call__(self, request: httpx.Request) -> None:
        if request.url.host != f"{HOST}.test" or request.method == "GET" or (self.fell and self.once):
            return
        if self.left <= 0:
            self.fell = True
            self.strike()
        self.left -= 1


async def prove_account(world: World) -> None:
    """Prove one account in service, as a run does."""
    async with world.workspace() as workspace, lease_of(workspace) as (fenced, lease):
        values = read_values(fenced.manifests, fenced.reader)
        before = await look(fenced, values)
        work = HostWork.open(fenced, values, lease, before.observed)
        await Proofs(fenced, lease, work).accounts_in_service([SUBJECT], before.observed)


@contextlib.contextmanager
def interrupted(world: World, interruption: Interruption) -> Any:
    world.net.before.append(interruption)
    try:
        yield
    finally:
        world.net.before.remove(interruption)


def die() -> None:
    raise Killed


@pytest.mark.parametrize("after", range(STEPS))
def test_after_a_kill_the_next_run_removes_everything_temporary(
    after: int, applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock) as world:
            before = await standing(world)
            with interrupted(world, Interruption(after, die, once=False)), pytest.raises(Killed):
                await prove_account(world)
            clock.seconds += 2e7  # the killed run's lease ends

            report = await world.verify()

            assert await standing(world) == before
            assert report.exit_code == 0

    run(main)


@pytest.mark.parametrize("after", range(STEPS))
def test_after_a_cancel_nothing_temporary_outlives_the_next_run(
    after: int, applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock) as world:
            before = await standing(world)
            proving = asyncio.ensure_future(prove_account(world))
            strike = Interruption(after, proving.cancel, once=True)
            with interrupted(world, strike), contextlib.suppress(asyncio.CancelledError):
                await proving
            assert strike.fell

            await world.verify()

            assert await standing(world) == before

    run(main)
