"""The cost that a plan states is the cost of the run: each request is counted where it leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.engine.apply import ApplyOptions
from reconciler.engine.planning import make_plan
from reconciler.plan.guard import Allowances
from tests.matrix.manifests import manifests
from tests.matrix.virtual import VirtualClock, run
from tests.matrix.world import BY_GATEWAY, World, copied, opened

DRILLED = ("sticky", "failover", "recovery", "streaming", "models")
DAY_S = 86_400
UNPROVED = Allowances(unproved=True)


@contextmanager
def leaving(world: World) -> Iterator[list[str]]:
    """Note every request of the engine's own that may cost something: through the gateway, and to a host directly."""
    seen: list[str] = []

    async def look(request: httpx.Request) -> None:
        ours = request.extensions.get("sent_by") != BY_GATEWAY["sent_by"]
        if ours and request.url.path in ("/v1/chat/completions", "/v1/models"):
            seen.append(request.url.host)

    world.net.before.append(look)
    try:
        yield seen
    finally:
        world.net.before.remove(look)


async def planned_and_sent(world: World, prove: str) -> tuple[int, int]:
    async with world.workspace() as workspace:
        promised = (await make_plan(workspace, Allowances(), prove=prove)).proving
    assert promised is not None
    with leaving(world) as sent:
        report = await world.apply(ApplyOptions(prove=prove, allowances=UNPROVED))
    assert report.exit_code == 0
    return promised.requests, len(sent)


CHANGES: dict[str, Mapping[str, Any]] = {
    "nothing": {},
    "another shadow model": {"models": {"smart": "gpt-large", "fast": "gpt-large"}},
    "another priority": {"near": 15},
    "a new key": {"keys": ("app", "billing")},
    "another host key": {"replaced": "key"},
    "another account in service": {"replaced": "account"},
    "an account and a priority": {"replaced": "account", "near": 15},
    "a channel and a limit": {"channel": True},
    "a channel and a model": {"channel": True, "models": {"smart": "gpt-small", "fast": "gpt-small"}},
    "two probes each": {"probes": 2, "near": 15},
}


@pytest.mark.parametrize("prove", ["all", "affected", "none"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_plan_states_the_requests_that_the_run_then_sends(
    change: str, prove: str, drilled: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> tuple[int, int]:
        wanted = manifests(drills=DRILLED, **CHANGES[change])
        async with opened(copied(drilled, tmp_path / "world"), clock, wanted) as world:
            return await planned_and_sent(world, prove)

    promised, sent = run(main)
    assert promised == sent
    assert (sent == 0) == (change == "nothing")


@pytest.mark.parametrize("prove", ["all", "affected", "none"])
def test_what_has_gone_stale_is_in_the_cost(prove: str, drilled: Path, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> tuple[int, int]:
        wanted = manifests(drills=DRILLED, near=15)
        async with opened(copied(drilled, tmp_path / "world"), clock, wanted) as world:
            clock.seconds += 2 * DAY_S
            return await planned_and_sent(world, prove)

    promised, sent = run(main)
    assert promised == sent > 40


@pytest.mark.parametrize("prove", ["all", "affected", "none"])
def test_the_cost_of_the_first_apply_is_stated_too(prove: str, tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> tuple[int, int]:
        async with opened(tmp_path / "world", clock, manifests(drills=DRILLED)) as world:
            return await planned_and_sent(world, prove)

    promised, sent = run(main)
    assert promised == sent > 40


def test_proving_everything_costs_more_than_what_is_affected_and_nothing_costs_least(
    drilled: Path, tmp_path: Path
) -> None:
    async def main(clock: VirtualClock) -> list[int]:
        wanted = manifests(drills=DRILLED, models={"smart": "gpt-large", "fast": "gpt-large"})
        async with (
            opened(copied(drilled, tmp_path / "world"), clock, wanted) as world,
            world.workspace() as at,
        ):
            plans = [await make_plan(at, Allowances(), prove=prove) for prove in ("all", "affected", "none")]
        assert len({each.plan.digest for each in plans}) == 1
        return [each.proving.requests for each in plans if each.proving is not None]

    everything, affected, nothing = run(main)
    assert everything > affected >= nothing
