"""Each cause alone: the link, the reason word, the condition and the exit code are the expected ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.matrix.causes import Cause, every_cause
from tests.matrix.judged import differences, verified
from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import copied, opened


@pytest.mark.parametrize("cause", every_cause(), ids=lambda cause: cause.name)
def test_a_cause_breaks_exactly_the_link_that_it_is_about(
    cause: Cause, applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> list[str]:
        async with opened(copied(applied, tmp_path / "world"), clock) as world:
            await cause.inject(world)
            report, proofs = await verified(world)
            return differences(report, proofs, [cause])

    assert run(main) == []


def test_an_untouched_world_is_ready(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> list[str]:
        async with opened(copied(applied, tmp_path / "world"), clock) as world:
            report, proofs = await verified(world)
            return differences(report, proofs, [])

    assert run(main) == []
