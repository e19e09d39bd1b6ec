"""How the embedded host reaches its upstreams. One small interface, so that a test can put an app behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import httpx


class UpstreamUnreachable(Exception):
    """No connection: refused, no route, no such name."""


class UpstreamBroken(Exception):
    """The connection was there, and the answer did not come or did not end."""


@dataclass
class UpstreamAnswer:
    """Status and headers; the body is read by `read` or, once, by `chunks`."""

    status: int
    headers: Mapping[str, str]
    _response: httpx.Response

    async def read(self) -> bytes:
        """Return the whole body. Raises UpstreamBroken."""
        try:
            return await self._response.aread()
        except httpx.HTTPError as error:
            raise UpstreamBroken(type(error).__name__) from error

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raises UpstreamBroken."""
        try:
            async for chunk in self._response.aiter_bytes():
                yield chunk
        except httpx.HTTPError as error:
            raise UpstreamBroken(type(error).__name__) from error

    async def close(self) -> None:
        """Give the connection back, or close it when the body was not read."""
        await self._response.aclose()


class UpstreamTransport(Protocol):
    """What the data plane asks of a transport."""

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> UpstreamAnswer:
        """Send one request. Raises UpstreamUnreachable, UpstreamBroken."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class HttpxTransport:
    """Upstreams over httpx: the network by default, or what is handed in (an ASGI app in tests)."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        self._client = httpx.AsyncClient(
            transport=transport or httpx.AsyncHTTPTransport(limits=limits),
            trust_env=False,
            follow_redirects=False,
        )

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> UpstreamAnswer:
        try:
            request = self._client.build_request(
                "POST", url, headers=dict(headers), content=body, timeout=timeout_s
            )
            response = await self._client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise UpstreamUnreachable(type(error).__name__) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UpstreamBroken(type(error).__name__) from error
        return UpstreamAnswer(response.status_code, dict(response.headers), response)

    async def close(self) -> None:
        await self._client.aclose()
