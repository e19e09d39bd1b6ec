"""Event streams through a gateway: a host that sends events at a steady pace, and clients that see how late each is.

Host and clients are bare protocols: with 12,800 events a second, what they do for each is a part of what they measure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from bench.stand.traffic import SHADOW_MODEL, request_body
from bench.still_host import whole_request

EVENTS = 50
APART_S = 0.005
STREAMS_EACH = 4
"""Streams that a client asks for, one after the other."""
_SENT = b'"sent": '
_DIGITS = 17
_EVENT = (
    b'data: {"id": "chatcmpl-bench-1", "object": "chat.completion.chunk", "model": "%b", "sent": %017.6f, '
    b'"choices": [{"index": 0, "delta": {"content": " agreement"}, "finish_reason": null}]}\n\n'
)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_LAST = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
_ENDS_WITHIN_S = 30


@dataclass
class Seen:
    """What clients saw, in seconds."""

    first: list[float] = field(default_factory=list)
    """Per stream: from sending the request to the first event."""
    late: list[float] = field(default_factory=list)
    """Per event: from the host's sending it to its arrival."""


class _Host(asyncio.Protocol):
    """Answers each request of a connection with a stream."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: Any = None
        self._pending = b""
        self._left = 0
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._pending += data
        length = whole_request(self._pending)
        if length is None:
            return
        self._pending = self._pending[length:]
        self._left, self._due = EVENTS, self._loop.time()
        self._transport.write(_HEAD)
        self._send()

    def _send(self) -> None:
        if self._transport.is_closing():
            return
        if not self._left:
            self._transport.write(_LAST)
            return
        event = _EVENT % (SHADOW_MODEL.encode(), time.monotonic())
        self._transport.write(b"%x\r\n%b\r\n" % (len(event), event))
        self._left -= 1
        self._due += APART_S
        self._loop.call_at(self._due, self._send)


class _Client(asyncio.Protocol):
    """Sends requests one after another on its connection, and follows each one's stream to the end."""

    def __init__(self, request: bytes, seen: Seen, done: asyncio.Future[int]) -> None:
        self._request = request
        self._seen = Seen()
        """Of the first stream, which opens connections; what follows is kept."""
        self._kept = seen
        self._left = STREAMS_EACH
        self._done = done
        self._transport: Any = None
        self._began = 0.0
        self._events = 0
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._began = time.monotonic()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        data = self._held + data
        at = data.find(_SENT)
        while 0 <= at <= len(data) - len(_SENT) - _DIGITS:
            if self._events % EVENTS == 0:
                self._seen.first.append(now - self._began)
            self._events += 1
            at += len(_SENT)
            self._seen.late.append(now - float(data[at : at + _DIGITS]))
            data = data[at + _DIGITS :]
            at = data.find(_SENT)
        self._held = data[-64:] if at < 0 else data[at:]
        if self._held.endswith(b"0\r\n\r\n"):
            self._left -= 1
            self._seen, self._held = self._kept, b""
            if self._left:
                self._ask()
            else:
                self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(self._events)


async def stream_all(url: str, headers: Mapping[str, str], *, streams: int) -> Seen:
    """Keep so many streams under way, each client's beginning at another moment; return what the later ones saw."""
    seen, loop = Seen(), asyncio.get_running_loop()
    parts, body = urlsplit(url), request_body(stream=True)
    given = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n{given}"
    request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body

    async def later(number: int) -> int:
        await asyncio.sleep(number * EVENTS * APART_S / streams)
        done: asyncio.Future[int] = loop.create_future()
        await loop.create_connection(lambda: _Client(request, seen, done), parts.hostname, parts.port)
        return await done

    async with asyncio.timeout(_ENDS_WITHIN_S):
        events = await asyncio.gather(*[later(number) for number in range(streams)])
    if set(events) != {EVENTS * STREAMS_EACH}:
        raise SystemExit(f"streams of {url} had {sorted(set(events))} events, not {EVENTS * STREAMS_EACH}")
    return seen


async def host(port: int) -> asyncio.Server:
    """Start the host on a port of the loopback interface."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(partial(_Host, loop), "127.0.0.1", port)
