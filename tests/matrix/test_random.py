"""Seeded runs with several causes at once: no false Ready, and no false Disproved.

A seed also draws what the Acceptance demands and how many managed keys there are; in some runs an apply follows, which
may take nothing out of service but what was disproved.

`RECONCILE_MATRIX_RUNS` says how many runs, `RECONCILE_MATRIX_SEED` which seed is the first. A failure prints its own
seed and the one line that repeats exactly that run.
"""

from __future__ import annotations

import gc
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from reconciler.manifest import ManifestSet
from reconciler.proof.model import PathKey
from tests.matrix.causes import Cause, every_cause, route_paths
from tests.matrix.judged import differences, verified
from tests.matrix.manifests import ROUTES, manifests
from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import World, copied, opened

RUNS = int(os.environ.get("RECONCILE_MATRIX_RUNS", "60"))
FIRST = int(os.environ.get("RECONCILE_MATRIX_SEED", "0"))
BATCH = 20
MOST_CAUSES = 3
KEYS = ("app",), ("app", "billing")


@dataclass(frozen=True)
class Run:
    """What one seed stands for."""

    causes: list[Cause]
    probes: int
    keys: tuple[str, ...]
    withdraws: bool
    """An apply follows, with an Acceptance that withdraws what is disproved."""

    def __str__(self) -> str:
        then = ", then apply" * self.withdraws
        names = ", ".join(cause.name for cause in self.causes) or "no cause"
        return f"{names}; {self.probes} probes, keys {' '.join(self.keys)}{then}"


def drawn(seed: int) -> Run:
    """Return a run: up to three causes, each on a subject of its own."""
    draw = random.Random(seed)
    chosen = draw.sample(every_cause(), draw.randint(0, MOST_CAUSES))
    return Run(
        [each for place, each in enumerate(chosen) if not _hides(chosen[:place], each)],
        probes=draw.choice((1, 1, 1, 2)),
        keys=draw.choice(KEYS),
        withdraws=draw.random() < 0.2,
    )


NEEDS_LAST = ("sticky-pin", "failed-over")
"""Causes by which the last route really serves, which takes an upstream and a host that do."""
LAST_IS_DOWN = ("upstream-refused(delta)", "host-down(east)")


def _hides(before: list[Cause], cause: Cause) -> bool:
    """True when one of two causes would keep the other from taking effect, as two orders for one account do."""
    for each in before:
        for one, other in ((each.name, cause.name), (cause.name, each.name)):
            if one.startswith(NEEDS_LAST) and other in LAST_IS_DOWN:
                return True
    subject = cause.name.partition("(")[2].partition(",")[0].rstrip(")")
    at_billing = cause.name.startswith(("billed-", "row-"))
    return at_billing and any(
        each.name.startswith(("billed-", "row-"))
        and each.name.partition("(")[2].partition(",")[0].rstrip(")") == subject
        for each in before
    )


@cache
def wanted(keys: tuple[str, ...], probes: int, on_disproved: str) -> ManifestSet:
    return manifests(keys=keys, probes=probes, on_disproved=on_disproved)


def repeat(seed: int) -> str:
    return (
        f"RECONCILE_MATRIX_RUNS=1 RECONCILE_MATRIX_SEED={seed} pytest -p no:xdist tests/matrix/test_random.py"
    )


@pytest.fixture(scope="module")
def worlds(applied: Path) -> dict[tuple[str, ...], Path]:
    """Keys -> the files of a world in which they were applied, all of it Ready."""
    one, two = KEYS
    folder = applied.parent / "two-keys"

    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, folder), clock, wanted(two, 1, "report")) as world:
            report = await world.apply()
            assert (report.exit_code, report.outcome.not_ready) == (0, ())

    run(main)
    return {one: applied, two: folder}


def judged(seed: int, template: Path, folder: Path) -> list[str]:
    drawn_run = drawn(seed)
    demanded = wanted(drawn_run.keys, drawn_run.probes, "withdraw" if drawn_run.withdraws else "report")

    async def main(clock: VirtualClock) -> list[str]:
        async with opened(copied(template, folder), clock, demanded) as world:
            for cause in drawn_run.causes:
                await cause.inject(world)
            report, proofs = await verified(world)
            found = differences(report, proofs, drawn_run.causes)
            return (
                [*found, *(await wrongly_withdrawn(world, drawn_run.causes))]
                if drawn_run.withdraws
                else found
            )

    try:
        return run(main)
    finally:
        shutil.rmtree(folder)


async def wrongly_withdrawn(world: World, causes: list[Cause]) -> list[str]:
    """Apply; return a sentence for each path that left service undisproved, or stayed in it though it was disproved."""
    await world.apply()
    document: dict[str, Any] = (await world.gateway("GET", "/snapshot"))["configuration"]
    serving = {
        PathKey(bound["route"], binding["public_model"])
        for binding in document["model_bindings"]
        for bound in binding["routes"]
    }
    found = []
    for path in route_paths(*ROUTES):
        effects = {cause.paths[path].effect for cause in causes if path in cause.paths}
        if "disproved" not in effects and path not in serving:
            found.append(f"{path}: FALSELY WITHDRAWN, touched by {sorted(effects)}")
        if effects == {"disproved"} and path in serving:
            found.append(f"{path}: disproved, and still in service")
    return found


@contextmanager
def without_collecting() -> Iterator[None]:
    """Leave garbage until the end: a batch makes little, and looking for it costs a tenth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("start", range(FIRST, FIRST + RUNS, BATCH))
def test_no_run_is_falsely_ready_or_falsely_disproved(
    start: int, worlds: dict[tuple[str, ...], Path], tmp_path: Path
) -> None:
    wrong = []
    with without_collecting():
        for seed in range(start, min(start + BATCH, FIRST + RUNS)):
            found = judged(seed, worlds[drawn(seed).keys], tmp_path / f"run-{seed}")
            if found:
                wrong.append("\n  ".join([f"seed {seed} ({drawn(seed)})", *found, repeat(seed)]))

    assert not wrong, "\n".join(wrong)
