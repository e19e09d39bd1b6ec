"""What Prometheus is told of routes, sessions and failovers."""

from __future__ import annotations

from reconciler.gateway.contract import UpstreamFailed
from tests.gateway.dataplane.stage import KEY, Answer, Stage

REFUSED = UpstreamFailed("refused", sent=False)


def shown(stage: Stage, name: str) -> dict[tuple[str, ...], float]:
    """Return the samples of a metric by the values of their labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in stage.plane.collector().collect()
        for sample in family.samples
        if sample.name == f"reconciler_gateway_{name}"
    }


def state_of(stage: Stage, route: str) -> str | None:
    states = shown(stage, "route_state")
    return next((state for (name, state), value in states.items() if name == route and value), None)


async def test_a_cooldown_is_seen_from_its_first_failure_to_its_end() -> None:
    stage = Stage()
    stage.east(REFUSED, REFUSED, REFUSED, Answer())
    assert (state_of(stage, "best"), shown(stage, "route_cooldowns")) == (None, {})

    await stage.chat()
    assert (state_of(stage, "best"), shown(stage, "route_open_until_seconds")) == ("closed", {})

    for _ in range(2):
        await stage.chat()
    assert state_of(stage, "best") == "open"
    assert shown(stage, "route_cooldowns") == {("best",): 1}
    (until,) = shown(stage, "route_open_until_seconds").values()
    assert until > stage.clock()

    stage.clock.advance(until - stage.clock() + 0.001)
    assert state_of(stage, "best") == "half-open"

    await stage.chat()
    assert stage.tried() == ["best"]
    assert state_of(stage, "best") in (None, "closed")
    assert shown(stage, "route_open_until_seconds") == {}


async def test_steps_of_sessions_and_failovers_are_counted() -> None:
    stage = Stage()
    for _ in range(2):
        await stage.chat(headers={"x-session-id": "s1"})
    stage.east(REFUSED)
    await stage.chat(headers={"x-session-id": "s1"})

    steps = shown(stage, "sticky_events_total")
    assert {event: count for (_, event), count in steps.items()} == {"bind": 1, "hit": 2, "rebind": 1}
    assert sum(shown(stage, "failovers_total").values()) == 1
    assert shown(stage, "attempts_total")["best", "refused"] == 1


async def test_a_drill_is_not_seen_in_the_states_of_routes() -> None:
    stage = Stage()
    for _ in range(4):
        await stage.chat(key=None, headers=stage.grant(faults={"best": "500"}))

    assert [health.state for health in await stage.backend.health("drill-1")] == ["open"]
    assert shown(stage, "route_state") == shown(stage, "route_cooldowns") == {}
    await stage.chat(key=KEY)
    assert stage.row.route_id == "best"
