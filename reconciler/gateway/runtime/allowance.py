"""What each managed key has used of its limits, in this process."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

MINUTE_S = 60.0
BUSY_RETRY_S = 1.0
"""What a request refused for too many concurrent ones is told to wait: any of them may end at any time."""


@dataclass(slots=True)
class _Used:
    times: deque[float] = field(default_factory=deque)
    """Arrivals of the last minute, oldest first; never more than the limit."""
    concurrent: int = 0


class Allowances:
    """Exact counts: never more than `requests_per_minute` admitted in any 60 seconds."""

    def __init__(self) -> None:
        self._used: dict[str, _Used] = {}

    def admit(
        self, managed_key: str, now: float, *, requests_per_minute: int | None, concurrent: int | None
    ) -> float | None:
        """Count a request, or return the seconds to wait. A refused request counts nowhere."""
        if requests_per_minute is None and concurrent is None:
            return None
        used = self._used.setdefault(managed_key, _Used())
        if concurrent is not None and used.concurrent >= concurrent:
            return BUSY_RETRY_S
        if requests_per_minute is not None:
            _forget(used.times, now)
            if len(used.times) >= requests_per_minute:
                return max(0.0, used.times[len(used.times) - requests_per_minute] + MINUTE_S - now)
            used.times.append(now)
        if concurrent is not None:
            used.concurrent += 1
        return None

    def leave(self, managed_key: str, *, concurrent: int | None) -> None:
        """Give back one concurrent request; `concurrent` as it was given to `admit`."""
        used = self._used.get(managed_key)
        if concurrent is not None and used is not None:
            used.concurrent = max(0, used.concurrent - 1)

    def sweep(self, now: float) -> None:
        """Forget keys that nobody uses."""
        for managed_key, used in list(self._used.items()):
            _forget(used.times, now)
            if not used.times and not used.concurrent:
                del self._used[managed_key]


def _forget(times: deque[float], now: float) -> None:
    """Forget what is over, and what a clock that was set back since had put into a far future."""
    while times and times[-1] > now + MINUTE_S:
        times.pop()
    while times and times[0] <= now - MINUTE_S:
        times.popleft()
