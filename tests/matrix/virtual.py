"""Made-up time on a real event loop: sleeping costs nothing, and time moves only when nobody has anything to do."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from datetime import UTC, datetime
from typing import Any, TypeVar

START = 1_800_000_000.0
PATIENCE_S = 0.02
"""Real seconds to wait for a thread (the decision log's writer) before made-up time moves while a request runs."""

T = TypeVar("T")


class VirtualClock:
    """Keeps `proof.chain.Clock`; `embedded` keeps `embedded.clock.Clock` on the same time."""

    def __init__(self, start: float = START) -> None:
        self.seconds = start
        self.busy = 0
        """Requests under way that may wait for a thread."""
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = itertools.count()
        self.embedded = _Embedded(self)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    def timestamp(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        due = self.seconds + max(seconds, 0.0)
        heapq.heappush(self._sleepers, (due, next(self._count), future))
        await future

    def waiting(self) -> bool:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return bool(self._sleepers)

    def step(self) -> None:
        """Move to the next moment at which somebody wakes up."""
        due, _, future = heapq.heappop(self._sleepers)
        self.seconds = max(self.seconds, due)
        future.set_result(None)


class _Embedded:
    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.seconds

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


class _Selector(selectors.DefaultSelector):
    """Moves made-up time instead of waiting."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if (timeout is None or timeout > 0) and self._clock.waiting():
            patience = PATIENCE_S if self._clock.busy else 0.0
            found = super().select(patience if timeout is None else min(timeout, patience))
            if not found:
                self._clock.step()
            return found
        return super().select(timeout)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs what others give to a thread at once: no thread, no order that differs from run to run."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(_Selector(clock))

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        async def work() -> T:
            return func(*args)

        return self.create_task(work())


def run(main: Callable[[VirtualClock], Coroutine[Any, Any, T]], start: float = START) -> T:
    """Run a coroutine from beginning to end in made-up time, which begins at `start`."""
    clock = VirtualClock(start)
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        return runner.run(main(clock))
