"""`--prove`: which paths a revision must have proved before it may be promoted, and what is left to the guard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.engine.apply import ApplyOptions, Report
from reconciler.engine.planning import make_plan
from reconciler.engine.proof_records import latest, latest_drills
from reconciler.errors import Refused
from reconciler.plan.guard import Allowances
from reconciler.proof.model import PathKey
from tests.matrix.causes import route_paths
from tests.matrix.judged import ready
from tests.matrix.manifests import ACCOUNTS, MODELS, ROUTES, manifests
from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import SECRETS, World, copied, opened

UNPROVED = Allowances(unproved=True)
OTHER_MODEL = {"smart": "gpt-large", "fast": "gpt-large"}
"""The public model fast leads to another shadow model: a change of three of the six paths."""
FAST = [PathKey(route, "fast") for route in sorted(ROUTES)]


class Killed(BaseException):
    """Ends a run like a signal: no handler of ours catches it."""


@contextmanager
def before_promote(world: World) -> Iterator[list[str]]:
    """Note the public model of every probe through the gateway until a revision is promoted, and then the promotion."""
    seen: list[str] = []

    async def look(request: httpx.Request) -> None:
        if request.url.host != "gateway.test" or seen[-1:] == ["promoted"]:
            return
        if request.url.path == "/v1/chat/completions":
            seen.append(json.loads(request.content)["model"])
        elif request.url.path.endswith("/promote"):
            seen.append("promoted")

    world.net.before.append(look)
    try:
        yield seen
    finally:
        world.net.before.remove(look)


async def applied_with(world: World, options: ApplyOptions) -> tuple[Report, list[str], dict[PathKey, Any]]:
    """Apply; return the report, what was probed before promotion, and which revision each path's proof is of."""
    with before_promote(world) as seen:
        report = await world.apply(options)
    async with world.workspace() as workspace:
        proofs = latest(workspace)
    return report, seen, {path: proofs[path].revision for path in route_paths(*ROUTES)}


def test_affected_proves_what_the_change_can_affect_and_no_more(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock, manifests(models=OTHER_MODEL)) as world:
            report, probed, of = await applied_with(world, ApplyOptions())

        assert probed == ["fast", "fast", "fast", "promoted"]
        assert sorted(path for path, revision in of.items() if revision == report.revision) == FAST
        assert (report.promoted, report.exit_code) == (True, 0)

    run(main)


def test_all_proves_every_path_by_the_staged_revision(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock, manifests(models=OTHER_MODEL)) as world:
            report, probed, of = await applied_with(world, ApplyOptions(prove="all"))

        assert sorted(probed) == ["fast"] * 3 + ["promoted"] + ["smart"] * 3
        assert probed[-1] == "promoted"
        assert set(of.values()) == {report.revision}
        assert report.exit_code == 0

    run(main)


def test_all_tells_of_a_path_that_the_change_does_not_touch(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock, manifests(models=OTHER_MODEL)) as world:
            delta = await world.account("delta", "east")
            fault = {"kind": "bill-as", "account_id": delta["id"], "set": {"group_id": 77}}
            world.faults("east", {**fault, "model": "gpt-large"})
            report, _, _ = await applied_with(world, ApplyOptions(prove="all"))

        # Both models lead to the spoilt one now. Only the binding of fast was changed, so only that is held back.
        assert ready(report, "ModelBinding", "chat-smart") == ("False", "WrongGroup")
        assert [key.name for key in report.held_back] == ["chat-fast"]
        assert report.exit_code == 3

    run(main)


DRILLED = ("sticky", "failover", "streaming", "models")


async def drilled_anew(world: World, options: ApplyOptions) -> tuple[Report, set[str], tuple[int, int]]:
    """Apply; return the report, which drills ran, and the requests that the plan promised and the run reserved."""
    before = {key: result.at for key, result in latest_drills(world.store).items()}
    day = world.clock.now().date()
    spent = world.store.spent("all", day).requests
    async with world.workspace() as workspace:
        promised = (await make_plan(workspace, Allowances())).proving
    assert promised is not None
    world.clock.seconds += 1
    report = await world.apply(options)
    ran = {
        f"{key.drill} of {key.what}"
        for key, result in latest_drills(world.store).items()
        if before.get(key) != result.at
    }
    return report, ran, (promised.requests, world.store.spent("all", day).requests - spent)


def test_a_promotion_drills_what_the_change_can_affect_and_costs_what_the_plan_said(
    drilled: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> None:
        wanted = manifests(drills=DRILLED, models=OTHER_MODEL)
        async with opened(copied(drilled, tmp_path / "world"), clock, wanted) as world:
            report, ran, (promised, reserved) = await drilled_anew(world, ApplyOptions())

        assert (report.promoted, report.exit_code) == (True, 0)
        of_fast = {f"{drill} of chat/fast" for drill in ("sticky", "failover", "streaming")}
        assert ran == {*of_fast, "models of key app"}
        assert promised == reserved

    run(main)


def test_a_promotion_drills_what_has_gone_stale_besides(drilled: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        wanted = manifests(drills=DRILLED, models=OTHER_MODEL)
        async with opened(copied(drilled, tmp_path / "world"), clock, wanted) as world:
            clock.seconds += 25 * 3600
            report, ran, (promised, reserved) = await drilled_anew(world, ApplyOptions())

        assert (report.promoted, report.exit_code) == (True, 0)
        assert "sticky of chat/smart" in ran
        # Accounts are no targets of the Acceptance: their probes are promised and not reserved of its budget.
        assert promised == reserved + len(ACCOUNTS) * len(MODELS)

    run(main)


def test_prove_all_drills_everything(drilled: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        wanted = manifests(drills=DRILLED, models=OTHER_MODEL)
        async with opened(copied(drilled, tmp_path / "world"), clock, wanted) as world:
            report, ran, _ = await drilled_anew(world, ApplyOptions(prove="all"))

        assert report.exit_code == 0
        assert {f"{drill} of chat/smart" for drill in ("sticky", "failover", "streaming")} <= ran

    run(main)


def test_a_new_key_is_drilled_and_no_group_beside_it(drilled: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        wanted = manifests(drills=DRILLED, keys=("app", "billing"))
        async with opened(copied(drilled, tmp_path / "world"), clock, wanted) as world:
            report, ran, (promised, reserved) = await drilled_anew(world, ApplyOptions())

        assert (report.promoted, report.exit_code) == (True, 0)
        assert ran == {"models of key billing"}
        assert promised == reserved

    run(main)


def test_none_is_refused_by_the_guard_which_names_the_flag_and_sends_nothing(
    applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock, manifests(models=OTHER_MODEL)) as world:
            before = await world.gateway("GET", "/snapshot")
            with before_promote(world) as seen, pytest.raises(Refused) as refused:
                await world.apply(ApplyOptions(prove="none"))

            assert seen == []
            assert (await world.gateway("GET", "/snapshot")) == before
        assert refused.value.exit_code == 4
        assert "--prove none" in refused.value.message
        assert refused.value.hint == "If it is meant, run again with --allow-unproved"

    run(main)


def test_with_leave_none_promotes_first_and_is_ready_by_a_proof_of_what_is_in_service_now(
    applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock, manifests(models=OTHER_MODEL)) as world:
            report, probed, of = await applied_with(world, ApplyOptions(prove="none", allowances=UNPROVED))

        assert probed == ["promoted"]
        assert report.promoted
        # The proofs of fast were of another shadow model: they say nothing of what is in service now.
        assert sorted(path for path, revision in of.items() if revision == report.revision) == FAST
        assert report.exit_code == 0

    run(main)


def test_what_none_put_into_service_is_not_ready_by_the_proof_of_what_was_there_before(
    applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock, manifests(models=OTHER_MODEL)) as world:
            alpha = await world.account("alpha", "east")
            fault = {"kind": "bill-as", "account_id": alpha["id"], "set": {"upstream_model": "gpt-other"}}
            world.faults("east", fault)
            report, _, _ = await applied_with(world, ApplyOptions(prove="none", allowances=UNPROVED))

        assert report.promoted
        assert ready(report, "ModelBinding", "chat-fast") == ("False", "WrongModel")
        assert report.exit_code == 3

    run(main)


def test_what_none_put_into_service_is_proved_by_the_next_run_after_a_kill(
    applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock, manifests(models=OTHER_MODEL)) as world:

            async def die(request: httpx.Request) -> None:
                if request.url.path == "/v1/chat/completions":
                    raise Killed

            world.net.before.append(die)
            with pytest.raises(Killed):
                await world.apply(ApplyOptions(prove="none", allowances=UNPROVED))
            world.net.before.remove(die)
            report, _, of = await applied_with(world, ApplyOptions())

        assert (report.promoted, report.exit_code) == (False, 0)
        assert {of[path] for path in FAST} == {report.revision}

    run(main)


async def key_made_elsewhere(world: World, group: str) -> str:
    """Make a host key for a group on east as somebody else would; return its value."""
    async with httpx.AsyncClient(transport=world.net, base_url="http://east.test/api/v1") as client:
        who = {"email": "reconciler@example.com", "password": SECRETS["RECONCILE_SECRET_EAST_ISSUER"]}
        token = (await client.post("/auth/login", json=who)).json()["data"]["access_token"]
        body = {"name": f"by hand for {group}", "group_id": (await world.group(group, "east"))["id"]}
        made = await client.post("/keys", json=body, headers={"authorization": f"Bearer {token}"})
    assert made.is_success, made.text
    return str(made.json()["data"]["key"])


def test_another_value_of_a_given_key_is_not_ready_by_the_proof_of_the_value_before(
    applied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(clock: VirtualClock) -> None:
        wanted = manifests(given="east-chat")
        async with opened(copied(applied, tmp_path / "world"), clock, wanted) as world:
            for group, truth in (("east-chat", ("True", "Ready")), ("east-spare", ("False", "WrongGroup"))):
                monkeypatch.setitem(SECRETS, "RECONCILE_SECRET_GIVEN", await key_made_elsewhere(world, group))
                report = await world.apply(ApplyOptions(prove="none", allowances=UNPROVED))

                assert report.promoted
                assert ready(report, "Route", "near") == truth

    run(main)
