"""Fencing tokens: a reconciler that lost its lease cannot write any more."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from reconciler.gateway.refusals import Clash
from reconciler.gateway.storage import schema


@dataclass(frozen=True)
class Fence:
    """The number of a lease of one installation: it grows each time the lease changes hands."""

    installation: str
    number: int


def check_fence(connection: Connection, fence: Fence | None) -> None:
    """Remember the highest number seen; no fence, no check. Raises Clash (`stale-fence`) for a lower one."""
    if fence is None:
        return
    table = schema.fences
    mine = table.c.installation == fence.installation
    seen = connection.scalar(select(table.c.fence).where(mine))
    if seen is None:
        connection.execute(table.insert().values(installation=fence.installation, fence=fence.number))
    elif fence.number < seen:
        raise Clash(
            "stale-fence", f"fence {fence.number} of {fence.installation!r} is stale: {seen} was seen"
        )
    elif fence.number > seen:
        connection.execute(table.update().where(mine).values(fence=fence.number))
