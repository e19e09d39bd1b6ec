"""The network below the clients: nothing is sent twice, and every trouble has httpx's name for it."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reconciler.remote import network
from reconciler.remote.network import NetworkTransport
from reconciler.remote.transport import UNSENT
from tests.remote.peer import Peer, Talk, answering, request, serving

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


@pytest.fixture
async def transport() -> AsyncIterator[NetworkTransport]:
    made = NetworkTransport()
    yield made
    await made.aclose()


async def send(
    transport: NetworkTransport, peer: Peer, method: str = "GET", *, timeout_s: float = 5.0, **parts: Any
) -> httpx.Response:
    """Send one request and read its answer."""
    extensions = {"timeout": httpx.Timeout(timeout_s).as_dict()}
    response = await transport.handle_async_request(
        httpx.Request(method, f"{peer.url}/a%2Fb?c=%20d", extensions=extensions, **parts)
    )
    try:
        await response.aread()
    finally:
        await response.aclose()
    return response


async def test_what_is_sent_is_the_request_and_nothing_else(transport: NetworkTransport) -> None:
    async with serving(answering(OK)) as peer:
        await send(transport, peer, "PUT", json={"a": 1}, headers={"x-own": "1", "x-second": "2"})

    assert peer.heads == [
        "PUT /a%2Fb?c=%20d HTTP/1.1\r\n"
        f"host: {peer.url.removeprefix('http://')}\r\n"
        "x-own: 1\r\nx-second: 2\r\ncontent-length: 7\r\ncontent-type: application/json\r\n\r\n"
    ]
    assert peer.bodies == [b'{"a":1}']


async def test_an_answer_comes_as_it_was_sent(transport: NetworkTransport) -> None:
    body = gzip.compress(b"hello")
    head = b"HTTP/1.1 404 Gone Fishing\r\nx-a: 1\r\nx-a: 2\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n"

    async with serving(answering(head % len(body) + body)) as peer:
        response = await send(transport, peer)

    assert (response.status_code, response.reason_phrase) == (404, "Gone Fishing")
    assert response.headers.get_list("x-a") == ["1", "2"]
    assert response.content == b"hello"


async def test_an_answer_may_have_any_bytes_for_a_reason(transport: NetworkTransport) -> None:
    async with serving(answering(b"HTTP/1.1 200 \xe9\r\ncontent-length: 2\r\n\r\nhi")) as peer:
        response = await send(transport, peer)

    assert (response.status_code, response.content) == (200, b"hi")


SECRET = b"s3cret"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nset cookie: " + SECRET + b"\r\n\r\n", id="in a header"),
        pytest.param(b"HTTP/1.1 " + SECRET + b"\r\n\r\n", id="in the status"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx" + SECRET + b"\r\n", id="in a chunk"
        ),
    ],
)
async def test_an_error_tells_nothing_of_what_was_sent_or_asked(
    transport: NetworkTransport, answer: bytes
) -> None:
    async with serving(answering(answer)) as peer:
        with pytest.raises(httpx.RemoteProtocolError) as caught:
            await send(transport, peer)

    assert SECRET.decode() not in str(caught.value)
    assert "c=%20d" not in str(caught.value)
    assert str(caught.value)


async def test_a_connection_is_kept_for_the_next_request(transport: NetworkTransport) -> None:
    async with serving(answering(OK, OK)) as peer:
        await send(transport, peer, "POST", json={})
        await send(transport, peer)

        assert (peer.connections, len(peer.heads)) == (1, 2)


async def test_a_connection_whose_answer_was_not_read_is_not_used_again(transport: NetworkTransport) -> None:
    long = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"

    async with serving(answering(long, OK)) as peer:
        first = await transport.handle_async_request(httpx.Request("GET", peer.url))
        await first.aclose()
        second = await transport.handle_async_request(httpx.Request("GET", peer.url))
        await second.aclose()

        assert peer.connections == 2


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
async def test_what_a_kept_connection_loses_is_not_sent_again(
    transport: NetworkTransport, method: str
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer) -> None:
        await request(reader, peer)
        writer.write(OK)
        await request(reader, peer)

    async with serving(talk) as peer:
        await send(transport, peer)
        with pytest.raises(httpx.RemoteProtocolError):
            await send(transport, peer, method)

    assert [head.split()[0] for head in peer.heads] == ["GET", method]
    assert peer.connections == 1


async def test_a_large_body_arrives_whole(transport: NetworkTransport) -> None:
    body = b"0123456789" * 300_000

    async with serving(answering(OK)) as peer:
        await send(transport, peer, "POST", content=body)

    assert peer.bodies == [body]


async def test_a_redirect_is_an_answer_like_any_other(transport: NetworkTransport) -> None:
    moved = b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"

    async with serving(answering(moved, OK)) as peer:
        response = await send(transport, peer)

    assert (response.status_code, len(peer.heads)) == (302, 1)


async def test_a_cookie_is_not_given_back(transport: NetworkTransport) -> None:
    cookie = b"HTTP/1.1 200 OK\r\nset-cookie: session=1\r\ncontent-length: 0\r\n\r\n"

    async with serving(answering(cookie, OK)) as peer:
        await send(transport, peer)
        await send(transport, peer)

    assert [head for head in peer.heads if "cookie" in head] == []


async def test_no_proxy_variable_is_looked_at(
    transport: NetworkTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")

    async with serving(answering(OK)) as peer:
        assert (await send(transport, peer)).status_code == 200


async def test_a_refused_connection_was_never_sent(transport: NetworkTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        peer = Peer(url=f"http://127.0.0.1:{closed.getsockname()[1]}")

    with pytest.raises(httpx.ConnectError):
        await send(transport, peer, "POST", json={})


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer) -> None:
    await request(reader, peer)
    await reader.read()


async def _deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer) -> None:
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.Event().wait()


async def _halting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer) -> None:
    await request(reader, peer)
    writer.write(OK[:-1])
    await reader.read()


async def _dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer) -> None:
    await request(reader, peer)
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "talk,body,expected",
    [
        pytest.param(_silent, b"", httpx.ReadTimeout, id="no answer"),
        pytest.param(_halting, b"", httpx.ReadTimeout, id="half an answer"),
        pytest.param(_dripping, b"", httpx.ReadTimeout, id="an answer that does not end"),
        pytest.param(_deaf, b"0" * 30_000_000, httpx.WriteTimeout, id="the request is not taken"),
    ],
)
async def test_a_server_that_stops_is_not_waited_for_for_ever(
    transport: NetworkTransport, talk: Talk, body: bytes, expected: type[Exception]
) -> None:
    async with serving(talk) as peer:
        with pytest.raises(expected):
            await send(transport, peer, "POST", content=body, timeout_s=0.1)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-le", id="half a head"),
        pytest.param(OK[:-1], id="half a body"),
        pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel", id="half a chunk"),
        pytest.param(b"SSH-2.0-OpenSSH_9\r\n\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\n\r\n", id="a huge head"),
    ],
)
async def test_an_answer_that_breaks_off_or_is_none_may_have_been_processed(
    transport: NetworkTransport, answer: bytes
) -> None:
    async with serving(answering(answer)) as peer:
        with pytest.raises(httpx.HTTPError) as caught:
            await send(transport, peer, "PUT", json={})

    assert not isinstance(caught.value, UNSENT)
    assert len(peer.heads) == 1


async def test_an_endpoint_without_http_is_refused(transport: NetworkTransport) -> None:
    with pytest.raises(httpx.UnsupportedProtocol):
        await send(transport, Peer(url="ftp://127.0.0.1:9"))


async def test_a_header_of_two_lines_is_refused(transport: NetworkTransport) -> None:
    async with serving(answering(OK)) as peer:
        with pytest.raises(httpx.LocalProtocolError):
            await send(transport, peer, headers={"x": "1\r\ny: 2"})

    assert peer.heads == []


def _known(kind: type[aiohttp.ClientError]) -> Iterator[type[aiohttp.ClientError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _known(each)


@pytest.mark.parametrize("kind", sorted(set(_known(aiohttp.ClientError)), key=str))
def test_only_what_failed_to_connect_counts_as_unsent(kind: type[aiohttp.ClientError]) -> None:
    ours = next(ours for theirs, ours in network.MAPPED.items() if issubclass(kind, theirs))

    connecting = issubclass(kind, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    assert issubclass(ours, UNSENT) == connecting


def _self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    transport: NetworkTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = _self_signed(tmp_path)
    # Whoever sets the environment must not choose whom we trust.
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))

    async with serving(answering(OK), context) as peer:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await send(transport, peer)

    assert peer.heads == []


async def test_over_tls_a_trusted_server_is_answered_by(
    transport: NetworkTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = _self_signed(tmp_path)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "server.pem"))
    monkeypatch.setattr(network, "tls", lambda: trusting)

    async with serving(answering(OK), context) as peer:
        assert (await send(transport, peer)).content == b"hi"
