"""How many requests a user and an account may have under way at once; who comes later waits.

Source: sub2api v0.1.179, `internal/handler/gateway_helper.go` (concurrency helper).
"""

from __future__ import annotations

import asyncio

from reconciler.embedded.state import Host


class NoSlot(Exception):
    """The wait for a slot was too long."""


async def take(host: Host, slots: dict[int, int], owner: int, limit: int) -> None:
    """Take one slot of `owner`; 0 or less means no limit. Raises NoSlot after `slot_wait_s`."""
    if limit > 0 and slots.get(owner, 0) >= limit:
        try:
            async with asyncio.timeout(host.settings.slot_wait_s):
                while slots.get(owner, 0) >= limit:
                    host.runtime.slot_freed.clear()
                    await host.runtime.slot_freed.wait()
        except TimeoutError:
            raise NoSlot from None
    slots[owner] = slots.get(owner, 0) + 1


def free(host: Host, slots: dict[int, int], owner: int) -> None:
    """Give a slot back."""
    slots[owner] = max(slots.get(owner, 0) - 1, 0)
    host.runtime.slot_freed.set()
