"""Reaching an ASGI app in this process as if over the network, streams included.

`httpx.ASGITransport` waits for the whole answer before it returns; here the head comes first and the body as the app
sends it, an app goes on when its client gives up, and a connection that it breaks breaks for the reader too. An
exception that an app lets out reaches the client as it is: it is a bug, and a test should see it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import httpx
from starlette.types import ASGIApp, Message, Scope

_END = b""


class AppTransport(httpx.AsyncBaseTransport):
    """An httpx transport into ASGI apps, by host name. A name that is not there refuses connections."""

    def __init__(self, apps: Mapping[str, ASGIApp]) -> None:
        self._apps = apps
        self._running: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        app = self._apps.get(request.url.host)
        if app is None:
            raise httpx.ConnectError("connection refused", request=request)
        exchange = _Exchange(await request.aread())
        task = asyncio.get_running_loop().create_task(exchange.run(app, _scope(request)))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(exchange.ended)
        status, headers = await exchange.head()
        return httpx.Response(status, headers=headers, stream=_Body(exchange), request=request)

    async def aclose(self) -> None:
        """Stop what still runs."""
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _scope(request: httpx.Request) -> Scope:
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": request.method,
        "scheme": request.url.scheme, "path": request.url.path, "raw_path": request.url.raw_path.split(b"?")[0],
        "query_string": request.url.query, "root_path": "", "client": ("127.0.0.1", 123),
        "server": (request.url.host, request.url.port),
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
    }  # fmt: skip


class _Exchange:
    """One call of an app, with what it has sent so far."""

    def __init__(self, body: bytes) -> None:
        self._request_body: bytes | None = body
        self._complete = False
        self._head: asyncio.Future[tuple[int, list[tuple[bytes, bytes]]]] = (
            asyncio.get_running_loop().create_future()
        )
        self._parts: asyncio.Queue[bytes | BaseException] = asyncio.Queue()

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        await app(scope, self._receive, self._send)

    def ended(self, task: asyncio.Task[None]) -> None:
        """Tell the reader how the app ended. Only now, so that what it did after its last byte is done by then."""
        error: BaseException | None = httpx.ReadError("the app was stopped")
        if not task.cancelled():
            whole = None if self._complete else httpx.RemoteProtocolError("the answer is not whole")
            error = task.exception() or whole
        if error is not None and not self._head.done():
            self._head.set_exception(error)
            self._head.exception()  # seen, even if nobody waits any more
        self._parts.put_nowait(error or _END)

    async def _receive(self) -> Message:
        if self._request_body is None:
            await asyncio.Event().wait()  # a client that stays; its going away is not told
        body, self._request_body = self._request_body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if not self._head.done():
                self._head.set_result((message["status"], list(message.get("headers", []))))
        else:
            if message.get("body"):
                self._parts.put_nowait(message["body"])
            self._complete = not message.get("more_body", False)
        await asyncio.sleep(0)

    async def head(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        return await self._head

    async def body(self) -> AsyncIterator[bytes]:
        while (part := await self._parts.get()) != _END:
            if isinstance(part, BaseException):
                raise part
            yield part


class _Body(httpx.AsyncByteStream):
    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._exchange.body():
            yield part
