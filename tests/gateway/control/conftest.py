"""A fresh control plane for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.world import ControlPlane, control_plane


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    async with control_plane(tmp_path) as plane:
        yield plane


@pytest.fixture
async def served(plane: ControlPlane) -> ControlPlane:
    """A control plane whose revision 2 is the small configuration of `world.document`."""
    await plane.store_keys()
    assert await plane.serve() == 2
    return plane
