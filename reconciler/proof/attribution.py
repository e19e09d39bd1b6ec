"""Which usage rows are a probe's, and how surely: the grades, as what a host's log can say.

exact          the row carries the request's own correlation id
exclusive      the host names no request in its rows; but the key's only new row came while only the probe used the key
circumstantial others used the key meanwhile, or several rows came: one of them may be the probe's
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from reconciler.hosts.contract import HostDriver, UsageRow
from reconciler.proof.clock import Clock
from reconciler.proof.model import Grade

ROW_DELAYS_S = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Waits between looks for the usage row; the last repeats until the deadline, and on through the time of grace."""
GRACE = 0.5
"""Share of the deadline for which a row is still looked for after it: a late one is told from one that never comes."""
SLACK = timedelta(minutes=5)
"""How far a host's clock may be from ours. Rows from before the probe are known by their ids, not by their times."""
SETTLE_S = 2.0
"""How long a row that seems to be the only one gets company, if others' requests were just ending when it came."""

COMPANY = timedelta(seconds=30)
"""How long before a probe others must have left the key alone, for their rows may be that late."""
QUIET_STEP_S = 2.0
"""Waits between looks whether they have."""

Others = Callable[[datetime], Awaitable[bool]]
"""Says whether somebody else may have used the key since a moment."""


@dataclass(frozen=True)
class Attributed:
    """The rows that may be the probe's, and the strongest grade that they can carry."""

    rows: tuple[UsageRow, ...]
    grade: Grade
    waited_s: float = 0.0
    """How long after the answer the look began that found the first row; more than the deadline: it came late."""


class Attribution(Protocol):
    """Finds the rows of one probe."""

    async def find(self, correlation_id: str | None, deadline_s: float) -> Attributed:
        """Return what is there once a row is there, or nothing when the deadline and the grace have passed."""


@dataclass(frozen=True)
class ByCorrelation:
    """For hosts that name the request in its row."""

    driver: HostDriver
    clock: Clock

    async def find(self, correlation_id: str | None, deadline_s: float) -> Attributed:
        """Without a correlation id nothing is found: the host is known to give one."""
        if correlation_id is None:
            return Attributed((), Grade.EXACT)

        async def look() -> list[UsageRow]:
            return await self.driver.usage(correlation_id)

        rows, waited_s = await _until(look, self.clock, deadline_s)
        return Attributed(tuple(rows), Grade.EXACT, waited_s)


@dataclass(frozen=True)
class ByKeyAndWindow:
    """For hosts whose rows name no request. `known` are the ids of the rows from before the probe."""

    driver: HostDriver
    clock: Clock
    key_id: str
    others: Others
    since: datetime
    known: frozenset[str] = field(default_factory=frozenset)

    async def find(self, correlation_id: str | None, deadline_s: float) -> Attributed:
        """Look a second time before calling a row the only one: a log is no snapshot."""
        rows, waited_s = await _until(self._new, self.clock, deadline_s)
        if not rows:
            return Attributed((), Grade.CIRCUMSTANTIAL)
        await self.clock.sleep(SETTLE_S)
        rows = await self._new()
        alone = len(rows) == 1 and not await self.others(self.since)
        return Attributed(tuple(rows), Grade.EXCLUSIVE if alone else Grade.CIRCUMSTANTIAL, waited_s)

    async def _new(self) -> list[UsageRow]:
        rows = await rows_of_key(self.driver, self.key_id, self.clock)
        return [row for row in rows if row.row_id not in self.known]


async def attribution(driver: HostDriver, clock: Clock, key_id: str | None, others: Others) -> Attribution:
    """Return how one probe's rows will be found. Called before the probe is sent.

    A key that was not made by us may be anybody's, so its rows prove nothing by themselves. A key that others have just
    used is waited for; one that is never quiet gives no more than circumstantial proof.
    """
    if driver.CAPABILITIES.correlation_header is not None or key_id is None:
        return ByCorrelation(driver, clock)
    for _ in range(int(COMPANY.total_seconds() / QUIET_STEP_S)):
        if not await others(clock.now() - COMPANY):
            break
        await clock.sleep(QUIET_STEP_S)
    since = clock.now() - COMPANY
    known = frozenset(row.row_id for row in await rows_of_key(driver, key_id, clock))
    return ByKeyAndWindow(driver, clock, key_id, others, since, known)


async def rows_of_key(driver: HostDriver, key_id: str, clock: Clock) -> list[UsageRow]:
    """Return the rows of a key around this moment, whatever the host's clock says."""
    now = clock.now()
    return await driver.usage_of_key(key_id, since=now - SLACK, until=now + SLACK)


async def _until(
    look: Callable[[], Awaitable[list[UsageRow]]], clock: Clock, deadline_s: float
) -> tuple[list[UsageRow], float]:
    """Return the rows, and after how many seconds the look began that found them.

    One look falls on the deadline itself and the last on the end of the grace, whatever the rhythm between them.
    """
    started = clock.monotonic()
    deadline, end = started + deadline_s, started + deadline_s * (1 + GRACE)
    delays = iter(ROW_DELAYS_S)
    while True:
        now = clock.monotonic()
        rows = await look()
        if rows or now >= end:
            return rows, now - started
        edge = deadline if now < deadline else end
        await clock.sleep(max(min(next(delays, ROW_DELAYS_S[-1]), edge - clock.monotonic()), 0.0))
