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
from reconciler.cli.report import report_of
from reconciler.controller.daemon import Health
from reconciler.controller.web import create_app
from reconciler.engine.apply import ApplyOptions
from reconciler.engine.proof_records import latest_drills
from reconciler.plan.guard import Allowances
from reconciler.state.model import TOO_OLD
from tests.matrix.causes import upstream_refused
from tests.matrix.judged import condition
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


def refused(folder: Path, hours_ago: int) -> str:
    """Apply everything so long ago, then verify with an upstream that refuses; return the URL of the state store."""

    async def main(clock: VirtualClock) -> None:
        async with opened(folder, clock, manifests(drills=("streaming",))) as world:
            assert (await world.apply()).exit_code == 0
            await upstream_refused("delta").inject(world)
            await upstream_refused("gamma").inject(world)
            for account in ("alpha", "beta"):
                faults = {"faults": [{"kind": "status", "status": 401}]}
                world.upstreams[account].faults.replace(faults, frozenset({"status"}))
            assert (await world.verify()).exit_code == 3

    run(main, start=(datetime.now(UTC) - timedelta(hours=hours_ago)).timestamp())
    return f"sqlite:///{folder}/state.db"


@pytest.mark.parametrize(("hours_ago", "old"), [(1, False), (25, True)])
def test_age_mends_nothing_what_was_broken_stays_so_everywhere_and_says_how_old_that_is(
    tmp_path: Path, hours_ago: int, old: bool
) -> None:
    state = ("--state", refused(tmp_path / "world", hours_ago))

    items = json.loads(shown("get", "-o", "json", *state))["items"]
    found = {f"{item['kind']}/{item['metadata']['name']}": by_type(item) for item in items}
    spare = found["Route/spare"]
    for name in ("Served", "Drilled", "Ready"):
        assert spare[name]["status"] == "False"
        assert spare[name]["message"].endswith(TOO_OLD) == old
    assert spare["Ready"]["reason"] == "UpstreamRefused"
    target = found["Acceptance/all"]["Ready"]
    assert (target["status"], target["reason"]) == ("False", "TargetNotReady")
    assert target["message"].endswith(TOO_OLD) == old
    assert shown("describe", "Route/spare", *state).count(TOO_OLD) == (4 if old else 0)
    assert shown("get", *state).count("False") == shown("get", *state).count(" False ") > 0
    report = json.loads(shown("report", "-o", "json", *state))
    (told,) = [each for each in report["troubles"] if each["subject"] == "route spare, model smart"]
    assert (told["verdict"], told["reason"]) == ("Broken", "UpstreamRefused")
    assert told["message"].endswith(TOO_OLD) == old


def test_a_drill_that_failed_before_another_route_came_first_is_forgotten_with_it(tmp_path: Path) -> None:
    """A result is known by the first route of its time: an old failure must not be told beside the new success."""

    async def main(clock: VirtualClock) -> list[tuple[str, str]]:
        shared = {"near": "east-chat", "beside": "east-chat", "spare": "east-chat"}
        failing = manifests(drills=("failover",), doors=shared)
        async with opened(tmp_path / "world", clock, failing) as world:
            report = await world.apply()
            assert condition(report, "Route", "near", "Drilled").reason == "FallbackShared"
            clock.seconds += 60
            world.manifests = manifests(drills=("failover",), spare=5)
            report = await world.apply(ApplyOptions(allowances=Allowances(max_delete_ratio=1)))
            assert condition(report, "Route", "near", "Drilled").status == "True"
            assert report.exit_code == 0
            clock.seconds += 2 * DAY_S
            return [(each.subject, each.reason) for each in report_of(world.store).troubles]

    assert {reason for _, reason in run(main)} == {"Stale", "NoProof"}


def test_what_nobody_asks_to_be_drilled_any_more_is_not_told(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        shared = {"near": "east-chat", "beside": "east-chat", "spare": "east-chat"}
        async with opened(
            tmp_path / "world", clock, manifests(drills=("failover", "sticky"), doors=shared)
        ) as world:
            await world.apply()
            assert {each.key.drill for each in latest_drills(world.store).values()} == {"failover", "sticky"}
            world.manifests = manifests(drills=("sticky",), doors=shared)
            await world.apply()

            assert {each.key.drill for each in latest_drills(world.store).values()} == {"sticky"}
            assert report_of(world.store).troubles == ()

    run(main)


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
