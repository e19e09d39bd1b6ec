"""A run that has nothing to change still sees what somebody did to the hosts, however fresh the proofs are."""

from __future__ import annotations

from pathlib import Path

from reconciler.proof.model import Reason
from tests.matrix.causes import foreign_account, route_paths
from tests.matrix.judged import ready
from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import copied, opened


def test_a_foreign_account_is_reported_by_the_next_apply_and_gone_with_it(
    applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock) as world:
            await foreign_account("near").inject(world)

            report = await world.apply()

            assert (report.exit_code, report.changed) == (3, False)
            assert ready(report, "Route", "near") == ("False", Reason.FOREIGN_ACCOUNT.value)
            assert ready(report, "Route", "beside") == ("True", "Ready")

            stranger = await world.account("stranger", "east")
            await world.admin("east", "DELETE", f"/accounts/{stranger['id']}")

            assert (await world.apply()).exit_code == 0

    run(main)


def test_an_untouched_world_costs_no_probe(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> tuple[int, int]:
        async with opened(copied(applied, tmp_path / "world"), clock) as world:
            before = len((await world.gateway("GET", "/decisions?limit=500"))["items"])
            assert (await world.apply()).exit_code == 0
            return before, len((await world.gateway("GET", "/decisions?limit=500"))["items"])

    before, after = run(main)
    assert before == after > len(route_paths("near"))
