"""Probe tokens: what they allow, and that real traffic never notices."""

from __future__ import annotations

import asyncio
import json

import pytest

from reconciler.gateway.contract import UpstreamFailed
from tests.gateway.dataplane.stage import CHAT, KEY, Answer, Client, Stage, document, loaded, route

REFUSED = UpstreamFailed("refused", sent=False)


async def test_a_probe_needs_no_key_and_has_the_entitlements_of_the_named_one() -> None:
    stage = Stage()

    reply = await stage.chat(key=None, headers=stage.grant())

    assert reply.status == 200
    assert (stage.row.managed_key, stage.row.probe, stage.row.namespace) == ("team", "probe-1", "drill-1")


async def test_an_unknown_token_is_refused_and_nothing_is_sent() -> None:
    stage = Stage()

    reply = await stage.chat(key=None, headers={"x-reconcile-probe": "canary-forged"})

    assert reply.status == 403
    assert stage.upstream.requests == []
    assert "canary-forged" not in reply.body.decode()


async def test_an_unknown_token_beside_a_key_does_nothing() -> None:
    stage = Stage()

    reply = await stage.chat(headers={"x-reconcile-probe": "canary-forged"})

    assert reply.status == 200
    assert (stage.row.managed_key, stage.row.probe, stage.row.namespace) == ("team", None, None)
    (sent,) = stage.upstream.requests
    assert b"x-reconcile-probe" not in dict(sent.headers)


async def test_an_unknown_token_beside_an_unknown_key_is_refused() -> None:
    stage = Stage()

    reply = await stage.chat(key="sk-nobody", headers={"x-reconcile-probe": "canary-forged"})

    assert reply.status == 401
    assert stage.upstream.requests == []


@pytest.mark.parametrize(
    "claim",
    [
        "revision",
        "pin",
        "route",
        "routes",
        "namespace",
        "unavailable",
        "fault",
        "faults",
        "sticky-ttl",
        "cooldown",
    ],
)
async def test_what_only_a_token_may_say_is_inert_in_a_header_of_its_own(claim: str) -> None:
    stage = Stage()
    stage.revisions.others[2] = loaded(
        document(routes=[route("spare", "west"), route("best", "east", enabled=False)]), 2
    )

    for value in ("2", "spare", '{"best":"500"}'):
        reply = await stage.chat(headers={f"x-reconcile-{claim}": value})
        assert (reply.status, stage.row.revision, stage.tried()) == (200, 1, ["best"])
        assert (stage.row.probe, stage.row.namespace) == (None, None)
        assert not any(name.startswith(b"x-reconcile") for name, _ in stage.upstream.requests[-1].headers)
    assert await stage.backend.health() == []


async def test_the_token_is_stripped_before_the_host() -> None:
    stage = Stage()

    await stage.chat(headers=stage.grant())

    names = [name for name, _ in stage.upstream.requests[0].headers]
    assert not any(name.startswith(b"x-reconcile") for name in names)


async def test_a_probe_is_routed_by_the_revision_it_names_and_users_are_not() -> None:
    stage = Stage()
    stage.revisions.others[2] = loaded(
        document(routes=[route("spare", "west"), route("best", "east", enabled=False)]), 2
    )

    await stage.chat(key=None, headers=stage.grant(revision=2))
    assert (stage.row.revision, stage.row.route_id) == (2, "spare")
    await stage.chat()
    assert (stage.row.revision, stage.row.route_id) == (1, "best")


async def test_a_revision_that_is_not_loaded_is_409_with_retry_after() -> None:
    stage = Stage()

    reply = await stage.chat(headers=stage.grant(revision=9))

    assert (reply.status, reply.headers["retry-after"]) == (409, "1")
    assert reply.json()["error"]["code"] == "revision_not_loaded"
    assert stage.upstream.requests == []


async def test_a_pinned_probe_takes_its_route_or_none() -> None:
    stage = Stage()

    await stage.chat(headers=stage.grant(pin="spare"))
    assert (stage.row.route_id, stage.row.cause) == ("spare", "pinned")

    stage.west(REFUSED)
    reply = await stage.chat(headers=stage.grant(pin="spare"))
    assert (reply.status, stage.tried()) == (503, ["spare"])


async def test_routes_marked_unavailable_are_passed_over_for_the_probe_alone() -> None:
    stage = Stage()

    await stage.chat(headers=stage.grant(unavailable=frozenset({"best"})))
    assert stage.row.route_id == "spare"
    await stage.chat()
    assert stage.row.route_id == "best"


async def test_a_probe_never_touches_a_route_its_token_does_not_name() -> None:
    stage = Stage()
    stage.east(REFUSED)

    reply = await stage.chat(headers=stage.grant(routes=frozenset({"best"})))

    assert (reply.status, stage.tried()) == (503, ["best"])


@pytest.mark.parametrize(
    ("fault", "word", "status"),
    [
        ("refused", "refused", None),
        ("timeout", "timeout", None),
        ("429", "rate-limited", 429),
        ("500", "upstream-error", 500),
        ("401", "gateway-key", 401),
    ],
)
async def test_an_injected_fault_fails_over_without_asking_the_host(
    fault: str, word: str, status: int | None
) -> None:
    stage = Stage()

    reply = await stage.chat(headers=stage.grant(faults={"best": fault}))

    assert reply.status == 200
    assert [request.origin for request in stage.upstream.requests] == ["http://west.test/prefix"]
    first = stage.row.attempts[0]
    assert (first["fault"], first["failure_class"], first["upstream_status"]) == (fault, word, status)


async def test_a_drill_cools_and_binds_in_its_own_namespace_only() -> None:
    stage = Stage()
    drill = stage.grant(faults={"best": "500"})
    await stage.chat(headers={"x-session-id": "s1"})

    for number in range(3):
        await stage.chat(key=None, headers={**drill, "x-session-id": f"s{number}"})

    assert await stage.backend.health() == []
    assert [health.state for health in await stage.backend.health("drill-1")] == ["open"]
    assert [item.route for item in await stage.backend.bindings()] == ["best"]
    assert {item.route for item in await stage.backend.bindings("drill-1")} == {"spare"}
    await stage.chat(headers={"x-session-id": "s1"})
    assert (stage.row.route_id, stage.row.cause) == ("best", "sticky")


async def test_a_drills_times_may_be_shortened() -> None:
    stage = Stage()
    for _ in range(3):
        await stage.chat(headers=stage.grant(faults={"best": "500"}, cooldown_seconds=2.0))
    stage.clock.advance(1)
    await stage.chat(headers=stage.grant())
    assert stage.tried() == ["spare"]

    stage.clock.advance(1.1)
    await stage.chat(headers=stage.grant())
    assert stage.tried() == ["best"]


async def test_a_probe_does_not_count_against_the_keys_limits() -> None:
    keys = [
        {"name": "team", "logical_groups": ["chat"], "versions": ["1"], "limits": {"requests_per_minute": 1}}
    ]
    stage = Stage(document(managed_keys=keys))

    statuses = [(await stage.chat(key=None, headers=stage.grant())).status for _ in range(3)]

    assert statuses == [200, 200, 200]
    assert (await stage.chat()).status == 200


@pytest.mark.parametrize("stream", [True, False])
async def test_a_probes_row_is_stored_before_its_answer_ends(stream: bool) -> None:
    stage = Stage()
    stage.log.order = order = []
    if stream:
        stage.east(
            Answer(
                body=[b"data: {}\n\n", b"data: [DONE]\n\n"],
                headers=((b"content-type", b"text/event-stream"),),
            )
        )

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            order.append("end")

    body = json.dumps({"model": "fast", "stream": stream}).encode()
    await stage.call("POST", CHAT, headers=stage.grant(), receive=Client([body]).receive, send=send)

    assert order == ["row", "end"]
    assert stage.row.status == 200
    assert len(stage.log.rows) == 1


async def test_the_row_of_a_refused_probe_is_stored_before_its_answer_ends_too() -> None:
    stage = Stage()
    stage.east(REFUSED)
    stage.west(REFUSED)

    await stage.chat(headers=stage.grant())

    assert stage.log.stored_now == [stage.row.request_id]
    assert stage.row.status == 503


async def test_probes_under_way_never_change_what_users_see() -> None:
    stage = Stage()

    async def users() -> list[tuple[str | None, int]]:
        for number in range(150):
            await stage.chat(key=KEY, headers={"x-session-id": f"s{number % 7}"})
            await asyncio.sleep(0)
        return [(row.route_id, row.status) for row in stage.log.rows if row.probe is None]

    async def probes() -> None:
        for number in range(150):
            drill = stage.grant(f"p{number}", namespace=f"d{number % 3}", faults={"best": "429"})
            await stage.chat(key=None, headers={**drill, "x-session-id": f"s{number % 7}"})
            await asyncio.sleep(0)

    seen, _ = await asyncio.gather(users(), probes())

    assert set(seen) == {("best", 200)}
    assert await stage.backend.health() == []
