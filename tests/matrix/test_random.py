"""Seeded runs with several causes at once: no false Ready, and no false Disproved.

`RECONCILE_MATRIX_RUNS` says how many runs, `RECONCILE_MATRIX_SEED` which seed is the first. A failure prints its own
seed and the one line that repeats exactly that run.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from tests.matrix.causes import Cause, every_cause
from tests.matrix.judged import differences, verified
from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import copied, opened

RUNS = int(os.environ.get("RECONCILE_MATRIX_RUNS", "40"))
FIRST = int(os.environ.get("RECONCILE_MATRIX_SEED", "0"))
BATCH = 20
MOST_CAUSES = 3


def drawn(seed: int) -> list[Cause]:
    """Return the causes of one run: up to three, each on a subject of its own."""
    draw = random.Random(seed)
    chosen = draw.sample(every_cause(), draw.randint(0, MOST_CAUSES))
    return [each for place, each in enumerate(chosen) if not _hides(chosen[:place], each)]


def _hides(before: list[Cause], cause: Cause) -> bool:
    """True when only the first of two orders for one account's billing could take effect."""
    subject = cause.name.partition("(")[2].partition(",")[0].rstrip(")")
    at_billing = cause.name.startswith(("billed-", "row-"))
    return at_billing and any(
        each.name.startswith(("billed-", "row-"))
        and each.name.partition("(")[2].partition(",")[0].rstrip(")") == subject
        for each in before
    )


def repeat(seed: int) -> str:
    return (
        f"RECONCILE_MATRIX_RUNS=1 RECONCILE_MATRIX_SEED={seed} pytest -p no:xdist tests/matrix/test_random.py"
    )


def judged(seed: int, applied: Path, folder: Path) -> list[str]:
    causes = drawn(seed)

    async def main(clock: VirtualClock) -> list[str]:
        async with opened(copied(applied, folder), clock) as world:
            for cause in causes:
                await cause.inject(world)
            report, proofs = await verified(world)
            return differences(report, proofs, causes)

    try:
        return run(main)
    finally:
        shutil.rmtree(folder)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("start", range(FIRST, FIRST + RUNS, BATCH))
def test_no_run_is_falsely_ready_or_falsely_disproved(start: int, applied: Path, tmp_path: Path) -> None:
    wrong = []
    for seed in range(start, min(start + BATCH, FIRST + RUNS)):
        found = judged(seed, applied, tmp_path / f"run-{seed}")
        if found:
            names = ", ".join(cause.name for cause in drawn(seed))
            wrong.append("\n  ".join([f"seed {seed} ({names})", *found, repeat(seed)]))

    assert not wrong, "\n".join(wrong)
