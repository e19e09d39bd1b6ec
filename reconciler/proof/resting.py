"""Waiting out a host that lets accounts rest after upstream failures: it shows that nowhere, and it ends by itself.

A path whose upstream has just come back is refused meanwhile by a host whose accounts all look healthy. Only after the
rest can a refusal be held against the path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from reconciler.errors import RemoteError
from reconciler.hosts.contract import HostDriver
from reconciler.proof.clock import Clock


@dataclass(frozen=True)
class Rests:
    """What one run waits for on each host: at most one rest, which every path and account on it shares."""

    tell: Callable[[str], None] = lambda _: None
    """Told in words of the wait on each host, before it begins."""

    _over_at: dict[str, float] = field(default_factory=dict)
    """Host -> monotonic second by which every rest is over that began before the first refusal."""

    _failing: set[tuple[str, str]] = field(default_factory=set)
    """(host, account id) of those whose upstream has failed in this very run: they rest for good reason."""

    def failed(self, host: str, accounts: Iterable[str]) -> None:
        """Note accounts whose upstream does not serve, so that no other path waits for their rest."""
        self._failing.update((host, account) for account in accounts)

    async def waited_out(
        self, clock: Clock, driver: HostDriver, host: str, correlation_id: str | None, accounts: Iterable[str]
    ) -> bool:
        """Wait and return True when a refused request may be asked again; False at once when it was refused for good.

        `correlation_id` is the host's own id of the first refusal, `accounts` are the host's ids of those that might
        have served. A rest that begins later is due to failures that are still going on, so it is not waited for.
        """
        hoped_for = [account for account in accounts if (host, account) not in self._failing]
        if not driver.CAPABILITIES.rest_s or not await _asked_nobody(driver, correlation_id, hoped_for):
            return False
        first = host not in self._over_at
        over_at = self._over_at.setdefault(host, clock.monotonic() + driver.CAPABILITIES.rest_s)
        left_s = over_at - clock.monotonic()
        if left_s <= 0:
            return False
        if first:
            self.tell(
                f"{host} lets accounts rest after failures of their upstream: waiting {left_s:.0f} s for it"
            )
        await clock.sleep(left_s)
        return True


async def _asked_nobody(driver: HostDriver, correlation_id: str | None, accounts: Iterable[str]) -> bool:
    """True when the host's error log says that no account was asked, though one of them is healthy by its marks."""
    if correlation_id is None:
        return False
    try:
        rows = await driver.errors(correlation_id)
        if not rows or any(row.account_id is not None for row in rows):
            return False
        for account in accounts:
            if (await driver.marks(account)).healthy:
                return True
    except RemoteError:
        return False
    return False
