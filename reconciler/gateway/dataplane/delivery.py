"""Handing a host's answer to the client: whole when it is a document, event by event when it is a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

from reconciler.gateway.contract import UpstreamResponse
from reconciler.gateway.dataplane import errors
from reconciler.gateway.dataplane.headers import FirstValues, find, towards_client
from reconciler.gateway.dataplane.inbound import Inbound
from reconciler.gateway.dataplane.outbound import Outbound

if TYPE_CHECKING:
    from reconciler.gateway.dataplane.exchange import Exchange

Kind = Literal["document", "events", "bytes"]
Ready = Callable[[], Awaitable[None]]


class Delivery:
    """One answer on its way. Until `exchange.head_sent`, a failure may still go to another route."""

    def __init__(
        self, exchange: Exchange, inbound: Inbound, response: UpstreamResponse, headers: FirstValues
    ) -> None:
        self._exchange = exchange
        self._response = response
        self._first = headers
        self._outbound = Outbound(exchange.endpoint.protocol, inbound.model)

    async def run(self, ready: Ready) -> None:
        """Send the answer; `ready` is awaited just before the first byte. Raises UpstreamFailed."""
        kind = kind_of(self._first)
        if kind == "document":
            await self._document(ready)
        else:
            await self._stream(ready, self._outbound.events if kind == "events" else bytes)

    async def _document(self, ready: Ready) -> None:
        exchange = self._exchange
        body = self._outbound.document(await self._response.read(exchange.plane.settings.max_answer_bytes))
        await ready()
        self._note(self._response.status)
        if exchange.row.probe is not None:
            await exchange.store_probe_row()
        headers = self._headers()
        if self._response.status != HTTPStatus.NO_CONTENT:  # which has no length, by RFC 9110 section 8.6
            headers.append((b"content-length", str(len(body)).encode()))
        await exchange.answer(self._response.status, headers, body)

    async def _stream(self, ready: Ready, rewrite: Callable[[bytes], bytes]) -> None:
        """Send chunks as they come. Until the first one, the next route may still answer instead."""
        exchange = self._exchange
        chunks = self._response.chunks()
        first = await _next(chunks)
        await ready()
        exchange.row.status = self._response.status
        await exchange.start(self._response.status, self._headers())
        chunk: bytes | None = first
        while chunk is not None:
            ripe = rewrite(chunk)
            if ripe:
                await exchange.send_body(ripe, more=True)
            chunk = await _next(chunks)
        await self._end(self._outbound.rest())

    async def end_broken(self) -> None:
        """Tell the client that a stream which had begun broke off. Of a line that was cut short nothing is sent."""
        exchange = self._exchange
        problem = errors.broke_off()
        await self._end(errors.stream_event(exchange.endpoint.protocol, problem, exchange.request_id))

    async def _end(self, last: bytes) -> None:
        self._note(self._response.status)
        await self._exchange.store_probe_row()
        await self._exchange.send_body(last, more=False)

    def _note(self, status: int) -> None:
        row = self._exchange.row
        row.status = status
        row.input_tokens = self._outbound.input_tokens
        row.output_tokens = self._outbound.output_tokens

    def _headers(self) -> list[tuple[bytes, bytes]]:
        exchange = self._exchange
        return towards_client(self._response.headers, exchange.request_id, exchange.endpoint.protocol)


def kind_of(headers: FirstValues) -> Kind:
    """Return how an answer is handed on: "document" and "events" are read and rewritten, "bytes" are not."""
    if headers.get(b"content-type") == b"application/json" and b"content-encoding" not in headers:
        return "document"
    kind = (find(headers, b"content-type") or "").partition(";")[0].strip().lower()
    if (find(headers, b"content-encoding") or "identity").lower() != "identity":
        return "bytes"
    if kind == "text/event-stream":
        return "events"
    return "document" if kind.endswith("json") or not kind else "bytes"


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)
