"""The host's log of failed requests and of upstream errors that a later account made good.

Source: sub2api v0.1.179, `internal/handler/ops_error_logger.go`; field values as measured on a live server.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from reconciler.embedded.database import Row
from reconciler.embedded.dataplane.keyauth import Caller
from reconciler.embedded.state import Host


@dataclass(frozen=True)
class Failure:
    """What an error row says besides who asked for what."""

    phase: str
    kind: str
    message: str
    client_status: int
    upstream_status: int | None = None
    account: Row | None = None
    upstream_model: str = ""
    business_limited: bool = False
    upstream_endpoint: str = "/v1/responses"
    """A stock host writes this for every openai request, whatever was really called."""


@dataclass(frozen=True)
class Asked:
    """The request that an error row is about."""

    correlation: str
    request_id: str
    caller: Caller
    model: str
    stream: bool
    endpoint: str
    user_agent: str
    address: str


_CLIENT_KINDS = frozenset({
    "invalid_request_error", "authentication_error", "permission_error", "forbidden_error", "not_found_error",
    "model_not_found", "billing_error", "subscription_error",
})  # fmt: skip


def _severity(failure: Failure) -> str:
    status = failure.client_status if failure.client_status >= 400 else failure.upstream_status or 0
    if failure.kind in _CLIENT_KINDS or status < 400:
        return "P3"
    return "P1" if status >= 500 or status == 429 else "P2"


def write(host: Host, asked: Asked, failure: Failure) -> None:
    """Store one row; it becomes readable after the ops delay."""
    if host.faults.take("ops-drop", path=asked.endpoint, model=asked.model):
        return
    provider = failure.phase == "upstream"
    group = asked.caller.group
    doc = {
        "phase": failure.phase, "type": failure.kind, "error_owner": "provider" if provider else "platform",
        "error_source": "upstream_http" if provider else "gateway",
        "severity": _severity(failure),
        "status_code": failure.upstream_status or failure.client_status, "client_status": failure.client_status,
        "business_limited": failure.business_limited, "platform": group["platform"] if group else "",
        "model": asked.model, "client_request_id": asked.correlation, "request_id": asked.request_id,
        "message": failure.message, "user_id": asked.caller.user["id"], "user_email": asked.caller.user["email"],
        "api_key_id": asked.caller.key["id"], "api_key_name": asked.caller.key["name"],
        "account_id": failure.account["id"] if failure.account else None,
        "account_name": failure.account["name"] if failure.account else "",
        "group_id": group["id"] if group else None, "group_name": group["name"] if group else "",
        "client_ip": asked.address, "request_path": asked.endpoint, "stream": asked.stream,
        "inbound_endpoint": asked.endpoint, "upstream_endpoint": failure.upstream_endpoint,
        "requested_model": asked.model, "upstream_model": failure.upstream_model,
        "request_type": 2 if asked.stream else 1, "user_agent": asked.user_agent, "created_at": host.now(),
    }  # fmt: skip
    host.database.write(
        "INSERT INTO ops_errors (visible_at, client_request_id, doc) VALUES (?, ?, ?)",
        (host.now() + host.settings.ops_delay_s, asked.correlation, json.dumps(doc, ensure_ascii=False)),
    )
