"""Clients that speak HTTP another way than today's SDKs do: HTTP/1.0, trailers, names with percent signs."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from reconciler.gateway.wire import MAX_HEAD_BYTES
from tests.gateway.dataplane.served import request, served, stream
from tests.gateway.dataplane.stage import KEY, binding

EVENTS = (b'data: {"model":"up-fast-1"}\n\n', b"data: [DONE]\n\n")
BODY = b'{"model":"fast","messages":[]}'


async def test_a_stream_to_a_client_of_http_1_0_ends_with_the_connection_and_has_no_chunks() -> None:
    async with served() as gateway:
        gateway.east.steps = [stream(*EVENTS)]
        client = await gateway.connect()
        await client.send(request({"stream": True}).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        head, _, body = (await client.reader.read()).partition(b"\r\n\r\n")

    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert body == b'data: {"model":"fast"}\n\ndata: [DONE]\n\n'
    assert gateway.rows[0].status == 200


async def test_a_document_for_a_client_of_http_1_0_has_its_length() -> None:
    async with served() as gateway:
        client = await gateway.connect()
        await client.send(request().replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        head, _, body = (await client.reader.read()).partition(b"\r\n\r\n")

    assert b"content-length: %d\r\n" % len(body) in head + b"\r\n"
    assert body == b'{"id":"a","model":"fast"}'


def _chunked(*trailers: bytes) -> bytes:
    head, _, _ = request(BODY).partition(b"Content-Length")
    return (
        head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(BODY), BODY) + b"".join(trailers)
    )


async def test_trailers_are_no_headers() -> None:
    async with served() as gateway:
        client = await gateway.connect()
        got = await client.ask(_chunked(b"Authorization: Bearer other\r\n", b"X-Late: 1\r\n", b"\r\n"))

    assert got.status == 200
    (received,) = gateway.east.requests
    assert b"x-late" not in received.lower()


@pytest.mark.parametrize("trailer", [b"X-Many: 1\r\n" * 100, b"x" * 1000])
async def test_endless_trailers_end_the_connection(trailer: bytes) -> None:
    async with served() as gateway:
        client = await gateway.connect()
        await client.send(_chunked(b"X-First: "))
        sent = 0
        while not client.reader.at_eof() and sent < 100 * MAX_HEAD_BYTES:
            try:
                await client.send(trailer, b"")
            except ConnectionError:
                break
            sent += len(trailer)
        await gateway.until(lambda: gateway.rows)

    assert sent < 10 * MAX_HEAD_BYTES
    assert gateway.rows[0].status == 499
    assert gateway.east.requests == []


async def test_many_small_chunks_are_no_endless_trailers() -> None:
    body = BODY + b" " * 20_000
    head, _, _ = request(BODY).partition(b"Content-Length")
    chunks = b"".join(b"1;%b\r\n%c\r\n" % (b"x" * 10, byte) for byte in body)
    async with served() as gateway:
        client = await gateway.connect()
        got = await client.ask(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")

    assert got.status == 200


@pytest.mark.parametrize("model", ["a%2Fb", "50%25", "org/model:é"])
async def test_a_model_is_found_by_its_very_name(model: str) -> None:
    bindings = [{**binding("fast", best="up-1"), "public_model": model}]
    async with served({"model_bindings": bindings}) as gateway:
        client = await gateway.connect()
        path = f"/v1/models/{quote(model, safe='')}"
        got = await client.ask(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode()
        )

    assert (got.status, model.encode() in got.body) == (200, True)
