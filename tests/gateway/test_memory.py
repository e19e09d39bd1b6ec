"""Memory of large revisions: collections do not walk through them, and they end in slices."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import pytest

from bench.large import large_document
from reconciler.gateway.memory import free
from reconciler.gateway.runtime.backend import BindingKey
from reconciler.gateway.runtime.memory import MemoryBackend
from reconciler.routing.config import parse


class Kept:
    """Something that the collector tracks and a weak reference can watch."""


def _tracked() -> int:
    gc.collect()
    return len(gc.get_objects())


def test_a_revision_is_nothing_that_a_collection_walks_through() -> None:
    large, small = (
        large_document("http://127.0.0.1:9", routes=count, keys=count, groups=count // 10)
        for count in (2000, 20)
    )
    before = _tracked()
    few = parse(small)
    of_few = _tracked() - before
    many = parse(large)
    of_many = _tracked() - before - of_few
    assert len(many.routes) == 100 * len(few.routes)
    assert of_many <= of_few + 20


async def _bind(backend: MemoryBackend, count: int) -> None:
    for number in range(count):
        key = BindingKey("chat", "small", "team-a", f"session-{number}")
        await backend.bind(None, key, "chat-east", 60.0, instead_of=None)


async def test_bindings_are_nothing_that_a_collection_walks_through() -> None:
    backend = MemoryBackend()
    before = _tracked()
    await _bind(backend, 2000)
    assert len(await backend.bindings()) == 2000
    assert _tracked() - before <= 20


def test_a_settled_process_collects_circles_when_told_and_never_all_by_itself() -> None:
    """In a process of its own: what is settled stays so."""
    script = """
import gc, weakref
from reconciler.gateway.memory import collect, settle

class Circle:
    pass

settle()
assert gc.get_freeze_count() > 1000 and gc.isenabled()
full = gc.get_stats()[2]["collections"]
circle = Circle()
circle.itself = circle
watched = weakref.ref(circle)
kept = [[number] for number in range(500_000)]
assert gc.get_stats()[2]["collections"] == full
gc.collect(1)
del circle
assert watched() is not None
collect()
assert watched() is None
"""
    subprocess.run([sys.executable, "-c", script], check=True)


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
