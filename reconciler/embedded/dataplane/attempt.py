"""One account's turn at a request: send it, and hand the answer to the client.

Source: sub2api v0.1.179, `internal/service/openai_gateway_chat_completions_raw.go`, `openai_gateway_usage.go`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from reconciler.embedded.database import Row
from reconciler.embedded.dataplane import billing, forward, opslog, select, slots
from reconciler.embedded.dataplane.dialects import UNREADABLE, Translator, Wire
from reconciler.embedded.dataplane.events import EventReader
from reconciler.embedded.dataplane.exchange import Answered, Exchange
from reconciler.embedded.dataplane.forward import FailedOver, Missing, Rejected
from reconciler.embedded.transport import UpstreamAnswer, UpstreamBroken


async def attempt(exchange: Exchange, account: Row) -> Response | FailedOver:
    """Send the request to one account. Raises Refusal for an answer that is the client's own."""
    upstream_model = select.mapped_model(account, exchange.channel_model) or exchange.channel_model
    *maybe, last = exchange.dialect.wires(account)
    for wire in maybe:
        sent = _Sent(exchange, account, upstream_model, wire)
        answer = await sent.attempt(mark_missing=False)
        if not isinstance(answer, Missing):
            return await _outcome(sent, answer)
    sent = _Sent(exchange, account, upstream_model, last)
    return await _outcome(sent, await sent.attempt(mark_missing=True))


@dataclass
class _Sent:
    """One request to one account over one wire."""

    exchange: Exchange
    account: Row
    upstream_model: str
    wire: Wire

    async def attempt(self, *, mark_missing: bool) -> UpstreamAnswer | FailedOver | Rejected | Missing:
        exchange, account = self.exchange, self.account
        body = self._body()
        content = json.dumps(body, ensure_ascii=False).encode()
        headers = forward.upstream_headers(
            account, exchange.request.headers, stream=body.get("stream") is True
        )
        url = forward.endpoint_url(account, self.wire)
        return await forward.attempt(
            exchange.host, account, url, headers, content, self.upstream_model, mark_missing=mark_missing
        )

    def _body(self) -> dict[str, Any]:
        try:
            return self.exchange.dialect.request(self.exchange.body, self.upstream_model, self.wire)
        except UNREADABLE:
            text = "Failed to parse request body"
            failure = opslog.Failure("request", "invalid_request_error", text, 400, business_limited=True)
            raise self.exchange.refuse(400, "invalid_request_error", text, failure) from None

    def translator(self) -> Translator:
        return self.exchange.dialect.translator(self.exchange.model, self.wire)

    def record(self, model: str | None, tokens: billing.Tokens, first_token_at: float | None = None) -> None:
        """Write the usage row."""
        kept = model if self.exchange.dialect.keeps_response_model(self.wire) else None
        self.exchange.record(
            Answered(self.account, self.wire, self.upstream_model, kept, tokens, first_token_at)
        )


async def _outcome(
    sent: _Sent, answer: UpstreamAnswer | FailedOver | Rejected | Missing
) -> Response | FailedOver:
    assert not isinstance(answer, Missing), "only asked for where a further wire is left"
    if isinstance(answer, FailedOver):
        return answer
    if isinstance(answer, Rejected):
        failure = opslog.Failure(
            "upstream", answer.kind, answer.message, answer.status, answer.upstream_status, sent.account,
            sent.upstream_model,
        )  # fmt: skip
        raise sent.exchange.refuse(answer.status, answer.kind, answer.message, failure)
    return await (_begin_stream(sent, answer) if sent.exchange.stream else _plain(sent, answer))


async def _plain(sent: _Sent, answer: UpstreamAnswer) -> Response | FailedOver:
    translator = sent.translator()
    try:
        raw = await answer.read()
        body = translator.plain(raw)
    except (UpstreamBroken, *UNREADABLE) as error:
        return FailedOver(
            sent.account, 502, f"unreadable answer: {type(error).__name__}", {}, sent.upstream_model
        )
    finally:
        await answer.close()
    sent.exchange.note_recovered()
    sent.record(*translator.facts(raw))
    kind = answer.headers.get("content-type", "application/json")
    response = Response(body, media_type="application/json" if kind.startswith("text/event-stream") else kind)
    if upstream_id := answer.headers.get("x-request-id"):
        response.headers.append("x-request-id", upstream_id)
    return response


async def _begin_stream(sent: _Sent, answer: UpstreamAnswer) -> Response | FailedOver:
    """Wait for the first bytes, so that a stream that never starts can still be failed over."""
    chunks = answer.chunks()
    try:
        first = await anext(chunks)
    except (UpstreamBroken, StopAsyncIteration) as error:
        await answer.close()
        return FailedOver(
            sent.account, 502, f"stream did not begin: {type(error).__name__}", {}, sent.upstream_model
        )
    sent.exchange.note_recovered()
    return Relay(sent, answer, first, chunks)


class Relay(Response):
    """A stream on its way to the client. Owns the slots of the request and bills it at the end."""

    def __init__(
        self, sent: _Sent, answer: UpstreamAnswer, first: bytes, chunks: AsyncIterator[bytes]
    ) -> None:
        super().__init__(media_type="text/event-stream")
        del self.headers["content-length"]
        self.headers["cache-control"] = "no-cache"
        if upstream_id := answer.headers.get("x-request-id"):
            self.headers.append("x-request-id", upstream_id)
        self._sent, self._answer, self._first, self._chunks = sent, answer, first, chunks
        self._reader = EventReader()
        self._first_token_at = sent.exchange.host.now()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host, user = self._sent.exchange.host, self._sent.exchange.caller.user
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for part in self._parts():
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            slots.free(host, host.runtime.account_slots, self._sent.account["id"])
            slots.free(host, host.runtime.user_slots, user["id"])
            if self._reader.finished or self._reader.tokens.output:
                # A stream that broke is billed only when its usage was counted.
                self._sent.record(self._reader.model, self._reader.tokens, self._first_token_at)
            await self._answer.close()

    async def _parts(self) -> AsyncIterator[bytes]:
        translator = self._sent.translator()
        try:
            for part in self._translated(translator, self._first):
                yield part
            async for chunk in self._chunks:
                for part in self._translated(translator, chunk):
                    yield part
            for part in translator.end():
                yield part
        except (UpstreamBroken, *UNREADABLE):
            error = {"error": {"type": "upstream_error", "message": "Upstream request failed"}}
            yield f"event: error\ndata: {json.dumps(error)}\n\n".encode()

    def _translated(self, translator: Translator, chunk: bytes) -> list[bytes]:
        return [part for data, raw in self._reader.feed(chunk) for part in translator.event(data, raw)]
