"""One HTTP/1.1 connection to a host: frames one answer at a time, strictly, on httptools' parser.

Who asked is told of progress by a call, which costs a third of waking a coroutine; `exchange` and `chunk` wait for it.
What could be read in two ways is not read at all: two lengths, a length beside chunks, another transfer coding, bytes
that nobody asked for. The connection is dropped then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, cast

import httptools

from reconciler.gateway.contract import UpstreamFailed, UpstreamRequest, taking_s

HEADER_CAP = 64 * 1024
"""Longest head, 1xx answers before it included; also what framing may cost beside a body."""
_OVERHEAD_PER_BODY_BYTE = 16
"""Chunks of one byte cost five bytes of framing; beyond this something hides in extensions or trailers."""
HIGH_WATER = 256 * 1024
"""Body bytes held for a slow reader before the host is made to wait."""
_HEADERS_AT_MOST = 200
_WRITTEN_TOGETHER = 64 * 1024
"""Up to this length head and body go to the socket in one piece."""

Header = tuple[bytes, bytes]


class Target(NamedTuple):
    """Where connections go; equal targets share them."""

    host: str
    port: int
    tls: bool


class Connection(asyncio.Protocol):
    """Carries `exchange`s one after another. `deadline` is on the loop's clock; the pool's sweeper enforces it."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, target: Target, on_lost: Callable[[Connection], None]
    ) -> None:
        self.target = target
        self._loop = loop
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        """Serves one answer after another; a connection whose answer did not end well is not used again."""
        self.lost = False
        self.idle_until = 0.0
        """Not used again after this time."""
        self.keep_alive_s: float | None = None
        """What the host's Keep-Alive header promised, seconds."""
        self._reset()
        self.complete = True  # nothing was asked yet: whatever comes is surplus

    def _reset(self) -> None:
        """Make ready for the next answer."""
        self.deadline: float | None = None
        self.deadline_kind = ""
        self.status = 0
        self.headers: list[Header] = []
        self.complete = False
        self.failure: str | None = None
        """How the answer under way failed, a kind of `UpstreamFailed`. No exception: its traceback would hold us."""
        self.head_done = False
        self._until_eof = False
        self._surplus = False
        self._keeps_alive = False
        self._fed = 0
        self._body_bytes = 0
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._told: Callable[[], None] = _nobody

    # What the pool and the response call.

    def begin(self, head: bytes, body: bytes, first_byte_timeout_s: float, told: Callable[[], None]) -> None:
        """Send a request. From the end of the answer's head on, or at a failure, `told` is called at every progress."""
        assert self._transport is not None
        self._reset()
        self._told = told
        if self.lost:
            self.fail("reset")
            return
        if len(body) <= _WRITTEN_TOGETHER:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        self.deadline = self._loop.time() + first_byte_timeout_s + taking_s(body)
        self.deadline_kind = "first-byte-timeout"

    def leave_alone(self) -> None:
        """Tell nobody any more: who asked has all that it wanted."""
        self._told = _nobody
        self.deadline = None

    def wait_for_more(self, idle_timeout_s: float) -> None:
        """Fail with "idle-timeout" when nothing comes for so long."""
        self.deadline = self._loop.time() + idle_timeout_s
        self.deadline_kind = "idle-timeout"

    async def exchange(self, request: UpstreamRequest, head: bytes) -> None:
        """Send a request and return when the head of its answer is here. Raises UpstreamFailed."""
        self.begin(head, request.body, request.first_byte_timeout_s, self._wake)
        while not self.head_done and self.failure is None:
            await self._wait()
        self.deadline = None
        if not self.head_done and self.failure is not None:
            raise UpstreamFailed(self.failure, sent=True)

    async def chunk(self, idle_timeout_s: float) -> bytes | None:
        """Return what has arrived of the body, or None at its proper end. Raises UpstreamFailed."""
        while not self._chunks:
            if self.failure is not None:
                raise UpstreamFailed(self.failure, sent=True)
            if self.complete:
                return None
            self.wait_for_more(idle_timeout_s)
            await self._wait()
            self.deadline = None
        return self.arrived()

    def arrived(self) -> bytes:
        """Return what has arrived of the body since the last call, and let the host go on."""
        chunks = self._chunks
        body = chunks.popleft() if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._held = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return body

    def whole(self) -> bytes | None:
        """Return the whole body when it is here already and nothing of it was read yet, else None."""
        untouched = len(self._chunks) == 1 and self._held == self._body_bytes and not self._paused
        if not self.complete or self.failure is not None or not untouched:
            return None
        self._held = 0
        return self._chunks.popleft()

    @property
    def reusable(self) -> bool:
        """True when the answer ended where it said, the request was sent whole, and the host keeps the connection."""
        return (
            self.complete
            and self._keeps_alive
            and self.failure is None
            and not self._surplus
            and not self._until_eof
            and not self._chunks
            and self.open
            and self._transport is not None
            and self._transport.get_write_buffer_size() == 0
        )

    @property
    def open(self) -> bool:
        """True until either side closes it. Whatever comes on an unused connection closes it too."""
        return not self.lost and self._transport is not None and not self._transport.is_closing()

    def fail(self, kind: str) -> None:
        """End the answer under way and drop the connection."""
        if self.failure is None and not self.complete:
            self.failure = kind
        self.drop()
        self._told()

    def drop(self) -> None:
        """Close at once, without sending what is left."""
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one, but no subclass

    def data_received(self, data: bytes) -> None:
        if self.complete:
            self._surplus = True
            self.drop()
            return
        parser = self._parser
        if parser is None:
            return
        self._fed += len(data)
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._surplus = True
            self.fail("malformed")
            return
        if self._fed - self._body_bytes > HEADER_CAP + _OVERHEAD_PER_BODY_BYTE * self._body_bytes:
            self.fail("malformed")
            return
        if self._held > HIGH_WATER:
            self._hold_back()
        if self.head_done:
            self._told()

    def _hold_back(self) -> None:
        """Let the host wait until the reader has caught up."""
        if not self._paused and not self.complete and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self.failure is None and not self.complete:
            if self._until_eof and exc is None:
                self.complete = True
            else:
                kind = "truncated" if self.head_done else "malformed" if self._fed else "reset"
                self.failure = kind
        self._told()
        self._on_lost(self)
        self._told = _nobody
        self._parser = None  # it leads back to this connection

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self.complete:
            self._surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.head_done and not self._surplus:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._surplus or self._parser is None:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self.headers = []
            return
        self._frame(status)
        self.status = status
        self.head_done = True

    def _frame(self, status: int) -> None:
        """Decide how the body ends. Raises (into the parser, which stops) when that could be read in two ways."""
        if not 200 <= status <= 599 or len(self.headers) > _HEADERS_AT_MOST:
            raise ValueError("unusable status or head")
        lengths = [value for name, value in self.headers if name == b"content-length"]
        codings = [value for name, value in self.headers if name == b"transfer-encoding"]
        if len(lengths) + len(codings) > 1 or (codings and codings[0].strip().lower() != b"chunked"):
            raise ValueError("the body's length is ambiguous")
        self._until_eof = not lengths and not codings and status not in (204, 304)
        self.keep_alive_s = _keep_alive(self.headers)

    def on_body(self, data: bytes) -> None:
        if not self._surplus:
            self._chunks.append(data)
            self._held += len(data)
            self._body_bytes += len(data)

    def on_message_complete(self) -> None:
        if self.head_done and self._parser is not None:
            self.complete = True
            self._keeps_alive = self._parser.should_keep_alive()  # forgotten once the callback is over


def _nobody() -> None:
    pass


def _keep_alive(headers: list[Header]) -> float | None:
    for name, value in headers:
        if name == b"keep-alive":
            for parameter in value.split(b","):
                key, _, seconds = parameter.partition(b"=")
                if key.strip().lower() == b"timeout" and seconds.strip().isdigit():
                    return float(seconds)
    return None
