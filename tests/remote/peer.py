"""A server that does with each request exactly what a test says, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter, "Peer"], Awaitable[None]]


@dataclass
class Peer:
    """What came in: the connections, and each request's head and body."""

    url: str = ""
    connections: int = 0
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


@contextlib.asynccontextmanager
async def serving(talk: Talk, context: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    """Serve on loopback to the end of the block, where every connection is closed."""
    peer, open_ones = Peer(), set[asyncio.Task[None]]()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer.connections += 1
        task = asyncio.current_task()
        assert task is not None
        open_ones.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await talk(reader, writer, peer)
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    host, port = server.sockets[0].getsockname()[:2]
    peer.url = f"{'https' if context else 'http'}://{host}:{port}"
    try:
        yield peer
    finally:
        server.close()
        for task in open_ones:
            task.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)


async def request(reader: asyncio.StreamReader, peer: Peer) -> None:
    """Read one request to its end."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
    lines = [line.lower() for line in head.splitlines()]
    length = next((int(line.split(":")[1]) for line in lines if line.startswith("content-length:")), 0)
    peer.heads.append(head)
    peer.bodies.append(await reader.readexactly(length))


def answering(*answers: bytes) -> Talk:
    """Return a talk: on each connection one answer after the other, then the end of the connection."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer) -> None:
        for answer in answers:
            await request(reader, peer)
            writer.write(answer)
            await writer.drain()

    return talk
