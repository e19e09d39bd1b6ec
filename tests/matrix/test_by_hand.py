"""Causes brought about by real means: an operator's hand, real traffic, a spent budget, a gateway that is gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from reconciler.engine.apply import Report
from reconciler.errors import RemoteError
from reconciler.gateway.app import open_gateway
from reconciler.gateway.settings import Settings
from reconciler.proof.model import ADVICE, Link, PathKey, PathProof, Reason, Status
from tests.matrix.causes import route_paths
from tests.matrix.judged import condition, ready, verified
from tests.matrix.manifests import ROUTES, manifests
from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import SECRETS, Gatewards, World, copied, opened

Proofs = dict[PathKey, PathProof]


def in_world(
    applied: Path, tmp_path: Path, spoil: Callable[[World], Awaitable[None]], **changes: Any
) -> tuple[Report, Proofs]:
    async def main(clock: VirtualClock) -> tuple[Report, Proofs]:
        async with opened(copied(applied, tmp_path / "world"), clock, manifests(**changes)) as world:
            await spoil(world)
            return await verified(world)

    return run(main)


def why(proofs: Proofs, route: str) -> set[tuple[Link, Status, Reason]]:
    broken = [proofs[path].broken for path in route_paths(route)]
    return {(each.link, each.status, each.reason) for each in broken if each is not None}


def test_a_gateway_key_bound_to_another_group_is_disproved(applied: Path, tmp_path: Path) -> None:
    async def spoil(world: World) -> None:
        issuer = next(
            each for each in await world.rows("east", "/users") if each["email"] == "reconciler@example.com"
        )
        keys = await world.rows("east", f"/users/{issuer['id']}/api-keys")
        group = await world.group("east-chat", "east")
        other = await world.group("east-spare", "east")
        key = next(each for each in keys if each["group_id"] == group["id"])
        await world.admin("east", "PUT", f"/api-keys/{key['id']}", {"group_id": other["id"]})

    report, proofs = in_world(applied, tmp_path, spoil)

    assert why(proofs, "near") == {(Link.PROVED, Status.BROKEN, Reason.WRONG_GROUP)}
    assert all(proofs[path].disproved for path in route_paths("near"))
    assert ready(report, "Route", "near")[0] == "False"
    assert why(proofs, "beside") == why(proofs, "spare") == set()
    assert report.exit_code == 3


def test_a_route_that_real_traffic_has_cooled_is_not_ready(applied: Path, tmp_path: Path) -> None:
    async def spoil(world: World) -> None:
        world.faults("west", {"kind": "status", "status": 503, "path": "/v1/*", "times": 8})
        headers = {"authorization": f"Bearer {SECRETS['RECONCILE_SECRET_KEY_APP']}"}
        async with httpx.AsyncClient(transport=world.net) as client:
            for number in range(40):
                body = {"model": "smart", "messages": [{"role": "user", "content": f"hello {number}"}]}
                url = "http://gateway.test/v1/chat/completions"
                assert (await client.post(url, json=body, headers=headers)).status_code == 200
        world.hosts["west"].host.faults.faults = []

    report, proofs = in_world(applied, tmp_path, spoil)

    assert why(proofs, "beside") == {(Link.RUNTIME, Status.BROKEN, Reason.ROUTE_COOLING)}
    assert ready(report, "Route", "beside") == ("False", "RouteCooling")
    assert ready(report, "Route", "near") == ("True", "Ready")
    assert report.exit_code == 3


def test_a_route_whose_upstreams_all_fail_is_told_as_refused_and_no_fallback_hides_it(
    applied: Path, tmp_path: Path
) -> None:
    async def spoil(world: World) -> None:
        for account in ("alpha", "beta"):
            faults = {"faults": [{"kind": "status", "status": 500}]}
            world.upstreams[account].faults.replace(faults, frozenset({"status"}))

    report, proofs = in_world(applied, tmp_path, spoil)

    assert why(proofs, "near") == {(Link.SERVED, Status.BROKEN, Reason.UPSTREAM_REFUSED)}
    assert ready(report, "Route", "near") == ("False", "UpstreamRefused")
    assert why(proofs, "beside") == why(proofs, "spare") == set()
    assert report.exit_code == 3


def test_a_spent_budget_is_a_reason_and_not_a_failure(applied: Path, tmp_path: Path) -> None:
    async def spoil(world: World) -> None:
        """The budget in the manifests is spent by the apply before."""

    report, proofs = in_world(applied, tmp_path, spoil, max_requests=1)

    over = {(Link.SERVED, Status.INCONCLUSIVE, Reason.OVER_BUDGET)}
    assert [why(proofs, route) for route in ROUTES] == [over] * 3
    assert {ready(report, "Route", route) for route in ROUTES} == {("Unknown", "OverBudget")}
    assert report.exit_code == 3


def test_a_row_that_was_late_proves_the_next_run(applied: Path, tmp_path: Path) -> None:
    async def spoil(world: World) -> None:
        world.faults("west", {"kind": "usage-delay", "seconds": 500})
        report = await world.verify()
        assert ready(report, "Route", "beside") == ("Unknown", "NotProved")
        world.hosts["west"].host.faults.faults = []

    report, proofs = in_world(applied, tmp_path, spoil)

    assert why(proofs, "beside") == set()
    assert report.exit_code == 0


def test_a_gateway_that_is_gone_ends_the_run_with_its_own_exit_code(applied: Path, tmp_path: Path) -> None:
    async def spoil(world: World) -> None:
        world.net.down.add("gateway.test")

    with pytest.raises(RemoteError) as caught:
        in_world(applied, tmp_path, spoil)

    assert caught.value.where == "ControlPlane/gateway"
    assert caught.value.exit_code not in (0, 3)


def test_a_priority_changed_by_hand_is_drift_and_never_ready(applied: Path, tmp_path: Path) -> None:
    async def spoil(world: World) -> None:
        snapshot = await world.gateway("GET", "/snapshot")
        document = snapshot["configuration"]
        for route in document["routes"]:
            route["priority"] = 5 if route["name"] == "spare" else route["priority"]
        body = {"base": snapshot["revision"], "configuration": document, "comment": "by hand"}
        staged = await world.gateway("POST", "/revisions", body)
        await world.gateway("POST", f"/revisions/{staged['revision']}/promote", {})

    report, _ = in_world(applied, tmp_path, spoil)

    assert ready(report, "Route", "spare") == ("False", "Drifted")
    assert report.exit_code == 3


@pytest.mark.parametrize("group, route", [("west-chat", "beside"), ("east-spare", "spare")])
def test_a_route_over_a_suspended_group_is_suspended_stays_as_it_is_and_fails_nothing(
    group: str, route: str, applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock, manifests(suspended=group)) as world:
            before = await world.gateway("GET", "/snapshot")

            for report in (await world.verify(), await world.apply()):
                found = condition(report, "Route", route, "Ready")
                assert (found.status, found.reason) == ("Unknown", "Suspended")
                assert found.message == f"ShadowGroup/{group} is suspended"
                assert ready(report, "Route", "near") == ("True", "Ready")
                assert (report.changed, report.exit_code) == (False, 0)
            assert (await world.gateway("GET", "/snapshot")) == before

    run(main)


def test_a_foreign_channel_over_a_group_is_a_conflict_that_the_plan_warns_of(
    applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock) as world:
            group = await world.group("east-chat", "east")
            channel = {"name": "theirs", "group_ids": [group["id"]]}
            made = await world.admin("east", "POST", "/channels", channel)

            report = await world.apply()

            sentence = "channel 'theirs' on host/east, which is not ours, holds the group"
            assert [each.split(":")[0] for each in report.plan.warnings] == ["ShadowGroup/east-chat"]
            assert sentence in report.plan.warnings[0]
            assert (report.changed, report.exit_code) == (False, 3)
            programmed = condition(report, "ShadowGroup", "east-chat", "Programmed")
            assert (programmed.status, programmed.reason) == ("False", "ForeignChannel")
            assert sentence in programmed.message
            assert ready(report, "ShadowGroup", "east-chat") == ("False", "ForeignChannel")
            assert ready(report, "ShadowGroup", "east-spare") == ("True", "Ready")

            await world.admin("east", "DELETE", f"/channels/{made['id']}")
            report = await world.apply()
            assert (report.plan.warnings, report.exit_code) == ((), 0)

    run(main)


def test_channel_and_limit_come_to_a_group_in_service_and_go_again_in_one_apply_each(
    applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock, manifests(channel=True)) as world:
            assert (await world.apply()).exit_code == 0
            assert [each["name"] for each in await world.rows("east", "/channels")] == ["east-chat"]
            assert (await world.group("east-chat", "east"))["rpm_limit"] == 600
            world.manifests = manifests()

            report = await world.apply()

            assert (report.exit_code, report.left, report.plan.skipped) == (0, {}, ())
            assert await world.rows("east", "/channels") == []
            assert ready(report, "ShadowGroup", "east-chat") == ("True", "Ready")
            assert (await world.apply()).changed is False

    run(main)


def test_an_account_of_ours_in_another_group_is_not_called_foreign_and_one_apply_takes_it_out(
    applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock) as world:
            alpha = await world.account("alpha", "east")
            spare = await world.group("east-spare", "east")
            both = {"group_ids": [*alpha["group_ids"], spare["id"]]}
            await world.admin("east", "PUT", f"/accounts/{alpha['id']}", both)

            report, proofs = await verified(world)

            reason = (Link.CONFIGURED, Status.BROKEN, Reason.ACCOUNT_LEAVING)
            assert why(proofs, "spare") == {reason}
            assert ready(report, "ShadowGroup", "east-spare") == ("False", "AccountLeaving")
            report = await world.apply()
            assert (report.exit_code, report.held_back) == (0, {})
            assert (await world.account("alpha", "east"))["group_ids"] == alpha["group_ids"]

    run(main)


def test_a_new_account_that_its_upstream_turns_away_is_held_back_with_what_to_do(
    applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> None:
        wanted = manifests(replaced="account")
        async with opened(copied(applied, tmp_path / "world"), clock, wanted) as world:
            faults = {"faults": [{"kind": "status", "status": 401}]}
            world.upstreams["alpha"].faults.replace(faults, frozenset({"status"}))
            report = await world.apply()

        (why,) = report.held_back.values()
        assert why.startswith("not proved: AccountMarked: account alpha did not serve (status 502)")
        assert why.endswith(f"; {ADVICE[Reason.ACCOUNT_MARKED]}")
        assert ready(report, "ProviderAccount", "alpha") == ("False", "HeldBack")

    run(main)


def test_a_data_plane_that_lost_the_secret_of_probe_tokens_is_told_with_what_it_answered(
    applied: Path, tmp_path: Path
) -> None:
    """Behind the data endpoint stands a gateway of another installation: to it a probe token is nothing."""

    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock) as world:
            settings = Settings(tmp_path / "other", world.folder / "tokens", replica="another-1")
            async with open_gateway(
                settings, now=clock.now, clock=clock.timestamp, upstream=Gatewards(world.net)
            ) as other:
                ours = world.net.apps["gateway.test"]

                async def split(scope: Scope, receive: Receive, send: Send) -> None:
                    inside = scope["type"] == "http" and scope["path"].startswith("/v1/")
                    await (other if inside else ours)(scope, receive, send)

                world.net.apps["gateway.test"] = split
                report, proofs = await verified(world)
                world.net.apps["gateway.test"] = ours

        reason = (Link.SERVED, Status.INCONCLUSIVE, Reason.NO_DECISION_ROW)
        assert [why(proofs, route) for route in ROUTES] == [{reason}] * len(ROUTES)
        message = condition(report, "Route", "near", "Ready").message
        assert "the probe was answered 403, and the control plane has no decision row" in message
        assert message.endswith(f"; {ADVICE[Reason.NO_DECISION_ROW]}")
        assert ready(report, "ProviderAccount", "alpha") == ("True", "Ready")
        assert report.exit_code == 3

    run(main)
