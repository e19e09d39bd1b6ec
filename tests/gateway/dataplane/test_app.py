"""The data plane's face: credentials, limits, bodies, headers, errors, listings, and clients that leave."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from reconciler.gateway.contract import UpstreamFailed
from tests.gateway.dataplane.stage import (
    CHAT,
    KEY,
    Answer,
    Client,
    Reply,
    Stage,
    binding,
    collect,
    document,
    loaded,
    route,
)

REFUSED = UpstreamFailed("refused", sent=False)
ENDPOINTS = [CHAT, "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages"]


def limited(**limits: Any) -> dict[str, Any]:
    keys = [{"name": "team", "logical_groups": ["chat"], "versions": ["1"], "limits": limits}]
    return document(managed_keys=keys)


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_every_endpoint_asks_its_sibling_on_the_host(path: str) -> None:
    stage = Stage()

    reply = await stage.post(path, b'{"model":"fast"}')

    request = stage.upstream.requests[0]
    assert reply.status == 200
    assert (request.origin, request.path, request.body) == (
        "http://east.test",
        path,
        b'{"model":"up-fast-1"}',
    )
    assert stage.row.endpoint == path


@pytest.mark.parametrize(
    "headers", [{"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {KEY}"}, {"x-api-key": KEY}]
)
async def test_a_key_may_come_either_way(headers: dict[str, str]) -> None:
    assert (await Stage().chat(key=None, headers=headers)).status == 200


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Basic x"}, {"authorization": "Bearer "}, {"x-api-key": "x" * 2000}]
)
async def test_no_key_is_401(headers: dict[str, str]) -> None:
    reply = await Stage().chat(key=None, headers=headers)

    assert reply.status == 401
    assert reply.headers["www-authenticate"] == "Bearer"


async def test_an_unknown_key_is_401_and_not_repeated_anywhere() -> None:
    stage = Stage()

    reply = await stage.chat(key="canary-guessed-key")

    assert (reply.status, reply.json()["error"]["code"]) == (401, "invalid_api_key")
    assert b"canary" not in reply.body
    assert stage.log.rows == []


async def test_a_version_of_a_key_that_is_no_longer_listed_is_401() -> None:
    keys = [{"name": "team", "logical_groups": ["chat"], "versions": ["2"]}]

    assert (await Stage(document(managed_keys=keys)).chat()).status == 401


async def test_an_expired_key_is_401() -> None:
    keys = [
        {"name": "team", "logical_groups": ["chat"], "versions": ["1"], "expires_at": "2027-01-15T08:00:00Z"}
    ]
    stage = Stage(document(managed_keys=keys))
    assert stage.clock.now == 1_800_000_000.0  # exactly that time

    reply = await stage.chat()

    assert (reply.status, reply.json()["error"]["code"]) == (401, "api_key_expired")
    assert (stage.row.cause, stage.row.status) == ("denied", 401)
    for path in ("/v1/models", "/v1/models/fast"):
        reply = await stage.call("GET", path)
        assert (reply.status, reply.json()["error"]["code"]) == (401, "api_key_expired")


async def test_an_unknown_model_is_404_and_one_not_allowed_403() -> None:
    stage = Stage(limited(models=["other"]))

    assert (await stage.chat(model="nothing")).status == 403
    assert (await stage.chat()).status == 403
    assert (await Stage().chat(model="nothing")).json()["error"]["code"] == "model_not_found"


async def test_without_a_configuration_it_is_503() -> None:
    stage = Stage()
    stage.revisions.active = None

    assert (await stage.chat()).status == 503


async def test_requests_per_minute_are_never_more_than_stated_in_any_minute() -> None:
    stage = Stage(limited(requests_per_minute=3))

    statuses = []
    for _ in range(5):
        statuses.append((await stage.chat()).status)
        stage.clock.advance(10)
    assert statuses == [200, 200, 200, 429, 429]

    reply = await stage.chat()
    assert (reply.status, reply.headers["retry-after"]) == (429, "10")
    assert reply.json()["error"]["type"] == "rate_limit_error"
    stage.clock.advance(10)
    assert (await stage.chat()).status == 200


async def test_concurrent_requests_are_bounded_and_given_back() -> None:
    stage = Stage(limited(concurrent_requests=1))
    inner: list[Reply] = []

    async def while_serving(_: object) -> Answer:
        inner.append(await stage.chat())
        return Answer()

    stage.east(while_serving, Answer())
    outer = await stage.chat()

    assert (outer.status, inner[0].status, inner[0].headers["retry-after"]) == (200, 429, "1")
    assert (await stage.chat()).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b'{"model":3}',
        b'{"model":""}',
        b"{}",
        b'{"model":"fast"',
        b'{"model":"\xff"}',
        b"[" * 100_000,
        b'{"model":"fast","a":' + b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:20]),
)
async def test_a_body_that_names_no_model_is_400(body: bytes) -> None:
    stage = Stage()

    reply = await stage.post(CHAT, body)

    assert reply.status == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"
    assert (stage.row.status, stage.upstream.requests) == (400, [])


async def test_a_body_beyond_the_limit_is_413_whether_declared_or_not() -> None:
    stage = Stage(max_body_bytes=100)

    declared = await stage.post(CHAT, b"{}", headers={"content-length": "101"})
    streamed = await stage.call("POST", CHAT, [b"x" * 60, b"x" * 60, b"x" * 60])
    whole = await stage.call("POST", CHAT, [b"x" * 101])

    assert {declared.status, streamed.status, whole.status} == {413}


async def test_a_body_that_comes_in_pieces_is_put_together() -> None:
    stage = Stage()

    await stage.call("POST", CHAT, [b'{"mod', b'el":"fa', b'st"}'])

    assert stage.upstream.requests[0].body == b'{"model":"up-fast-1"}'


async def test_a_client_that_never_sends_its_body_is_408() -> None:
    stage = Stage(body_timeout_s=0.02)

    async def silent() -> Any:
        await asyncio.Event().wait()

    reply = await stage.call("POST", CHAT, receive=silent)

    assert reply.status == 408


async def test_a_compressed_body_is_415() -> None:
    assert (await Stage().chat(headers={"content-encoding": "gzip"})).status == 415


async def test_credentials_and_hop_by_hop_headers_never_reach_the_host() -> None:
    stage = Stage()
    dropped = {
        "x-api-key": "canary-1",
        "api-key": "canary-2",
        "cookie": "canary-3",
        "proxy-authorization": "canary-4",
        "connection": "keep-alive, x-private",
        "x-private": "canary-5",
        "te": "trailers",
        "upgrade": "h2c",
        "x-forwarded-for": "canary-6",
        "x-request-id": "canary-7",
        "x-client-request-id": "canary-8",
        "accept-encoding": "gzip",
    }

    await stage.chat(headers={**dropped, "x-stainless-lang": "python", "user-agent": "sdk/1"})

    sent = stage.upstream.requests[0].headers
    assert "canary-" not in str([value for name, value in sent if name != b"authorization"])
    assert dict(sent)[b"authorization"] == b"Bearer canary-gateway-key-key-best"
    assert dict(sent)[b"accept-encoding"] == b"identity"
    assert {b"connection", b"te", b"upgrade", b"transfer-encoding"}.isdisjoint(dict(sent))
    assert (dict(sent)[b"x-stainless-lang"], dict(sent)[b"user-agent"]) == (b"python", b"sdk/1")
    assert len([name for name, _ in sent if name == b"authorization"]) == 1


async def test_hop_by_hop_headers_and_cookies_never_reach_the_client() -> None:
    stage = Stage()
    host = [
        (b"content-type", b"application/json"),
        (b"set-cookie", b"canary=1"),
        (b"connection", b"x-hop"),
        (b"x-hop", b"canary"),
        (b"transfer-encoding", b"chunked"),
        (b"x-request-id", b"canary"),
        (b"x-ratelimit-remaining", b"7"),
        (b"content-length", b"999"),
    ]
    stage.east(Answer(headers=host))

    reply = await stage.chat()

    assert "canary" not in str(reply.headers)
    assert reply.headers["x-ratelimit-remaining"] == "7"
    assert reply.headers["content-length"] == str(len(reply.body))
    assert reply.headers["x-request-id"] == stage.row.request_id


async def test_the_query_goes_along_without_credentials() -> None:
    stage = Stage()

    credentials = "key=canary&api_key=canary&%6bey=canary&API%5Fkey=canary"
    await stage.post(f"/v1/messages?beta=true&{credentials}", b'{"model":"fast"}')

    assert stage.upstream.requests[0].path == "/v1/messages?beta=true"


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_errors_have_the_shape_of_the_protocol_and_our_request_id(path: str) -> None:
    stage = Stage()
    stage.east(REFUSED)
    stage.west(REFUSED)

    reply = await stage.post(path, b'{"model":"fast"}')

    error = reply.json()["error"]
    assert reply.headers["x-request-id"] in error["message"]
    if path == "/v1/messages":
        assert (reply.json()["type"], error["type"]) == ("error", "api_error")
        assert reply.headers["request-id"] == reply.json()["request_id"] == stage.row.request_id
    else:
        assert (error["type"], error["code"], error["param"]) == ("server_error", "no_route_available", None)


async def test_unknown_paths_and_methods_are_refused() -> None:
    stage = Stage()

    assert (await stage.call("POST", "/v1/files")).status == 404
    for method, path, allowed in (("GET", CHAT, "POST"), ("POST", "/v1/models", "GET, HEAD")):
        reply = await stage.call(method, path)
        assert (reply.status, reply.headers["allow"]) == (405, allowed)


async def test_models_are_those_that_the_key_can_use_now() -> None:
    routes = [route("best", "east"), route("spare", "west", enabled=False)]
    bound = [binding("fast", best="a"), binding("asleep", spare="b"), binding("barred", best="c")]
    keys = [
        {
            "name": "team",
            "logical_groups": ["chat"],
            "versions": ["1"],
            "limits": {"models": ["fast", "asleep"]},
        }
    ]
    stage = Stage(document(routes=routes, model_bindings=bound, managed_keys=keys))

    plain = (await stage.call("GET", "/v1/models")).json()
    other = (await stage.call("GET", "/v1/models", headers={"anthropic-version": "2023-06-01"})).json()

    assert [(item["id"], item["object"], item["owned_by"]) for item in plain["data"]] == [
        ("fast", "model", "chat")
    ]
    assert (other["first_id"], other["has_more"], other["data"][0]["type"]) == ("fast", False, "model")
    assert (await stage.call("GET", "/v1/models/fast")).json()["id"] == "fast"
    assert (await stage.call("GET", "/v1/models/barred")).status == 404
    assert (await stage.call("GET", "/v1/models", key=None)).status == 401


async def test_a_client_that_leaves_while_the_host_thinks_aborts_the_attempt_and_leaves_a_row() -> None:
    stage = Stage(limited(concurrent_requests=1))
    client = Client([b'{"model":"fast"}'])
    asked = asyncio.Event()
    aborted = asyncio.Event()

    async def thinking(_: object) -> Answer:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            aborted.set()
        raise AssertionError

    stage.east(thinking, Answer())
    call = asyncio.ensure_future(stage.call("POST", CHAT, receive=client.receive))
    await asked.wait()
    client.leave()
    await call

    assert aborted.is_set()
    assert (stage.row.status, stage.row.attempts[0]["failure_class"]) == (499, "client-gone")
    assert stage.runtime.in_flight() == {}
    assert stage.runtime.in_flight_routes() == {}
    assert await stage.backend.health() == []
    assert (await stage.chat()).status == 200  # what it held of the key's limit is free again


async def test_a_client_that_leaves_mid_stream_aborts_the_host_and_leaves_a_row() -> None:
    stage = Stage()
    client = Client([b'{"model":"fast","stream":true}'])
    endless = Answer(body=[b"data: {}\n\n"] * 1000, headers=((b"content-type", b"text/event-stream"),))
    stage.east(endless)
    reply = Reply()
    take = collect(reply)

    async def send(message: Any) -> None:
        await take(message)
        if len(reply.parts) == 3:
            client.leave()
        await asyncio.sleep(0)

    await stage.call("POST", CHAT, receive=client.receive, send=send)

    assert 3 <= len(reply.parts) < 20
    assert endless.closed == "cut"
    assert (stage.row.status, stage.row.attempts[0]["failure_class"]) == (200, "client-gone")


async def test_a_client_that_leaves_before_its_body_is_there_leaves_a_row() -> None:
    stage = Stage()
    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    await stage.call("POST", CHAT, receive=receive)

    assert (stage.row.status, stage.upstream.requests) == (499, [])


async def test_a_trial_whose_client_left_is_free_for_the_next_request() -> None:
    stage = Stage()
    stage.east(REFUSED)
    for _ in range(3):
        await stage.chat()
    stage.clock.advance(31)
    client = Client([b'{"model":"fast"}'])

    async def leaves(_: object) -> Answer:
        client.leave()
        await asyncio.Event().wait()
        raise AssertionError

    stage.east(leaves, Answer())
    await stage.call("POST", CHAT, receive=client.receive)
    await stage.chat()

    assert stage.tried() == ["best"]
    assert await stage.backend.health() == []


async def test_a_stopping_server_still_leaves_a_row() -> None:
    stage = Stage()
    asked = asyncio.Event()

    async def thinking(_: object) -> Answer:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    stage.east(thinking)
    call = asyncio.ensure_future(stage.chat())
    await asked.wait()
    assert stage.runtime.in_flight() == {1: 1}
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert stage.row.status == 499
    assert stage.runtime.in_flight() == {}


async def test_a_fault_of_ours_is_a_500_in_the_protocols_shape_with_a_row(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage()

    async def breaks(_: object) -> Answer:
        raise RuntimeError("canary-internal")

    stage.east(breaks)
    reply = await stage.chat()

    assert (reply.status, reply.json()["error"]["code"], stage.row.status) == (500, "gateway_fault", 500)
    assert b"canary" not in reply.body
    assert (stage.runtime.in_flight(), stage.runtime.in_flight_routes()) == ({}, {})
    assert stage.row.request_id in caplog.text


async def test_a_request_stays_on_the_revision_it_began_on() -> None:
    stage = Stage()

    async def promoted(_: object) -> UpstreamFailed:
        stage.revisions.active = loaded(document(routes=[route("best", "east"), route("spare", "east")]), 2)
        return REFUSED

    stage.east(promoted)
    await stage.chat()

    assert stage.row.revision == 1
    assert [request.origin for request in stage.upstream.requests][1] == "http://west.test/prefix"


async def test_an_answer_beyond_the_limit_is_the_routes_failure() -> None:
    stage = Stage(max_answer_bytes=10)
    stage.west(Answer(body=b"{}"))

    await stage.chat()

    assert [attempt["failure_class"] for attempt in stage.row.attempts] == ["too-large", None]


async def test_tokens_are_read_from_the_answer() -> None:
    stage = Stage()
    stage.east(
        Answer(
            body=json.dumps({"model": "m", "usage": {"prompt_tokens": 3, "completion_tokens": 5}}).encode()
        )
    )

    await stage.chat()

    assert (stage.row.input_tokens, stage.row.output_tokens) == (3, 5)


async def test_no_prompt_and_no_answer_is_in_any_row() -> None:
    stage = Stage()
    stage.east(Answer(body=b'{"model":"m","choices":["canary-answer"]}'))

    await stage.chat(messages=[{"role": "user", "content": "canary-prompt"}], user="canary-user")

    assert "canary" not in repr((stage.log.rows, stage.log.audits))


async def test_no_key_is_in_any_row_or_log(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.east(Answer(404, b"{}"))
    stage.west(REFUSED)
    caplog.set_level("DEBUG")

    await stage.chat()

    assert "canary" not in repr((stage.log.rows, stage.log.audits))
    assert "canary" not in caplog.text
    assert "canary" not in repr(stage.upstream.requests)
