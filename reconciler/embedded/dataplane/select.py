"""Which account serves a request.

Source: sub2api v0.1.179, `internal/service/openai_account_scheduler.go`, `openai_gateway_scheduling.go`,
`openai_content_session_seed.go`, `account.go` (model mapping).
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from typing import Any

from reconciler.embedded.admin import membership
from reconciler.embedded.admin.account_fields import model_mapping
from reconciler.embedded.clock import unstamp
from reconciler.embedded.database import Row
from reconciler.embedded.state import Host

_SESSION_HEADERS = (
    "session_id", "conversation_id", "x-session-affinity", "x-session-id", "x-opencode-session", "x-conversation-id",
)  # fmt: skip


def mapped_model(account: Row, model: str) -> str | None:
    """Return the name that goes upstream; None when the account does not serve the model.

    Exact entries first, then the longest prefix; without a mapping every model is served under its own name.
    """
    mapping = model_mapping(account)
    if not mapping:
        return model
    if model in mapping:
        return mapping[model]
    prefixes = [key for key in mapping if key.endswith("*") and model.startswith(key[:-1])]
    if prefixes:
        target = mapping[max(prefixes, key=len)]
        return model if target.endswith("*") else target
    return model if account["extra"].get("openai_passthrough") is True else None


def served(account: Row, model: str) -> bool:
    """True when the account's whitelist lets the model through."""
    return mapped_model(account, model) is not None


def candidates(host: Host, group: Row, model: str, capability: str, excluded: frozenset[int]) -> list[Row]:
    """Return the accounts that could take a request now, in no order."""
    return [
        row
        for row in host.accounts.live()
        if row["id"] not in excluded
        and (host.settings.run_mode == "simple" or membership.serves(host, row, group["id"]))
        and row["platform"] == group["platform"]
        and _ready(host, row, model)
        and served(row, model)
        and _capable(row, group, capability)
    ]


def _ready(host: Host, row: Row, model: str) -> bool:
    now = host.now()
    if row["status"] != "active" or not row["schedulable"] or row.get("schedulable_from", 0.0) > now:
        return False
    if row["expires_at"] is not None and row["auto_pause_on_expired"] and row["expires_at"] <= now:
        return False
    marks = ("rate_limit_reset_at", "overload_until", "temp_unschedulable_until")
    if any((row[name] or 0) > now for name in marks) or model_limited(host, row, model):
        return False
    upstream_model = (mapped_model(row, model) or model).lower()
    blocks = host.runtime.blocks
    return all(blocks.get((row["id"], name), 0.0) <= now for name in ("", upstream_model))


def model_limited(host: Host, row: Row, model: str) -> bool:
    """True when the account is marked as limited for one model."""
    limit = (row["extra"].get("model_rate_limits") or {}).get(mapped_model(row, model) or model)
    return limit is not None and unstamp(limit["rate_limit_reset_at"]) > host.now()


def _capable(row: Row, group: Row, capability: str) -> bool:
    if group["require_oauth_only"] and row["type"] == "apikey":
        return False
    capabilities = row["credentials"].get("openai_capabilities")
    return not isinstance(capabilities, list) or not capabilities or capability in capabilities


def choose(host: Host, group: Row, found: list[Row], session: str) -> Row:
    """Return one of `found`: the session's own account, else best priority, least load, longest idle.

    Binds the session to the account for an hour.
    """
    now = host.now()
    sticky_id, until = host.runtime.sticky.get((group["id"], session), (0, 0.0))
    kept = next((row for row in found if row["id"] == sticky_id and until > now), None) if session else None
    taken = kept or min(found, key=lambda row: _rank(host, row))
    if session:
        host.runtime.sticky[group["id"], session] = (taken["id"], now + host.settings.sticky_ttl_s)
    return taken


def _rank(host: Host, row: Row) -> tuple[int, float, float, float]:
    busy = host.runtime.account_slots.get(row["id"], 0)
    load = busy / (row["load_factor"] or row["concurrency"] or 1_000_000)
    return row["priority"], load, host.runtime.last_taken.get(row["id"], 0.0), random.random()  # noqa: S311 - a tie


def has_pool(host: Host, group: Row) -> bool:
    """True when accounts are configured for the group, whatever their passing state."""
    return any(True for _ in _pool(host, group))


def model_configured(host: Host, group: Row, model: str) -> bool:
    """True when some configured account of the group would serve the model."""
    return any(served(row, model) for row in _pool(host, group))


def all_model_limited(host: Host, group: Row, model: str) -> bool:
    """True when every account that serves the model is marked as limited for it."""
    serving = [row for row in _pool(host, group) if served(row, model)]
    return bool(serving) and all(model_limited(host, row, model) for row in serving)


def _pool(host: Host, group: Row) -> list[Row]:
    return [
        row
        for row in host.accounts.live()
        if group["id"] in membership.group_ids_of(row)
        and row["platform"] == group["platform"]
        and row["status"] == "active"
        and row["schedulable"]
    ]


def session_of(headers: Mapping[str, str], body: Mapping[str, Any]) -> str:
    """Return the session key of a request: a header, `prompt_cache_key`, else a hash of how it begins."""
    for name in _SESSION_HEADERS:
        if value := headers.get(name, "").strip():
            return _hash(value)
    if isinstance(key := body.get("prompt_cache_key"), str) and key.strip():
        return _hash(key.strip())
    return _hash(_content_seed(body))


def client_session(headers: Mapping[str, str]) -> str | None:
    """Return the client's own session word as it is stored in the usage row."""
    for name in (*_SESSION_HEADERS, "x-claude-code-session-id"):
        value = headers.get(name, "").strip()
        if value and value.isprintable():
            return value[:255]
    return None


def _content_seed(body: Mapping[str, Any]) -> str:
    messages = body.get("messages") if isinstance(body.get("messages"), list) else body.get("input")
    seed: list[Any] = [body.get(name) for name in ("model", "tools", "functions", "instructions", "system")]
    if isinstance(messages, list):
        roles = [m for m in messages if isinstance(m, dict)]
        seed.append([m.get("content") for m in roles if m.get("role") in ("system", "developer")])
        seed.append(next((m.get("content") for m in roles if m.get("role") == "user"), None))
    else:
        seed.append(messages)
    return json.dumps(seed, sort_keys=True, ensure_ascii=False)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
