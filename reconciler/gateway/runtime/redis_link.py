"""One connection to Redis that pipelines by itself: what is asked in one turn of the loop leaves in one write.

When Redis does not answer it says so at once, and keeps connecting in the background until it does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from hashlib import sha1
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import hiredis

log = logging.getLogger(__name__)

_RETRY_S = (0.05, 0.1, 0.2, 0.5, 1.0)
Argument = str | bytes | int


class RedisGone(Exception):
    """Redis did not answer in time, or is not there. What was asked may or may not have been done."""


class Script:
    """A Lua script, known to Redis by its digest."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.digest = sha1(source.encode(), usedforsecurity=False).hexdigest()


class _Wire(asyncio.Protocol):
    """One TCP connection: answers come in the order of the questions."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, timeout_s: float, on_lost: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._timeout_s = timeout_s
        self._on_lost = on_lost
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._asked: deque[tuple[asyncio.Future[Any], float]] = deque()
        """Who waits for an answer, and until when."""
        self._unsent: list[bytes] = []
        self._watch: asyncio.TimerHandle | None = None

    def ask(self, *command: Argument) -> asyncio.Future[Any]:
        """Return the future answer. Fails with RedisGone."""
        answer = self._loop.create_future()
        if self._transport is None or self._transport.is_closing():
            answer.set_exception(RedisGone("no connection"))
            return answer
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(hiredis.pack_command(cast(Any, command)))
        self._asked.append((answer, self._loop.time() + self._timeout_s))
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout_s, self._check)
        return answer

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(unsent))

    def _check(self) -> None:
        """Give the connection up when its oldest question is overdue."""
        self._watch = None
        if not self._asked:
            return
        due = self._asked[0][1]
        if due <= self._loop.time():
            self.abort()
        else:
            self._watch = self._loop.call_at(due, self._check)

    def abort(self) -> None:
        """Close at once; whoever waits gets RedisGone."""
        if self._transport is not None:
            self._transport.abort()
        self.connection_lost(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one, but no subclass

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while self._asked and (answer := self._reader.gets()) is not False:
                waiting, _ = self._asked.popleft()
                if waiting.done():
                    continue
                if isinstance(answer, hiredis.ReplyError):
                    waiting.set_exception(answer)
                else:
                    waiting.set_result(answer)
        except hiredis.ProtocolError:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._transport = None
        while self._asked:
            waiting, _ = self._asked.popleft()
            if not waiting.done():
                waiting.set_exception(RedisGone("connection lost"))
        on_lost, self._on_lost = self._on_lost, lambda: None
        on_lost()


class RedisLink:
    """A Redis by URL: `redis[s]://[user[:password]@]host[:port][/db]`. The URL's password is never shown.

    `timeout_s`: how long any answer may take. `on_up` is awaited after each (re)connection, before anybody else asks.
    """

    def __init__(
        self, url: str, *, timeout_s: float = 0.25, on_up: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "rediss") or not parts.hostname:
            raise ValueError("a Redis URL looks like redis://host:6379/0")
        self.shown = f"{parts.hostname}:{parts.port or 6379}"
        self._host, self._port = parts.hostname, parts.port or 6379
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._database = parts.path.strip("/") or "0"
        self._tls = ssl.create_default_context() if parts.scheme == "rediss" else None
        self._timeout_s = timeout_s
        self._on_up = on_up
        self._wire: _Wire | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._closed = False
        self.up = False

    async def open(self) -> None:
        """Connect; when that fails at once, go on trying in the background."""
        with contextlib.suppress(RedisGone):
            await self._connect()
        if not self.up:
            log.warning("runtime: Redis at %s does not answer; deciding from local memory", self.shown)
            self._reconnect()

    async def ask(self, *command: Argument) -> Any:
        """Return the answer to a command. Raises RedisGone; `hiredis.ReplyError` for a refusal by Redis."""
        if not self.up or self._wire is None:
            raise RedisGone("no connection")
        return await self._wire.ask(*command)

    def start(self, script: Script, keys: list[str], *arguments: Argument) -> asyncio.Future[Any] | None:
        """Return the future answer of a script; None while there is no connection. It fails as `ask` does.

        For the one question that most requests ask: a coroutine for each would cost as much as the question itself.
        """
        if not self.up or self._wire is None:
            return None
        return self._wire.ask("EVALSHA", script.digest, len(keys), *keys, *arguments)

    async def run(self, script: Script, keys: list[str], *arguments: Argument) -> Any:
        """Return what a script answers; Redis learns the script when it does not know it."""
        try:
            return await self.ask("EVALSHA", script.digest, len(keys), *keys, *arguments)
        except hiredis.ReplyError as refused:
            if not str(refused).startswith("NOSCRIPT"):
                raise
        return await self.ask("EVAL", script.source, len(keys), *keys, *arguments)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        wire = _Wire(loop, self._timeout_s, self._lost)
        try:
            async with asyncio.timeout(max(self._timeout_s, 1.0)):
                await loop.create_connection(lambda: wire, self._host, self._port, ssl=self._tls)
                if self._password:
                    await wire.ask("AUTH", *([self._user] if self._user else []), self._password)
                await wire.ask("SELECT", self._database)
                await wire.ask("PING")
        except (OSError, TimeoutError, RedisGone) as error:
            wire.abort()
            raise RedisGone("cannot connect") from error
        except hiredis.ReplyError as refused:
            wire.abort()
            log.warning("runtime: Redis at %s refuses us: %s", self.shown, str(refused)[:100])
            raise RedisGone("refused") from refused
        self._wire = wire
        self.up = True
        try:
            if self._on_up is not None:
                await self._on_up()
        except RedisGone:
            self.up = False
            raise
        except (
            hiredis.ReplyError
        ) as refused:  # it is full, or a replica: it answers, and can keep nothing for us
            self.up = False
            wire.abort()
            log.warning("runtime: Redis at %s refuses us: %s", self.shown, str(refused)[:100])
            raise RedisGone("refused") from refused

    def _lost(self) -> None:
        if self.up and not self._closed:
            log.warning("runtime: Redis at %s is gone; deciding from local memory", self.shown)
            self.up = False
            self._reconnect()

    def _reconnect(self) -> None:
        if self._connecting is None and not self._closed:
            self._connecting = asyncio.get_running_loop().create_task(self._until_up())

    async def _until_up(self) -> None:
        """Try until it works."""
        tries = 0
        while not self._closed:
            await asyncio.sleep(_RETRY_S[min(tries, len(_RETRY_S) - 1)])
            tries += 1
            try:
                await self._connect()
            except RedisGone:
                continue
            if self.up:  # it may have been lost again while it came up, when nobody else may reconnect
                log.warning("runtime: Redis at %s answers again", self.shown)
                break
        self._connecting = None

    async def aclose(self) -> None:
        """Let go of the connection and stop trying."""
        self._closed = True
        self.up = False
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._wire is not None:
            self._wire.abort()
            await asyncio.sleep(0)  # lets the transport finish closing
