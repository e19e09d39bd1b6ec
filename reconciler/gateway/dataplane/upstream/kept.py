"""The kept client: aiohttp behind `contract.UpstreamClient`. For odd upstreams, and the yardstick for our own pool."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO

import aiohttp
from aiohttp.abc import ResolveResult
from yarl import URL

from reconciler.gateway.contract import UpstreamFailed, UpstreamRequest, taking_s
from reconciler.gateway.endpoints import AddressPolicy

HEADER_CAP = 64 * 1024
_SKIPPED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
_READ_AHEAD = 256 * 1024
_IN_ONE_PIECE = 256 * 1024


class AiohttpUpstream:
    """Keeps `contract.UpstreamClient`. Follows no redirect, ignores proxy variables, keeps no cookies."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        addresses: AddressPolicy | None = None,
        keep_alive_s: float = 60.0,
    ) -> None:
        self._tls = tls
        self._addresses = addresses or AddressPolicy()
        self._keep_alive_s = keep_alive_s
        self._session: aiohttp.ClientSession | None = None

    def _opened(self) -> aiohttp.ClientSession:
        """Return the session, made at first use because it belongs to the running loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,
                    keepalive_timeout=self._keep_alive_s,
                    ssl=self._tls if self._tls else True,
                    resolver=_AllowedOnly(self._addresses),
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                skip_auto_headers=_SKIPPED,
                read_bufsize=_READ_AHEAD,
                max_line_size=HEADER_CAP,
                max_field_size=HEADER_CAP,
            )
        return self._session

    async def send(self, request: UpstreamRequest) -> AiohttpResponse:
        url = URL(request.origin + request.path, encoded=True)
        if is_ip_address(url.host) and not self._addresses.allows(url.host or ""):
            raise UpstreamFailed("refused", sent=False)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=request.connect_timeout_s)
        with _translated():
            within_s = request.connect_timeout_s + taking_s(request.body) + request.first_byte_timeout_s
            async with asyncio.timeout(within_s):
                response = await self._opened().request(
                    request.method,
                    url,
                    data=_payload(request.body),
                    headers=[
                        (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers
                    ],
                    timeout=timeout,
                    allow_redirects=False,
                )
        return AiohttpResponse(response, idle_timeout_s=request.idle_timeout_s)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def is_ip_address(host: str | None) -> bool:
    """True for a literal address, which aiohttp resolves nothing for."""
    try:
        ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        return False
    return True


class _AllowedOnly(aiohttp.ThreadedResolver):
    """Leaves out of what a name resolves to the addresses that the operator does not allow."""

    def __init__(self, addresses: AddressPolicy) -> None:
        super().__init__()
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        allowed = [each for each in found if self._addresses.allows(each["host"])]
        if not allowed:
            raise OSError(f"{host} has no address that the operator allows")
        return allowed


class AiohttpResponse:
    """Keeps `contract.UpstreamResponse`."""

    def __init__(self, response: aiohttp.ClientResponse, *, idle_timeout_s: float) -> None:
        self._response = response
        self._idle_timeout_s = idle_timeout_s
        self.status = response.status
        self.headers: Sequence[tuple[bytes, bytes]] = [
            (bytes(name).lower(), bytes(value)) for name, value in response.raw_headers
        ]

    async def chunks(self) -> AsyncIterator[bytes]:
        while chunk := await self._next():
            yield chunk

    async def _next(self) -> bytes:
        with _translated(idle=True):
            async with asyncio.timeout(self._idle_timeout_s):
                return await self._response.content.readany()

    async def read(self, limit: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > limit:
                raise UpstreamFailed("too-large", sent=True)
            parts.append(chunk)
        return b"".join(parts)

    async def aclose(self) -> None:
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


def _payload(body: bytes) -> bytes | BytesIO:
    """Return a large body as a file, which aiohttp sends piece by piece without holding up the loop."""
    return body if len(body) <= _IN_ONE_PIECE else BytesIO(body)


@contextmanager
def _translated(*, idle: bool = False) -> Iterator[None]:
    """Turn aiohttp's errors into ours, in one place."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise UpstreamFailed("connect-timeout", sent=False) from error
    except TimeoutError as error:
        raise UpstreamFailed("idle-timeout" if idle else "first-byte-timeout", sent=True) from error
    except aiohttp.ClientConnectorError as error:
        raise UpstreamFailed("refused", sent=False) from error
    except aiohttp.ClientResponseError as error:
        raise UpstreamFailed("malformed", sent=True) from error
    except aiohttp.ClientPayloadError as error:
        raise UpstreamFailed("truncated", sent=True) from error
    except (aiohttp.ClientError, OSError) as error:
        raise UpstreamFailed("truncated" if idle else "reset", sent=True) from error
