"""One applied world per module, as files that every test copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import opened


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a world to which the matrix's manifests were applied, all of them Ready."""
    folder = tmp_path_factory.mktemp("matrix") / "applied"

    async def main(clock: VirtualClock) -> None:
        async with opened(folder, clock) as world:
            report = await world.apply()
            assert (report.exit_code, report.outcome.not_ready) == (0, ())

    run(main)
    return folder
