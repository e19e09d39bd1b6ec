"""Event streams through a gateway: a host that sends events at a steady pace, and clients that see how late each is."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bench.stand.traffic import SHADOW_MODEL, request_body

EVENTS = 50
APART_S = 0.005
_SENT = re.compile(rb'"sent": ([0-9.]+)')
_EVENT = (
    b'data: {"id": "chatcmpl-bench-1", "object": "chat.completion.chunk", "model": "%b", "sent": %.6f, '
    b'"choices": [{"index": 0, "delta": {"content": " agreement"}, "finish_reason": null}]}\n\n'
)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_ENDS_WITHIN_S = 30


@dataclass
class Seen:
    """What clients saw, in seconds."""

    first: list[float] = field(default_factory=list)
    """Per stream: from sending the request to the first event."""
    late: list[float] = field(default_factory=list)
    """Per event: from the host's sending it to its arrival."""


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request of a connection with a stream."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)[1])  # type: ignore[index]
            await reader.readexactly(length)
            await _stream(writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _stream(writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD)
    due = time.monotonic()
    for _ in range(EVENTS):
        _chunk(writer, _EVENT % (SHADOW_MODEL.encode(), time.monotonic()))
        due += APART_S
        await asyncio.sleep(due - time.monotonic())
    _chunk(writer, b"data: [DONE]\n\n")
    writer.write(b"0\r\n\r\n")


def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))


async def _ask(url: str, headers: Mapping[str, str], seen: Seen) -> None:
    parts = urlsplit(url)
    body = request_body(stream=True)
    given = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n{given}"
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    began = time.monotonic()
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    held = b""
    events = 0
    while not held.endswith(b"0\r\n\r\n"):
        data = await reader.read(65536)
        if not data:
            raise SystemExit(f"a stream of {url} ended after {events} events: {held[:300]!r}")
        now = time.monotonic()
        held += data
        for match in _SENT.finditer(held):
            if not events:
                seen.first.append(now - began)
            seen.late.append(now - float(match[1]))
            events += 1
        held = held[held.rfind(b"}") + 1 :] if _SENT.search(held) else held
    writer.close()
    if events != EVENTS:
        raise SystemExit(f"a stream of {url} had {events} events instead of {EVENTS}")


async def stream_all(url: str, headers: Mapping[str, str], *, streams: int) -> Seen:
    """Open so many streams at once, spread over one pace, and follow them to their ends."""
    seen = Seen()

    async def later(number: int) -> None:
        await asyncio.sleep(number * APART_S / streams)
        await _ask(url, headers, seen)

    async with asyncio.timeout(_ENDS_WITHIN_S):
        await asyncio.gather(*[later(number) for number in range(streams)])
    return seen


async def host(port: int) -> asyncio.Server:
    """Start the host on a port of the loopback interface."""
    return await asyncio.start_server(_serve, "127.0.0.1", port)
