"""What a rehearsal does, an apply of everything with every drill to planes that hold nothing yet, and what it finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.cli.tables import held_back_lines
from reconciler.engine.apply import ApplyOptions, Report
from reconciler.manifest import ManifestSet
from reconciler.proof.drills import DRILLS
from tests.matrix.judged import condition, ready
from tests.matrix.manifests import manifests
from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import opened


def rehearsed(folder: Path, wanted: ManifestSet) -> Report:
    async def main(clock: VirtualClock) -> Report:
        async with opened(folder / "empty", clock, wanted) as world:
            return await world.apply(ApplyOptions(prove="all"))

    return run(main)


def test_a_set_with_nothing_wrong_is_ready_with_every_drill(tmp_path: Path) -> None:
    report = rehearsed(tmp_path, manifests(drills=DRILLS))

    assert (report.exit_code, report.outcome.not_ready, report.held_back) == (0, (), {})
    assert condition(report, "Route", "spare", "Drilled").status == "True"


@pytest.mark.parametrize("priority", [10, 20], ids=["beside it", "behind it"])
def test_a_fallback_that_leads_where_the_first_route_leads_dies_with_it(
    priority: int, tmp_path: Path
) -> None:
    doors = {"near": "east-chat", "beside": "east-chat", "spare": "east-chat"}
    report = rehearsed(tmp_path, manifests(drills=("failover",), doors=doors, spare=priority))

    drilled = condition(report, "Route", "spare", "Drilled")
    assert (drilled.status, drilled.reason) == ("False", "FallbackShared")
    assert "east/east-chat by key east-chat" in drilled.message
    assert report.exit_code == 3


def test_a_fallback_without_an_account_is_held_back_by_its_own_name_and_nothing_else_is_blamed(
    tmp_path: Path,
) -> None:
    report = rehearsed(tmp_path, manifests(drills=DRILLS, suspended="delta"))

    why = {(key.kind, key.name): reason for key, reason in report.held_back.items()}
    assert why[("Route", "spare")] == "configured: NoAccountBound: no account is bound to east-spare"
    # The bindings name the route, so they wait with it; the other routes are not to blame.
    assert set(why) == {("Route", "spare"), ("ModelBinding", "chat-smart"), ("ModelBinding", "chat-fast")}
    assert ready(report, "Route", "spare") == ("False", "HeldBack")
    assert report.exit_code == 3

    told = list(held_back_lines(report))
    chains = [line.strip() for line in told if "Proof of" in line]
    assert [chain.split(":")[0] for chain in chains] == [
        f"Proof of route spare, model {model}" for model in ("fast", "smart")
    ]
    assert sum("configured  BROKEN" in line and "NoAccountBound" in line for line in told) == 2
