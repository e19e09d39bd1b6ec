"""The server on the wire: what two parties could read differently is refused, and nothing grows without bound."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import select
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from reconciler.gateway.dataplane.inbound import CLIENT, Client
from reconciler.gateway.listening import held_by_system
from reconciler.gateway.wire import MAX_HEAD_S, MAX_UNREAD_S, BoundedHttp, close_overdue
from tests.gateway.process import GatewayProcess, gateway_interpreter
from tests.gateway.raw_client import connect, send, statuses_in
from tests.gateway.world import ADMIN

HEAD = b"POST /api/v1/resolve HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + ADMIN.encode() + b"\r\n"
SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with gateway_interpreter(tmp_path_factory.mktemp("wire")) as process:
        yield process


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
        b"Content-Length: 0, 5\r\n\r\nhello",
        b"Content-Length: +2\r\n\r\n{}",
        b"Content-Length: 0x2\r\n\r\n{}",
        b"Content-Length: -1\r\n\r\n{}",
        b"Content-Length: 99999999999999999999999\r\n\r\n{}",
        b"Content-Length : 2\r\n\r\n{}",
        b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n",
        b"X-Folded: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
        b"X Space: a\r\nContent-Length: 2\r\n\r\n{}",
        b"X-Nul: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
        b"X-Bare: a\nContent-Length: 2\r\n\r\n{}",
        b": nameless\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_ambiguous_framing_is_refused_and_what_follows_is_not_a_request(
    gateway: GatewayProcess, framing: bytes
) -> None:
    statuses = statuses_in(send(gateway, HEAD + framing + SMUGGLED))
    assert statuses in ([400], []), framing


@pytest.mark.parametrize(
    "line", [b"GET /healthz", b"GET /healthz HTTP/9.9", b"\x16\x03\x01", b"GET /h z HTTP/1.1", b""]
)
def test_what_is_no_http_is_400_or_closed(gateway: GatewayProcess, line: bytes) -> None:
    assert statuses_in(send(gateway, line + b"\r\n\r\n")) in ([400], [])


def test_two_hosts_and_absolute_urls_do_not_confuse_routing(gateway: GatewayProcess) -> None:
    request = b"GET http://evil.test/v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert statuses_in(send(gateway, request)) in ([400], [401], [404])


@pytest.mark.parametrize(
    "path", [b"/api/v1/../v1/snapshot", b"/%61pi/v1/snapshot", b"/API/v1/snapshot", b"/api/v1/snapshot%00"]
)
def test_other_spellings_of_a_path_open_nothing(gateway: GatewayProcess, path: bytes) -> None:
    request = b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert statuses_in(send(gateway, request))[0] in (400, 401, 404)


def test_pipelined_requests_are_answered_in_order(gateway: GatewayProcess) -> None:
    first = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert statuses_in(send(gateway, first + first + last, half_close=False)) == [200, 200, 404]


@pytest.mark.parametrize("shape", ["one long line", "many lines", "long url"])
def test_endless_head_is_cut_off(gateway: GatewayProcess, shape: str) -> None:
    before = _memory_kb(gateway)
    sent = 0
    with connect(gateway) as connection:
        try:
            connection.sendall(
                b"GET /healthz?" if shape == "long url" else b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
            )
            if shape == "one long line":
                connection.sendall(b"X-Long: ")
            piece = b"X-Many: 1\r\n" * 6000 if shape == "many lines" else b"x" * 65536
            while sent < 64 << 20:
                connection.sendall(piece)
                sent += len(piece)
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert sent < 16 << 20, "it was cut off"
    assert _memory_kb(gateway) - before < 32 << 10


def test_head_of_the_longest_allowed_header_is_served(gateway: GatewayProcess) -> None:
    request = (
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Long: " + b"x" * 60_000 + b"\r\n\r\n"
    )
    assert statuses_in(send(gateway, request)) == [200]


OFFERS = [
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n",
    b"upgrade: websocket\r\nconnection: upgrade\r\n",
]


@pytest.mark.parametrize("offer", OFFERS)
def test_offer_to_upgrade_is_ignored_and_the_body_is_a_body(gateway: GatewayProcess, offer: bytes) -> None:
    question = b'{"managed_key":"x","public_model":"y"}'
    framed = b"Content-Length: %d\r\n\r\n" % len(question) + question
    last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert statuses_in(send(gateway, HEAD + offer + framed + last, half_close=False)) == [200, 200]


@pytest.mark.parametrize("offer", OFFERS)
def test_body_behind_an_offer_in_pieces_is_not_read_as_a_request(
    gateway: GatewayProcess, offer: bytes
) -> None:
    whole = HEAD + offer + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED)
    cut = whole.lower().index(b"upgrade:") + 3
    with connect(gateway) as connection:
        connection.sendall(whole[:cut])
        time.sleep(0.1)
        connection.sendall(whole[cut:])
        time.sleep(0.1)
        answer = b""
        try:
            connection.sendall(SMUGGLED)
            while chunk := connection.recv(65536):
                answer += chunk
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert statuses_in(answer) in ([400], [])


def test_connect_is_refused(gateway: GatewayProcess) -> None:
    request = b"CONNECT evil.test:443 HTTP/1.1\r\nHost: x\r\n\r\n" + SMUGGLED
    assert statuses_in(send(gateway, request)) in ([400], [])


def test_slow_client_holds_nobody_else_up(gateway: GatewayProcess) -> None:
    slow = [connect(gateway) for _ in range(50)]
    try:
        for connection in slow:
            connection.sendall(b"POST /api/v1/revisions HTTP/1.1\r\nHost: x\r\nContent-Le")
        assert statuses_in(
            send(gateway, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        ) == [200]
    finally:
        for connection in slow:
            connection.close()


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.closed = False
        self.aborted = False
        self.written: list[bytes] = []
        self.unread = 0
        self.socket: socket.socket | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.socket if name == "socket" else default

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return self.unread

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))


def _served(connection: BoundedHttp) -> FakeTransport:
    transport = FakeTransport()
    connection.connection_made(transport)
    return transport


async def test_client_that_owes_a_head_for_too_long_is_closed_and_others_are_not() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    config = uvicorn.Config(app, log_config=None, lifespan="off")
    silent, slow, served = (BoundedHttp(config, ServerState(), {}) for _ in range(3))
    transports = [_served(connection) for connection in (silent, slow, served)]
    slow.data_received(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow")
    served.data_received(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nslow")
    now = asyncio.get_running_loop().time()
    close_overdue([silent, slow, served], now)
    assert [transport.closed for transport in transports] == [False, False, False]
    close_overdue([silent, slow, served], now + MAX_HEAD_S + 1)
    assert [transport.closed for transport in transports] == [True, True, False]
    await asyncio.gather(*served.tasks)
    served.connection_lost(None)


class Served:
    """A connection whose application hands over its client's extension; with what the application is to do."""

    def __init__(self, answer: Callable[[Client], Awaitable[None]]) -> None:
        async def app(scope: Scope, _receive: Receive, send: Send) -> None:
            self.scope = scope
            await answer(scope["extensions"][CLIENT])
            with contextlib.suppress(RuntimeError):  # what was answered already is not answered again
                await send(
                    {"type": "http.response.start", "status": 500, "headers": [(b"content-length", b"0")]}
                )
                await send({"type": "http.response.body"})

        config = uvicorn.Config(app, log_config=None, lifespan="off")
        self.connection = BoundedHttp(config, ServerState(), {})
        self.transport = _served(self.connection)

    async def ask(self, head: bytes = b"", body: bytes = b"body") -> bytes:
        """Send a request and return what was written."""
        framing = b"POST / HTTP/1.1\r\nHost: x\r\n%bContent-Length: 4\r\n\r\n" % head
        self.connection.data_received(framing + body)
        await asyncio.gather(*self.connection.tasks)
        return b"".join(self.transport.written)


async def test_whole_answer_is_written_in_one_piece_and_the_connection_kept() -> None:
    async def answer(client: Client) -> None:
        assert client.whole_body() == b"body"
        assert client.answer(201, [(b"content-length", b"2"), (b"x-a", b"1")], b"{}")
        assert not client.answer(200, [(b"content-length", b"0")], b"")

    served = Served(answer)
    once = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\nx-a: 1\r\n\r\n{}"
    assert await served.ask() == once
    assert served.transport.written == [once]
    assert await served.ask() == once + once
    assert not served.transport.closed
    served.connection.connection_lost(None)


@pytest.mark.parametrize(
    ("head", "status", "header"),
    [
        (b"", 200, (b"x-a", b"1\r\nx-injected: 1")),
        (b"", 200, (b"x-a\n", b"1")),
        (b"", 204, (b"x-a", b"1")),
        (b"Connection: close\r\n", 200, (b"x-a", b"1")),
    ],
)
async def test_answer_out_of_the_ordinary_is_left_to_the_server(
    head: bytes, status: int, header: tuple[bytes, bytes]
) -> None:
    async def answer(client: Client) -> None:
        assert not client.answer(status, [(b"content-length", b"2"), header], b"{}")

    served = Served(answer)
    assert (await served.ask(head)).startswith(b"HTTP/1.1 500 ")
    served.connection.connection_lost(None)


@pytest.mark.parametrize("in_one_piece", [True, False])
async def test_served_request_leaves_nothing_to_the_garbage_collector(*, in_one_piece: bool) -> None:
    """Circles of every request were once kept for good: a promote hid them from the collector."""

    async def answer(client: Client) -> None:
        if in_one_piece:
            assert client.answer(200, [(b"content-length", b"0")], b"")

    served = Served(answer)
    await served.ask()
    first = ref(served.connection.cycle)
    served.scope = {}
    gc.disable()
    try:
        await served.ask()
        assert first() is None
        last = ref(served.connection.cycle)
        served.scope = {}
        served.connection.connection_lost(None)
        assert last() is None
    finally:
        gc.enable()


async def test_idle_connection_is_closed_after_its_time_and_a_served_one_is_not() -> None:
    async def answer(client: Client) -> None:
        await asyncio.sleep(0)
        close_overdue([served.connection], asyncio.get_running_loop().time() + 3600)
        assert not served.transport.closed
        assert client.answer(200, [(b"content-length", b"0")], b"")

    served = Served(answer)
    idle_s = served.connection.timeout_keep_alive
    await served.ask()
    await served.ask()
    now = asyncio.get_running_loop().time()
    closed = []
    for idle in (idle_s - 1, idle_s + 1):
        close_overdue([served.connection], now + idle)
        closed.append(served.transport.closed)
    assert closed == [False, True]
    served.connection.connection_lost(None)


@pytest.mark.parametrize(
    ("sizes", "cut_off"),
    [((5, 5, 5), True), ((5, 4, 4), False), ((5, 9, 9), False), ((5, 0, 5), False), ((0, 0, 0), False)],
)
async def test_only_a_client_that_takes_nothing_for_its_whole_time_is_cut_off(
    sizes: tuple[int, ...], cut_off: bool
) -> None:
    async def answer(client: Client) -> None:
        assert client.answer(200, [(b"content-length", b"0")], b"")

    served = Served(answer)
    await served.ask()
    now = asyncio.get_running_loop().time()
    for size, later in zip(sizes, (0, MAX_UNREAD_S - 1, MAX_UNREAD_S + 1), strict=True):
        served.transport.unread = size
        close_overdue([served.connection], now + later)
    assert served.transport.aborted is cut_off
    served.connection.connection_lost(None)


def _full_connection() -> tuple[socket.socket, socket.socket]:
    """Return a connection whose writer has no room left, and its reader, which has read nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)
        writer = socket.create_connection(listener.getsockname())
        reader, _ = listener.accept()
    writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024 * 1024)
    writer.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while writer.send(b"x" * 65536):
            pass
    return writer, reader


@pytest.mark.parametrize("reads", [True, False])
async def test_client_that_reads_what_the_system_holds_for_it_is_not_cut_off(*, reads: bool) -> None:
    async def answer(client: Client) -> None:
        assert client.answer(200, [(b"content-length", b"0")], b"")

    served = Served(answer)
    await served.ask()
    writer, reader = _full_connection()
    with writer, reader:
        served.transport.unread, served.transport.socket = 5, writer
        now = asyncio.get_running_loop().time()
        close_overdue([served.connection], now)
        if reads:
            before = held_by_system(writer)
            while held_by_system(writer) == before:
                reader.recv(16 * 1024)
        assert select.select([], [writer], [], 0)[1] == [], "the transport is not told of room yet"
        close_overdue([served.connection], now + MAX_UNREAD_S + 1)
    assert served.transport.aborted is not reads
    served.connection.connection_lost(None)


async def test_request_hears_once_that_its_client_went_and_not_after_it_stopped_listening() -> None:
    heard: list[str] = []

    async def listen(client: Client) -> None:
        client.when_gone(lambda: heard.append("early"))
        served.connection.connection_lost(None)
        assert heard == ["early"]
        client.when_gone(lambda: heard.append("late"))
        await asyncio.sleep(0)
        assert heard == ["early", "late"]
        assert not client.answer(200, [(b"content-length", b"0")], b"")

    served = Served(listen)
    assert await served.ask() == b""

    async def stop(client: Client) -> None:
        client.when_gone(lambda: heard.append("stopped"))
        client.when_gone(None)

    served = Served(stop)
    await served.ask()
    served.connection.connection_lost(None)
    assert heard == ["early", "late"]


async def test_request_without_its_whole_body_says_so() -> None:
    seen: list[bytes | None] = []

    async def look(client: Client) -> None:
        seen.append(client.whole_body())

    served = Served(look)
    await served.ask(body=b"bo")
    assert seen == [None]
    served.connection.connection_lost(None)


def test_body_is_not_kept_for_a_request_that_is_refused(gateway: GatewayProcess) -> None:
    before = _memory_kb(gateway)
    head = b"POST /api/v1/revisions HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n"
    with connect(gateway) as connection:
        connection.sendall(head)
        try:
            for _ in range(2048):
                connection.sendall(b"x" * 32768)
        except (ConnectionResetError, BrokenPipeError, TimeoutError):
            pass
    assert _memory_kb(gateway) - before < 32 << 10


def _memory_kb(process: GatewayProcess) -> int:
    assert process.popen is not None
    status = Path(f"/proc/{process.popen.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def test_key_guessing_takes_as_long_for_a_near_miss_as_for_a_far_one(gateway: GatewayProcess) -> None:
    """No clock is asserted: a near miss and a far one go through the same comparison of digests, and both are 401."""
    near, far = ADMIN[:-1] + "x", "x" * len(ADMIN)
    for token in (near, far):
        request = b"GET /api/v1/snapshot HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        request += f"Authorization: Bearer {token}\r\n\r\n".encode()
        assert statuses_in(send(gateway, request)) == [401]
