"""Trouble on the way to a host, put between a driver and the transport that really reaches it."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx

Act = Callable[[httpx.AsyncBaseTransport, httpx.Request], Awaitable[httpx.Response]]


@dataclass
class Sent:
    """One request as it left the driver."""

    method: str
    path: str
    query: dict[str, str]
    headers: httpx.Headers
    body: Any


@dataclass
class Rule:
    method: str
    path: re.Pattern[str]
    act: Act
    left: int

    def takes(self, request: httpx.Request) -> bool:
        return (
            self.left > 0
            and self.method in ("*", request.method)
            and self.path.search(request.url.path) is not None
        )


class FaultyTransport(httpx.AsyncBaseTransport):
    """Passes requests on, remembers them, and does what the rules say to those that match."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner
        self.rules: list[Rule] = []
        self.sent: list[Sent] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raw = await request.aread()
        query = dict(request.url.params)
        body = json.loads(raw) if raw else None
        self.sent.append(Sent(request.method, request.url.path, query, request.headers, body))
        for rule in self.rules:
            if rule.takes(request):
                rule.left -= 1
                return await rule.act(self.inner, request)
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self.inner.aclose()

    def on(self, method: str, path: str, act: Act, times: int = 1) -> None:
        """Let `act` answer the next `times` requests of `method` ("*": any) whose path matches the pattern."""
        self.rules.append(Rule(method, re.compile(path), act, times))

    def calls(self, method: str, path: str) -> list[Sent]:
        return [s for s in self.sent if s.method == method and re.search(path, s.path)]

    def writes(self) -> list[Sent]:
        return [s for s in self.sent if s.method != "GET" and not s.path.endswith("/auth/login")]


def answers(status: int, body: Any = None, headers: dict[str, str] | None = None) -> Act:
    """Answer without doing the work. `body` is JSON, or text that is sent as it is."""

    async def act(inner: httpx.AsyncBaseTransport, request: httpx.Request) -> httpx.Response:
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        return httpx.Response(status, content=content, headers=headers, request=request)

    return act


async def refuses(inner: httpx.AsyncBaseTransport, request: httpx.Request) -> httpx.Response:
    """Refuse the connection: nothing was sent."""
    raise httpx.ConnectError("connection refused", request=request)


async def times_out(inner: httpx.AsyncBaseTransport, request: httpx.Request) -> httpx.Response:
    """Never answer, and never do the work."""
    raise httpx.ReadTimeout("timed out", request=request)


async def loses_the_answer(inner: httpx.AsyncBaseTransport, request: httpx.Request) -> httpx.Response:
    """Do the work, then break the connection."""
    response = await inner.handle_async_request(request)
    await response.aread()
    await response.aclose()
    raise httpx.RemoteProtocolError(
        "peer closed connection without sending complete message", request=request
    )


async def garbles(inner: httpx.AsyncBaseTransport, request: httpx.Request) -> httpx.Response:
    """Do the work, and answer with JSON that breaks off."""
    response = await inner.handle_async_request(request)
    raw = await response.aread()
    await response.aclose()
    return httpx.Response(response.status_code, content=raw[: len(raw) // 2] + b"{", request=request)


def works_then_answers(status: int, body: Any) -> Act:
    """Do the work, and answer as a broken proxy in front would."""

    async def act(inner: httpx.AsyncBaseTransport, request: httpx.Request) -> httpx.Response:
        response = await inner.handle_async_request(request)
        await response.aread()
        await response.aclose()
        return await answers(status, body)(inner, request)

    return act


def edits(change: Callable[[Any], object]) -> Act:
    """Do the work, and let `change` alter the JSON of the answer."""

    async def act(inner: httpx.AsyncBaseTransport, request: httpx.Request) -> httpx.Response:
        response = await inner.handle_async_request(request)
        body = json.loads(await response.aread())
        await response.aclose()
        change(body)
        return httpx.Response(response.status_code, json=body, request=request)

    return act
