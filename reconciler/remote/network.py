"""The network below our HTTP clients: httpx's transport interface over aiohttp's connections.

httpx's own connections take three times the processor time, and most of what a run does is requests. What a caller may
rely on stays httpx's: its requests, responses, time-outs and errors. aiohttp's own ideas are off: it sends nothing
twice, follows nothing, keeps no cookies, looks at no proxy variable, decodes nothing and adds no header.
"""

from __future__ import annotations

import asyncio
import functools
import io
import math
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager

import aiohttp
import httpx
from yarl import URL

KEEPALIVE_S = 5.0
"""How long an idle connection is kept: as long as httpx keeps one, and shorter than servers do."""
HEAD_LIMIT_BYTES = 64 * 1024
"""Longest line of an answer's head."""
_IN_ONE_PIECE_BYTES = 1024 * 1024
# Nothing else may be taken for "not sent": whoever is told so sends again.
MAPPED: Mapping[type[Exception], type[httpx.TransportError]] = {
    aiohttp.ConnectionTimeoutError: httpx.ConnectTimeout,
    aiohttp.ClientConnectorError: httpx.ConnectError,
    aiohttp.ServerTimeoutError: httpx.ReadTimeout,
    aiohttp.ServerDisconnectedError: httpx.RemoteProtocolError,
    aiohttp.ClientPayloadError: httpx.RemoteProtocolError,
    aiohttp.ClientResponseError: httpx.RemoteProtocolError,
    aiohttp.ClientConnectionResetError: httpx.WriteError,
    aiohttp.InvalidURL: httpx.UnsupportedProtocol,
    aiohttp.NonHttpUrlClientError: httpx.UnsupportedProtocol,
    aiohttp.ClientError: httpx.ReadError,
    TimeoutError: httpx.WriteTimeout,
    OSError: httpx.ReadError,
    ValueError: httpx.LocalProtocolError,
}
"""The first that fits, from the top."""


class NetworkTransport(httpx.AsyncBaseTransport):
    """Sends requests over kept connections; as many at once as it is asked to. TLS is verified, by httpx's rules.

    Raises: httpx.TransportError and its branches, as httpx's own transport does.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request, once, and return its answer as soon as its head is there."""
        if self._session is None:
            self._session = _session()
        body = await request.aread()
        wanted = request.extensions.get("timeout", {})
        patience_s = _until_answered_s(wanted)
        with _mapped():
            async with asyncio.timeout(patience_s):
                response = await self._session.request(
                    request.method,
                    URL(str(request.url), encoded=True),
                    headers=request.headers.multi_items(),
                    data=(body if len(body) <= _IN_ONE_PIECE_BYTES else io.BytesIO(body)) or None,
                    allow_redirects=False,
                    timeout=_timeouts(wanted),
                )
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=_Body(response, patience_s),
            request=request,
            extensions={
                "http_version": b"HTTP/1.1",
                # Any bytes may stand there; aiohttp keeps those that are no UTF-8 as surrogates.
                "reason_phrase": (response.reason or "").encode("utf-8", "surrogateescape"),
            },
        )

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()


class _Body(httpx.AsyncByteStream):
    """The bytes of an answer as they came.

    All of them may take `patience_s`: a server that sends one now and then would be waited for without end.
    """

    def __init__(self, response: aiohttp.ClientResponse, patience_s: float | None) -> None:
        self._response = response
        self._until = None if patience_s is None else asyncio.get_running_loop().time() + patience_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self._next():
            yield chunk

    async def _next(self) -> bytes:
        """Return what has come since, and nothing at the end."""
        with _mapped():
            try:
                async with asyncio.timeout_at(self._until):
                    return await self._response.content.readany()
            except TimeoutError as error:
                raise httpx.ReadTimeout(str(error) or "the answer did not end in time") from error

    async def aclose(self) -> None:
        """Give up the connection; one whose answer was read to the end was given back before, and is kept."""
        self._response.close()


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0,
            keepalive_timeout=KEEPALIVE_S,
            ssl=tls(),
            use_dns_cache=False,
            timeout_ceil_threshold=math.inf,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        skip_auto_headers=("accept", "accept-encoding", "content-type", "user-agent"),
        max_line_size=HEAD_LIMIT_BYTES,
        max_field_size=HEAD_LIMIT_BYTES,
        middlewares=(_once,),
    )


@functools.cache
def tls() -> ssl.SSLContext:
    """Return the one TLS context: httpx's, whatever the environment says. Making one reads all certificates."""
    context = httpx.create_ssl_context(trust_env=False)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _timeouts(wanted: Mapping[str, float | None]) -> aiohttp.ClientTimeout:
    """Return httpx's time-outs as aiohttp's. With no bound on connections nobody waits for one to be free."""
    return aiohttp.ClientTimeout(
        total=None, connect=wanted.get("connect"), sock_read=wanted.get("read"), ceil_threshold=math.inf
    )


def _until_answered_s(wanted: Mapping[str, float | None]) -> float | None:
    """Return how long the head of an answer may take in all; None for ever.

    aiohttp has no time-out for writing: a server that does not take the request would be waited for without end.
    """
    parts = [wanted.get(part) for part in ("connect", "write", "read")]
    return None if None in parts else sum(part for part in parts if part is not None)


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Send a request, and turn an error into httpx's right here.

    aiohttp sends a GET, PUT or DELETE once more by itself when a kept connection breaks under it; what may have been
    processed must not be sent again, and it knows none of these errors.
    """
    with _mapped():
        return await send(request)


@contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except tuple(MAPPED) as error:
        kind = next(ours for theirs, ours in MAPPED.items() if isinstance(error, theirs))
        raise kind(_said(error)) from error


def _said(error: Exception) -> str:
    """Return an error's words without what the server sent or the URL: these may hold secrets, and errors are shown."""
    if isinstance(error, aiohttp.ClientResponseError):
        return error.message.partition("\n")[0].rstrip(":")
    if isinstance(error, aiohttp.ClientPayloadError):
        return str(error).partition(":")[0]
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "the connection was not made in time"
    return str(error)
