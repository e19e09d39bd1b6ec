"""Sending one request by an httpx transport: what an admin API and a probe need of a client, and no more.

It follows no redirects, keeps no cookies, ignores proxy variables and repeats nothing. httpx's own client does the
same when told to, but asks on each request whether it is told to: that takes longer than sending it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from reconciler.remote.network import NetworkTransport

HEADERS: Mapping[str, str] = {
    "accept": "*/*",
    "accept-encoding": "gzip, deflate",
    "connection": "keep-alive",
    "user-agent": "reconciler",
}
"""Sent with each request that does not say otherwise."""


class Client:
    """Requests to one base URL, or to any when that is empty.

    `transport` None is the network; `headers` go with every request, by lower-case name.
    """

    def __init__(
        self,
        base_url: str = "",
        *,
        timeout: httpx.Timeout,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._headers = {**HEADERS, **(headers or {})}
        self._extensions = {"timeout": timeout.as_dict()}
        self._transport = transport or NetworkTransport()

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """Send one request to `path` below the base URL; give out its answer, whose body is still to be read.

        Raises: httpx.HTTPError; httpx.InvalidURL.
        """
        own = {name.lower(): value for name, value in (headers or {}).items()}
        request = httpx.Request(
            method, self._base_url + path, params=params, json=json, headers={**self._headers, **own},
            extensions=self._extensions,
        )  # fmt: skip
        response = await self._transport.handle_async_request(request)
        response.request = request
        try:
            yield response
        finally:
            await response.aclose()
