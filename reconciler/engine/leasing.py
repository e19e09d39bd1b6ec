"""Holding the installation's lease for one run: taken over with care, renewed in the background, and given back."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from copy import copy
from dataclasses import replace
from typing import Any

from reconciler.engine.keeper import Keeper
from reconciler.engine.workspace import Workspace
from reconciler.errors import LeaseLost
from reconciler.hosts.contract import HostDriver
from reconciler.state.model import Lease

WRITES = ("create", "update", "delete", "bind", "top_up")
"""Methods of a driver that change its host: hosts know nothing of fences, so the lease is checked before each."""


@asynccontextmanager
async def lease_of(workspace: Workspace) -> AsyncIterator[tuple[Workspace, Lease]]:
    """Hold the installation's lease, renewed in the background; a run that loses it is cancelled at once.

    A holder that was killed is waited out, and so is what it may have sent: hosts know nothing of fences. Raises
    LeaseLost when somebody else goes on holding it.
    """
    store = workspace.store
    lease = await _acquire(workspace)
    fenced = replace(
        workspace,
        plane=workspace.plane.fenced(f"{workspace.keyring.installation}/{lease.fence}"),
        drivers={
            name: leased(driver, lambda: store.check(lease)) for name, driver in workspace.drivers.items()
        },
    )
    keeper = Keeper(store, lease, asyncio.current_task())
    keeper.start()
    try:
        await _quiet(workspace, lease)
        yield fenced, lease
    except asyncio.CancelledError:
        if keeper.lost is not None:
            raise keeper.lost from None
        raise
    finally:
        keeper.stop()
        with suppress(LeaseLost):
            store.release(lease)


def leased(driver: HostDriver, check: Callable[[], None]) -> HostDriver:
    """Return the driver with `check`, which raises LeaseLost, called right before each of its writes."""
    checked = copy(driver)
    for name in WRITES:
        setattr(checked, name, _checked(getattr(driver, name), check))
    return checked


def _checked(
    write: Callable[..., Awaitable[Any]], check: Callable[[], None]
) -> Callable[..., Awaitable[Any]]:
    async def checked(*args: Any, **options: Any) -> Any:
        check()
        return await write(*args, **options)

    return checked


async def _acquire(workspace: Workspace) -> Lease:
    clock, ttl_s = workspace.clock, workspace.options.lease_s
    until = clock.monotonic() + ttl_s * 1.5
    told = False
    while True:
        holder_name = f"{socket.gethostname()}:{os.getpid()}"
        lease = workspace.store.acquire(holder_name, ttl_s, request_s=workspace.options.request_s)
        if lease is not None:
            return lease
        holder = workspace.store.holder()
        if clock.monotonic() >= until:
            who = holder.holder if holder else "somebody"
            raise LeaseLost(
                f"another reconciler is at work on this installation: {who}", hint="wait until it is done"
            )
        if holder is not None and not told:
            told = True
            workspace.progress.warn(
                f"waiting for {holder.holder}, which holds the lease (a killed one: {ttl_s:g} s)"
            )
        await clock.sleep(min(1.0, ttl_s / 10))


async def _quiet(workspace: Workspace, lease: Lease) -> None:
    """Wait until nothing is under way any more that a holder sent who never gave the lease back."""
    if lease.quiet_at is None:
        return
    wait_s = (lease.quiet_at - workspace.clock.now()).total_seconds()
    if wait_s > 0:
        workspace.progress.warn(
            f"the run before was killed or cut off: waiting {wait_s:.0f} s, for what it sent may still be under way"
        )
        await workspace.clock.sleep(wait_s)
