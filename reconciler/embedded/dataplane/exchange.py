"""One request to the data plane from the first check to the last byte, in the host's own order.

Source: sub2api v0.1.179, `internal/handler/openai_chat_completions.go`, `openai_gateway_handler.go`,
`no_account_error.go`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from reconciler.embedded.admin import channel_rules
from reconciler.embedded.database import Row
from reconciler.embedded.dataplane import billing, forward, limits, marks, opslog, select, slots
from reconciler.embedded.dataplane.dialects import Chat, Dialect, Translator
from reconciler.embedded.dataplane.events import EventReader, parsed
from reconciler.embedded.dataplane.forward import FailedOver, Rejected
from reconciler.embedded.dataplane.keyauth import Caller, authenticate, client_address
from reconciler.embedded.envelope import Refusal, json_response
from reconciler.embedded.state import Host
from reconciler.embedded.transport import UpstreamAnswer, UpstreamBroken

_NO_GROUP = (
    "API Key is not assigned to any group and cannot be used. "
    "Please contact the administrator to assign it to a group."
)
_UNAVAILABLE = "Service temporarily unavailable"
_POOL_RETRIES, _POOL_RETRIES_MOST = 3, 10
_POOL_RETRY_S = 0.5


@dataclass
class Exchange:
    """A request whose key and body were found good."""

    host: Host
    request: Request
    dialect: Dialect
    caller: Caller
    group: Row
    body: dict[str, Any]
    model: str
    correlation: str
    request_id: str
    started_at: float
    failures: list[FailedOver] = field(default_factory=list)
    channel: Row | None = None
    channel_model: str = ""
    routed_model: str = ""
    """The name under which accounts are chosen."""

    @property
    def stream(self) -> bool:
        return self.body.get("stream") is True

    @property
    def endpoint(self) -> str:
        return self.request.url.path

    def refuse(
        self,
        status: int,
        kind: str,
        message: str,
        failure: opslog.Failure,
        headers: dict[str, str] | None = None,
    ) -> Refusal:
        """Return an error in the client's protocol, after writing it to the ops log."""
        opslog.write(self.host, self._asked(), failure)
        return Refusal(status, self.dialect.error(kind, message), headers)

    def _asked(self) -> opslog.Asked:
        return opslog.Asked(
            self.correlation, self.request_id, self.caller, self.model, self.stream, self.endpoint,
            self.request.headers.get("user-agent", ""), client_address(self.request),
        )  # fmt: skip

    def note_recovered(self) -> None:
        """Write the upstream errors that a later account made good."""
        for failed in self.failures:
            message = f"Recovered upstream error {failed.status}: {failed.message}"
            failure = opslog.Failure(
                "upstream",
                "upstream_error",
                message,
                200,
                failed.status,
                failed.account,
                failed.upstream_model,
            )
            opslog.write(self.host, self._asked(), failure)

    def record(self, account: Row, upstream_model: str, reader: _Outcome) -> None:
        """Write the usage row."""
        names = (self.model, self.channel_model, upstream_model)
        chain = [name for place, name in enumerate(names) if not place or name != names[place - 1]]
        billing.record(self.host, billing.Served(
            correlation=self.correlation, key=self.caller.key, user=self.caller.user, group=self.group,
            account=account, channel=self.channel, model=self.model, chain=tuple(chain),
            channel_model=self.channel_model, upstream_model=upstream_model, response_model=reader.model,
            inbound_endpoint=self.endpoint, upstream_endpoint=self.dialect.upstream_endpoint(account),
            stream=self.stream, tokens=reader.tokens, started_at=self.started_at,
            first_token_at=reader.first_token_at, user_agent=self.request.headers.get("user-agent", ""),
            address=client_address(self.request), session=select.client_session(self.request.headers),
        ))  # fmt: skip


@dataclass
class _Outcome:
    """What an upstream answer said of itself."""

    model: str | None = None
    tokens: billing.Tokens = field(default_factory=billing.Tokens)
    first_token_at: float | None = None


async def serve(
    host: Host, request: Request, dialect: Dialect, correlation: str, request_id: str
) -> Response:
    """Answer one data-plane POST. Raises Refusal."""
    started_at = host.now()
    caller = authenticate(host, request)
    if caller.group is None:
        raise Refusal(403, {"type": "error", "error": {"type": "permission_error", "message": _NO_GROUP}})
    _check_platform(dialect, caller.group)
    body, model = _read(dialect, await request.body())
    exchange = Exchange(
        host, request, dialect, caller, caller.group, body, model, correlation, request_id, started_at
    )
    runtime, user = host.runtime, caller.user
    try:
        await slots.take(host, runtime.user_slots, user["id"], user["concurrency"])
    except slots.NoSlot:
        text = "Concurrency limit exceeded for user, please retry later"
        raise exchange.refuse(
            429, "rate_limit_error", text, _limited("rate_limit_error", text, 429)
        ) from None
    held = True
    try:
        response = await _admitted(exchange)
        held = not isinstance(response, _Relay)
        return response
    finally:
        if held:
            slots.free(host, runtime.user_slots, user["id"])


def _limited(kind: str, message: str, status: int) -> opslog.Failure:
    return opslog.Failure("request", kind, message, status, business_limited=True)


def _check_platform(dialect: Dialect, group: Row) -> None:
    platform = group["platform"]
    if dialect.capability == "embeddings" and platform != "openai":
        text = "Embeddings API is not supported for this platform"
        raise Refusal(404, dialect.error("not_found_error", text))
    if dialect.needs_dispatch and platform == "openai" and not group["allow_messages_dispatch"]:
        raise Refusal(
            403, dialect.error("permission_error", "This group does not allow /v1/messages dispatch")
        )


def _read(dialect: Dialect, raw: bytes) -> tuple[dict[str, Any], str]:
    def bad(message: str) -> Refusal:
        return Refusal(400, dialect.error("invalid_request_error", message))

    if not raw:
        raise bad("Request body is empty")
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise bad("Failed to parse request body") from None
    model = body.get("model") if isinstance(body, dict) else None
    if not isinstance(model, str) or not model:
        raise bad("model is required")
    if not isinstance(body.get("stream", False), bool):
        raise bad("invalid stream field type")
    if isinstance(dialect, Chat) and model.startswith("gpt-image"):
        raise bad("This model is not supported on the Chat Completions endpoint")
    return body, model


async def _admitted(exchange: Exchange) -> Response:
    host, group = exchange.host, exchange.group
    if (over := limits.check(host, exchange.caller, group)) is not None:
        headers = {"Retry-After": str(over.retry_after_s)} if over.retry_after_s else {}
        raise exchange.refuse(
            over.status, over.kind, over.message, _limited(over.kind, over.message, over.status), headers
        )
    exchange.channel = channel_rules.channel_of(host, group["id"])
    exchange.channel_model = channel_rules.mapped(exchange.channel, group["platform"], exchange.model)
    exchange.routed_model = exchange.dialect.dispatch(group, exchange.model)
    if exchange.routed_model != exchange.model:
        exchange.channel_model = exchange.routed_model
    if not _unrestricted(exchange):
        raise _unavailable(exchange)
    return await _over_accounts(exchange)


def _unrestricted(exchange: Exchange) -> bool:
    channel, platform = exchange.channel, exchange.group["platform"]
    if channel is None:
        return True
    judged = exchange.model if channel["billing_model_source"] == "requested" else exchange.channel_model
    return channel_rules.allowed(channel, platform, judged)


async def _over_accounts(exchange: Exchange) -> Response:
    """Try accounts until one answers, or none is left."""
    host, tried = exchange.host, set[int]()
    session = select.session_of(exchange.request.headers, exchange.body)
    while True:
        found = select.candidates(
            host, exchange.group, exchange.routed_model, exchange.dialect.capability, frozenset(tried)
        )
        if not found:
            raise _exhausted(exchange) if exchange.failures else _nobody(exchange)
        account = select.choose(host, exchange.group, found, session)
        outcome = await _on_account(exchange, account)
        if not isinstance(outcome, FailedOver):
            return outcome
        exchange.failures.append(outcome)
        tried.add(account["id"])
        if len(tried) > host.settings.max_account_switches:
            raise _exhausted(exchange)


async def _on_account(exchange: Exchange, account: Row) -> Response | FailedOver:
    host = exchange.host
    try:
        await slots.take(host, host.runtime.account_slots, account["id"], account["concurrency"])
    except slots.NoSlot:
        text = "Concurrency limit exceeded for account, please retry later"
        raise exchange.refuse(
            429, "rate_limit_error", text, _limited("rate_limit_error", text, 429)
        ) from None
    host.runtime.last_taken[account["id"]] = host.now()
    held = True
    try:
        outcome = await _once(exchange, account)
        for _ in range(_retries(account)):
            if not isinstance(outcome, FailedOver) or not marks.retries_in_place(account, outcome.status):
                break
            await host.clock.sleep(_POOL_RETRY_S)
            outcome = await _once(exchange, account)
        held = not isinstance(outcome, _Relay)
        return outcome
    finally:
        if held:
            slots.free(host, host.runtime.account_slots, account["id"])


def _retries(account: Row) -> int:
    """How often a pool account is asked again."""
    count = account["credentials"].get("pool_mode_retry_count", _POOL_RETRIES)
    known = isinstance(count, int) and not isinstance(count, bool)
    return min(max(count, 0), _POOL_RETRIES_MOST) if known else _POOL_RETRIES


async def _once(exchange: Exchange, account: Row) -> Response | FailedOver:
    """Send the request to one account. Raises Refusal for an answer that is the client's own."""
    host, dialect = exchange.host, exchange.dialect
    upstream_model = select.mapped_model(account, exchange.channel_model) or exchange.channel_model
    sent = json.dumps(dialect.request(account, exchange.body, upstream_model), ensure_ascii=False).encode()
    headers = forward.upstream_headers(account, exchange.request.headers, stream=exchange.stream)
    path = dialect.upstream_endpoint(account).removeprefix("/v1")
    answer = await forward.attempt(
        host, account, forward.endpoint_url(account, path), headers, sent, upstream_model
    )
    if isinstance(answer, FailedOver):
        return answer
    if isinstance(answer, Rejected):
        failure = opslog.Failure(
            "upstream",
            answer.kind,
            answer.message,
            answer.status,
            answer.upstream_status,
            account,
            upstream_model,
        )
        raise exchange.refuse(answer.status, answer.kind, answer.message, failure)
    if exchange.stream:
        return await _begin_stream(exchange, account, answer, upstream_model)
    return await _plain(exchange, account, answer, upstream_model)


async def _plain(
    exchange: Exchange, account: Row, answer: UpstreamAnswer, upstream_model: str
) -> Response | FailedOver:
    translator = exchange.dialect.translator(account, exchange.model)
    try:
        raw = await answer.read()
        body = translator.plain(raw)
    except (UpstreamBroken, ValueError) as error:
        return FailedOver(account, 502, f"unreadable answer: {type(error).__name__}", {}, upstream_model)
    finally:
        await answer.close()
    document = parsed(raw)
    model = None if translator.converts else document.get("model")
    outcome = _Outcome(model if isinstance(model, str) else None, billing.Tokens.of(document.get("usage")))
    exchange.note_recovered()
    exchange.record(account, upstream_model, outcome)
    response = Response(body, media_type=answer.headers.get("content-type", "application/json"))
    if upstream_id := answer.headers.get("x-request-id"):
        response.headers.append("x-request-id", upstream_id)
    return response


async def _begin_stream(
    exchange: Exchange, account: Row, answer: UpstreamAnswer, upstream_model: str
) -> Response | FailedOver:
    """Wait for the first bytes, so that a stream that never starts can still be failed over."""
    chunks = answer.chunks()
    try:
        first = await anext(chunks)
    except (UpstreamBroken, StopAsyncIteration) as error:
        await answer.close()
        return FailedOver(account, 502, f"stream did not begin: {type(error).__name__}", {}, upstream_model)
    exchange.note_recovered()
    return _Relay(exchange, account, answer, first, chunks, upstream_model)


class _Relay(Response):
    """A stream on its way to the client. Owns the slots of the request and bills it at the end."""

    def __init__(
        self, exchange: Exchange, account: Row, answer: UpstreamAnswer, first: bytes,
        chunks: AsyncIterator[bytes], upstream_model: str,
    ) -> None:  # fmt: skip
        super().__init__(media_type="text/event-stream")
        del self.headers["content-length"]
        self.headers["cache-control"] = "no-cache"
        if upstream_id := answer.headers.get("x-request-id"):
            self.headers.append("x-request-id", upstream_id)
        self._exchange, self._account, self._answer, self._upstream_model = (
            exchange,
            account,
            answer,
            upstream_model,
        )
        self._first, self._chunks = first, chunks
        self._translator = exchange.dialect.translator(account, exchange.model)
        self._reader = EventReader()
        self._first_token_at: float | None = exchange.host.now()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host, user = self._exchange.host, self._exchange.caller.user
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for part in self._parts():
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            slots.free(host, host.runtime.account_slots, self._account["id"])
            slots.free(host, host.runtime.user_slots, user["id"])
            self._bill()
            await self._answer.close()

    async def _parts(self) -> AsyncIterator[bytes]:
        translator = self._translator
        try:
            for part in self._translated(translator, self._first):
                yield part
            async for chunk in self._chunks:
                for part in self._translated(translator, chunk):
                    yield part
            for part in translator.end():
                yield part
        except (UpstreamBroken, ValueError):
            error = {"error": {"type": "upstream_error", "message": "Upstream request failed"}}
            yield f"event: error\ndata: {json.dumps(error)}\n\n".encode()

    def _translated(self, translator: Translator, chunk: bytes) -> list[bytes]:
        return [part for data, raw in self._reader.feed(chunk) for part in translator.event(data, raw)]

    def _bill(self) -> None:
        """A stream that broke is billed only when its usage was counted."""
        if self._reader.finished or self._reader.tokens.output:
            model = None if self._translator.converts else self._reader.model
            outcome = _Outcome(model, self._reader.tokens, self._first_token_at)
            self._exchange.record(self._account, self._upstream_model, outcome)


def _unavailable(exchange: Exchange) -> Refusal:
    failure = opslog.Failure("routing", "api_error", _UNAVAILABLE, 503)
    return exchange.refuse(503, "api_error", _UNAVAILABLE, failure)


def _nobody(exchange: Exchange) -> Refusal:
    """The answer when no account could be chosen at all."""
    host, group, model = exchange.host, exchange.group, exchange.routed_model
    if group["platform"] == "anthropic":
        text = "No available accounts: no available accounts"
        return exchange.refuse(503, "api_error", text, opslog.Failure("routing", "api_error", text, 503))
    if select.has_pool(host, group) and not select.model_configured(host, group, model):
        name = json.dumps(exchange.model, ensure_ascii=False)
        text = f"Model {name} is not supported by any configured account in this group"
        failure = opslog.Failure(
            "routing", "model_not_found", text, 404, business_limited=True, upstream_endpoint=""
        )
        return exchange.refuse(404, "model_not_found", text, failure)
    if select.all_model_limited(host, group, model):
        text = "All available accounts are currently rate-limited. Please retry later."
        failure = opslog.Failure("routing", "rate_limit_error", text, 429)
        return exchange.refuse(429, "rate_limit_error", text, failure)
    return _unavailable(exchange)


def _exhausted(exchange: Exchange) -> Refusal:
    """The answer when every account that could be chosen has failed."""
    last = exchange.failures[-1]
    status, kind, message = forward.exhausted(last.status)
    retry_after = last.headers.get("retry-after", "")
    headers = {"Retry-After": retry_after} if retry_after.isdigit() else {}
    failure = opslog.Failure(
        "upstream", kind, message, status, last.status, last.account, last.upstream_model
    )
    return exchange.refuse(status, kind, message, failure, headers)


def refusal_response(refusal: Refusal) -> Response:
    """Return the answer of a refusal."""
    return json_response(refusal.body, refusal.status, refusal.headers)
