"""The rules of the runtime plane, each as one claim, with fake time and scripted hosts."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.gateway.contract import UpstreamFailed
from tests.gateway.dataplane.stage import Answer, Stage, binding, document, loaded, route

REFUSED = UpstreamFailed("refused", sent=False)


async def test_the_best_priority_serves() -> None:
    stage = Stage()

    reply = await stage.chat()

    assert reply.status == 200
    assert (stage.row.route_id, stage.row.cause, stage.row.shadow_model) == ("best", "priority", "up-fast-1")


async def test_one_priority_is_shared_by_weight() -> None:
    routes = [route("best", "east", weight=3), route("spare", "west", weight=1)]
    stage = Stage(document(routes=routes))

    for _ in range(400):
        await stage.chat()

    served = [row.route_id for row in stage.log.rows]
    assert 250 < served.count("best") < 350
    assert {row.cause for row in stage.log.rows} == {"weighted"}


async def test_a_disabled_route_never_serves() -> None:
    stage = Stage(
        document(routes=[route("best", "east", priority=10, enabled=False), route("spare", "west")])
    )

    await stage.chat()

    assert stage.row.route_id == "spare"


async def test_the_first_request_of_a_session_binds_and_the_next_one_hits() -> None:
    stage = Stage(document(routes=[route("best", "east"), route("spare", "west")]))

    await stage.chat(headers={"x-session-id": "s1"})
    first = stage.row.route_id
    await stage.chat(headers={"x-session-id": "s1"})

    assert (stage.row.route_id, stage.row.cause) == (first, "sticky")
    assert [row["event"] for row in stage.log.sticky()] == ["bind", "hit"]


async def test_a_binding_slides_and_expires() -> None:
    stage = Stage()
    await stage.chat(headers={"x-session-id": "s1"})

    stage.clock.advance(3000)
    await stage.chat(headers={"x-session-id": "s1"})
    stage.clock.advance(3000)
    await stage.chat(headers={"x-session-id": "s1"})
    stage.clock.advance(3601)
    await stage.chat(headers={"x-session-id": "s1"})

    assert [row["event"] for row in stage.log.sticky()] == ["bind", "hit", "hit", "expire", "bind"]


@pytest.mark.parametrize(
    "fields", [{"prompt_cache_key": "s"}, {"user": "s"}, {"metadata": {"user_id": "s"}}], ids=str
)
async def test_the_clients_own_session_field_names_the_session(fields: dict[str, Any]) -> None:
    stage = Stage()

    await stage.chat(**fields)
    await stage.chat(**fields)

    assert stage.row.cause == "sticky"


async def test_with_policy_header_only_the_header_names_the_session() -> None:
    stage = Stage(document(logical_groups=[{"name": "chat", "sticky": {"mode": "header"}}]))

    await stage.chat(user="s")
    assert stage.row.session is None
    await stage.chat(headers={"x-session-id": "s"})
    assert stage.row.session is not None


async def test_tenants_cannot_steer_each_other() -> None:
    stage = Stage()
    await stage.chat(headers={"x-session-id": "s1"})

    await stage.chat(headers={"x-session-id": "s1"}, key="canary-managed-key-2")

    assert [row["event"] for row in stage.log.sticky()] == ["bind", "bind"]
    assert len({row["session"] for row in stage.log.sticky()}) == 2


async def test_the_host_gets_a_derived_session_never_the_clients_own() -> None:
    stage = Stage()

    await stage.chat(headers={"x-session-id": "canary-session", "session_id": "canary-session"})

    sent = dict(stage.upstream.requests[0].headers)
    assert len(sent[b"x-session-id"]) == 32
    assert b"session_id" not in sent
    assert "canary-session" not in repr(sent)
    assert stage.row.session is not None
    assert stage.row.session.encode() != sent[b"x-session-id"]


async def test_a_binding_outlives_a_promotion() -> None:
    stage = Stage()
    await stage.chat(headers={"x-session-id": "s1"})
    stage.revisions.active = loaded(document(), 2)

    await stage.chat(headers={"x-session-id": "s1"})

    assert (stage.row.revision, stage.row.cause) == (2, "sticky")


async def test_a_binding_whose_route_is_gone_is_rebound_with_cause_revision() -> None:
    stage = Stage()
    await stage.chat(headers={"x-session-id": "s1"})
    stage.revisions.active = loaded(
        document(routes=[route("spare", "west")], model_bindings=[binding("fast", spare="up-fast-2")]), 2
    )

    await stage.chat(headers={"x-session-id": "s1"})

    last = stage.log.sticky()[-1]
    assert (last["event"], last["cause"], last["previous_route_id"]) == ("rebind", "revision", "best")
    assert stage.log.failovers() == []


@pytest.mark.parametrize(
    ("failing", "word"),
    [
        (REFUSED, "refused"),
        (UpstreamFailed("reset", sent=True), "reset"),
        (UpstreamFailed("first-byte-timeout", sent=True), "timeout"),
        (UpstreamFailed("malformed", sent=True), "malformed"),
        (Answer(408), "timeout"),
        (Answer(429), "rate-limited"),
        (Answer(500), "upstream-error"),
        (Answer(503), "upstream-error"),
        (Answer(529), "upstream-error"),
        (Answer(401), "gateway-key"),
        (Answer(403), "gateway-key"),
        (Answer(breaks="truncated"), "truncated"),
    ],
    ids=str,
)
async def test_the_routes_fault_fails_over(failing: Answer | UpstreamFailed, word: str) -> None:
    stage = Stage()
    stage.east(failing)

    reply = await stage.chat()

    assert reply.status == 200
    assert stage.tried() == ["best", "spare"]
    assert [attempt["failure_class"] for attempt in stage.row.attempts] == [word, None]
    assert stage.row.cause == "failover"
    event = stage.log.failovers()[0]
    assert (event["from_route_id"], event["to_route_id"], event["cause"]) == ("best", "spare", word)


@pytest.mark.parametrize("status", [400, 413, 422, 409, 415])
async def test_the_clients_fault_neither_fails_over_nor_cools(status: int) -> None:
    stage = Stage()
    stage.east(Answer(status, b'{"error":{"message":"no"}}'))

    replies = [await stage.chat() for _ in range(5)]

    assert {reply.status for reply in replies} == {status}
    assert replies[0].body == b'{"error":{"message":"no"}}'
    assert stage.tried() == ["best"]
    assert await stage.backend.health() == []


async def test_a_hosts_404_of_a_configured_model_fails_over_without_cooldown_and_is_loud(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage()
    stage.east(Answer(404, b'{"error":{"message":"no such model"}}'))

    for _ in range(5):
        assert (await stage.chat()).status == 200

    assert stage.tried() == ["best", "spare"]
    assert stage.row.attempts[0]["failure_class"] == "config"
    assert await stage.backend.health() == []
    assert "host east does not serve model up-fast-1" in caplog.text


async def test_a_404_of_an_earlier_answer_is_the_clients() -> None:
    stage = Stage()
    stage.east(Answer(404, b"{}"))

    reply = await stage.post("/v1/responses", b'{"model":"fast","previous_response_id":"resp_1"}')

    assert (reply.status, stage.tried()) == (404, ["best"])


async def test_threshold_failures_inside_the_window_open_the_cooldown() -> None:
    stage = Stage()
    stage.east(REFUSED)

    for _ in range(3):
        await stage.chat()
    await stage.chat()

    assert stage.tried() == ["spare"]
    assert stage.row.cause == "failover"


async def test_failures_spread_wider_than_the_window_do_not_cool() -> None:
    stage = Stage()
    stage.east(REFUSED)

    for _ in range(6):
        await stage.chat()
        stage.clock.advance(16)

    assert stage.tried() == ["best", "spare"]


async def test_one_trial_request_half_opens_and_its_success_closes() -> None:
    stage = Stage()
    stage.east(REFUSED, REFUSED, REFUSED, Answer())
    for _ in range(3):
        await stage.chat()

    stage.clock.advance(31)
    await stage.chat()

    assert stage.tried() == ["best"]
    assert await stage.backend.health() == []


async def test_a_failed_trial_cools_twice_as_long_up_to_the_cap() -> None:
    stage = Stage()
    stage.east(REFUSED)
    for _ in range(3):
        await stage.chat()

    lengths = []
    for _ in range(7):
        opened = (await stage.backend.health())[0].open_until
        assert opened is not None
        lengths.append(round(opened - stage.clock.now))
        stage.clock.now = opened
        await stage.chat()
        assert stage.tried() == ["best", "spare"]

    assert lengths == [30, 60, 120, 240, 480, 600, 600]


async def test_only_one_request_is_the_trial() -> None:
    stage = Stage()
    stage.east(REFUSED)
    for _ in range(3):
        await stage.chat()
    stage.clock.advance(31)
    seen = []

    async def slow(_: object) -> Answer:
        await stage.chat()
        seen.extend(stage.tried())
        return Answer()

    stage.east(slow, Answer())
    await stage.chat()

    assert seen == ["spare"]
    assert stage.tried() == ["best"]


async def test_a_trial_whose_client_left_frees_the_trial() -> None:
    stage = Stage()
    stage.east(REFUSED)
    for _ in range(3):
        await stage.chat()
    stage.clock.advance(31)
    stage.east(Answer(400, b"{}"), Answer())

    await stage.chat()
    await stage.chat()

    assert stage.tried() == ["best"]
    assert await stage.backend.health() == []


async def test_retry_after_is_honoured_at_once_and_never_longer_than_the_cap() -> None:
    stage = Stage()
    stage.east(Answer(429, b"{}", headers=((b"retry-after", b"45"),)), Answer())

    await stage.chat()
    stage.clock.advance(44)
    await stage.chat()
    assert stage.tried() == ["spare"]
    stage.clock.advance(2)
    await stage.chat()
    assert stage.tried() == ["best"]

    stage.east(Answer(503, b"{}", headers=((b"retry-after", b"86400"),)))
    await stage.chat()
    assert (await stage.backend.health())[0].open_until == stage.clock.now + 600


@pytest.mark.parametrize(
    "nonsense",
    [
        b"soon",
        b"-5",
        b"1e400",
        b"Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        b"Mon, 01 Jan 2024 00:00:00 +99999999999999999999",
    ],
)
async def test_a_retry_after_that_says_no_time_is_a_failure_like_any_other(nonsense: bytes) -> None:
    stage = Stage()
    stage.east(Answer(429, b"{}", headers=((b"retry-after", nonsense),)))

    assert (await stage.chat()).status == 200

    assert stage.tried() == ["best", "spare"]
    assert (await stage.backend.health())[0].open_until is None


async def test_routes_that_share_host_group_and_key_cool_together() -> None:
    routes = [
        route("best", "east", priority=10, gateway_key="shared"),
        route("twin", "east", priority=15, gateway_key="shared"),
        route("spare", "west", priority=20),
    ]
    bound = [binding("fast", best="a", twin="a", spare="b")]
    stage = Stage(document(routes=routes, model_bindings=bound))
    stage.east(Answer(429, b"{}", headers=((b"retry-after", b"45"),)))

    await stage.chat()

    assert stage.tried() == ["best", "spare"]


async def test_after_a_failover_the_session_stays_with_the_new_route() -> None:
    stage = Stage()
    await stage.chat(headers={"x-session-id": "s1"})
    stage.east(REFUSED, Answer())

    await stage.chat(headers={"x-session-id": "s1"})
    assert stage.tried() == ["best", "spare"]
    await stage.chat(headers={"x-session-id": "s1"})

    assert (stage.tried(), stage.row.cause) == (["spare"], "sticky")
    rebind = next(row for row in stage.log.sticky() if row["event"] == "rebind")
    assert (rebind["route_id"], rebind["previous_route_id"], rebind["cause"]) == ("spare", "best", "refused")
    event = stage.log.failovers()[0]
    assert event["session"] == stage.row.session


async def test_a_bound_session_leaves_a_cooling_route_with_an_event() -> None:
    stage = Stage()
    await stage.chat(headers={"x-session-id": "s1"})
    stage.east(REFUSED)
    for _ in range(3):
        await stage.chat()

    await stage.chat(headers={"x-session-id": "s1"})

    assert stage.tried() == ["spare"]
    event = stage.log.failovers()[-1]
    assert (event["from_route_id"], event["to_route_id"], event["cause"]) == ("best", "spare", "cooling")
    assert stage.log.sticky()[-1]["cause"] == "cooling"


async def test_attempts_are_bounded() -> None:
    names = [f"r{number}" for number in range(5)]
    stage = Stage(
        document(
            logical_groups=[{"name": "chat", "failover": {"max_attempts": 2}}],
            routes=[route(name, "east", priority=number) for number, name in enumerate(names)],
            model_bindings=[binding("fast", **dict.fromkeys(names, "m"))],
        )
    )
    stage.east(REFUSED)

    reply = await stage.chat()

    assert reply.status == 503
    assert stage.tried() == ["r0", "r1"]


async def test_when_nothing_is_left_a_503_names_group_and_model_with_retry_after() -> None:
    stage = Stage()
    stage.east(REFUSED)
    stage.west(REFUSED)
    for _ in range(3):
        await stage.chat()
    stage.clock.advance(10)

    reply = await stage.chat()

    assert reply.status == 503
    message = reply.json()["error"]["message"]
    assert "'chat'" in message
    assert "'fast'" in message
    assert reply.headers["retry-after"] == "20"
    assert (stage.row.cause, stage.row.status, stage.tried()) == ("exhausted", 503, [])


async def test_each_attempt_records_status_and_correlation_id() -> None:
    stage = Stage()
    stage.east(Answer(502, b"{}", headers=((b"x-client-request-id", b"corr-1"),)))
    stage.west(Answer(headers=((b"content-type", b"application/json"), (b"x-client-request-id", b"corr-2"))))

    reply = await stage.chat()

    recorded = [(a["upstream_status"], a["correlation_id"]) for a in stage.row.attempts]
    assert recorded == [(502, "corr-1"), (200, "corr-2")]
    assert (stage.row.upstream_status, stage.row.correlation_id) == (200, "corr-2")
    assert reply.headers["x-client-request-id"] == "corr-2"
    assert reply.headers["x-request-id"] == stage.row.request_id


async def test_nothing_is_replayed_once_a_byte_reached_the_client() -> None:
    stage = Stage()
    chunks = [b'data: {"model":"up-fast-1","choices":[]}\n\n', b'data: {"mod']
    stage.east(Answer(body=chunks, headers=((b"content-type", b"text/event-stream"),), breaks="truncated"))

    reply = await stage.chat(stream=True)

    assert reply.status == 200
    assert stage.tried() == ["best"]
    assert len(stage.upstream.requests) == 1
    assert b'data: {"mod' + b"\n" not in reply.body
    assert b"upstream_broke_off" in reply.body
    assert reply.ended
    assert stage.row.attempts[0]["failure_class"] == "truncated"
    assert (await stage.backend.health())[0].failures == 1


async def test_a_stream_that_fails_before_its_first_byte_fails_over() -> None:
    stage = Stage()
    stage.east(Answer(body=[], headers=((b"content-type", b"text/event-stream"),), breaks="reset"))

    await stage.chat(stream=True)

    assert stage.tried() == ["best", "spare"]
