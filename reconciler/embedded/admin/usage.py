"""Usage rows as an admin reads them. The host does not redact: `api_key` holds the key in plain text.

Source: sub2api v0.1.179, `internal/handler/admin/usage_handler.go`, `internal/handler/dto/mappers.go`.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from starlette.responses import Response

from reconciler.embedded.admin import groups, keys, users
from reconciler.embedded.call import Call, Endpoint, contains
from reconciler.embedded.database import Row
from reconciler.embedded.envelope import bad_request, page_of, pagination, success
from reconciler.embedded.state import Host

_NO_IMAGES = {
    "image_count": 0, "image_size": None, "image_input_size": None, "image_output_size": None,
    "image_input_tokens": 0, "image_input_cost": 0, "image_output_tokens": 0, "image_output_cost": 0,
    "image_size_source": None, "image_size_breakdown": None, "media_type": None,
}  # fmt: skip
_TYPES = {
    "unknown": "0",
    "sync": "stream = 0",
    "stream": "stream = 1",
    "ws_v2": "0",
    "cyber": "0",
    "live": "0",
}
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")
_LARGE = 10_000


def render(host: Host, row: Row, *, for_admin: bool = True) -> dict[str, Any]:
    """One usage row. What is empty in the middle is null, what is empty at the end is absent."""
    shown = {
        "id": row["id"], "user_id": row["user_id"], "api_key_id": row["api_key_id"], "account_id": row["account_id"],
        "request_id": row["request_id"], "model": row["model"], "inbound_endpoint": row["inbound_endpoint"],
    }  # fmt: skip
    if for_admin:
        shown["upstream_endpoint"] = row["upstream_endpoint"]
    shown |= {
        "group_id": row["group_id"], "subscription_id": None, "input_tokens": row["input_tokens"],
        "output_tokens": row["output_tokens"], "cache_creation_tokens": 0,
        "cache_read_tokens": row["cache_read_tokens"], "cache_creation_5m_tokens": 0, "cache_creation_1h_tokens": 0,
        "input_cost": row["input_cost"], "output_cost": row["output_cost"], "cache_creation_cost": 0,
        "cache_read_cost": row["cache_read_cost"], "total_cost": row["total_cost"],
        "actual_cost": row["actual_cost"], "rate_multiplier": row["rate_multiplier"],
        "long_context_billing_applied": False, "billing_type": 0,
        "request_type": "stream" if row["stream"] else "sync", "stream": row["stream"], "openai_ws_mode": False,
        "duration_ms": row["duration_ms"], "first_token_ms": row["first_token_ms"], **_NO_IMAGES,
        "user_agent": row["user_agent"] or None,
    }  # fmt: skip
    shown |= {name: row[name] for name in ("ip_address", "session_id") if row[name]}
    shown |= {
        "cache_ttl_overridden": False, "billing_mode": row["billing_mode"], "created_at": host.stamp(row["created_at"]),
    }  # fmt: skip
    shown |= _joined(host, row)
    return shown | _admin_part(host, row) if for_admin else shown


def _joined(host: Host, row: Row) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if user := host.users.rows.get(row["user_id"]):
        shown["user"] = users.shallow(host, user)
    if key := host.keys.get(row["api_key_id"]):
        shown["api_key"] = keys.render(host, key, with_group=False)
    if group := host.groups.get(row["group_id"]):
        shown["group"] = groups.shallow(host, group)
    return shown


def _admin_part(host: Host, row: Row) -> dict[str, Any]:
    optional = (
        "upstream_model", "upstream_response_model", "upstream_model_mismatch", "channel_id", "model_mapping_chain",
    )  # fmt: skip
    shown = {name: row[name] for name in optional if row[name] is not None}
    shown["account_rate_multiplier"] = row["account_rate_multiplier"]
    if account := host.accounts.rows.get(row["account_id"]):
        shown["account"] = {"id": account["id"], "name": account["name"]}
    return shown


async def listed(call: Call) -> Response:
    """`GET /admin/usage`."""
    exact = _switch(call, "exact_total", "Invalid exact_total value, use true or false") is True
    clauses, values = _where(call)
    page, size = pagination(call.request)
    return success(_page(call.host, clauses, values, _order(call), page, size, exact=exact))


async def own(call: Call) -> Response:
    """`GET /api/v1/usage`: the acting user's own rows, without what only admins see."""
    page, size = pagination(call.request)
    clauses = ["visible_at <= ?", "user_id = ?"]
    found = _page(
        call.host, clauses, [call.host.now(), call.user["id"]], "id DESC", page, size, exact=True, admin=False
    )
    return success(found)


def _page(
    host: Host,
    clauses: list[str],
    values: list[Any],
    order: str,
    page: int,
    size: int,
    *,
    exact: bool,
    admin: bool = True,
) -> dict[str, Any]:
    where = " AND ".join(clauses)
    read = host.database.connection.execute
    found = read(
        f"SELECT id, doc FROM usage_logs WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?",  # noqa: S608 - constants
        (*values, size, (page - 1) * size),
    ).fetchall()
    total = int(read(f"SELECT count(*) FROM usage_logs WHERE {where}", values).fetchone()[0])  # noqa: S608
    if not exact and not any(name in where for name in ("user_id = ?", "api_key_id = ?", "account_id = ?")):
        # A stock host then only looks whether there is one more page.
        total = min(total, page * size + 1) if found else total
    rows = [json.loads(doc) | {"id": row_id} for row_id, doc in found]
    return page_of([render(host, row, for_admin=admin) for row in rows], total, page, size)


def _order(call: Call) -> str:
    column = {"created_at": "visible_at", "model": "model"}.get(call.query("sort_by", "created_at"), "id")
    direction = "ASC" if call.query("sort_order", "desc").lower() == "asc" else "DESC"
    return f"{column} {direction}, id {direction}"


def _where(call: Call) -> tuple[list[str], list[Any]]:
    clauses, values = _id_clauses(call)
    for name in ("request_id", "model"):
        if text := call.query(name).strip():
            clauses.append(f"{name} = ?")
            values.append(text)
    clauses += _type_clauses(call)
    mismatch = _switch(
        call, "upstream_model_mismatch", "Invalid upstream_model_mismatch value, use true or false"
    )
    if mismatch is not None:
        clauses.append("mismatch = ?")
        values.append(mismatch)
    if call.query("billing_mode") not in ("", "token") or call.query("billing_type") not in ("", "0"):
        clauses.append("0")
    for name, column in (("start_date", "visible_at >= ?"), ("end_date", "visible_at < ?")):
        if call.query(name):
            clauses.append(column)
            values.append(_day(call, name))
    return clauses, values


def _id_clauses(call: Call) -> tuple[list[str], list[Any]]:
    clauses: list[str] = ["visible_at <= ?"]
    values: list[Any] = [call.host.now()]
    for name in ("user_id", "api_key_id", "account_id", "group_id"):
        text = call.query(name)
        if text and not text.lstrip("-").isdigit():
            raise bad_request(f"Invalid {name}")
        if text and int(text) > 0:
            clauses.append(f"{name} = ?")
            values.append(int(text))
    return clauses, values


def _type_clauses(call: Call) -> list[str]:
    if wanted := call.query("request_type").strip():
        if wanted not in _TYPES:
            raise bad_request(f"invalid request_type, allowed values: {', '.join(_TYPES)}")
        return [_TYPES[wanted]]
    stream = _switch(call, "stream", "Invalid stream value, use true or false")
    return [] if stream is None else [f"stream = {int(stream)}"]


def _switch(call: Call, name: str, message: str) -> bool | None:
    text = call.query(name).strip()
    if not text:
        return None
    if text not in (*_TRUE, *_FALSE):
        raise bad_request(message)
    return text in _TRUE


def _day(call: Call, name: str) -> float:
    try:
        day = datetime.strptime(call.query(name), "%Y-%m-%d")  # noqa: DTZ007 - the zone follows
    except ValueError:
        raise bad_request(f"Invalid {name} format, use YYYY-MM-DD") from None
    server = timezone(timedelta(minutes=call.host.settings.utc_offset_minutes))
    try:
        zone: Any = ZoneInfo(call.query("timezone")) if call.query("timezone") else server
    except (ZoneInfoNotFoundError, ValueError):
        zone = server
    start = day.replace(tzinfo=zone)
    return (start + timedelta(days=1) if name == "end_date" else start).timestamp()


async def stats(call: Call) -> Response:
    """`GET /admin/usage/stats`: sums; not proof of any one request."""
    clauses, values = _where(call)
    read = call.host.database.connection.execute
    where = " AND ".join(clauses)
    docs = [json.loads(doc) for (doc,) in read(f"SELECT doc FROM usage_logs WHERE {where}", values)]  # noqa: S608
    sums = {
        n: sum(d[n] for d in docs)
        for n in ("input_tokens", "output_tokens", "cache_read_tokens", "total_cost", "actual_cost")
    }
    tokens = int(sums["input_tokens"] + sums["output_tokens"] + sums["cache_read_tokens"])
    return success({
        "total_requests": len(docs), "total_input_tokens": sums["input_tokens"],
        "total_output_tokens": sums["output_tokens"], "total_cache_tokens": sums["cache_read_tokens"],
        "total_cache_creation_tokens": 0, "total_cache_read_tokens": sums["cache_read_tokens"],
        "total_tokens": tokens, "total_cost": sums["total_cost"], "total_actual_cost": sums["actual_cost"],
        "total_account_cost": sums["total_cost"],
        "average_duration_ms": sum(d["duration_ms"] for d in docs) / len(docs) if docs else 0,
    })  # fmt: skip


async def search_keys(call: Call) -> Response:
    """`GET /admin/usage/search-api-keys`."""
    wanted, user_id = call.query("q").strip(), call.query("user_id")
    rows = [
        {"id": row["id"], "name": row["name"], "user_id": row["user_id"]}
        for row in call.host.keys.live()
        if (not wanted or contains(row["name"], wanted)) and (not user_id or str(row["user_id"]) == user_id)
    ]
    return success(rows[::-1][:30])


ENDPOINTS = [
    Endpoint("GET", "/api/v1/admin/usage", listed),
    Endpoint("GET", "/api/v1/admin/usage/stats", stats),
    Endpoint("GET", "/api/v1/admin/usage/search-api-keys", search_keys),
    Endpoint("GET", "/api/v1/usage", own, "user"),
]
