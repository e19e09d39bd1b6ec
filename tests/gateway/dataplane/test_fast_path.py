"""The fast path and the general one are two orders of the same steps: whatever happens, they do the same."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anthropic
import msgspec
import openai
import pytest

from reconciler.gateway.contract import DecisionRow
from reconciler.gateway.dataplane.fast_request import FastRequest
from reconciler.gateway.dataplane.inbound import Inbound
from reconciler.gateway.dataplane.outbound import Outbound
from reconciler.gateway.dataplane.rows import Trail
from reconciler.gateway.runtime.backend import BindingKey
from reconciler.gateway.wire import cut_off
from tests.gateway.dataplane import stage
from tests.gateway.dataplane.served import (
    Got,
    Served,
    Step,
    answer,
    close,
    request,
    reset,
    served,
    stream,
    then,
)
from tests.gateway.raw_host import Visit

OK = answer(b'{"id":"a","model":"up-fast-1","usage":{"prompt_tokens":3,"completion_tokens":4}}')
FALLBACK = answer(b'{"id":"b", "model" : "up-fast-2"}')
EVENT = b'data: {"id":"a","model":"up-fast-1","choices":[]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}\n\n'
DONE = b"data: [DONE]\n\n"
_VARIES = {"request_id", "duration_ms", "at", "attempts"}


async def _silent(visit: Visit) -> None:
    await asyncio.Event().wait()


@dataclass
class Case:
    """Requests on one connection, and what the hosts do meanwhile."""

    east: list[Step] = field(default_factory=lambda: [OK])
    west: list[Step] = field(default_factory=lambda: [FALLBACK])
    requests: list[bytes] = field(default_factory=lambda: [request(), request()])
    configuration: Mapping[str, Any] = field(default_factory=dict)
    between: Callable[[Served], Awaitable[None]] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    fast: bool = True
    """The last request is served by the fast path, from its beginning to its end."""


def _key(**fields: Any) -> Mapping[str, Any]:
    return {"managed_keys": [{"name": "team", "logical_groups": ["chat"], "versions": ["1"], **fields}]}


def _group(**fields: Any) -> Mapping[str, Any]:
    return {"logical_groups": [{"name": "chat", **fields}]}


async def _an_hour_later(gateway: Served) -> None:
    gateway.clock.advance(3600.0)


async def _bound_to_the_spare_route(gateway: Served) -> None:
    digest = gateway.gateway.data_plane.revisions.hash_session("team", "s-1")
    key = BindingKey("chat", "fast", "team", digest)
    await gateway.backend.bind(None, key, "spare", 600.0, instead_of=None)


SESSION = {"X-Session-Id": "s-1"}
CASES: Mapping[str, Case] = {
    "a document": Case(),
    "a document without a kind": Case([b"HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n" + b'{"model":"up-fast-1"}']),
    "what is no JSON": Case([answer(b"not json", kind="application/json; charset=utf-8")]),
    "an empty answer": Case([b"HTTP/1.1 204 No Content\r\n\r\n"]),
    "plain bytes": Case([answer(b"\x00\x01\xff", kind="audio/mpeg")]),
    "a compressed document": Case([answer(b"\x1f\x8b", more="Content-Encoding: gzip\r\n")]),
    "headers that must not cross": Case(
        [answer(b"{}", more="Set-Cookie: a=b\r\nX-Powered-By: x\r\nX-Kept: y\r\nServer: z\r\n")]
    ),
    "a document in many chunks": Case(
        [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
         b'9\r\n{"model":\r\nc\r\n"up-fast-1"}\r\n0\r\n\r\n']
    ),
    "a document that ends with its connection": Case(
        [then(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"model":"up-fast-1"}', close)]
    ),
    "a client's fault": Case([answer(b'{"error":{"message":"no"}}', status="400 Bad Request")]),
    "too large an answer": Case(
        [OK, answer(b'{"a":"' + b"x" * 5000 + b'"}')], settings={"max_answer_bytes": 4096}, fast=False
    ),
    "a failing host": Case([OK, answer(b"{}", status="500 Internal Server Error")], fast=False),
    "a host that asks to wait": Case(
        [OK, answer(b"{}", status="429 Too Many Requests", more="Retry-After: 7\r\n")], fast=False
    ),
    "a host that refuses the key": Case([OK, answer(b"{}", status="401 Unauthorized")], fast=False),
    "a model that the host lacks": Case([OK, answer(b"{}", status="404 Not Found")], fast=False),
    "a host that resets": Case([OK, reset], fast=False),
    "a document cut short": Case([OK, then(OK[:-3], close)], fast=False),
    "an answer that can be read in two ways": Case(
        [OK, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"], fast=False
    ),
    "every route fails": Case(
        [OK, answer(b"{}", status="503 Service Unavailable")],
        [answer(b"{}", status="502 Bad Gateway")],
        fast=False,
    ),
    "one attempt is all": Case(
        [OK, answer(b"{}", status="503 Service Unavailable")],
        configuration=_group(failover={"max_attempts": 1}),
        fast=False,
    ),
    "a stream": Case([stream(EVENT, EVENT, USAGE, DONE)], requests=[request({"stream": True})] * 2),
    "a stream with lines in pieces": Case(
        [stream(EVENT[:20], EVENT[20:] + USAGE[:9], USAGE[9:], b"data: unfinished")],
        requests=[request({"stream": True})] * 2,
    ),
    "a stream without anything in it": Case([stream()], requests=[request({"stream": True})] * 2),
    "a stream that breaks off": Case(
        [OK, then(stream(EVENT, b"data: {", end=False), close)], requests=[request({"stream": True})] * 2
    ),
    "a stream that breaks off before it begins": Case(
        [OK, then(stream(end=False), close)], requests=[request({"stream": True})] * 2, fast=False
    ),
    "a stream that stalls": Case(
        [OK, then(stream(EVENT, end=False), _silent)],
        requests=[request({"stream": True})] * 2,
        settings={"idle_timeout_s": 0.2},
    ),
    "a document that stalls": Case(
        [OK, then(OK[:-5], _silent)], settings={"idle_timeout_s": 0.2}, fast=False
    ),
    "an unknown key": Case(requests=[request(), request(key="sk-nobody")], fast=False),
    "no key": Case(requests=[request(), request(key=None)], fast=False),
    "an unknown model": Case(requests=[request(), request({"model": "nothing"})], fast=False),
    "a body that is no JSON": Case(requests=[request(), request(b"{")], fast=False),
    "two models in one body": Case(requests=[request(), request({"Model": "x"})], fast=False),
    "too large a body": Case(
        requests=[request(), request({"x": "y" * 5000})], settings={"max_body_bytes": 4096}, fast=False
    ),
    "a key with limits": Case(configuration=_key(limits={"requests_per_minute": 3, "concurrent_requests": 1})),
    "a key over its limit": Case(configuration=_key(limits={"requests_per_minute": 1}), fast=False),
    "a key that has expired": Case(
        configuration=_key(expires_at="2027-01-15T08:00:01Z"), between=_an_hour_later, fast=False
    ),
    "a model that the key may not use": Case(configuration=_key(limits={"models": ["slow"]}), fast=False),
    "a session binds and hits": Case(requests=[request(headers=SESSION)] * 2),
    "a session named by the body": Case(requests=[request({"user": "u-1"})] * 2),
    "a session that has expired": Case(requests=[request(headers=SESSION)] * 2, between=_an_hour_later),
    "a session on another route": Case(
        requests=[request(headers=SESSION)] * 2, between=_bound_to_the_spare_route
    ),
    "a session whose route fails": Case(
        [OK, answer(b"{}", status="500 Internal Server Error")], requests=[request(headers=SESSION)] * 2, fast=False
    ),
    "a query": Case(requests=[request(path=stage.CHAT + "?beta=true&key=canary-query-key")] * 2),
    "an Anthropic message": Case(
        [answer(b'{"type":"message","model":"up-fast-1","usage":{"input_tokens":1,"output_tokens":2}}')],
        requests=[request(path="/v1/messages", headers={"anthropic-version": "2023-06-01"})] * 2,
    ),
    "an Anthropic stream that breaks off": Case(
        [OK, then(stream(b"event: ping\ndata: {}\n\n", end=False), reset)],
        requests=[request({"stream": True}, path="/v1/messages")] * 2,
    ),
}  # fmt: skip


@dataclass
class Outcome:
    """What can be seen of a case from outside, but for ids and durations."""

    answers: list[tuple[int, list[tuple[bytes, bytes]], bytes, bool]]
    asked: list[bytes]
    rows: list[Mapping[str, Any]]
    audits: list[tuple[str, Mapping[str, Any]]]
    health: list[Any]
    counts: list[Any]
    in_flight: list[Any]
    general: list[str] = field(default_factory=list, compare=False)


async def _outcome(case: Case, *, fast: bool, redis_url: str | None = None) -> Outcome:
    async with served(case.configuration, fast=fast, redis_url=redis_url, **case.settings) as gateway:
        gateway.east.steps, gateway.west.steps = list(case.east), list(case.west)
        client, answers = await gateway.connect(), []
        for number, asked in enumerate(case.requests):
            if number == len(case.requests) - 1 and case.between is not None:
                await case.between(gateway)
            gateway.general.clear()
            answers.append(_seen(await client.ask(asked), gateway))
        await gateway.until(lambda: len(gateway.rows) == len(answers) or not gateway.state.tasks)
        await asyncio.sleep(0)
        client.close()
        plane, counts = gateway.gateway.data_plane, gateway.gateway.data_plane.counts
        return Outcome(
            answers,
            [_without_port(asked) for asked in gateway.east.requests + gateway.west.requests],
            [_plain(row) for row in gateway.rows],
            [(kind, {name: value for name, value in row.items() if name != "request_id"})
             for kind, row in gateway.log.audits],
            list(await gateway.backend.health()),
            [dict(counts.requests), dict(counts.attempts), dict(counts.sticky), dict(counts.failovers)],
            [plane.runtime.in_flight(), plane.runtime.in_flight_routes()],
            list(gateway.general),
        )  # fmt: skip


def _seen(got: Got, gateway: Served) -> tuple[int, list[tuple[bytes, bytes]], bytes, bool]:
    """Return an answer without the request's id, which must be that of its row."""
    told = got.header(b"x-request-id")
    assert told is not None
    known = {row.request_id.encode() for row in gateway.rows}
    assert told in known or got.status in (401, 503) or got.status == 200
    headers = sorted((name, value) for name, value in got.headers if value != told)
    return got.status, headers, got.body.replace(told, b"ID"), got.whole


def _plain(row: DecisionRow) -> Mapping[str, Any]:
    plain = {name: value for name, value in msgspec.structs.asdict(row).items() if name not in _VARIES}
    attempts = [{**attempt, "duration_ms": attempt["duration_ms"] >= 0} for attempt in row.attempts]
    return {**plain, "attempts": attempts, "timed": row.duration_ms >= 0}


def _without_port(asked: bytes) -> bytes:
    head, _, body = asked.partition(b"\r\n\r\n")
    return b"\r\n".join(sorted(line for line in head.split(b"\r\n") if not line.startswith(b"host:"))) + body


@pytest.mark.parametrize("name", CASES)
async def test_both_paths_do_the_same(name: str) -> None:
    case = CASES[name]

    fast, general = await _outcome(case, fast=True), await _outcome(case, fast=False)

    assert fast == general
    assert bool(fast.general) is not case.fast, "which path served the last request"


SHARED = [name for name in CASES if "session" in name or name in ("a document", "a failing host")]


@pytest.mark.parametrize("name", SHARED)
async def test_both_paths_do_the_same_when_redis_keeps_what_they_know(name: str, redis_url: str) -> None:
    case = CASES[name]

    fast = await _outcome(case, fast=True, redis_url=redis_url)
    general = await _outcome(case, fast=False, redis_url=redis_url)

    assert fast == general
    assert bool(fast.general) is not case.fast, "which path served the last request"


async def test_a_request_in_two_pieces_is_served_once_all_of_it_is_here() -> None:
    async with served() as gateway:
        client, whole = await gateway.connect(), request()
        head_ends = whole.index(b"\r\n\r\n") + 4

        got = await client.ask(whole[:head_ends], whole[head_ends:-3], whole[-3:])

        assert got.status == 200
        assert gateway.general == []
        assert len(gateway.east.requests) == 1


async def test_a_head_in_two_pieces_goes_to_the_parser_and_the_next_request_is_fast_again() -> None:
    async with served() as gateway:
        client, whole = await gateway.connect(), request()

        assert (await client.ask(whole[:30], whole[30:])).status == 200
        assert len(gateway.general) == 1
        assert (await client.ask(whole)).status == 200
        assert len(gateway.general) == 1


async def test_bodies_of_other_lengths_and_other_heads_share_a_connection() -> None:
    async with served() as gateway:
        client = await gateway.connect()
        for body in ({"n": 1}, {"n": "x" * 70_000}, {"n": 2}):
            for headers in ({}, {"X-Trace": "1"}):
                assert (await client.ask(request(body, headers=headers))).status == 200

        assert gateway.general == []
        bodies = [json.loads(each.partition(b"\r\n\r\n")[2]) for each in gateway.east.requests]
        assert [len(str(body["n"])) for body in bodies] == [1, 1, 70_000, 70_000, 1, 1]
        assert [b"x-trace: 1" in each for each in gateway.east.requests] == [False, True] * 3


async def test_a_body_that_never_ends_is_left_to_the_general_path_and_answered_in_time() -> None:
    async with served(body_timeout_s=0.2) as gateway:
        client = await gateway.connect()
        await client.send(request()[:-5])
        (connection,) = gateway.state.connections
        await gateway.until(lambda: connection._gathered)  # type: ignore[union-attr]

        connection.end_if_overdue(asyncio.get_running_loop().time() + 2.0)  # type: ignore[union-attr]

        assert (await client.read()).status == 408


async def test_requests_sent_ahead_are_answered_in_order() -> None:
    async with served() as gateway:
        gateway.east.steps = [answer(b'{"id":"%d"}' % number) for number in range(4)]
        client = await gateway.connect()

        await client.send(request(), request() + request(), request())

        assert [json.loads((await client.read()).body)["id"] for _ in range(4)] == list("0123")


async def test_a_client_that_leaves_ends_its_request_on_the_host_and_in_the_log() -> None:
    async with served() as gateway:
        hung = asyncio.Event()

        async def hang(visit: Visit) -> None:
            hung.set()
            assert await visit.reader.read() == b""
            hung.clear()

        gateway.east.steps = [OK, hang]
        client = await gateway.connect()
        await client.ask(request())
        await client.send(request())
        await hung.wait()

        client.close()

        await gateway.until(lambda: len(gateway.rows) == 2 and not hung.is_set())
        assert (gateway.rows[1].status, gateway.rows[1].attempts[0]["failure_class"]) == (499, "client-gone")
        assert gateway.gateway.data_plane.runtime.in_flight() == {}
        assert gateway.general == []


async def test_a_client_that_leaves_a_stream_ends_it_on_the_host() -> None:
    async with served() as gateway:
        ended = asyncio.Event()

        async def endless(visit: Visit) -> None:
            await visit.say(stream(EVENT, end=False))
            await visit.reader.read()
            ended.set()

        gateway.east.steps = [OK, endless]
        client = await gateway.connect()
        await client.ask(request())
        await client.send(request({"stream": True}))
        await client.reader.readuntil(b"choices")

        client.close()

        await ended.wait()
        await gateway.until(lambda: len(gateway.rows) == 2)
        assert gateway.rows[1].status == 200
        assert gateway.rows[1].attempts[0]["failure_class"] == "client-gone"


async def test_a_client_that_reads_slowly_makes_the_host_wait_and_loses_nothing() -> None:
    size, count = 64 * 1024, 400

    async with served() as gateway:
        said = 0

        async def flood(visit: Visit) -> None:
            nonlocal said
            await visit.say(stream(end=False))
            for _ in range(count):
                await visit.say(b"%x\r\n%b\r\n" % (size, b"x" * size))
                said += 1
            await visit.say(b"0\r\n\r\n")

        gateway.east.steps = [OK, flood]
        client = await gateway.connect()
        await client.ask(request())
        await client.send(request({"stream": True}))
        await gateway.until(lambda: said > 0)
        before = -1
        while said != before:
            before = said
            await asyncio.sleep(0.2)

        assert said < count, "the host was made to wait"
        got = await client.read()
        assert len(got.body) == size * count
        assert got.whole


async def test_a_new_connection_to_a_host_is_made_on_the_fast_path_too() -> None:
    async with served() as gateway:
        clients = [await gateway.connect() for _ in range(5)]

        got = await asyncio.gather(*[client.ask(request()) for client in clients])

        assert [each.status for each in got] == [200] * 5
        assert gateway.general == []


async def test_a_host_that_is_not_there_is_left_for_the_next() -> None:
    async with served({"shadow_hosts": [
        {"name": "east", "driver": "sub2api", "data_endpoint": "http://127.0.0.1:1"},
        {"name": "west", "driver": "sub2api", "data_endpoint": "http://127.0.0.1:1"},
    ]}) as gateway:  # fmt: skip
        client = await gateway.connect()

        got = await client.ask(request())

        assert got.status == 503
        (row,) = gateway.rows
        assert [each["failure_class"] for each in row.attempts] == ["refused", "refused"]


async def test_a_fault_of_ours_is_answered_and_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served() as gateway:
        client = await gateway.connect()
        await client.ask(request())

        def broken(*_: object) -> None:
            raise RuntimeError("a fault of ours")

        monkeypatch.setattr("reconciler.gateway.dataplane.fast_request.judge", broken)
        got = await client.ask(request())
        monkeypatch.undo()

        assert (got.status, json.loads(got.body)["error"]["code"]) == (500, "gateway_fault")
        assert gateway.rows[1].status == 500
        assert gateway.gateway.data_plane.runtime.in_flight() == {}
        assert (await client.ask(request())).status == 200


async def test_a_fault_of_ours_before_a_request_begins_leaves_it_to_the_general_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with served() as gateway:
        client = await gateway.connect()
        await client.ask(request())

        def broken(*_: object) -> None:
            raise RuntimeError("a fault of ours")

        monkeypatch.setattr("reconciler.gateway.dataplane.fast_path.group_of", broken)

        assert (await client.ask(request())).status == 200
        assert len(gateway.general) == 1


async def test_a_connection_that_ends_finishes_its_request_and_says_so() -> None:
    async with served() as gateway:
        answering = asyncio.Event()

        async def slow(visit: Visit) -> None:
            await answering.wait()
            await visit.say(OK)

        gateway.east.steps = [OK, slow]
        client = await gateway.connect()
        await client.ask(request())
        await client.send(request())
        await gateway.until(lambda: len(gateway.east.requests) == 2)
        (connection,) = gateway.state.connections

        connection.shutdown()
        answering.set()

        got = await client.read()
        assert (got.status, got.header(b"connection")) == (200, b"close")
        assert await client.reader.read() == b""


async def test_what_is_served_when_the_process_ends_leaves_its_row() -> None:
    async with served() as gateway:
        gateway.east.steps = [OK, _silent]
        client = await gateway.connect()
        await client.ask(request())
        await client.send(request())
        await gateway.until(lambda: len(gateway.east.requests) == 2)

        cut_off(gateway.state.connections)

        assert gateway.rows[1].status == 499
        assert await client.reader.read() == b""


def _alive() -> int:
    kinds = (FastRequest, Inbound, Outbound, Trail)
    return sum(isinstance(item, kinds) for item in gc.get_objects())


async def test_a_served_request_leaves_nothing_for_the_garbage_collector() -> None:
    async with served() as gateway:
        client = await gateway.connect()
        await client.ask(request())
        gc.collect()
        gc.disable()
        try:
            before = _alive()
            for _ in range(10):
                await client.ask(request())
            after = _alive()
        finally:
            gc.enable()

        assert gateway.general == []
        assert after == before


async def test_the_sdks_take_the_fast_path() -> None:
    async with served() as gateway:
        base = f"http://127.0.0.1:{gateway.port}"
        done = b'{"id":"a","object":"chat.completion","created":1,"model":"up-fast-1","choices":[]}'
        gateway.east.steps = [answer(done)]
        async with openai.AsyncOpenAI(api_key=stage.KEY, base_url=f"{base}/v1", max_retries=0) as client:
            for _ in range(3):
                reply = await client.chat.completions.create(model="fast", messages=[])
                assert reply.model == "fast"
            gateway.east.steps = [stream(EVENT, USAGE, DONE)]
            told = [
                event.model
                async for event in await client.chat.completions.create(
                    model="fast", messages=[], stream=True
                )
            ]
            assert told[0] == "fast"
        message = b'{"id":"m","type":"message","role":"assistant","content":[],"model":"up-fast-1"}'
        gateway.east.steps = [answer(message)]
        async with anthropic.AsyncAnthropic(api_key=stage.KEY, base_url=base, max_retries=0) as claude:
            said = await claude.messages.create(model="fast", max_tokens=1, messages=[])
            assert said.model == "fast"

        assert gateway.general == []
        assert [row.status for row in gateway.rows] == [200] * 5
