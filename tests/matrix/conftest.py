"""One applied world per module, as files that every test copies; all of them in memory."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.matrix.manifests import manifests
from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import copied, opened

MEMORY = Path("/dev/shm")  # the folder made in it is private


def _folder() -> Path:
    """Make a folder in memory where there is such a thing: a world writes three databases, and keeps none."""
    return Path(tempfile.mkdtemp(prefix="matrix-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    folder = _folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def applied() -> Iterator[Path]:
    """The files of a world to which the matrix's manifests were applied, all of them Ready."""
    folder = _folder()

    async def main(clock: VirtualClock) -> None:
        async with opened(folder / "applied", clock) as world:
            report = await world.apply()
            assert (report.exit_code, report.outcome.not_ready) == (0, ())

    run(main)
    yield folder / "applied"
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def drilled(request: pytest.FixtureRequest, applied: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the applied world after all the drills that the module calls `DRILLED`."""
    folder = copied(applied, tmp_path_factory.mktemp("drilled") / "world")

    async def main(clock: VirtualClock) -> None:
        async with opened(folder, clock, manifests(drills=request.module.DRILLED)) as world:
            assert (await world.apply()).exit_code == 0

    run(main)
    return folder
