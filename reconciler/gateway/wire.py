"""The server's HTTP/1.1, stricter than uvicorn's own: a head ends, in bytes and in time, and is one request.

Source: uvicorn 0.54, `uvicorn/protocols/http/httptools_impl.py`, and llhttp 9 as httptools 0.9 sets it up:
- a head is collected however long it is, and waited for however long that takes;
- HTTP/0.9 is accepted, whose requests have neither headers nor a framed body;
- a request without a host, or with two, is served;
- trailers are collected however many they are, and join the headers of the request's head;
- a request that offers an upgrade (Java's HttpClient offers h2c with every first request) ends with its head, and its
  body is then read as the next request: lost at best, smuggled at worst.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from reconciler.gateway.dataplane.begun import Begun
from reconciler.gateway.dataplane.fast_path import FastPath
from reconciler.gateway.dataplane.fast_request import FastRequest
from reconciler.gateway.dataplane.heads import Framed, Head, framed_head, plain_head
from reconciler.gateway.dataplane.inbound import CLIENT
from reconciler.gateway.http10 import end_with_connection
from reconciler.gateway.listening import held_by_system
from reconciler.gateway.served_client import ServedClient

MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers together; also what may come in a row behind a head and is no body, such as trailers. The
longest legitimate header is a probe token, 12 KB."""
MAX_HEAD_S = 30.0
"""From the first byte of a head, or from connecting, to its end."""
MAX_UNREAD_S = 60.0
"""A client that takes nothing of what it is sent for so long is cut off. Source: nginx's default `send_timeout`."""

_ONCE = (b"host", b"authorization", b"x-api-key", b"x-reconcile-probe", b"x-reconcile-fence", b"content-type")
"""Headers of which one of two could count here and the other one for a proxy in front; lengths are the parser's."""

_MOST_GATHERED = 256 * 1024
"""A longer body goes to the parser, which lets the client wait while it is read."""
_MOST_PIECES = 16
_GATHERED_S = 1.0
"""How long the fast path waits for the rest of a request."""

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
        self._idle_since: float | None = None
        """When the last answer ended; None while a request is read or served."""
        self._arriving = 0
        """Bytes that are being parsed; a whole head may be among them."""
        self._ended = False
        """A request ended in the bytes that are being parsed."""
        self._too_large = False
        self._in_body = False
        self._framing_bytes, self._body_came = 0, False
        """Bytes behind a head since the last one of its body, and whether such a one is among those being parsed."""
        self._declined = False
        """An offer to upgrade was taken out of this head."""
        self._unread, self._unread_since = 0, 0.0
        """Bytes that the client's end had not taken at the last look, and the first look that found so many."""
        self._gone = False
        self._tell_gone: Callable[[], None] | None = None
        self._fast_path: FastPath | None = getattr(config.loaded_app, "fast_path", None)
        self._fast: FastRequest | None = None
        """The request that the fast path serves; nothing is read from the client then."""
        self._framed: Framed | None = None
        self._plain: Head | None = None
        """What `_framed` says: the last plain head of this connection."""
        self._gathered = b""
        """The beginning of a request that the fast path may get once all of it is here."""
        self._pieces = 0
        self._later = b""
        """What the client sent before it had its answer."""
        self._begun: Begun | None = None
        self._untouched = True
        """The parser has seen nothing yet."""
        self.closing = False
        self.write_paused = False
        self.write: Callable[[bytes], None] = _to_nobody

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn's
        super().connection_made(transport)
        self.write = transport.write

    def data_received(self, data: bytes) -> None:
        if self._fast is not None or self._later:  # what came earlier is read first
            self._keep(data)
            return
        if self._fast_path is not None and self._is_between_requests():
            if self._gathered:
                data = self._gathered + data
            if self._take(self._fast_path, data):
                return
            self._gathered, self._pieces = b"", 0
        self._parse(data)

    def _is_between_requests(self) -> bool:
        return self._untouched or (self._idle_since is not None and not self._in_body)

    def _take(self, fast_path: FastPath, data: bytes) -> bool:
        """Give a request to the fast path. False: it is for the parser."""
        if self.write_paused:
            return (
                False  # the general path answers a client only when it has read what it was answered before
            )
        framing = self._framed.framing(data) if self._framed is not None else None
        if framing is None:
            framed = framed_head(data)
            plain = None if framed is None else plain_head(framed, fast_path.plane.revisions.hash_key)
            if framed is None or plain is None:
                return False
            self._framed, self._plain = framed, plain
            framing = framed.framing(data)
        if framing is None or self._plain is None:
            return False
        begins, length = framing
        missing = begins + length - len(data)
        if missing > 0:
            return self._gather(data, length)
        if missing < 0:
            return False
        self._gathered, self._pieces = b"", 0
        fast = fast_path.take(self, self._plain, data[begins:])
        if fast is None:
            return False
        self._fast = fast
        self._head_since = self._idle_since = None
        self._untouched = False
        fast.start()
        return True

    def _gather(self, data: bytes, length: int) -> bool:
        """Keep the beginning of a request. False: it is too large, or comes in too many pieces."""
        self._pieces += 1
        if length > _MOST_GATHERED or self._pieces > _MOST_PIECES:
            self._pieces = 0
            return False
        if not self._gathered:
            self._head_since = self.loop.time()
        self._gathered = data
        return True

    def _keep(self, data: bytes) -> None:
        """Keep what a client sends too early, and beyond a limit let it wait."""
        self._later += data
        if len(self._later) > MAX_HEAD_BYTES:
            self.flow.pause_reading()

    def _parse_gathered(self) -> None:
        """Give the parser what was gathered: the rest may take long, or never come."""
        gathered, self._gathered, self._pieces = self._gathered, b"", 0
        if gathered:
            self._parse(gathered)

    # What the fast path calls.

    @property
    def gone(self) -> bool:
        """See `FastClient`."""
        return self._gone or self.transport.is_closing()

    def served(self, *, whole: bool) -> None:
        """See `FastClient`."""
        self._fast = None
        self.server_state.total_requests += 1
        if not whole or self.closing:
            self.transport.close()
            return
        self._idle_since = self.loop.time()
        if self._later:
            self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Read what was sent too early."""
        later, self._later = self._later, b""
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self.data_received(later)

    def hand_over(self, begun: Begun) -> None:
        """See `FastClient`."""
        self._fast = None
        assert self._framed is not None
        before, after = self._framed
        body, self._begun = begun.inbound.body, begun
        later, self._later = self._later, b""
        self.flow.resume_reading()
        self._parse(b"%b%d%b%b" % (before, len(body), after, body))
        if self.closing:
            super().shutdown()
        elif later:
            self._parse(later)

    def cut_off(self) -> None:
        """End what the fast path serves: the process stops."""
        if self._fast is not None:
            self._fast.client_left()

    def pause_writing(self) -> None:
        self.write_paused = True
        super().pause_writing()

    def resume_writing(self) -> None:
        self.write_paused = False
        super().resume_writing()
        if self._fast is not None:
            self._fast.go_on()

    def shutdown(self) -> None:
        """End the connection: at once when it is idle, else after the request."""
        self._parse_gathered()
        if self._fast is not None:
            self.closing = True
        else:
            super().shutdown()

    # What the parser gets and calls.

    def _parse(self, data: bytes) -> None:
        self._untouched = False
        if not self._in_body and b"pgrade" in data:
            data = self._without_offer(data)
        self._arriving, self._ended = len(data), False
        super().data_received(data)
        if self._in_body and not self._ended:
            self._bound_framing(len(data))
        if self._head_since is None or self._ended:
            return  # what came with an earlier request counts only once its head is complete
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse_head()

    def _bound_framing(self, arrived: int) -> None:
        """End a connection on which something else than a body comes without end."""
        self._framing_bytes = 0 if self._body_came else self._framing_bytes + arrived
        self._body_came = False
        if self._framing_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            log.warning("a request's trailers are too large, its connection is closed")
            self.transport.close()

    def _without_offer(self, data: bytes) -> bytes:
        """Hide an offer to upgrade from the parser: a server may ignore it, and this parser cannot."""
        head, blank, rest = data.partition(b"\r\n\r\n")
        plain, offers = _OFFER.subn(b"\r\n" + _HIDDEN + b":", head)
        self._declined = self._declined or offers > 0
        return plain + blank + rest

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        self._head_since = self.loop.time()
        self._idle_since = None
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if (
            not self._in_body
        ):  # a trailer may be dropped, and must not pass for a header: RFC 9110, section 6.5.1
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._body_came = True
        super().on_body(body)

    def on_headers_complete(self) -> None:
        self._head_since = self._idle_since = None
        self._in_body = True
        # Raised to the parser, which calls the request malformed; it is answered 400 and the connection closed.
        # An upgrade is still seen when its offer came in pieces, and with CONNECT.
        if self.parser.get_http_version() not in ("1.1", "1.0") or self.parser.should_upgrade():
            raise ValueError("neither HTTP/1.1 nor HTTP/1.0, or an upgrade")
        if self._head_bytes + self._arriving > MAX_HEAD_BYTES and self._head_length() > MAX_HEAD_BYTES:
            self._too_large = True
            raise ValueError("a head that is too large")
        if _ambiguous(self.headers, self.parser.get_http_version()):
            raise ValueError("no host, or a header twice that two parties could read differently")
        if self._declined:
            self._declined = False
            self.headers[:] = [header for header in self.headers if header[0] != _HIDDEN]
        super().on_headers_complete()
        if self.parser.get_http_version() == "1.0":
            end_with_connection(self.cycle)
        begun, self._begun = self._begun, None
        client = ServedClient(self, self.cycle, begun)
        self.cycle.on_response = client.answered
        extensions: dict[str, Any] = {CLIENT: client}
        self.scope["extensions"] = extensions  # in time: the request itself starts at a later tick

    def on_message_complete(self) -> None:
        self._in_body, self._ended = False, True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Keep in step with uvicorn's own, but leave idle connections to `close_overdue` instead of a timer each."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._head_since is None:  # else the parser has begun to read the next head
            self._idle_since = self.loop.time()

    def _head_length(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def send_400_response(self, msg: str) -> None:
        if self._too_large:
            self._refuse_head()
        else:
            self._refuse(HTTPStatus.BAD_REQUEST, "malformed-http")

    def _refuse_head(self) -> None:
        log.warning("a request's head is too large, its connection is closed")
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large")

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

    def connection_lost(self, exc: Exception | None) -> None:
        self._parse_gathered()
        self.cut_off()
        super().connection_lost(exc)
        self.write = _to_nobody
        self.cycle = None  # type: ignore[assignment] # its last request's scope leads back to this connection
        self._gone = True
        if self._tell_gone is not None:
            self._tell_gone()

    def when_gone(self, told: Callable[[], None] | None) -> None:
        """See `ServedClient`; one request at a time is served on a connection."""
        self._tell_gone = told
        if told is not None:
            self.flow.resume_reading()  # else a close would stay unread behind a large body
            if self._gone:
                self.loop.call_soon(told)

    def end_if_overdue(self, now: float) -> None:
        """Close the connection when it is overdue; a request that comes slowly is left to the parser."""
        if self._gathered and self._head_since is not None and now - self._head_since > _GATHERED_S:
            self._parse_gathered()
        if self.is_overdue(now):
            self.transport.close()
        if self._leaves_unread(now):
            log.warning("a client takes nothing of its answer, its connection is cut off")
            self.transport.abort()

    def _leaves_unread(self, now: float) -> bool:
        """Return True when nothing of what waits for the client was taken for too long: it holds memory for nothing."""
        unread = self.transport.get_write_buffer_size()
        if unread:
            unread += held_by_system(self.transport.get_extra_info("socket"))
        if not unread or unread != self._unread:
            self._unread, self._unread_since = unread, now
        return now - self._unread_since > MAX_UNREAD_S

    def is_overdue(self, now: float) -> bool:
        """Return True when, by the loop's clock, the client owes the end of a head, or a new request, for too long."""
        if self._head_since is not None:
            return now - self._head_since > MAX_HEAD_S
        return self._idle_since is not None and now - self._idle_since > self.timeout_keep_alive


def _to_nobody(data: bytes) -> None:
    """There is no connection yet, or no more."""


def _ambiguous(headers: Sequence[tuple[bytes, bytes]], version: str) -> bool:
    """Return True for what two parties could read differently. Source: RFC 9112, section 3.2, on Host."""
    names = [name for name, _ in headers]
    distinct = set(names)
    if b"host" not in distinct and version == "1.1":
        return True
    return len(distinct) < len(names) and any(names.count(name) > 1 for name in _ONCE)


def close_overdue(connections: Iterable[object], now: float) -> None:
    """Close connections that hold a place for nothing: the client owes a head, is idle, or reads nothing."""
    for connection in list(connections):
        if isinstance(connection, BoundedHttp):
            connection.end_if_overdue(now)


def cut_off(connections: Iterable[object]) -> None:
    """End what is still being served on the fast path, as uvicorn cancels its tasks."""
    for connection in list(connections):
        if isinstance(connection, BoundedHttp):
            connection.cut_off()
