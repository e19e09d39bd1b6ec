"""One running stack per module; a test that breaks something puts it right again, or starts its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journey.world import World
from tests.support.nursery import Nursery


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory, nursery: Nursery) -> Iterator[World]:
    """A stack to which the example manifests were applied."""
    world = World.start(tmp_path_factory.mktemp("world"), nursery)
    try:
        world.apply()
        yield world
    finally:
        world.stop()


@pytest.fixture
def empty(tmp_path: Path, nursery: Nursery) -> Iterator[World]:
    """An empty stack for one test alone."""
    world = World.start(tmp_path, nursery)
    try:
        yield world
    finally:
        world.stop()
