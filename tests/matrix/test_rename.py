"""Renaming the manifest of an account in service: its successor is proved and bound before the old one goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reconciler.engine.apply import ApplyOptions
from reconciler.plan.guard import Allowances
from tests.matrix.judged import ready
from tests.matrix.manifests import manifests
from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import World, copied, opened

NEW = {"alpha": "alfa", "gamma": "gama"}
"""The better account of a group of two, and the only one of another group."""


async def accounts(world: World) -> dict[str, list[int]]:
    """Return the marker of every account -> its groups."""
    found: dict[str, list[int]] = {}
    for host in ("east", "west"):
        for each in await world.rows(host, "/accounts"):
            mark = each["notes"].split(":")[3]
            assert mark not in found, f"{mark} stands twice"
            found[mark] = each["group_ids"]
    return found


async def renamed(applied: Path, folder: Path, clock: VirtualClock, **names: Any) -> None:
    async with opened(copied(applied, folder), clock) as world:
        before = manifests(**{name: value for name, value in names.items() if name != "renamed"})
        world.manifests = before
        assert (await world.apply()).exit_code == 0
        groups = await accounts(world)
        world.manifests = manifests(**names)

        # That the old one goes while it serves is for a person to say, as with any account.
        report = await world.apply(ApplyOptions(Allowances(serving_delete=True)))

        assert (report.exit_code, report.outcome.not_ready, report.held_back, report.left) == (0, (), {}, {})
        assert await accounts(world) == {NEW.get(name, name): bound for name, bound in groups.items()}
        assert ready(report, "ProviderAccount", "alfa") == ("True", "Ready")
        again = await world.apply()
        assert (again.changed, again.plan.warnings) == (False, ())


def test_one_apply_converges(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        await renamed(applied, tmp_path / "world", clock, renamed=NEW)

    run(main)


def test_one_apply_converges_though_the_name_on_the_host_stays(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        names = {"alpha": "first", "gamma": "third"}
        await renamed(applied, tmp_path / "world", clock, renamed=NEW, host_names=names)

    run(main)
