"""A host that speaks raw bytes: it can misbehave in every way that a polite server library would not allow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Handler = Callable[["Visit"], Awaitable[None]]


@dataclass
class Visit:
    """One connection to the host."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int

    async def request(self) -> bytes:
        """Read one request, head and body; empty when the client closed."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        return head + await self.reader.readexactly(length)

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def abort(self) -> None:
        """Send a reset instead of an orderly end."""
        self.writer.transport.abort()


@dataclass
class RawHost:
    origin: str
    port: int
    visits: list[Visit] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def raw_host(handler: Handler) -> AsyncIterator[RawHost]:
    """Run a host on a free port of loopback; `handler` is run for each connection, which then is closed."""
    visiting: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = Visit(reader, writer, len(host.visits))
        host.visits.append(visit)
        task = asyncio.current_task()
        assert task is not None
        visiting.add(task)
        try:
            await handler(visit)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            visiting.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=64 * 1024 * 1024)
    port = server.sockets[0].getsockname()[1]
    host = RawHost(f"http://127.0.0.1:{port}", port)
    try:
        yield host
    finally:
        server.close()
        for task in list(visiting):
            task.cancel()
        await asyncio.gather(*visiting, return_exceptions=True)


def answering(*answers: bytes, then: str = "wait") -> Handler:
    """Return a handler that answers each request of a connection with the next bytes.

    `then`: what follows the last one: "wait" for ever, "close", or "reset".
    """

    async def handler(visit: Visit) -> None:
        for answer in answers:
            if not await visit.request():
                return
            await visit.say(answer)
        if then == "wait":
            await asyncio.Event().wait()
        elif then == "reset":
            visit.abort()

    return handler
