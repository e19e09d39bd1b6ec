"""Keeping the lease while a run is at work, in a thread: a run that computes for long must not lose it by that."""

from __future__ import annotations

import asyncio
import threading

from reconciler.errors import LeaseLost, Unavailable
from reconciler.state.model import Lease
from reconciler.state.store import Store

RENEWALS = 4
"""How often a lease is renewed within its time: three renewals may fail before it ends."""


class Keeper:
    """Renews a lease until it is stopped; cancels `task` on its own loop when the lease is lost."""

    def __init__(
        self, store: Store, lease: Lease, task: asyncio.Task[object] | None, *, every_s: float | None = None
    ) -> None:
        """`every_s` is the time between renewals; None: a quarter of the lease's."""
        self.lost: LeaseLost | None = None
        self._store = store
        self._lease = lease
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._every_s = lease.ttl_s / RENEWALS if every_s is None else every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop renewing; returns when no renewal is under way any more."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._every_s):
            try:
                self._lease = self._store.renew(self._lease)
            except LeaseLost as error:
                self._give_up(error)
                return
            except Unavailable:
                # The next renewal may succeed; every write checks the lease by itself.
                continue

    def _give_up(self, error: LeaseLost) -> None:
        self.lost = error
        if self._task is not None and not self._stopped.is_set():
            self._loop.call_soon_threadsafe(self._task.cancel)
