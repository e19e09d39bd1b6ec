"""How much memory processes held over time, and whether that is flat, by a stated rule."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from bench.process import Running, resident_mb

FLAT_MB_PER_MINUTE = 1.0
"""All processes together, in the last half of a run: less is flat. A day would add 1.4 GB at most, if it were real."""
JUDGED_FROM_S = 120.0
"""Of a shorter run the slope says nothing: allocators move single megabytes."""
_MOST_POINTS = 120
"""Samples that slopes are taken between: all pairs of more take seconds."""


@dataclass
class MemoryCourse:
    """Samples of a process and its children, by process."""

    samples: list[tuple[float, Mapping[int, float]]] = field(default_factory=list)
    """(seconds, MB by process id)."""

    def sample(self, at_s: float, process: Running) -> None:
        """Note what is held now."""
        self.samples.append((at_s, {pid: resident_mb(pid) for pid in process.pids()}))

    @property
    def seconds(self) -> float:
        return self.samples[-1][0] - self.samples[0][0] if self.samples else 0.0

    def thirds(self) -> tuple[float, float]:
        """Return the median of all processes together in the first and in the last third, MB."""
        totals = [sum(held.values()) for _, held in self.samples] or [0.0]
        third = max(1, len(totals) // 3)
        return statistics.median(totals[:third]), statistics.median(totals[-third:])

    def levels(self) -> list[float]:
        """Return each process' median over the last third, MB, in the order of their ids."""
        last = self.samples[-max(1, len(self.samples) // 3) :]
        return [statistics.median(held.get(pid, 0.0) for _, held in last) for pid in sorted(last[-1][1])]

    def slope(self) -> float:
        """Return the slope of the last half, MB per minute: the median of the slopes between all pairs of samples."""
        half = [(at, sum(held.values())) for at, held in self.samples[len(self.samples) // 2 :]]
        return 60 * median_slope(half[:: 1 + len(half) // _MOST_POINTS])

    @property
    def flat(self) -> bool:
        """True when nothing speaks against it: the slope of a run that is long enough keeps within the bound."""
        return self.seconds < JUDGED_FROM_S or self.slope() <= FLAT_MB_PER_MINUTE

    def verdict(self) -> str:
        """Return the slope and what it means, for people."""
        if self.seconds < JUDGED_FROM_S:
            return f"not judged: shorter than {JUDGED_FROM_S:.0f} s"
        word = "flat" if self.flat else "NOT flat"
        return f"{self.slope():+.2f} MB per minute: {word} (at most {FLAT_MB_PER_MINUTE:g})"

    def shown(self) -> str:
        """Return twenty of the samples, for an error."""
        some = self.samples[:: max(1, len(self.samples) // 20)]
        return ", ".join(f"{sum(held.values()):.0f}" for _, held in some)


def median_slope(points: Sequence[tuple[float, float]]) -> float:
    """Return Theil and Sen's estimate, which a few outliers do not move; 0 for fewer than two points."""
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 > x1]
    return statistics.median(slopes) if slopes else 0.0
