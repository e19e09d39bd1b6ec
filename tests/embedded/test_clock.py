"""Time stamps in Go's form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.embedded.clock import ManualClock, stamp, unstamp


@pytest.mark.parametrize(
    ("moment", "offset", "text"),
    [
        (0, 0, "1970-01-01T00:00:00Z"),
        (0.25, 0, "1970-01-01T00:00:00.25Z"),
        (0.000001, 0, "1970-01-01T00:00:00.000001Z"),
        (1.5, 480, "1970-01-01T08:00:01.5+08:00"),
        (0, -330, "1969-12-31T18:30:00-05:30"),
    ],
)
def test_trailing_zeros_of_the_fraction_are_cut(moment: float, offset: int, text: str) -> None:
    assert stamp(moment, offset) == text


@given(st.integers(0, 4_000_000_000_000_000), st.integers(-840, 840))
def test_a_stamp_names_its_moment_to_the_microsecond(microseconds: int, offset: int) -> None:
    assert round(unstamp(stamp(microseconds / 1e6, offset)) * 1e6) == microseconds


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="names no time zone"):
        unstamp("2026-01-01T00:00:00")


async def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(5.0)

    clock.advance(2)
    await clock.sleep(3)

    assert clock.now() == 10.0
