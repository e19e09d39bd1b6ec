"""What proving costs is reserved before it is sent: requests, tokens and money; over it is a reason, never silence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import httpx
import pytest

from reconciler.engine.budgeting import StoreBudget
from reconciler.engine.cost import Costs
from reconciler.engine.planning import make_plan
from reconciler.engine.policies import Policies
from reconciler.plan.guard import Allowances
from reconciler.proof.drills.model import Candidate, DrillTarget
from reconciler.proof.model import Link, PathKey, Reason, Status
from tests.matrix.causes import route_paths
from tests.matrix.judged import condition, ready, verified
from tests.matrix.manifests import GROUPS, MODELS, ROUTES, manifests
from tests.matrix.virtual import START, VirtualClock, run
from tests.matrix.world import HOSTS, World, copied, opened

DAY = datetime.fromtimestamp(START, UTC).date()
PRICES = dict.fromkeys(MODELS.values(), (1e-06, 8e-06))
"""USD per token asked and answered."""


class Killed(BaseException):
    """Ends a run like a signal: no handler of ours catches it."""


def set_prices(world: World) -> None:
    for name in HOSTS:
        world.hosts[name].host.settings.prices.update(PRICES)


def of_another_day(clock: VirtualClock) -> date:
    """Go on to a day with nothing reserved yet, and return it."""
    clock.seconds += 2 * 86_400
    return clock.now().date()


@contextmanager
def counted(world: World) -> Iterator[list[int]]:
    """Note, for each probe that leaves through the gateway, how many requests were reserved by then."""
    seen: list[int] = []

    async def look(request: httpx.Request) -> None:
        if request.url.host == "gateway.test" and request.url.path == "/v1/chat/completions":
            seen.append(world.store.spent("all", world.clock.now().date()).requests)

    world.net.before.append(look)
    try:
        yield seen
    finally:
        world.net.before.remove(look)


def test_without_a_price_the_money_is_unknown_and_never_nothing(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock, manifests(max_usd=1.0)) as world:
            day = of_another_day(clock)
            report, _ = await verified(world)

            spent = world.store.spent("all", day)
            assert (spent.requests, spent.unpriced, spent.usd) == (6, 6, None)
            within = condition(report, "Acceptance", "all", "WithinBudget")
            assert (within.status, within.reason) == ("True", "WithinBudget")
            assert "6 of 500 requests, 288 of 100000 tokens, unknown of 1 USD" in within.message
            assert report.exit_code == 0

    run(main)


def test_money_is_what_the_hosts_own_rows_say(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock, manifests(max_usd=1.0)) as world:
            day = of_another_day(clock)
            set_prices(world)
            await verified(world)
            await verified(world)

            spent = world.store.spent("all", day)
            rows = [row for name in HOSTS for row in await world.rows(name, "/usage")]
            served = {(await world.group(group, host))["id"] for group, host in GROUPS.items()}
            routed = [row for row in rows if row["group_id"] in served]
            charged = sum(float(row["actual_cost"]) for row in routed if float(row["total_cost"]) > 0)
            assert spent.requests == 12
            assert charged > 0
            # Millionths are rounded up, row by row.
            assert spent.usd == pytest.approx(charged, abs=12e-6)

    run(main)


def test_when_the_money_is_used_up_no_probe_leaves_and_the_reason_says_so(
    applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock, manifests(max_usd=1.0)) as world:
            day = of_another_day(clock)
            set_prices(world)
            first, _ = await verified(world)
            cost = world.store.spent("all", day).micro_usd
            ceiling = cost * 1.5 / 1e6
            world.manifests = manifests(max_usd=ceiling)
            with counted(world) as sent:
                report, proofs = await verified(world)

            broken = [proofs[path].broken for path in route_paths(*ROUTES)]
            over = [each for each in broken if each is not None]
            assert first.exit_code == 0
            assert {(each.link, each.status, each.reason) for each in over} == {
                (Link.SERVED, Status.INCONCLUSIVE, Reason.OVER_BUDGET)
            }
            assert f"of {ceiling} USD of today's budget" in over[0].message
            assert len(sent) == 6 - len(over) < 6
            assert world.store.spent("all", day).micro_usd <= cost * 1.5
            assert "Unknown" in {ready(report, "Route", route)[0] for route in ROUTES}
            assert "False" not in {ready(report, "Route", route)[0] for route in ROUTES}
            within = condition(report, "Acceptance", "all", "WithinBudget")
            assert (within.status, within.reason) == ("False", "OverBudget")
            assert report.exit_code == 3

    run(main)


def test_every_probe_is_reserved_before_it_leaves(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        drills = ("sticky", "failover", "recovery", "models")
        async with opened(copied(applied, tmp_path / "world"), clock, manifests(drills=drills)) as world:
            of_another_day(clock)
            with counted(world) as sent:
                report, _ = await verified(world)

            assert report.exit_code == 0
            assert len(sent) > 30
            assert all(reserved >= number for number, reserved in enumerate(sent, start=1))

    run(main)


@pytest.mark.parametrize("at", [1, 3, 6])
def test_a_crash_between_reserving_and_sending_costs_budget_and_never_exceeds_it(
    at: int, applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock, manifests(max_usd=1.0)) as world:
            day = of_another_day(clock)

            async def die(request: httpx.Request) -> None:
                if request.url.path == "/v1/chat/completions" and len(sent) == at:
                    raise Killed

            with counted(world) as sent:
                world.net.before.append(die)
                with pytest.raises(Killed):
                    await verified(world)
                world.net.before.remove(die)

            killed = world.store.spent("all", day)
            assert killed.requests >= at
            assert (killed.unpriced, killed.usd) == (killed.requests, None)

    run(main)


def test_the_plan_names_a_budget_that_does_not_suffice(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        wanted = manifests(max_requests=3, near=15)
        async with opened(copied(applied, tmp_path / "world"), clock, wanted) as world:
            of_another_day(clock)
            async with world.workspace() as workspace:
                cost = (await make_plan(workspace, Allowances())).proving

        assert cost is not None
        assert (cost.requests, cost.usd) == (14, None)
        (shortage,) = cost.shortages
        assert "Acceptance/all" in shortage
        assert "requests needed, 3 of 3 left" in shortage

    run(main)


def test_the_plan_names_the_money_once_the_hosts_price_is_known(applied: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock, manifests(near=15)) as world:
            set_prices(world)
            await verified(world)
            async with world.workspace() as workspace:
                cost = (await make_plan(workspace, Allowances())).proving

        assert cost is not None
        assert cost.usd is not None
        assert cost.usd > 0
        assert any("USD by the hosts' own prices" in line for line in cost.lines())

    run(main)


def test_what_several_routes_may_serve_is_reserved_and_planned_at_the_price_of_the_dearest(
    applied: Path, tmp_path: Path
) -> None:
    near = Candidate("near", 10, "east", "gpt-large", "smart", "east-chat by key east-chat")
    beside = near._replace(route="beside", host="west", door="west-chat by key west-chat")
    drilled = DrillTarget("chat", "smart", "app", 2, (near, beside), sticky=False, failure_threshold=3)

    async def main(clock: VirtualClock) -> None:
        async with opened(copied(applied, tmp_path / "world"), clock, manifests(max_usd=1.0)) as world:
            day, store = of_another_day(clock), world.store
            store.learn_price("east", "gpt-large", tokens=1, usd=1e-6)
            store.learn_price("west", "gpt-large", tokens=1, usd=500e-6)
            async with world.workspace() as workspace:
                policies = Policies(workspace)
            budget = StoreBudget(store, policies.scope, clock.now)
            path = PathKey("near", "smart")
            budget.reserve(path, host="east", model="gpt-large", tokens=10)
            assert store.spent("all", day).micro_usd == 10
            budget.reserve(path, host="east", model="gpt-large", tokens=10, others=drilled.ends)
            assert store.spent("all", day).micro_usd == 10 + 5000

            costs = Costs(
                policies.scope, policies.of_path, lambda host, model, n: store.price(host, model, tokens=n)
            )
            (bill,) = costs.of_drills([("failover", drilled)])
            assert bill.micro_usd == bill.tokens * 500

    run(main)


def test_a_drill_that_the_budget_does_not_allow_is_told_by_the_acceptance_too(
    applied: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> None:
        # Enough to prove the six paths, and not for a drill besides.
        wanted = manifests(max_requests=6, drills=("streaming",))
        async with opened(copied(applied, tmp_path / "world"), clock, wanted) as world:
            of_another_day(clock)
            report, proofs = await verified(world)

        assert all(proofs[path].holds for path in route_paths(*ROUTES))
        within = condition(report, "Acceptance", "all", "WithinBudget")
        assert (within.status, within.reason) == ("False", "OverBudget")
        assert ready(report, "Route", "near") == ("Unknown", "OverBudget")
        advice = "raise the Acceptance's budget, or wait for the next UTC day"
        assert condition(report, "Route", "near", "Ready").message.endswith(f"; {advice}")
        assert report.exit_code == 3

    run(main)
