"""The ops lists: failed requests, and upstream errors including those that a later account made good.

Source: sub2api v0.1.179, `internal/handler/admin/ops_handler.go`, `buildOpsErrorLogsWhere` in
`internal/repository/ops_repo.go`.
"""

from __future__ import annotations

import json
import re
from typing import Any

from starlette.responses import Response

from reconciler.embedded.admin import accounts, membership
from reconciler.embedded.call import Call, Endpoint, contains
from reconciler.embedded.clock import unstamp
from reconciler.embedded.database import Row
from reconciler.embedded.envelope import application_error, bad_request, page_of, pagination, success
from reconciler.embedded.state import Host

_UNITS_S = {"m": 60.0, "h": 3600.0, "d": 86_400.0}
_MOST = 500
_FIELDS = (
    "phase", "type", "error_owner", "error_source", "severity", "status_code", "platform", "model", "resolved",
    "resolved_at", "resolved_by_user_id", "resolved_by_user_name", "client_request_id", "request_id", "message",
    "user_id", "user_email", "api_key_id", "account_id", "account_name", "group_id", "group_name", "client_ip",
    "request_path", "stream", "inbound_endpoint", "upstream_endpoint", "requested_model", "upstream_model",
    "request_type", "user_agent", "api_key_name",
)  # fmt: skip
_UNRESOLVED = {
    "resolved": False,
    "resolved_at": None,
    "resolved_by_user_id": None,
    "resolved_by_user_name": "",
}


def render(host: Host, row: Row) -> dict[str, Any]:
    """One error row."""
    full = _UNRESOLVED | row
    return {"id": row["id"], "created_at": host.stamp(row["created_at"])} | {
        name: full[name] for name in _FIELDS
    }


async def errors(call: Call) -> Response:
    """`GET /admin/ops/errors` and `/request-errors`: what a client saw fail."""
    return success(_page(call, [row for row in _rows(call) if row["client_status"] >= 400]))


async def upstream_errors(call: Call) -> Response:
    """`GET /admin/ops/upstream-errors`: what providers answered, recovered or not."""
    return success(_page(call, [row for row in _rows(call) if row["phase"] == "upstream"]))


async def one(call: Call) -> Response:
    """`GET /admin/ops/errors/:id`."""
    found = call.host.database.connection.execute(
        "SELECT id, doc FROM ops_errors WHERE id = ? AND visible_at <= ?",
        (call.id("Invalid error id"), call.host.now()),
    ).fetchone()
    if found is None:
        raise application_error(404, "ops error log not found", "OPS_ERROR_NOT_FOUND")
    row = json.loads(found[1]) | {"id": found[0]}
    return success(render(call.host, row) | {
        "error_body": "", "upstream_status_code": row["status_code"] if row["phase"] == "upstream" else None,
        "upstream_errors": "", "auth_latency_ms": None, "routing_latency_ms": None, "upstream_latency_ms": None,
        "response_latency_ms": None, "time_to_first_token_ms": None, "is_business_limited": row["business_limited"],
    })  # fmt: skip


def _page(call: Call, rows: list[Row]) -> dict[str, Any]:
    page, size = pagination(call.request)
    size = min(size, _MOST)
    start = (page - 1) * size
    return page_of([render(call.host, row) for row in rows[start : start + size]], len(rows), page, size)


def _rows(call: Call) -> list[Row]:
    since, until = _window(call)
    found = call.host.database.connection.execute(
        "SELECT id, doc FROM ops_errors WHERE visible_at >= ? AND visible_at <= ? ORDER BY id DESC",
        (since, until),
    )
    view = {"all": None, "excluded": True}.get(call.query("view").lower(), False)
    rows = [json.loads(doc) | {"id": row_id} for row_id, doc in found]
    return [row for row in rows if view in (None, row["business_limited"]) and _passes(call, row)]


def _passes(call: Call, row: Row) -> bool:
    query = call.query("q").strip()
    texts = (row["request_id"], row["client_request_id"], row["message"])
    if query and not any(contains(text, query) for text in texts):
        return False
    for name in ("group_id", "account_id", "user_id", "api_key_id"):
        wanted = call.query(name).strip()
        if wanted and not (wanted.isdigit() and int(wanted) > 0):
            raise bad_request(f"Invalid {name}")
        if wanted and row[name] != int(wanted):
            return False
    plain = ("phase", "error_owner", "error_source", "platform", "model")
    if any(call.query(name) and row[name] != call.query(name) for name in plain):
        return False
    codes = [code for code in call.query("status_codes").split(",") if code.strip()]
    return not codes or str(row["status_code"]) in codes


def _window(call: Call) -> tuple[float, float]:
    now = call.host.now()
    try:
        until = unstamp(call.query("end_time")) if call.query("end_time") else now
        since = unstamp(call.query("start_time")) if call.query("start_time") else None
    except ValueError:
        raise bad_request("invalid time range") from None
    if since is None:
        since = until - _range_s(call.query("time_range", "1h"))
    return since, min(until, now)


def _range_s(text: str) -> float:
    """Return a range such as `30m` in seconds; at most 30 days. Raises Refusal 400."""
    found = re.fullmatch(r"(\d{1,6})([mhd])", text)
    if found is None:
        raise bad_request("invalid time_range")
    return min(int(found[1]) * _UNITS_S[found[2]], 30 * 86_400.0)


async def availability(call: Call) -> Response:
    """`GET /admin/ops/account-availability`: per account, what the scheduler thinks of it."""
    host, group, platform = call.host, call.query("group_id"), call.query("platform")
    rows = [
        row
        for row in host.accounts.live()
        if (not platform or row["platform"] == platform)
        and (not group or int(group) in membership.group_ids_of(row))
    ]
    shown = {str(row["id"]): _available(host, row) for row in rows}
    return success({"enabled": True, "platform": {}, "group": {}, "account": shown})


def _available(host: Host, row: Row) -> dict[str, Any]:
    limited, overloaded = (
        (row["rate_limit_reset_at"] or 0) > host.now(),
        (row["overload_until"] or 0) > host.now(),
    )
    return {
        "account_id": row["id"], "account_name": row["name"], "platform": row["platform"], "status": row["status"],
        "is_available": accounts.in_state(host, row, "active") and not overloaded, "is_rate_limited": limited,
        "is_overloaded": overloaded, "has_error": row["status"] == "error", "error_message": row["error_message"],
    }  # fmt: skip


_OPS = "/api/v1/admin/ops"
ENDPOINTS = [
    Endpoint("GET", f"{_OPS}/errors", errors),
    Endpoint("GET", f"{_OPS}/errors/:id", one),
    Endpoint("GET", f"{_OPS}/request-errors", errors),
    Endpoint("GET", f"{_OPS}/request-errors/:id", one),
    Endpoint("GET", f"{_OPS}/upstream-errors", upstream_errors),
    Endpoint("GET", f"{_OPS}/upstream-errors/:id", one),
    Endpoint("GET", f"{_OPS}/account-availability", availability),
]
