"""What a run found goes stale while nobody runs: reading says so, by the clock and by the rule of writing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from reconciler.cli import cli
from reconciler.controller.daemon import Health
from reconciler.controller.web import create_app
from tests.matrix.manifests import manifests
from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import World, opened

DAY_S = 86_400
"""The freshness that the matrix's Acceptance asks for."""


def proved(folder: Path, hours_ago: int) -> str:
    """Apply everything so long ago, with a drill; return the URL of the state store."""

    async def main(clock: VirtualClock) -> None:
        async with opened(folder, clock, manifests(drills=("sticky",))) as world:
            assert (await world.apply()).exit_code == 0

    run(main, start=(datetime.now(UTC) - timedelta(hours=hours_ago)).timestamp())
    return f"sqlite:///{folder}/state.db"


def shown(*command: str) -> str:
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0
    return done.stdout


def by_type(item: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["type"]: each for each in item["status"]["conditions"]}


@pytest.mark.parametrize(("hours_ago", "truth"), [(1, "True"), (25, "Unknown")])
def test_get_describe_and_report_agree_on_what_has_gone_stale(
    tmp_path: Path, hours_ago: int, truth: str
) -> None:
    state = ("--state", proved(tmp_path / "world", hours_ago))

    items = json.loads(shown("get", "-o", "json", *state))["items"]
    assert {by_type(item)["Ready"]["status"] for item in items} == {truth}
    rows = shown("get", *state).splitlines()[1:]
    assert {row.split()[1] for row in rows} == {truth}
    one = by_type(json.loads(shown("describe", "Route/near", "-o", "json", *state)))
    assert {one[name]["status"] for name in ("Proved", "Drilled", "Ready")} == {truth}
    report = json.loads(shown("report", "-o", "json", *state))
    assert (report["summary"]["manifestsReady"] > 0) == (truth == "True")
    if truth == "True":
        return
    text = shown("describe", "route/near", *state)
    for name in ("Proved", "Ready"):
        assert one[name]["reason"] == "Stale"
        assert one[name]["message"].endswith("the proof is too old; run reconcile verify")
    assert "the proof is too old; run reconcile verify" in text
    assert "Stale" in next(row for row in rows if row.startswith("Route/near "))
    first = min(datetime.fromisoformat(each["observedAt"]) for each in proofs_of(items, "Route", "near"))
    assert datetime.fromisoformat(one["Proved"]["lastTransitionTime"]) == first + timedelta(days=1)


def proofs_of(items: list[dict[str, Any]], kind: str, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = next(
        item["status"]["proofs"] for item in items if (item["kind"], item["metadata"]["name"]) == (kind, name)
    )
    return found


async def ready_of(world: World) -> dict[str, tuple[str, str]]:
    """Return Ready of every manifest, and why, as the controller's status API tells it."""
    app = create_app(Health(world.clock.now()), world.store)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://controller.test"
    ) as client:
        items = (await client.get("/api/v1/status")).json()["items"]
    found = {f"{item['kind']}/{item['metadata']['name']}": by_type(item)["Ready"] for item in items}
    return {name: (ready["status"], ready["reason"]) for name, ready in found.items()}


def test_the_controller_tells_what_has_gone_stale_and_what_is_proved_again(
    tmp_path: Path,
) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(tmp_path / "world", clock, manifests()) as world:
            await world.apply()
            fresh = await ready_of(world)
            clock.seconds += DAY_S + 60
            stale = await ready_of(world)
            await world.verify()
            renewed = await ready_of(world)

        assert set(fresh.values()) == {("True", "Ready")} == set(renewed.values())
        assert {truth for truth, _ in stale.values()} == {"Unknown"}
        assert stale["Route/near"] == ("Unknown", "Stale")
        assert stale["ShadowHost/east"] == ("Unknown", "NoProof")
        assert stale["Acceptance/all"] == ("Unknown", "TargetNotReady")

    run(main)
