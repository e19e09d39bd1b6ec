"""The daemon's loop: run the journey by interval, one run at a time, and remember how the last one went."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from reconciler.errors import ReconcileError

JITTER_SHARE = 0.1
"""Runs are moved by up to this share of the interval, so that many controllers do not meet."""

ERROR_CHARS = 500

Run = Callable[[], Awaitable[int]]
"""One journey: load, apply, prove. Returns the exit code; raises ReconcileError."""


@dataclass
class Health:
    """How the daemon is doing, for its endpoints."""

    started_at: datetime
    last_run_at: datetime | None = None
    last_success_at: datetime | None = None
    last_error: str = ""
    runs: int = 0
    running: bool = False

    @property
    def ready(self) -> bool:
        """True once a run has come to an end without an error."""
        return self.last_success_at is not None and not self.last_error


@dataclass
class Daemon:
    """Runs the journey every `interval_s` seconds until stopped. A run that fails is logged and tried again."""

    run: Run
    interval_s: float
    log: Callable[[str], None]
    health: Health = field(default_factory=lambda: Health(datetime.now(UTC)))
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _due: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self) -> None:
        """Run until `stop` is called; a run in progress is interrupted, and has cleaned up when this returns."""
        scheduler = AsyncIOScheduler(timezone=UTC)
        trigger = IntervalTrigger(
            seconds=self.interval_s, jitter=int(self.interval_s * JITTER_SHARE), timezone=UTC
        )
        scheduler.add_job(
            self._tick, trigger, next_run_time=datetime.now(UTC), coalesce=True, misfire_grace_time=None
        )
        runs = asyncio.create_task(self._runs())
        scheduler.start()
        try:
            await self._stop.wait()
        finally:
            # The scheduler tells of a tick that it has to cancel as of an error: let the last one end first.
            scheduler.pause()
            await asyncio.sleep(0)
            scheduler.shutdown(wait=False)
            runs.cancel()
            await asyncio.gather(runs, return_exceptions=True)

    def stop(self) -> None:
        """Ask the daemon to end."""
        self._stop.set()

    async def _tick(self) -> None:
        """Say that a run is due. It is over at once: runs are no business of the scheduler's."""
        self._due.set()

    async def _runs(self) -> None:
        while True:
            await self._due.wait()
            await self._journey()
            # A run that took longer than the interval leaves out the ticks that it covered.
            self._due.clear()

    async def _journey(self) -> None:
        health = self.health
        health.running, health.last_run_at = True, datetime.now(UTC)
        try:
            code = await self.run()
        except ReconcileError as error:
            health.last_error = str(error)
            self.log(f"run failed: {error}")
        except Exception as error:  # noqa: BLE001 - a mistake of ours must not end the daemon, nor be hidden
            health.last_error = f"{type(error).__name__}: {error}"[:ERROR_CHARS]
            self.log(f"run failed by a mistake of our own: {traceback.format_exc()}")
        else:
            health.last_error = "" if code == 0 else f"the last run ended with exit code {code}"
            health.last_success_at = datetime.now(UTC) if code == 0 else health.last_success_at
            self.log(f"run ended with exit code {code}")
        finally:
            health.running = False
            health.runs += 1
