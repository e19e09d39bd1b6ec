"""The server on the wire: what two parties could read differently is refused, and nothing grows without bound."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from reconciler.gateway.wire import MAX_HEAD_S, BoundedHttp, close_slow_heads
from tests.gateway.process import GatewayProcess, gateway_process
from tests.gateway.world import ADMIN

HEAD = b"POST /api/v1/resolve HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + ADMIN.encode() + b"\r\n"
SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with gateway_process(tmp_path_factory.mktemp("wire")) as process:
        yield process


def _connect(process: GatewayProcess) -> socket.socket:
    host, port = process.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.settimeout(20)
    return connection


def _send(process: GatewayProcess, data: bytes, *, half_close: bool = True) -> bytes:
    """Send bytes, and return all that comes until the server closes."""
    answer = b""
    with _connect(process) as connection:
        try:
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                answer += chunk
        except (ConnectionResetError, BrokenPipeError):
            pass
    return answer


def _statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


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
    statuses = _statuses(_send(gateway, HEAD + framing + SMUGGLED))
    assert statuses in ([400], []), framing


@pytest.mark.parametrize(
    "line", [b"GET /healthz", b"GET /healthz HTTP/9.9", b"\x16\x03\x01", b"GET /h z HTTP/1.1", b""]
)
def test_what_is_no_http_is_400_or_closed(gateway: GatewayProcess, line: bytes) -> None:
    assert _statuses(_send(gateway, line + b"\r\n\r\n")) in ([400], [])


def test_two_hosts_and_absolute_urls_do_not_confuse_routing(gateway: GatewayProcess) -> None:
    request = b"GET http://evil.test/v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert _statuses(_send(gateway, request)) in ([400], [401], [404])


@pytest.mark.parametrize(
    "path", [b"/api/v1/../v1/snapshot", b"/%61pi/v1/snapshot", b"/API/v1/snapshot", b"/api/v1/snapshot%00"]
)
def test_other_spellings_of_a_path_open_nothing(gateway: GatewayProcess, path: bytes) -> None:
    request = b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert _statuses(_send(gateway, request))[0] in (400, 401, 404)


def test_pipelined_requests_are_answered_in_order(gateway: GatewayProcess) -> None:
    first = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert _statuses(_send(gateway, first + first + last, half_close=False)) == [200, 200, 404]


@pytest.mark.parametrize("shape", ["one long line", "many lines", "long url"])
def test_endless_head_is_cut_off(gateway: GatewayProcess, shape: str) -> None:
    before = _memory_kb(gateway)
    sent = 0
    with _connect(gateway) as connection:
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
    assert _statuses(_send(gateway, request)) == [200]


OFFERS = [
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n",
    b"upgrade: websocket\r\nconnection: upgrade\r\n",
]


@pytest.mark.parametrize("offer", OFFERS)
def test_offer_to_upgrade_is_ignored_and_the_body_is_a_body(gateway: GatewayProcess, offer: bytes) -> None:
    question = b'{"managed_key":"x","public_model":"y"}'
    framed = b"Content-Length: %d\r\n\r\n" % len(question) + question
    last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert _statuses(_send(gateway, HEAD + offer + framed + last, half_close=False)) == [200, 200]


@pytest.mark.parametrize("offer", OFFERS)
def test_body_behind_an_offer_in_pieces_is_not_read_as_a_request(
    gateway: GatewayProcess, offer: bytes
) -> None:
    whole = HEAD + offer + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED)
    cut = whole.lower().index(b"upgrade:") + 3
    with _connect(gateway) as connection:
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
    assert _statuses(answer) in ([400], [])


def test_connect_is_refused(gateway: GatewayProcess) -> None:
    request = b"CONNECT evil.test:443 HTTP/1.1\r\nHost: x\r\n\r\n" + SMUGGLED
    assert _statuses(_send(gateway, request)) in ([400], [])


def test_slow_client_holds_nobody_else_up(gateway: GatewayProcess) -> None:
    slow = [_connect(gateway) for _ in range(50)]
    try:
        for connection in slow:
            connection.sendall(b"POST /api/v1/revisions HTTP/1.1\r\nHost: x\r\nContent-Le")
        assert _statuses(
            _send(gateway, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        ) == [200]
    finally:
        for connection in slow:
            connection.close()


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass


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
    close_slow_heads([silent, slow, served], now)
    assert [transport.closed for transport in transports] == [False, False, False]
    close_slow_heads([silent, slow, served], now + MAX_HEAD_S + 1)
    assert [transport.closed for transport in transports] == [True, True, False]
    await asyncio.gather(*served.tasks)
    served.connection_lost(None)


def test_body_is_not_kept_for_a_request_that_is_refused(gateway: GatewayProcess) -> None:
    before = _memory_kb(gateway)
    head = b"POST /api/v1/revisions HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n"
    with _connect(gateway) as connection:
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
        assert _statuses(_send(gateway, request)) == [401]
