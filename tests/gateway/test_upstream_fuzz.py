"""The pool's parser side against bytes that nobody foresaw: no exception escapes, nothing is unbounded or misread."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.gateway.contract import UpstreamRequest
from reconciler.gateway.dataplane.upstream.connection import HEADER_CAP, HIGH_WATER, Connection, Target

REQUEST = UpstreamRequest(origin="http://host.test", path="/", headers=(), body=b"")


class DeafTransport(asyncio.Transport):
    """Takes everything and remembers what was asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False
        self.paused = False

    def write(self, data: Any) -> None:
        pass

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cut bytes into pieces of the given sizes, the last one taking the rest."""
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [piece for piece in [*pieces, data] if piece]


async def fed(pieces: list[bytes], *, then_closed: bool) -> tuple[Connection, DeafTransport]:
    """Feed pieces to a connection that awaits an answer."""
    connection = Connection(asyncio.get_running_loop(), Target("127.0.0.1", 1, False), lambda _: None)
    transport = DeafTransport()
    connection.connection_made(transport)
    asking = asyncio.ensure_future(connection.exchange(REQUEST, b""))
    await asyncio.sleep(0)
    for piece in pieces:
        if not transport.closed:
            connection.data_received(piece)
    if then_closed or transport.closed:
        connection.connection_lost(None)
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    return connection, transport


async def body_of(connection: Connection) -> bytes:
    parts = []
    while (part := await connection.chunk(1.0)) is not None:
        parts.append(part)
    return b"".join(parts)


sizes = st.lists(st.integers(1, 40), max_size=30)
fragments = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.1 103 Early\r\n\r\n",
        b"HTTP/1.1 204 No\r\n",
        b"content-length: 5\r\n",
        b"content-length: 0005\r\n",
        b"transfer-encoding: chunked\r\n",
        b"transfer-encoding: gzip, chunked\r\n",
        b"connection: close\r\n",
        b"connection: upgrade\r\nupgrade: h2c\r\n",
        b"\r\n",
        b"\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"fffffffffffffffff\r\n",
        b"hello",
        b" folded\r\n",
    ]
)
noise = st.lists(st.one_of(fragments, st.binary(max_size=20)), max_size=20).map(b"".join)


@given(data=noise, sizes=sizes, then_closed=st.booleans())
@example(data=b"HTTP/1.1 101 S\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", sizes=[], then_closed=False)
async def test_no_bytes_raise_out_of_the_event_loop_or_leave_it_undecided(
    data: bytes, sizes: list[int], then_closed: bool
) -> None:
    connection, transport = await fed(cut(data, sizes), then_closed=then_closed)

    if then_closed:
        assert connection.complete or connection.failure is not None
    if connection.failure is not None:
        assert not connection.reusable
    assert connection.failure is None or transport.closed or then_closed


@given(body=st.binary(max_size=300), chunk_sizes=st.lists(st.integers(1, 50), max_size=20), sizes=sizes)
async def test_a_chunked_body_is_read_the_same_however_it_is_cut(
    body: bytes, chunk_sizes: list[int], sizes: list[int]
) -> None:
    framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in cut(body, chunk_sizes))
    answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"

    connection, _ = await fed(cut(answer, sizes), then_closed=False)

    assert await body_of(connection) == body
    assert connection.reusable


@given(body=st.binary(max_size=300), sizes=sizes, surplus=st.binary(max_size=20))
@example(body=b"", sizes=[], surplus=b"\r")
@example(body=b"", sizes=[], surplus=b"\r\nHTTP/1.1 200 OK\r\n")
async def test_a_body_is_as_long_as_its_length_says(body: bytes, sizes: list[int], surplus: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body + surplus

    connection, _ = await fed(cut(answer, sizes), then_closed=False)

    assert await body_of(connection) == body
    if surplus.strip(b"\r\n"):
        assert not connection.reusable
    elif not surplus:
        assert connection.reusable
    # Line ends alone may go either way: the parser passes over them, and each answer is read by a parser of its own.


@given(
    lengths=st.lists(st.sampled_from([b"5", b"6", b"5, 5"]), min_size=1, max_size=3), chunked=st.booleans()
)
async def test_an_ambiguous_length_is_never_read(lengths: list[bytes], chunked: bool) -> None:
    head = b"".join(b"content-length: " + length + b"\r\n" for length in lengths)
    head += b"transfer-encoding: chunked\r\n" if chunked else b""

    connection, transport = await fed([b"HTTP/1.1 200 OK\r\n" + head + b"\r\nhello"], then_closed=False)

    plain = lengths in ([b"5"], [b"6"]) and not chunked
    assert (connection.failure is None) is plain
    assert transport.closed is not plain


async def test_trailers_without_end_are_cut_off() -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"

    connection, transport = await fed([head, *[b"x-t: " + b"y" * 1000 + b"\r\n"] * 200], then_closed=False)

    assert connection.failure is not None
    assert transport.closed


async def test_chunk_extensions_without_end_are_cut_off() -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;"

    connection, transport = await fed([head, *[b"a" * 1000] * (HEADER_CAP // 1000 + 20)], then_closed=False)

    assert connection.failure is not None
    assert transport.closed


async def test_informational_answers_without_end_are_cut_off() -> None:
    connection, transport = await fed([b"HTTP/1.1 103 Early Hints\r\n\r\n"] * 5000, then_closed=False)

    assert connection.failure is not None
    assert transport.closed


async def test_reading_stops_at_the_high_water_mark() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n"

    connection, transport = await fed([head, *[b"x" * 65536] * 5], then_closed=False)

    assert transport.paused
    assert len(await connection.chunk(1.0) or b"") > HIGH_WATER
    assert not transport.paused
