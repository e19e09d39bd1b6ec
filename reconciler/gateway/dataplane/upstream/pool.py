"""Our own connection pool: kept connections per origin, last used first, and one sweeper instead of a timer each.

It sends a request once and never again: whether a request that got no answer was processed, only the host knows.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from reconciler.gateway.contract import UpstreamFailed, UpstreamRequest
from reconciler.gateway.dataplane.upstream.connection import Connection, Header, Target
from reconciler.gateway.endpoints import AddressPolicy

SWEEP_S = 0.1
"""How late a time-out may strike."""
_KEEP_ALIVE_MARGIN_S = 1.0
"""A connection is given up this long before the host said it would close it."""


ANY_ADDRESS = AddressPolicy()
"""All but the link-local ones."""


class Origin(NamedTuple):
    """An origin's URL, taken apart."""

    target: Target
    prefix: str
    """Of every path."""
    host_line: bytes


class PooledUpstream:
    """Keeps `contract.UpstreamClient`. Follows no redirect, knows no proxies and no cookies, speaks HTTP/1.1 only.

    `keep_alive_s`: how long an unused connection is kept; minutes, because TLS handshakes are what costs.
    `most_idle`: unused connections kept per target.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        addresses: AddressPolicy = ANY_ADDRESS,
        keep_alive_s: float = 60.0,
        most_idle: int = 256,
    ) -> None:
        self._tls = tls
        self._addresses = addresses
        self._keep_alive_s = keep_alive_s
        self._most_idle = most_idle
        self._idle: dict[Target, list[Connection]] = defaultdict(list)
        self._busy: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        """The one that all of this runs on; asking which one it is costs a system call in CPython 3.11."""
        self._closed = False

    async def send(self, request: UpstreamRequest) -> PooledResponse:
        origin = origin_of(request.origin)
        target = origin.target
        head = request_head(request, origin)
        connection = self.kept(target) or await self.connect(target, request.connect_timeout_s)
        self.watch(connection)
        try:
            await connection.exchange(request, head)
        except BaseException:
            self._busy.discard(connection)
            connection.drop()
            raise
        return PooledResponse(self, connection, request.idle_timeout_s)

    def watch(self, connection: Connection) -> None:
        """Hold a connection's deadlines against it until it is given back or lost."""
        self._busy.add(connection)
        if self._sweeper is None:
            self._start_sweeper()

    def kept(self, target: Target) -> Connection | None:
        """Return an unused connection, the one used last first: the others may then grow old and go."""
        idle = self._idle[target]
        now = self._now()
        while idle:
            connection = idle.pop()
            if connection.open and connection.idle_until > now:
                return connection
            connection.drop()
        return None

    async def connect(self, target: Target, timeout_s: float) -> Connection:
        """Return a new connection. Raises UpstreamFailed."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                transport, connection = await loop.create_connection(
                    lambda: Connection(loop, target, self._lost),
                    target.host,
                    target.port,
                    ssl=self._context() if target.tls else None,
                )
        except TimeoutError as error:
            raise UpstreamFailed("connect-timeout", sent=False) from error
        except (OSError, UnicodeError) as error:
            raise UpstreamFailed("refused", sent=False) from error
        if self._closed or not self._addresses.allows(transport.get_extra_info("peername", ("",))[0]):
            connection.drop()  # the name led elsewhere than the operator allows: nothing was sent
            raise UpstreamFailed("refused", sent=False)
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    def _lost(self, connection: Connection) -> None:
        self._busy.discard(connection)

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next request, or drop it."""
        self._busy.discard(connection)
        connection.leave_alone()
        idle = self._idle[connection.target]
        if self._closed or not connection.reusable or len(idle) >= self._most_idle:
            connection.drop()
            return
        promised = connection.keep_alive_s
        keep_s = (
            self._keep_alive_s
            if promised is None
            else min(self._keep_alive_s, promised - _KEEP_ALIVE_MARGIN_S)
        )
        connection.idle_until = self._now() + keep_s
        idle.append(connection)

    def _now(self) -> float:
        """Return the time on the loop's clock."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop.time()

    def _start_sweeper(self) -> None:
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """Fail what is late, close what nobody used, and come again while there is anything to watch."""
        self._sweeper = None
        now = self._now()
        for connection in [item for item in self._busy if item.deadline is not None and item.deadline <= now]:
            connection.fail(connection.deadline_kind)
        for target, idle in list(self._idle.items()):
            kept = [connection for connection in idle if connection.idle_until > now and not connection.lost]
            for connection in set(idle).difference(kept):
                connection.drop()
            if kept:
                self._idle[target] = kept
            else:
                del self._idle[target]
        if not self._closed and (self._busy or self._idle):
            self._start_sweeper()

    async def aclose(self) -> None:
        """Drop every connection; requests under way fail with "reset"."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in list(self._busy):
            connection.fail("reset")
        for idle in self._idle.values():
            for connection in idle:
                connection.drop()
        self._idle.clear()
        await asyncio.sleep(0)  # lets the transports finish closing


class PooledResponse:
    """Keeps `contract.UpstreamResponse`; its own iterator, because a generator per stream costs more than a chunk."""

    def __init__(self, pool: PooledUpstream, connection: Connection, idle_timeout_s: float) -> None:
        self._pool = pool
        self._connection: Connection | None = connection
        self._idle_timeout_s = idle_timeout_s
        self.status = connection.status
        self.headers: Sequence[Header] = connection.headers

    def chunks(self) -> PooledResponse:
        return self

    def __aiter__(self) -> PooledResponse:
        return self

    async def __anext__(self) -> bytes:
        if self._connection is None:
            raise StopAsyncIteration
        chunk = await self._connection.chunk(self._idle_timeout_s)
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def read(self, limit: int) -> bytes:
        if self._connection is not None and (whole := self._connection.whole()) is not None:
            if len(whole) > limit:
                raise UpstreamFailed("too-large", sent=True)
            return whole
        parts: list[bytes] = []
        size = 0
        async for chunk in self:
            size += len(chunk)
            if size > limit:
                raise UpstreamFailed("too-large", sent=True)
            parts.append(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def aclose(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            self._pool.give_back(connection)


@lru_cache(maxsize=4096)
def origin_of(origin: str) -> Origin:
    """Take an origin apart. Raises ValueError for no http(s) URL."""
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"not an http(s) origin: {origin!r}")
    tls = parts.scheme == "https"
    target = Target(parts.hostname, parts.port or (443 if tls else 80), tls)
    return Origin(target, parts.path.rstrip("/"), _host_line(target))


def _host_line(target: Target) -> bytes:
    host = f"[{target.host}]" if ":" in target.host else target.host
    port = "" if target.port == (443 if target.tls else 80) else f":{target.port}"
    return f"host: {host}{port}".encode("ascii" if host.isascii() else "idna")


def request_head(request: UpstreamRequest, origin: Origin) -> bytes:
    """Return the request's head. Raises UpstreamFailed when a header could end it early: nothing was sent then."""
    start = head_start(request.method, request.path, request.headers, origin)
    return start + length_line(len(request.body))


def head_start(method: str, path: str, headers: Sequence[Header], origin: Origin) -> bytes:
    """Return a request's head up to, and without, its length. Raises UpstreamFailed as `request_head` does."""
    target = (origin.prefix + path).encode("ascii", "replace")
    lines = [
        b"%b %b HTTP/1.1" % (method.encode("ascii", "replace"), target),
        origin.host_line,
        *[b"%b: %b" % header for header in headers],
        b"",
    ]
    start = b"\r\n".join(lines)
    breaks = len(lines) - 1
    if start.count(b"\n") != breaks or start.count(b"\r") != breaks or b"\0" in start or b" " in target:
        raise UpstreamFailed("malformed", sent=False)
    return start


def length_line(length: int) -> bytes:
    """Return what ends a head: the body's length and the blank line."""
    return b"content-length: %d\r\n\r\n" % length
