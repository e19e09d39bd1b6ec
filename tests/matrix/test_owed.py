"""Drills that a change calls for are owed from before it is made until they have run, whatever kills the run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from reconciler.engine.apply import ApplyOptions
from reconciler.engine.planning import make_plan
from reconciler.engine.proof_records import latest_drills
from reconciler.plan.guard import Allowances
from reconciler.proof.drills import DrillKey, DrillReason
from tests.matrix.judged import condition
from tests.matrix.manifests import manifests
from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import World, copied, opened

DRILLED = ("sticky", "streaming", "models")
OTHER_MODEL = {"smart": "gpt-large", "fast": "gpt-large"}
OF_FAST = {"sticky of chat/fast", "streaming of chat/fast", "models of key app"}
OF_SMART = {"sticky of chat/smart", "streaming of chat/smart"}


class Killed(BaseException):
    """Ends a run like a signal: no handler of ours catches it."""


async def killed_apply(world: World, *, drills_done: int, prove: str = "affected") -> None:
    """Apply, and die at the first request of a drill after `drills_done` of them have ended."""
    promoted = False

    async def die(request: httpx.Request) -> None:
        nonlocal promoted
        asks = request.url.host == "gateway.test" and request.url.path.startswith("/v1/")
        if promoted and asks and len(anew(world, before)) >= drills_done:
            raise Killed
        promoted = promoted or request.url.path.endswith("/promote")

    before = times(world)
    world.net.before.append(die)
    with pytest.raises(Killed):
        await world.apply(ApplyOptions(prove=prove))
    world.net.before.remove(die)


def times(world: World) -> Mapping[DrillKey, datetime]:
    return {key: result.at for key, result in latest_drills(world.store).items()}


def anew(world: World, before: Mapping[DrillKey, datetime]) -> set[str]:
    """Return the drills that have run since."""
    return {f"{key.drill} of {key.what}" for key, at in times(world).items() if before.get(key) != at}


@pytest.mark.parametrize(
    ("prove", "owed"), [("affected", OF_FAST), ("all", OF_FAST | OF_SMART)], ids=["affected", "all"]
)
@pytest.mark.parametrize("drills_done", [0, 1])
def test_the_run_after_a_killed_one_drills_what_that_one_promoted_and_no_more(
    drills_done: int, prove: str, owed: set[str], drilled: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> None:
        wanted = manifests(drills=DRILLED, models=OTHER_MODEL)
        async with opened(copied(drilled, tmp_path / "world"), clock, wanted) as world:
            clock.seconds += 1
            at_first = times(world)
            await killed_apply(world, drills_done=drills_done, prove=prove)
            done = anew(world, at_first)
            async with world.workspace() as workspace:
                promised = (await make_plan(workspace, Allowances())).proving
            before, spent = times(world), world.store.spent("all", clock.now().date()).requests
            clock.seconds += 1
            report = await world.apply()

            assert bool(done) == bool(drills_done)
            assert (report.promoted, report.exit_code) == (False, 0)
            assert anew(world, before) == owed - done
            assert promised is not None
            assert world.store.spent("all", clock.now().date()).requests - spent == promised.requests
            before = times(world)
            await world.apply()
            assert anew(world, before) == set()

    run(main)


def test_until_then_reports_say_that_they_are_owed(drilled: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        wanted = manifests(drills=DRILLED, models=OTHER_MODEL)
        async with opened(copied(drilled, tmp_path / "world"), clock, wanted) as world:
            await killed_apply(world, drills_done=0)

            owed = {
                f"{key.drill} of {key.what}"
                for key, result in latest_drills(world.store).items()
                if result.reason is DrillReason.OWED
            }
            assert owed == OF_FAST

    run(main)


def test_a_change_that_is_held_back_as_a_whole_owes_nothing(drilled: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        wanted = manifests(drills=DRILLED, models={"smart": "gpt-large", "fast": "gpt-large"})
        async with opened(copied(drilled, tmp_path / "world"), clock, wanted) as world:
            for name in ("alpha", "gamma", "delta"):
                host = "west" if name == "gamma" else "east"
                account = await world.account(name, host)
                fault = {"kind": "bill-as", "account_id": account["id"], "model": "gpt-large"}
                world.faults(host, {**fault, "set": {"group_id": 77}})
            before = times(world)
            clock.seconds += 1
            report = await world.apply()

            assert (report.promoted, report.exit_code) == (False, 3)
            assert [key.name for key in report.held_back] == ["chat-fast"]
            assert anew(world, before) == set()
            assert condition(report, "Route", "near", "Drilled").status == "True"

    run(main)
