"""What a client can do to a connection that the fast path and the parser share, and what a host can do to both."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.gateway.dataplane.stickiness import Stickiness
from reconciler.gateway.wire import MAX_UNREAD_S, BoundedHttp
from tests.gateway.dataplane.served import Served, answer, request, served, stream
from tests.gateway.raw_host import Visit

OK = answer(b'{"id":"a","model":"up-fast-1"}')


class Held:
    """A host's answer that waits until the test lets it go."""

    def __init__(self, said: bytes = OK) -> None:
        self.go = asyncio.Event()
        self._said = said

    async def __call__(self, visit: Visit) -> None:
        await self.go.wait()
        await visit.say(self._said)


def connection_of(gateway: Served) -> BoundedHttp:
    (connection,) = gateway.state.connections
    assert isinstance(connection, BoundedHttp)
    return connection


async def test_what_comes_as_an_answer_ends_is_read_after_what_came_before_it() -> None:
    async with served() as gateway:
        held = Held()
        gateway.east.steps = [OK, held, OK]
        client = await gateway.connect()
        await client.ask(request())
        await client.send(request())
        await gateway.until(lambda: len(gateway.east.requests) == 2)
        connection, again = connection_of(gateway), request({"n": "the last"})
        connection.data_received(again[:40])
        end = connection.served

        def served_then_read(*, whole: bool) -> None:
            end(whole=whole)
            connection.data_received(again[40:])  # read in the same turn of the loop

        connection.served = served_then_read  # type: ignore[method-assign]
        held.go.set()

        assert [(await client.read()).status for _ in range(2)] == [200, 200]
        assert b"the last" in gateway.east.requests[2]


async def test_a_head_that_the_parser_began_is_not_taken_for_the_beginning_of_a_request() -> None:
    async with served() as gateway:
        client = await gateway.connect()
        begun = request({"user": "outer"})[:-1]
        head, _, _ = begun.partition(b"\r\n\r\n")
        hidden = request({"n": "hidden"})
        # The parser gets one whole request and the beginning of another, in whose header the hidden one stands.
        await client.send(request() + head + b"\r\nX-Note: ")
        assert (await client.read()).status == 200

        await client.send(hidden)

        await gateway.until(lambda: len(gateway.rows) == 2 or not gateway.state.connections)
        assert not any(b"hidden" in each for each in gateway.east.requests)


async def test_a_client_that_does_not_read_is_not_answered_without_end() -> None:
    async with served() as gateway:
        gateway.east.steps = [answer(b'{"id":"%b"}' % (b"x" * 1_000_000))]
        client = await gateway.connect()
        while not connection_of(gateway).write_paused:
            served_before = len(gateway.rows)
            await client.send(request())
            await gateway.until(lambda: len(gateway.rows) > served_before)  # noqa: B023
        owed, unread = len(gateway.rows), connection_of(gateway).transport.get_write_buffer_size()

        await client.send(request())
        await gateway.until(lambda: len(gateway.east.requests) > owed)
        await client.send(request() * 5)
        await gateway.until(lambda: connection_of(gateway).flow.read_paused)

        assert connection_of(gateway).transport.get_write_buffer_size() == unread
        assert len(gateway.east.requests) == owed + 1
        assert [(await client.read()).status for _ in range(owed + 6)] == [200] * (owed + 6)


@pytest.mark.parametrize("fast", [True, False])
async def test_a_stream_whose_client_reads_nothing_ends_in_time_with_its_row(fast: bool) -> None:
    async def flood(visit: Visit) -> None:
        await visit.say(stream(end=False))
        while True:
            await visit.say(b"1000\r\n%b\r\n" % (b"x" * 4095 + b"\n"))

    async with served(fast=fast) as gateway:
        gateway.east.steps = [flood]
        client = await gateway.connect()
        await client.send(request({"stream": True}))
        await gateway.until(lambda: connection_of(gateway).write_paused)

        connection, now = connection_of(gateway), asyncio.get_running_loop().time()
        connection.end_if_overdue(now)
        connection.end_if_overdue(now + MAX_UNREAD_S + 1)
        await gateway.until(lambda: gateway.rows)

        assert not gateway.state.connections
        (row,) = gateway.rows
        assert (row.status, row.attempts[0]["failure_class"]) == (200, "client-gone")


@pytest.mark.parametrize("kind", ["text/event-stream", "text/plain", "application/json"])
@pytest.mark.parametrize("fast", [True, False])
async def test_an_empty_answer_has_no_body_whatever_kind_it_claims(kind: str, fast: bool) -> None:
    async with served(fast=fast) as gateway:
        gateway.east.steps = [b"HTTP/1.1 204 No Content\r\nContent-Type: %b\r\n\r\n" % kind.encode(), OK]
        client = await gateway.connect()
        await client.send(request({"stream": True}))
        head = await client.reader.readuntil(b"\r\n\r\n")

        assert b"transfer-encoding" not in head.lower()
        await client.send(request())
        assert (await client.reader.readline()).startswith(b"HTTP/1.1 200")


async def test_a_request_handed_over_while_the_process_drains_ends_its_connection() -> None:
    async with served() as gateway:
        held = Held(answer(b"{}", status="500 Internal Server Error"))
        gateway.east.steps = [OK, held]
        client = await gateway.connect()
        await client.ask(request())
        await client.send(request())
        await gateway.until(lambda: len(gateway.east.requests) == 2)

        connection_of(gateway).shutdown()
        held.go.set()

        got = await client.read()
        assert (got.status, got.header(b"connection")) == (200, b"close")
        async with asyncio.timeout(3):
            assert await client.reader.read() == b""


async def test_many_requests_sent_ahead_and_the_beginning_of_another_are_all_answered() -> None:
    async with served() as gateway:
        held = Held()
        gateway.east.steps = [OK, held, OK]
        client = await gateway.connect()
        await client.ask(request())
        await client.send(request())
        await gateway.until(lambda: len(gateway.east.requests) == 2)
        again = request({"n": "x" * 1500})
        await client.send(again * 50 + again[:40])
        await gateway.until(lambda: len(connection_of(gateway)._later) == len(again) * 50 + 40)
        held.go.set()
        assert [(await client.read()).status for _ in range(51)] == [200] * 51
        assert (await client.ask(again[40:])).status == 200


async def test_a_host_is_not_late_while_its_route_is_being_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = asyncio.Event()

    async def bind_slowly(*_: object, **__: object) -> None:
        await bound.wait()

    monkeypatch.setattr(Stickiness, "served_now", lambda *_: False)
    monkeypatch.setattr(Stickiness, "served", bind_slowly)
    async with served() as gateway:
        begun = asyncio.Event()

        async def speak_late(visit: Visit) -> None:
            await visit.say(stream(end=False))
            await begun.wait()
            await visit.say(stream(b"data: {}\n\n").partition(b"\r\n\r\n")[2])

        gateway.east.steps = [speak_late]
        client = await gateway.connect()
        await client.send(request({"stream": True}, headers={"X-Session-Id": "s-1"}))
        busy = gateway.gateway.data_plane.upstream._busy  # type: ignore[attr-defined]
        await gateway.until(lambda: [each for each in busy if each.deadline_kind == "idle-timeout"])
        (asked,) = busy

        begun.set()
        await gateway.until(lambda: asked.complete)

        assert asked.deadline is None
        bound.set()
        assert (await client.read()).body == b"data: {}\n\n"
