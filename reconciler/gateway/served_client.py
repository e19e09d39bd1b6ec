"""What the server offers an application beyond ASGI for one request: it saves a task, a timer and a write each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from reconciler.gateway.dataplane.answer_heads import answer_head
from reconciler.gateway.dataplane.begun import Begun

_WRITTEN_TOGETHER = 64 * 1024
"""Up to this length head and body go to the socket in one piece."""


class Carrier(Protocol):
    """The connection that requests come on."""

    def when_gone(self, told: Callable[[], None] | None) -> None: ...

    def on_response_complete(self) -> None: ...


class ServedClient:
    """Keeps `dataplane.inbound.Client` for one request of a connection.

    The request's scope holds it, and it the request: `answered` opens that circle, which would else be left to the
    garbage collector, 4 KB for every request.
    """

    __slots__ = ("_connection", "_cycle", "begun", "when_gone")

    def __init__(self, connection: Carrier, cycle: RequestResponseCycle, begun: Begun | None) -> None:
        self.begun = begun
        self._connection = connection
        self._cycle: RequestResponseCycle | None = cycle
        self.when_gone = connection.when_gone

    def answered(self) -> None:
        """Let go of the request, whose answer was written whole, and take the connection's next one."""
        self._cycle = None
        self._connection.on_response_complete()

    def whole_body(self) -> bytes | None:
        """Keep in step with `RequestResponseCycle.receive`, which gives out the body bit by bit."""
        cycle = self._cycle
        if cycle is None or cycle.more_body or cycle.disconnected or cycle.response_complete:
            return None
        body, cycle.body = bytes(cycle.body), bytearray()
        cycle.message_event.clear()
        cycle.waiting_for_100_continue = False
        return body

    def answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """Write head and body at once, where uvicorn writes each to the socket, which then wakes the client twice.

        What is out of the ordinary goes uvicorn's way: a client that is slow, gone or closes, an answer without body,
        a header that would break the head.
        """
        cycle = self._cycle
        if cycle is None or cycle.response_started or cycle.disconnected:
            return False
        if cycle.flow.write_paused or not cycle.keep_alive:
            return False
        head, lines = answer_head(status, headers, b"\r\n"), len(headers) + 2
        if head.count(b"\n") != lines or head.count(b"\r") != lines or status in (204, 304):
            return False
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        if len(body) <= _WRITTEN_TOGETHER:
            cycle.transport.write(head + body)
        else:
            cycle.transport.write(head)
            cycle.transport.write(body)
        cycle.message_event.set()
        cycle.on_response()
        return True
