"""The server's HTTP/1.1, stricter than uvicorn's own: a head ends, in bytes and in time, and is one request.

Source: uvicorn 0.54, `uvicorn/protocols/http/httptools_impl.py`, and llhttp 9 as httptools 0.9 sets it up:
- a head is collected however long it is, and waited for however long that takes;
- HTTP/0.9 is accepted, whose requests have neither headers nor a framed body;
- a request that offers an upgrade (Java's HttpClient offers h2c with every first request) ends with its head, and its
  body is then read as the next request: lost at best, smuggled at worst.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers together. The longest legitimate header is a probe token, 12 KB."""
MAX_HEAD_S = 30.0
"""From the first byte of a head, or from connecting, to its end."""

_OFFER = re.compile(rb"\r\nupgrade[ \t]*:", re.IGNORECASE)
_HIDDEN = b"x-reconcile-declined"

log = logging.getLogger(__name__)


class BoundedHttp(HttpToolsProtocol):
    """One client connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head_bytes = 0
        self._head_since: float | None = self.loop.time()
        """When the head that is being read began; None while a body is read or a request is served."""
        self._in_body = False
        self._declined = False
        """An offer to upgrade was taken out of this head."""

    def data_received(self, data: bytes) -> None:
        if not self._in_body and b"pgrade" in data:
            data = self._without_offer(data)
        super().data_received(data)
        if self._head_since is None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            log.warning("a request's head is too large, its connection is closed")
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large")

    def _without_offer(self, data: bytes) -> bytes:
        """Hide an offer to upgrade from the parser: a server may ignore it, and this parser cannot."""
        head, blank, rest = data.partition(b"\r\n\r\n")
        plain, offers = _OFFER.subn(b"\r\n" + _HIDDEN + b":", head)
        self._declined = self._declined or offers > 0
        return plain + blank + rest

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        self._head_since = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_since = None
        self._in_body = True
        # Raised to the parser, which calls the request malformed; it is answered 400 and the connection closed.
        # An upgrade is still seen when its offer came in pieces, and with CONNECT.
        if self.parser.get_http_version() not in ("1.1", "1.0") or self.parser.should_upgrade():
            raise ValueError("neither HTTP/1.1 nor HTTP/1.0, or an upgrade")
        if self._declined:
            self._declined = False
            self.headers[:] = [header for header in self.headers if header[0] != _HIDDEN]
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(HTTPStatus.BAD_REQUEST, "malformed-http")

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        """Answer without an application, in a shape that clients of both faces can read, and close."""
        body = json.dumps(
            {
                "type": f"urn:reconciler:problem:{reason}",
                "title": status.phrase,
                "status": status,
                "reason": reason,
                "detail": status.description or status.phrase,
                "error": {"type": "invalid_request_error", "code": reason, "message": status.phrase},
            }
        ).encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def waits_since(self) -> float | None:
        """Return since when, by the loop's clock, the client owes the end of a head; None when it owes nothing."""
        return self._head_since


def close_slow_heads(connections: Iterable[object], now: float) -> None:
    """Close connections whose client has not finished a head in time: they hold a place and promise nothing."""
    for connection in list(connections):
        if isinstance(connection, BoundedHttp) and not connection.transport.is_closing():
            since = connection.waits_since()
            if since is not None and now - since > MAX_HEAD_S:
                connection.transport.close()
