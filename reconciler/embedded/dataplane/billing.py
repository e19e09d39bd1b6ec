"""The usage row of a served request, and what it costs whom.

Source: sub2api v0.1.179, `internal/service/openai_gateway_usage.go`, `gateway_usage_billing.go`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.embedded.admin import channel_rules
from reconciler.embedded.admin.keys import WINDOWS
from reconciler.embedded.database import Row
from reconciler.embedded.state import Host


@dataclass(frozen=True)
class Tokens:
    """Counts as the upstream gave them; `input` leaves the cached ones out."""

    input: int = 0
    output: int = 0
    cached: int = 0

    @classmethod
    def of(cls, usage: object) -> Tokens:
        """Read OpenAI's `usage`, of chat completions or of responses; zeros when there is none."""
        if not isinstance(usage, dict):
            return cls()
        details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
        cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
        prompt = _count(usage.get("prompt_tokens")) or _count(usage.get("input_tokens"))
        output = _count(usage.get("completion_tokens")) or _count(usage.get("output_tokens"))
        return cls(max(prompt - cached, 0), output, cached)


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


@dataclass(frozen=True)
class Served:
    """Everything about one served request that its usage row says."""

    correlation: str
    key: Row
    user: Row
    group: Row
    account: Row
    channel: Row | None
    model: str
    chain: tuple[str, ...]
    """Names the model had on its way: asked, mapped by the channel, sent. Without repetitions."""
    channel_model: str
    upstream_model: str
    response_model: str | None
    inbound_endpoint: str
    upstream_endpoint: str
    stream: bool
    tokens: Tokens
    started_at: float
    first_token_at: float | None
    user_agent: str
    address: str
    session: str | None


def record(host: Host, served: Served) -> None:
    """Bill a request and write its row; it becomes readable after the usage delay."""
    scope = {"path": served.inbound_endpoint, "model": served.model, "account_id": served.account["id"]}
    now = host.now()
    costs = _costs(host, served)
    _charge(host, served, costs["actual_cost"], now)
    if host.faults.take("usage-drop", **scope):
        return
    late = host.faults.take("usage-delay", **scope)
    visible_at = now + host.settings.usage_delay_s + (late.seconds or 0.0 if late else 0.0)
    doc = _document(served, costs, now)
    if (fault := host.faults.take("bill-as", **scope)) is not None:
        doc |= fault.set or {}
    _write(host, doc, visible_at)


def _document(served: Served, costs: Mapping[str, float], now: float) -> Row:
    multiplier = served.account["rate_multiplier"]
    mismatch = None if served.response_model is None else served.response_model != served.upstream_model
    return {
        "request_id": f"client:{served.correlation}", "user_id": served.user["id"], "api_key_id": served.key["id"],
        "account_id": served.account["id"], "group_id": served.group["id"], "model": served.model,
        "upstream_model": served.upstream_model, "upstream_response_model": served.response_model,
        "upstream_model_mismatch": mismatch, "channel_id": served.channel["id"] if served.channel else None,
        "model_mapping_chain": "→".join(served.chain) if len(served.chain) > 1 else None,
        "inbound_endpoint": served.inbound_endpoint, "upstream_endpoint": served.upstream_endpoint,
        "input_tokens": served.tokens.input, "output_tokens": served.tokens.output,
        "cache_read_tokens": served.tokens.cached, **costs, "rate_multiplier": _rate(served),
        "account_rate_multiplier": 1 if multiplier is None else multiplier, "stream": served.stream,
        "duration_ms": round((now - served.started_at) * 1000),
        "first_token_ms": None if served.first_token_at is None
        else round((served.first_token_at - served.started_at) * 1000),
        "user_agent": served.user_agent, "ip_address": served.address, "session_id": served.session,
        "billing_mode": "token",
    }  # fmt: skip


def _rate(served: Served) -> float:
    own = served.user["group_rates"].get(str(served.group["id"]))
    return float(own if own is not None else served.group["rate_multiplier"])


def _costs(host: Host, served: Served) -> dict[str, float]:
    prices = channel_rules.prices(served.channel, served.group["platform"], _billed_model(served))
    if prices is None:
        prices = (*host.settings.prices.get(served.model, (0.0, 0.0)), 0.0)
    costs = {
        "input_cost": served.tokens.input * prices[0],
        "output_cost": served.tokens.output * prices[1],
        "cache_read_cost": served.tokens.cached * prices[2],
    }
    total = sum(costs.values())
    costs |= {"total_cost": total, "actual_cost": total * _rate(served)}
    return {name: round(cost, 10) for name, cost in costs.items()}


def _billed_model(served: Served) -> str:
    source = served.channel["billing_model_source"] if served.channel else "channel_mapped"
    return {
        "requested": served.model,
        "upstream": served.upstream_model,
        "response_model": served.response_model or served.upstream_model,
    }.get(source, served.channel_model)


def _charge(host: Host, served: Served, cost: float, now: float) -> None:
    key, user, account = served.key, served.user, served.account
    account["last_used_at"] = user["last_used_at"] = now
    if cost:
        user["balance"] = round(user["balance"] - cost, 10)
        if key["quota"] > 0:  # counted only where there is a limit
            key["quota_used"] = round(key["quota_used"] + cost, 10)
            if key["quota"] <= key["quota_used"]:
                key["status"] = "quota_exhausted"
        _charge_windows(key, cost, now)
        host.keys.save(key)
    if account["extra"].get("quota_limit"):
        account["extra"]["quota_used"] = round(account["extra"].get("quota_used", 0.0) + cost, 10)
    host.users.save(user)
    host.accounts.save(account)


def _charge_windows(key: Row, cost: float, now: float) -> None:
    """Spending is counted per window only when a limit is set."""
    for window, length in WINDOWS.items():
        if not key[f"rate_limit_{window}"]:
            continue
        start = key[f"window_{window}_start"]
        if start is None or now >= start + length:
            key[f"window_{window}_start"], key[f"usage_{window}"] = now, 0.0
        key[f"usage_{window}"] = round(key[f"usage_{window}"] + cost, 10)


def _write(host: Host, doc: dict[str, Any], visible_at: float) -> None:
    """Store one row; a second row of the same request and key is ignored, as the unique index does."""
    host.database.write(
        "INSERT OR IGNORE INTO usage_logs (visible_at, request_id, user_id, api_key_id, account_id, group_id, "
        "model, stream, mismatch, doc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            visible_at, doc["request_id"], doc["user_id"], doc["api_key_id"], doc["account_id"], doc["group_id"],
            doc["model"], int(doc["stream"]), doc["upstream_model_mismatch"],
            json.dumps(doc | {"created_at": visible_at}, ensure_ascii=False, separators=(",", ":")),
        ),
    )  # fmt: skip
