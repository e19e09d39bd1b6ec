"""The daemon's loop: run the journey by interval, one run at a time, and remember how the last one went."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from reconciler.errors import ReconcileError

JITTER_SHARE = 0.1
"""Runs are moved by up to this share of the interval, so that many controllers do not meet."""

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
    _current: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """Run until `stop` is called; a run in progress is interrupted cleanly."""
        scheduler = AsyncIOScheduler(timezone=UTC)
        trigger = IntervalTrigger(
            seconds=self.interval_s, jitter=int(self.interval_s * JITTER_SHARE), timezone=UTC
        )
        # One instance only: a run that takes longer than the interval delays the next one, and they never overlap.
        scheduler.add_job(
            self._once,
            trigger,
            next_run_time=datetime.now(UTC),
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )
        scheduler.start()
        try:
            await self._stop.wait()
        finally:
            scheduler.shutdown(wait=False)
            if self._current is not None and not self._current.done():
                self._current.cancel()
                await asyncio.gather(self._current, return_exceptions=True)

    def stop(self) -> None:
        """Ask the daemon to end."""
        self._stop.set()

    async def _once(self) -> None:
        self._current = asyncio.ensure_future(self._journey())
        await asyncio.gather(self._current, return_exceptions=True)

    async def _journey(self) -> None:
        health = self.health
        health.running, health.last_run_at = True, datetime.now(UTC)
        try:
            code = await self.run()
        except ReconcileError as error:
            health.last_error = str(error)
            self.log(f"run failed: {error}")
        else:
            health.last_error = "" if code == 0 else f"the last run ended with exit code {code}"
            health.last_success_at = datetime.now(UTC) if code == 0 else health.last_success_at
            self.log(f"run ended with exit code {code}")
        finally:
            health.running = False
            health.runs += 1
