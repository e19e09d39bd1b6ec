"""The soak's rule of flat memory: it sees a leak under noise, and neither an early step nor single peaks move it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from bench.memory_course import FLAT_MB_PER_MINUTE, MemoryCourse, median_slope


def _course(total: Callable[[float], float], *, seconds: float = 600.0) -> MemoryCourse:
    """Two processes that are looked at every two seconds; `total` gives MB by second."""
    times = [2.0 * number for number in range(int(seconds / 2))]
    return MemoryCourse([(at, {1: 20.0, 2: total(at) - 20.0}) for at in times])


def _noise(at: float) -> float:
    return math.sin(at) + math.sin(at / 7)


@pytest.mark.parametrize(
    ("what", "total", "flat"),
    [
        ("noise", lambda at: 170 + _noise(at), True),
        ("warming up", lambda at: 170 - 30 * math.exp(-at / 60) + _noise(at), True),
        ("a step in the first half", lambda at: 170 + (10 if at > 200 else 0) + _noise(at), True),
        ("single peaks", lambda at: 170 + (40 if at % 50 < 2 else 0) + _noise(at), True),
        ("twice what is allowed", lambda at: 170 + 2 * FLAT_MB_PER_MINUTE * at / 60 + _noise(at), False),
        ("a leak that begins late", lambda at: 170 + max(0, at - 300) / 20 + _noise(at), False),
        ("getting less", lambda at: 170 - at / 60, True),
    ],
)
def test_flat_is_what_does_not_rise_in_the_last_half(
    what: str, total: Callable[[float], float], *, flat: bool
) -> None:
    course = _course(total)
    assert course.flat is flat, what
    assert ("NOT flat" in course.verdict()) is not flat


def test_short_run_is_not_judged() -> None:
    course = _course(lambda at: 170 + at, seconds=60)
    assert course.flat
    assert "not judged" in course.verdict()


def test_thirds_levels_and_slope_are_what_they_say() -> None:
    course = _course(lambda at: 170 + at / 60)
    assert course.thirds() == pytest.approx((170 + 99 / 60, 170 + 499 / 60))
    assert [round(level, 1) for level in course.levels()] == [20.0, 158.3]
    assert round(course.slope(), 6) == 1.0
    assert median_slope([]) == median_slope([(1.0, 2.0)]) == 0.0
