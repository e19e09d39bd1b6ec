"""A request to the data plane in the host's own order: key, body, slots, limits, accounts.

Source: sub2api v0.1.179, `internal/handler/openai_chat_completions.go`, `openai_gateway_handler.go`,
`no_account_error.go`.
"""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from reconciler.embedded.admin import channel_rules
from reconciler.embedded.database import Row
from reconciler.embedded.dataplane import forward, limits, marks, opslog, select, slots
from reconciler.embedded.dataplane.attempt import Relay, attempt
from reconciler.embedded.dataplane.chat import Chat
from reconciler.embedded.dataplane.dialects import Dialect
from reconciler.embedded.dataplane.exchange import Exchange
from reconciler.embedded.dataplane.forward import FailedOver
from reconciler.embedded.dataplane.keyauth import authenticate
from reconciler.embedded.envelope import Refusal
from reconciler.embedded.state import Host

_NO_GROUP = (
    "API Key is not assigned to any group and cannot be used. "
    "Please contact the administrator to assign it to a group."
)
_UNAVAILABLE = "Service temporarily unavailable"
_POOL_RETRIES, _POOL_RETRIES_MOST = 3, 10
_POOL_RETRY_S = 0.5


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
        held = not isinstance(response, Relay)
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
    if channel is None or channel["billing_model_source"] == "upstream":
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
        found = [row for row in found if _unrestricted_on(exchange, row)]
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
        outcome = await attempt(exchange, account)
        for _ in range(_retries(account)):
            if not isinstance(outcome, FailedOver) or not marks.retries_in_place(account, outcome.status):
                break
            await host.clock.sleep(_POOL_RETRY_S)
            outcome = await attempt(exchange, account)
        held = not isinstance(outcome, Relay)
        return outcome
    finally:
        if held:
            slots.free(host, host.runtime.account_slots, account["id"])


def _retries(account: Row) -> int:
    """How often a pool account is asked again."""
    count = account["credentials"].get("pool_mode_retry_count", _POOL_RETRIES)
    known = isinstance(count, int) and not isinstance(count, bool)
    return min(max(count, 0), _POOL_RETRIES_MOST) if known else _POOL_RETRIES


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


def _unrestricted_on(exchange: Exchange, account: Row) -> bool:
    """False when the channel judges the name that goes upstream, and does not know it."""
    channel = exchange.channel
    if channel is None or channel["billing_model_source"] != "upstream":
        return True
    upstream_model = select.mapped_model(account, exchange.channel_model) or exchange.channel_model
    return channel_rules.allowed(channel, exchange.group["platform"], upstream_model)
