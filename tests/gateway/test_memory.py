"""Memory of large revisions: no collection while they grow, and an end in slices."""

from __future__ import annotations

import gc
import weakref

import pytest

from reconciler.gateway.memory import free, growing


class Kept:
    """Something that the collector tracks and a weak reference can watch."""


def _collections_of(generation: int) -> int:
    found: int = gc.get_stats()[generation]["collections"]
    return found


def test_nothing_is_collected_while_much_is_made() -> None:
    with growing():
        before = [_collections_of(generation) for generation in range(3)]
        kept = [[number] for number in range(200_000)]
        during = [_collections_of(generation) for generation in range(3)]
    assert (during, len(kept)) == (before, 200_000)


def test_what_was_made_is_out_of_the_way_of_the_next_collections() -> None:
    with growing():
        kept = Kept()
    assert any(kept is one for one in gc.get_objects(generation=2))


def _circle() -> weakref.ref[Kept]:
    """Make garbage that only a collection ends, and watch it."""
    circle = Kept()
    circle.itself = circle  # type: ignore[attr-defined]
    return weakref.ref(circle)


def test_garbage_made_before_is_not_carried_along() -> None:
    watched = _circle()
    with growing():
        assert watched() is None


def test_garbage_made_meanwhile_is_collected_some_day() -> None:
    with growing():
        watched = _circle()
    gc.collect()
    assert watched() is None


def test_collections_go_on_when_the_last_of_several_is_done_and_stay_off_where_they_were_off() -> None:
    with growing():
        with growing():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with growing():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_is_freed_goes_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = [Kept() for _ in range(1000)]
    watched = [weakref.ref(one) for one in objects]
    left: list[int] = []
    monkeypatch.setattr(
        "reconciler.gateway.memory.time.sleep",
        lambda _s: left.append(sum(ref() is not None for ref in watched)),
    )
    free(objects)
    assert left == [744, 488, 232, 0]
