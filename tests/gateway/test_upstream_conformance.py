"""What every upstream client keeps, against a host that speaks raw bytes and may misbehave."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import cast

import pytest

from reconciler.gateway.contract import SLOWEST_HOST, UpstreamClient, UpstreamFailed, UpstreamRequest
from reconciler.gateway.dataplane.upstream import UPSTREAMS, create_upstream
from tests.gateway.raw_host import Visit, answering, raw_host

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
LIMIT = 1024 * 1024


@pytest.fixture(params=sorted(UPSTREAMS))
async def client(request: pytest.FixtureRequest) -> AsyncIterator[UpstreamClient]:
    made = create_upstream(request.param)
    yield made
    await made.aclose()


def post(
    origin: str,
    *,
    body: bytes = b'{"model":"m"}',
    first_byte_timeout_s: float = 5.0,
    idle_timeout_s: float = 5.0,
    connect_timeout_s: float = 5.0,
) -> UpstreamRequest:
    headers = [(b"content-type", b"application/json"), (b"authorization", b"Bearer canary-gateway-key-1")]
    return UpstreamRequest(
        origin=origin,
        path="/v1/x",
        headers=headers,
        body=body,
        first_byte_timeout_s=first_byte_timeout_s,
        idle_timeout_s=idle_timeout_s,
        connect_timeout_s=connect_timeout_s,
    )


async def fetch(client: UpstreamClient, request: UpstreamRequest, *, limit: int = LIMIT) -> tuple[int, bytes]:
    response = await client.send(request)
    try:
        return response.status, await response.read(limit)
    finally:
        await response.aclose()


async def failure(client: UpstreamClient, request: UpstreamRequest, *, limit: int = LIMIT) -> UpstreamFailed:
    with pytest.raises(UpstreamFailed) as failed:
        await fetch(client, request, limit=limit)
    return failed.value


async def test_an_answer_with_a_length_is_read_whole(client: UpstreamClient) -> None:
    async with raw_host(answering(OK)) as host:
        assert await fetch(client, post(host.origin)) == (200, b"{}")


async def test_the_request_arrives_as_it_was_given(client: UpstreamClient) -> None:
    seen = []

    async def handler(visit: Visit) -> None:
        seen.append(await visit.request())
        await visit.say(OK)

    async with raw_host(handler) as host:
        await fetch(client, post(host.origin + "/prefix"))

    head, _, body = seen[0].partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert lines[0] == b"post /prefix/v1/x http/1.1"
    assert f"host: 127.0.0.1:{host.port}".encode() in lines
    assert b"content-length: 13" in lines
    assert b"authorization: bearer canary-gateway-key-1" in lines
    assert not any(line.startswith((b"user-agent", b"accept-encoding", b"cookie")) for line in lines)
    assert body == b'{"model":"m"}'


async def test_a_chunked_answer_is_read_whole_and_its_trailers_are_dropped(client: UpstreamClient) -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nx-t: 1\r\n\r\n"
    )
    async with raw_host(answering(answer)) as host:
        assert await fetch(client, post(host.origin)) == (200, b"abcde")


async def test_an_answer_that_ends_with_the_connection_is_read_whole(client: UpstreamClient) -> None:
    async with raw_host(answering(b"HTTP/1.1 200 OK\r\n\r\nabc", then="close")) as host:
        assert await fetch(client, post(host.origin)) == (200, b"abc")


@pytest.mark.parametrize(
    "head", [b"204 No Content\r\n\r\n", b"200 OK\r\ncontent-length: 0\r\n\r\n"], ids=["204", "0"]
)
async def test_an_empty_answer_ends_at_once(client: UpstreamClient, head: bytes) -> None:
    async with raw_host(answering(b"HTTP/1.1 " + head)) as host:
        assert (await fetch(client, post(host.origin)))[1] == b""


async def test_informational_answers_are_passed_over(client: UpstreamClient) -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    async with raw_host(answering(early + OK)) as host:
        assert await fetch(client, post(host.origin)) == (200, b"{}")


async def test_repeated_headers_all_come_back_in_order_and_lower_case(client: UpstreamClient) -> None:
    answer = b"HTTP/1.1 200 OK\r\nX-Request-ID: one\r\nx-request-id: two\r\ncontent-length: 0\r\n\r\n"
    async with raw_host(answering(answer)) as host:
        response = await client.send(post(host.origin))
        await response.aclose()
    assert [value for name, value in response.headers if name == b"x-request-id"] == [b"one", b"two"]


async def test_a_redirect_is_not_followed(client: UpstreamClient) -> None:
    answer = b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"
    async with raw_host(answering(answer)) as host:
        assert (await fetch(client, post(host.origin)))[0] == 302
        assert len(host.visits) == 1


async def test_a_connection_is_kept_for_the_next_request(client: UpstreamClient) -> None:
    async with raw_host(answering(OK, OK, OK)) as host:
        for _ in range(3):
            await fetch(client, post(host.origin))
        assert len(host.visits) == 1


async def test_a_connection_is_not_kept_when_the_host_says_close(client: UpstreamClient) -> None:
    close = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}"
    async with raw_host(answering(close)) as host:
        await fetch(client, post(host.origin))
        await fetch(client, post(host.origin))
        assert len(host.visits) == 2


async def test_a_connection_is_not_kept_when_its_body_was_not_read(client: UpstreamClient) -> None:
    long = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nabc"
    async with raw_host(answering(long)) as host:
        response = await client.send(post(host.origin))
        await response.aclose()
        second = await client.send(post(host.origin))
        await second.aclose()
        assert len(host.visits) == 2


async def test_a_connection_that_the_host_closed_meanwhile_is_not_used_again(client: UpstreamClient) -> None:
    async with raw_host(answering(OK, then="close")) as host:
        await fetch(client, post(host.origin))
        await host.visits[0].writer.wait_closed()
        await asyncio.sleep(0.05)
        assert await fetch(client, post(host.origin)) == (200, b"{}")


async def test_bytes_after_an_answer_never_become_the_next_answer(client: UpstreamClient) -> None:
    forged = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged"
    async with raw_host(answering(OK + forged, OK)) as host:
        await fetch(client, post(host.origin))
        await asyncio.sleep(0.05)
        assert await fetch(client, post(host.origin)) == (200, b"{}")


async def test_a_refused_connection_says_that_nothing_was_sent(client: UpstreamClient) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        failed = await failure(client, post(f"http://127.0.0.1:{taken.getsockname()[1]}"))
    assert (failed.kind, failed.sent) == ("refused", False)


async def test_an_unknown_name_says_that_nothing_was_sent(client: UpstreamClient) -> None:
    failed = await failure(client, post("http://no-such-host.invalid"))
    assert (failed.kind, failed.sent) == ("refused", False)


async def test_a_connection_that_is_never_accepted_times_out(client: UpstreamClient) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            failed = await failure(client, post(f"http://127.0.0.1:{port}", connect_timeout_s=0.3))
    assert (failed.kind, failed.sent) == ("connect-timeout", False)


async def test_a_reset_before_the_answer_may_have_been_processed(client: UpstreamClient) -> None:
    async with raw_host(answering(b"", then="reset")) as host:
        failed = await failure(client, post(host.origin))
    assert (failed.kind, failed.sent) == ("reset", True)


async def test_a_close_before_the_answer_may_have_been_processed(client: UpstreamClient) -> None:
    async with raw_host(answering(b"", then="close")) as host:
        failed = await failure(client, post(host.origin))
    assert (failed.kind, failed.sent) == ("reset", True)


async def test_a_request_is_never_sent_twice(client: UpstreamClient) -> None:
    requests = []

    async def handler(visit: Visit) -> None:
        requests.append(await visit.request())
        if visit.number == 0:
            await visit.say(OK)
            requests.append(await visit.request())
        visit.abort()

    async with raw_host(handler) as host:
        await fetch(client, post(host.origin))
        await failure(client, post(host.origin))
        await asyncio.sleep(0.05)
    assert len([request for request in requests if request]) == 2


async def test_a_host_that_stalls_before_its_head_times_out(client: UpstreamClient) -> None:
    async with raw_host(answering(b"HTTP/1.1 200 OK\r\ncontent-")) as host:
        failed = await failure(client, post(host.origin, first_byte_timeout_s=0.2, connect_timeout_s=0.2))
    assert (failed.kind, failed.sent) == ("first-byte-timeout", True)


async def test_a_host_that_drips_its_head_times_out_all_the_same(client: UpstreamClient) -> None:
    async def handler(visit: Visit) -> None:
        await visit.request()
        for byte in b"HTTP/1.1 200 OK\r\n" * 10:
            await visit.say(bytes([byte]))
            await asyncio.sleep(0.05)

    async with raw_host(handler) as host:
        failed = await failure(client, post(host.origin, first_byte_timeout_s=0.3, connect_timeout_s=0.1))
    assert failed.kind == "first-byte-timeout"


async def test_a_host_that_stalls_in_its_body_times_out(client: UpstreamClient) -> None:
    async with raw_host(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")) as host:
        failed = await failure(client, post(host.origin, idle_timeout_s=0.2))
    assert failed.kind == "idle-timeout"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nab",
    ],
    ids=["length", "no-last-chunk", "half-a-chunk"],
)
async def test_a_body_that_ends_early_is_truncated(client: UpstreamClient, answer: bytes) -> None:
    async with raw_host(answering(answer, then="close")) as host:
        failed = await failure(client, post(host.origin))
    assert failed.kind == "truncated"


async def test_what_came_before_an_early_end_is_still_handed_on(client: UpstreamClient) -> None:
    half = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\ndata: \r\n"
    async with raw_host(answering(half, then="close")) as host:
        response = await client.send(post(host.origin))
        chunks = response.chunks()
        assert await anext(chunks) == b"data: "
        with pytest.raises(UpstreamFailed):
            await anext(chunks)
        await response.aclose()


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
    ],
    ids=str,
)
async def test_a_garbled_head_is_malformed(client: UpstreamClient, answer: bytes) -> None:
    async with raw_host(answering(answer, then="close")) as host:
        failed = await failure(client, post(host.origin, first_byte_timeout_s=1.0))
    assert failed.kind == "malformed"


async def test_a_garbled_chunk_is_no_whole_answer(client: UpstreamClient) -> None:
    answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n"
    async with raw_host(answering(answer)) as host:
        failed = await failure(client, post(host.origin))
    assert failed.kind in ("malformed", "truncated")


@pytest.mark.parametrize("many", [1, 4000], ids=["one", "many"])
async def test_oversized_headers_are_malformed(client: UpstreamClient, many: int) -> None:
    line = b"x-long: " + b"y" * (200_000 // many) + b"\r\n"
    async with raw_host(
        answering(b"HTTP/1.1 200 OK\r\n" + line * many + b"content-length: 0\r\n\r\n")
    ) as host:
        failed = await failure(client, post(host.origin))
    assert failed.kind == "malformed"


async def test_an_answer_longer_than_the_limit_is_too_large(client: UpstreamClient) -> None:
    async with raw_host(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 3000\r\n\r\n" + b"x" * 3000)) as host:
        failed = await failure(client, post(host.origin), limit=1000)
    assert failed.kind == "too-large"


async def test_a_slow_reader_makes_the_host_wait(client: UpstreamClient) -> None:
    sent = 0

    async def handler(visit: Visit) -> None:
        nonlocal sent
        await visit.request()
        await visit.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (64 * LIMIT))
        for _ in range(64 * 16):
            await visit.say(b"x" * (LIMIT // 16))
            sent += LIMIT // 16

    async with raw_host(handler) as host:
        response = await client.send(post(host.origin))
        await asyncio.sleep(0.3)
        held_back_at = sent
        total = 0
        async for chunk in response.chunks():
            total += len(chunk)
        await response.aclose()
    assert held_back_at < 32 * LIMIT
    assert total == 64 * LIMIT


async def test_a_slow_reader_does_not_time_the_host_out(client: UpstreamClient) -> None:
    long = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (4 * LIMIT) + b"x" * (4 * LIMIT)
    async with raw_host(answering(long)) as host:
        response = await client.send(post(host.origin, idle_timeout_s=0.2))
        await asyncio.sleep(0.6)
        assert len(await response.read(8 * LIMIT)) == 4 * LIMIT
        await response.aclose()


async def test_a_large_request_arrives_whole(client: UpstreamClient) -> None:
    sizes = []

    async def handler(visit: Visit) -> None:
        sizes.append(len(await visit.request()))
        await visit.say(OK)

    async with raw_host(handler) as host:
        await fetch(client, post(host.origin, body=b"x" * (20 * LIMIT)))
    assert sizes[0] > 20 * LIMIT


async def test_an_answer_before_the_request_was_read_is_handed_on(client: UpstreamClient) -> None:
    async def handler(visit: Visit) -> None:
        await visit.reader.read(1000)
        await visit.say(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\n{}")
        await asyncio.Event().wait()

    async with raw_host(handler) as host:
        assert await fetch(client, post(host.origin, body=b"x" * (20 * LIMIT))) == (413, b"{}")


async def test_giving_up_a_request_drops_its_connection(client: UpstreamClient) -> None:
    closed = asyncio.Event()

    async def handler(visit: Visit) -> None:
        await visit.request()
        await visit.reader.read()
        closed.set()

    async with raw_host(handler) as host:
        task = asyncio.ensure_future(client.send(post(host.origin)))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(closed.wait(), 2)


async def test_giving_up_a_stream_drops_its_connection(client: UpstreamClient) -> None:
    closed = asyncio.Event()

    async def handler(visit: Visit) -> None:
        await visit.request()
        await visit.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n")
        await visit.reader.read()
        closed.set()

    async with raw_host(handler) as host:
        response = await client.send(post(host.origin))
        await anext(response.chunks())
        await response.aclose()
        await asyncio.wait_for(closed.wait(), 2)


async def test_many_requests_at_once_each_get_their_own_answer(client: UpstreamClient) -> None:
    async def handler(visit: Visit) -> None:
        while request := await visit.request():
            body = request.partition(b"\r\n\r\n")[2]
            await visit.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    async with raw_host(handler) as host:
        bodies = [b"request-%d" % number for number in range(100)]
        answers = await asyncio.gather(*[fetch(client, post(host.origin, body=body)) for body in bodies])
    assert [answer for _, answer in answers] == bodies


async def test_the_time_in_which_a_host_takes_a_large_request_is_not_held_against_it(
    client: UpstreamClient,
) -> None:
    body = b"x" * SLOWEST_HOST

    async def takes_its_time(visit: Visit) -> None:
        transport = cast(asyncio.Transport, visit.writer.transport)
        transport.pause_reading()
        await asyncio.sleep(0.5)
        transport.resume_reading()
        await visit.request()
        await visit.say(OK)
        await asyncio.Event().wait()

    async with raw_host(takes_its_time) as host:
        assert await fetch(client, post(host.origin, body=body, first_byte_timeout_s=0.2)) == (200, b"{}")
        failed = await failure(client, post(host.origin, body=b"{}", first_byte_timeout_s=0.2))

    assert failed.kind == "first-byte-timeout"


async def test_a_host_that_never_takes_a_large_request_is_late_in_the_end(client: UpstreamClient) -> None:
    async def deaf(visit: Visit) -> None:
        await asyncio.Event().wait()

    async with raw_host(deaf) as host:
        failed = await failure(client, post(host.origin, body=b"x" * SLOWEST_HOST, first_byte_timeout_s=0.1))

    assert failed.kind == "first-byte-timeout"
