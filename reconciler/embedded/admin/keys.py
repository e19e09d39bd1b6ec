"""API keys of the data plane. Made by their user's own session, never by the admin key.

Source: sub2api v0.1.179, `internal/handler/api_key_handler.go`, `internal/service/api_key_service.go`,
`internal/handler/admin/apikey_handler.go`.
"""

from __future__ import annotations

import html
import ipaddress
import re
from typing import Any

from starlette.responses import Response

from reconciler.embedded import tokens
from reconciler.embedded.admin import groups, users
from reconciler.embedded.admin.idempotency import once
from reconciler.embedded.binding import BOOL, INT, NUMBER, STRING, STRINGS, Field, bind
from reconciler.embedded.call import Call, Endpoint, contains, ordered
from reconciler.embedded.clock import unstamp
from reconciler.embedded.database import Row
from reconciler.embedded.envelope import (
    Refusal,
    application_error,
    bad_request,
    deleted,
    success,
    untyped_error,
)
from reconciler.embedded.state import Host

WINDOWS = {"5h": 5 * 3600.0, "1d": 86_400.0, "7d": 7 * 86_400.0}
_RATES = {f"rate_limit_{window}": NUMBER for window in WINDOWS}
_CREATE = {
    "name": Field("string", "Name", required=True), "group_id": INT, "custom_key": STRING, "ip_whitelist": STRINGS,
    "ip_blacklist": STRINGS, "quota": NUMBER, "expires_in_days": INT, **_RATES,
}  # fmt: skip
_UPDATE = {
    "name": STRING, "group_id": INT, "status": Field("string", "Status", one_of=("active", "inactive")),
    "ip_whitelist": STRINGS, "ip_blacklist": STRINGS, "quota": NUMBER, "expires_at": STRING, "reset_quota": BOOL,
    **_RATES, "reset_rate_limit_usage": BOOL,
}  # fmt: skip
_ADMIN_UPDATE = {"group_id": INT, "reset_rate_limit_usage": BOOL}
_SORTS = {
    name: name for name in ("created_at", "id", "name", "status", "expires_at", "last_used_at", "quota")
}
_COLLISIONS_PER_HOUR = 20


def render(host: Host, row: Row, *, with_group: bool = True, with_user: bool = False) -> dict[str, Any]:
    """The key as read: the value in plain text, always."""
    shown: dict[str, Any] = {
        "id": row["id"], "user_id": row["user_id"], "key": row["key"], "name": row["name"],
        "group_id": row["group_id"], "status": row["status"], "ip_whitelist": row["ip_whitelist"],
        "ip_blacklist": row["ip_blacklist"], "last_used_at": host.stamp(row["last_used_at"]),
        "last_used_ip": row["last_used_ip"], "quota": row["quota"], "quota_used": round(row["quota_used"], 8),
        "expires_at": host.stamp(row["expires_at"]), "created_at": host.stamp(row["created_at"]),
        "updated_at": host.stamp(row["updated_at"]),
        "current_concurrency": host.runtime.key_slots.get(row["id"], 0),
        **{name: row[name] for name in _RATES},
    }  # fmt: skip
    running = {window: window_used(host, row, window) for window in WINDOWS}
    shown |= {f"usage_{window}": used for window, used in running.items()}
    shown |= {f"window_{window}_start": host.stamp(row[f"window_{window}_start"]) for window in WINDOWS}
    for window, length in WINDOWS.items():
        start = row[f"window_{window}_start"]
        if start is not None and host.now() < start + length:
            shown[f"reset_{window}_at"] = host.stamp(start + length)
    if with_user and (user := host.users.get(row["user_id"])):
        shown["user"] = users.shallow(host, user)
    if with_group and (group := host.groups.get(row["group_id"])):
        shown["group"] = groups.shallow(host, group)
    return shown


def window_used(host: Host, row: Row, window: str) -> float:
    """Return what was spent in a running window, in USD; 0 when it has passed."""
    start = row[f"window_{window}_start"]
    running = start is not None and host.now() < start + WINDOWS[window]
    return round(float(row[f"usage_{window}"]), 8) if running else 0


def not_found() -> Refusal:
    """404 of a key that is not there, or not yours."""
    return application_error(404, "api key not found", "API_KEY_NOT_FOUND")


def _own(call: Call) -> Row:
    row = call.host.keys.get(call.id("Invalid key ID"))
    if row is None:
        raise not_found()
    return row


async def listed(call: Call) -> Response:
    """`GET /api/v1/keys`: the keys of the acting user, newest first."""
    search, status, group = call.query("search").strip(), call.query("status"), call.query("group_id")
    rows = [
        row
        for row in call.host.keys.live()
        if row["user_id"] == call.user["id"]
        and (not search or contains(row["name"], search) or contains(row["key"], search))
        and (not status or row["status"] == status)
        and (not group.isdigit() or (row["group_id"] or 0) == int(group))
    ]
    return success(call.page(ordered(call, rows, _SORTS, "created_at", "desc"), render))


async def one(call: Call) -> Response:
    """`GET /api/v1/keys/:id`."""
    row = _own(call)
    if row["user_id"] != call.user["id"]:
        raise application_error(404, "API key not found")
    return success(render(call.host, row, with_user=True))


async def create(call: Call) -> Response:
    """`POST /api/v1/keys`."""
    given = bind(call.body, _CREATE, "CreateAPIKeyRequest")
    limits = [given[name] for name in ("quota", *_RATES) if name in given]
    if any(not 0 <= limit < float("inf") for limit in limits) or given.get("expires_in_days", 1) <= 0:
        raise bad_request(
            "Invalid request: numeric limits must be finite and non-negative, and expires_in_days must be greater "
            "than zero"
        )
    return await once(call, "user.api_keys.create", given, lambda: _create(call, given))


def _create(call: Call, given: dict[str, Any]) -> dict[str, Any]:
    host = call.host
    _check_addresses(given)
    if "group_id" in given:
        _check_group(call.user, groups.find(host, given["group_id"]))
    if len(given["name"]) > 100 or len(given.get("custom_key", "")) > 128:
        raise untyped_error()
    value = _custom_value(call, given["custom_key"]) if given.get("custom_key") else tokens.new_api_key()
    now = host.now()
    days = given.get("expires_in_days")
    row = host.keys.insert({
        "user_id": call.user["id"], "key": value, "name": escaped(given["name"]),
        "group_id": given.get("group_id"), "status": "active", "ip_whitelist": given.get("ip_whitelist"),
        "ip_blacklist": given.get("ip_blacklist"), "last_used_at": None, "last_used_ip": None,
        "quota": given.get("quota", 0), "quota_used": 0.0, "expires_at": now + days * 86_400 if days else None,
        "created_at": now, "updated_at": now, "deleted_at": None,
        **{name: given.get(name, 0) for name in _RATES}, **{f"usage_{window}": 0.0 for window in WINDOWS},
        **{f"window_{window}_start": None for window in WINDOWS},
    })  # fmt: skip
    host.keys_by_value[value] = row
    return render(host, row, with_group=False)


def escaped(name: str) -> str:
    """Return a name as it is stored: Go's html.EscapeString."""
    return html.escape(name).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


def _check_addresses(given: dict[str, Any]) -> None:
    for pattern in [*(given.get("ip_whitelist") or []), *(given.get("ip_blacklist") or [])]:
        try:
            ipaddress.ip_network(pattern, strict=False)
        except ValueError:
            raise application_error(400, "invalid IP or CIDR pattern", "INVALID_IP_PATTERN") from None


def _check_group(user: Row, group: Row) -> None:
    exclusive = group["is_exclusive"] and group["id"] not in (user["allowed_groups"] or [])
    if group["subscription_type"] == "subscription" or exclusive:
        raise application_error(403, "user is not allowed to bind this group", "GROUP_NOT_ALLOWED")


def _custom_value(call: Call, value: str) -> str:
    host, user_id = call.host, call.user["id"]
    hour, failures = host.runtime.minute_counts.get(f"collisions:{user_id}", (0, 0))
    this_hour = int(host.now() // 3600)
    failures = failures if hour == this_hour else 0
    if failures >= _COLLISIONS_PER_HOUR:
        raise application_error(
            429, "too many failed attempts, please try again later", "API_KEY_RATE_LIMITED"
        )
    if len(value.encode()) < 16:
        raise application_error(400, "api key must be at least 16 characters", "API_KEY_TOO_SHORT")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", value):
        raise application_error(
            400,
            "api key can only contain letters, numbers, underscores, and hyphens",
            "API_KEY_INVALID_CHARS",
        )
    if value in host.keys_by_value:
        host.runtime.minute_counts[f"collisions:{user_id}"] = (this_hour, failures + 1)
        raise application_error(409, "api key already exists", "API_KEY_EXISTS")
    return value


async def update(call: Call) -> Response:
    """`PUT /api/v1/keys/:id`."""
    host = call.host
    key_id = call.id("Invalid key ID")
    given = bind(call.body, _UPDATE, "UpdateAPIKeyRequest")
    if any(given.get(name, 0) < 0 for name in ("quota", *_RATES)):
        raise bad_request("Invalid request: numeric limits must be finite and non-negative")
    expires_at = _expiry(given)
    row = host.keys.get(key_id)
    if row is None:
        raise not_found()
    _refuse_foreign(call, row)
    _check_addresses(given)
    if "group_id" in given:
        _check_group(call.user, groups.find(host, given["group_id"]))
    before = host.groups.get(row["group_id"])
    _apply(host, row, given, expires_at)
    host.touch(row)
    answer = render(host, row, with_user=True, with_group=False)
    if before is not None:
        # The group that was loaded before the change, even if the key is in another one now.
        answer["group"] = groups.shallow(host, before)
    row.update({name: row[name] or None for name in ("ip_whitelist", "ip_blacklist")})
    host.keys.save(row)
    return success(answer)


def _expiry(given: dict[str, Any]) -> float | None:
    text = given.get("expires_at")
    if not text:
        return None
    try:
        return unstamp(text)
    except ValueError:
        layout = "2006-01-02T15:04:05Z07:00"
        raise bad_request(
            f'Invalid expires_at format: parsing time "{text}" as "{layout}": cannot parse "{text}" as "2006"'
        ) from None


def _apply(host: Host, row: Row, given: dict[str, Any], expires_at: float | None) -> None:
    if given.get("name"):
        row["name"] = escaped(given["name"])
    row.update({n: given[n] for n in ("group_id", "ip_whitelist", "ip_blacklist", *_RATES) if n in given})
    if "quota" in given:
        row["quota"] = given["quota"]
    if given.get("reset_quota"):
        row["quota_used"] = 0.0
    if "expires_at" in given:
        row["expires_at"] = expires_at
    if given.get("reset_rate_limit_usage"):
        reset_windows(row)
    row["status"] = given.get("status") or _revived(host, row)


def _revived(host: Host, row: Row) -> str:
    """A key that was used up or expired works again once it has quota or time again."""
    if row["status"] == "quota_exhausted" and (row["quota"] == 0 or row["quota_used"] < row["quota"]):
        return "active"
    if row["status"] == "expired" and (row["expires_at"] is None or row["expires_at"] > host.now()):
        return "active"
    return str(row["status"])


def reset_windows(row: Row) -> None:
    """Forget what was spent in the running windows."""
    for window in WINDOWS:
        row[f"usage_{window}"], row[f"window_{window}_start"] = 0.0, None


def _refuse_foreign(call: Call, row: Row) -> None:
    if row["user_id"] != call.user["id"]:
        raise application_error(403, "insufficient permissions", "INSUFFICIENT_PERMISSIONS")


async def delete(call: Call) -> Response:
    """`DELETE /api/v1/keys/:id`: soft; the value may be used again at once."""
    row = _own(call)
    _refuse_foreign(call, row)
    row["deleted_at"] = call.host.now()
    call.host.keys_by_value.pop(row["key"], None)
    call.host.keys.save(row)
    return deleted("API key")


async def of_user(call: Call) -> Response:
    """`GET /admin/users/:id/api-keys`."""
    user_id = call.id("Invalid user ID")
    rows = [row for row in call.host.keys.live() if row["user_id"] == user_id]
    return success(call.page(ordered(call, rows, _SORTS, "created_at", "desc"), render))


async def of_group(call: Call) -> Response:
    """`GET /admin/groups/:id/api-keys`."""
    group_id = call.id("Invalid group ID")
    rows = [row for row in call.host.keys.live() if row["group_id"] == group_id]
    return success(
        call.page(
            ordered(call, rows, _SORTS, "created_at", "desc"),
            lambda host, row: render(host, row, with_group=False, with_user=True),
        )
    )


async def admin_update(call: Call) -> Response:
    """`PUT /admin/api-keys/:id`: the group only. An exclusive group is added to what the user may use."""
    host, key_id = call.host, call.id("Invalid API key ID")
    given = bind(call.body, _ADMIN_UPDATE, "AdminUpdateAPIKeyGroupRequest")
    if (row := host.keys.get(key_id)) is None:
        raise not_found()
    if given.get("reset_rate_limit_usage"):
        reset_windows(row)
    granted = _rebind(host, row, given["group_id"]) if "group_id" in given else None
    host.touch(row)
    host.keys.save(row)
    answer = {"api_key": render(host, row, with_user=True), "auto_granted_group_access": granted is not None}
    if granted is not None:
        answer |= {"granted_group_id": granted["id"], "granted_group_name": granted["name"]}
    return success(answer)


def _rebind(host: Host, row: Row, group_id: int) -> Row | None:
    """Set a key's group; return the group when its user was let into it for that."""
    if group_id < 0:
        raise application_error(400, "group_id must be non-negative", "INVALID_GROUP_ID")
    if group_id == 0:
        row["group_id"] = None
        return None
    group = groups.find(host, group_id)
    if group["status"] != "active":
        raise application_error(400, "target group is not active", "GROUP_NOT_ACTIVE")
    if group["subscription_type"] == "subscription":
        raise application_error(
            400, "user does not have an active subscription for this group", "SUBSCRIPTION_REQUIRED"
        )
    row["group_id"] = group_id
    if not group["is_exclusive"]:
        return None
    user = users.find(host, row["user_id"])
    user["allowed_groups"] = sorted({*(user["allowed_groups"] or []), group_id})
    host.users.save(user)
    return group


ENDPOINTS = [
    Endpoint("GET", "/api/v1/keys", listed, "user"),
    Endpoint("POST", "/api/v1/keys", create, "user"),
    Endpoint("GET", "/api/v1/keys/:id", one, "user"),
    Endpoint("PUT", "/api/v1/keys/:id", update, "user"),
    Endpoint("DELETE", "/api/v1/keys/:id", delete, "user"),
    Endpoint("GET", "/api/v1/admin/users/:id/api-keys", of_user),
    Endpoint("GET", "/api/v1/admin/groups/:id/api-keys", of_group),
    Endpoint("PUT", "/api/v1/admin/api-keys/:id", admin_update),
]
