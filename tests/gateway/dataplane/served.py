"""A data plane behind the gateway's own server, on sockets of this process, with or without its fast path."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httptools
from uvicorn.server import ServerState

from reconciler.gateway.app import Gateway
from reconciler.gateway.contract import DecisionRow
from reconciler.gateway.dataplane.app import create_data_plane
from reconciler.gateway.dataplane.fast_path import FastPath
from reconciler.gateway.dataplane.settings import DataPlaneSettings
from reconciler.gateway.dataplane.upstream.pool import PooledUpstream
from reconciler.gateway.listening import Listen
from reconciler.gateway.runtime.backend import RuntimeBackend
from reconciler.gateway.runtime.memory import MemoryBackend
from reconciler.gateway.runtime.plane import Runtime
from reconciler.gateway.runtime.redis_backend import RedisBackend
from reconciler.gateway.server import config_of
from reconciler.gateway.wire import BoundedHttp
from tests.gateway.dataplane.stage import CHAT, KEY, Clock, Log, Revisions, Tokens, document, loaded
from tests.gateway.raw_host import RawHost, Visit, raw_host

Step = bytes | Callable[[Visit], Awaitable[None]]
"""What a host answers: bytes, or what it does with the connection."""


def answer(body: bytes, *, status: str = "200 OK", kind: str = "application/json", more: str = "") -> bytes:
    """Return an answer with a length."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nX-Client-Request-ID: up-1\r\n{more}"
    return head.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def stream(*chunks: bytes, end: bool = True) -> bytes:
    """Return an event stream in chunks; without its `end` it goes on."""
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + framed + (b"0\r\n\r\n" if end else b"")


async def reset(visit: Visit) -> None:
    visit.abort()


def then(first: bytes, last: Callable[[Visit], Awaitable[None]]) -> Step:
    """Say something, and then do something."""

    async def steps(visit: Visit) -> None:
        await visit.say(first)
        await last(visit)

    return steps


async def close(visit: Visit) -> None:
    visit.writer.close()


@dataclass
class Host:
    """A host that goes through its steps, one a request; the last one repeats."""

    steps: list[Step] = field(default_factory=lambda: [answer(b'{"id":"a","model":"up-fast-1"}')])
    requests: list[bytes] = field(default_factory=list)
    raw: RawHost | None = None

    async def serve(self, visit: Visit) -> None:
        while request := await visit.request():
            self.requests.append(request)
            step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
            if isinstance(step, bytes):
                await visit.say(step)
            else:
                await step(visit)


@dataclass
class Got:
    """What a client got for one request."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    whole: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)


class Connection:
    """A client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._parser = httptools.HttpResponseParser(self)
        self._answers: list[Got] = []

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0.01 if len(pieces) > 1 else 0)  # so that each piece arrives on its own

    async def read(self) -> Got:
        """Read one answer, or what there was of it when the connection ended."""
        while not self._answers or not self._answers[0].whole:
            data = await self.reader.read(65536)
            if not data:
                break
            self._parser.feed_data(data)
        return self._answers.pop(0) if self._answers else Got()

    async def ask(self, *pieces: bytes) -> Got:
        await self.send(*pieces)
        return await self.read()

    def close(self) -> None:
        self.writer.transport.abort()

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._answers.append(Got())

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answers[-1].headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._answers[-1].status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self._answers[-1].parts.append(data)

    def on_message_complete(self) -> None:
        self._answers[-1].whole = True


def request(
    body: bytes | Mapping[str, Any] | None = None,
    *,
    key: str | None = KEY,
    path: str = CHAT,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """Return a request of the plain kind: a body, or fields beside the usual ones."""
    if not isinstance(body, bytes):
        body = json.dumps(
            {"model": "fast", "messages": [{"role": "user", "content": "hi"}], **(body or {})}
        ).encode()
    told = {"Host": "gateway.test", "Content-Type": "application/json", **(headers or {})}
    if key is not None:
        told["Authorization"] = f"Bearer {key}"
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"POST {path} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass
class Served:
    """The gateway's data plane on a port, its two hosts, and everything that it wrote down."""

    east: Host
    west: Host
    gateway: Gateway
    backend: RuntimeBackend
    log: Log
    clock: Clock
    state: ServerState
    port: int
    general: list[str] = field(default_factory=list)
    """Paths of the requests that the general path got."""
    clients: list[Connection] = field(default_factory=list)

    async def connect(self) -> Connection:
        client = Connection(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client

    @property
    def rows(self) -> list[DecisionRow]:
        return self.log.rows

    async def until(self, condition: Callable[[], object], *, within_s: float = 10.0) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - conditions on what the gateway wrote down
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def served(
    configuration: Mapping[str, Any] | None = None,
    *,
    fast: bool = True,
    redis_url: str | None = None,
    **settings: Any,
) -> AsyncIterator[Served]:
    """Serve logical group `chat` of `stage.document` through two hosts; `configuration` replaces parts of it."""
    east, west = Host(), Host()
    async with contextlib.AsyncExitStack() as stack:
        east.raw = await stack.enter_async_context(raw_host(east.serve))
        west.raw = await stack.enter_async_context(raw_host(west.serve))
        hosts = [
            {"name": "east", "driver": "sub2api", "data_endpoint": east.raw.origin},
            {"name": "west", "driver": "sub2api", "data_endpoint": west.raw.origin + "/prefix"},
        ]
        whole = document(**{"shadow_hosts": hosts, **(configuration or {})})
        clock, log, pool = Clock(), Log(), PooledUpstream()
        stack.push_async_callback(pool.aclose)
        backend = await _backend(clock, redis_url)
        stack.push_async_callback(backend.aclose)
        plane = create_data_plane(
            revisions=Revisions(loaded(whole)),
            runtime=Runtime(backend),
            upstream=pool,
            log=log,
            tokens=Tokens(),
            settings=DataPlaneSettings(**settings),
            clock=clock,
            monotonic=time.monotonic,
        )
        general: list[str] = []
        gateway = _gateway(plane, FastPath(plane, pool) if fast else None, general)
        config = config_of(gateway, Listen("127.0.0.1", 0))
        config.load()
        state = ServerState()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: BoundedHttp(config, state, {}, loop), "127.0.0.1", 0)
        stack.callback(server.close)
        port = server.sockets[0].getsockname()[1]
        made = Served(east, west, gateway, backend, log, clock, state, port, general)
        yield made
        for client in made.clients:
            client.writer.transport.abort()
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.gather(*state.tasks, return_exceptions=True)


async def _backend(clock: Clock, redis_url: str | None) -> RuntimeBackend:
    if redis_url is None:
        return MemoryBackend(clock=clock, jitter=lambda: 0.0)
    return await RedisBackend.open(
        redis_url, clock=clock, jitter=lambda: 0.0, timeout_s=5.0, prefix=secrets.token_hex(4)
    )


def _gateway(plane: Any, fast_path: FastPath | None, general: list[str]) -> Gateway:
    class Watched(Gateway):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            general.append(scope["path"])
            await super().__call__(scope, receive, send)

    async def nothing(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("only the data plane is asked here")

    return Watched(data_plane=plane, control=nothing, health=nothing, fast_path=fast_path)
