"""May this key send a request at all.

Source: sub2api v0.1.179, `internal/server/middleware/api_key_auth.go`. The Chinese texts are the host's own.
"""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass

from starlette.requests import Request

from reconciler.embedded.database import Row
from reconciler.embedded.envelope import Refusal, gate_error
from reconciler.embedded.state import Host

_BAD_TRIES = 120
_BAD_TRIES_WINDOW_S = 60.0
_BLOCK_S = 60.0


@dataclass(frozen=True)
class Caller:
    """A key that passed, with whom it belongs to and the group it is bound to (None: to none)."""

    key: Row
    user: Row
    group: Row | None


def client_address(request: Request) -> str:
    """Return the address of the other end."""
    return request.client.host if request.client else "127.0.0.1"


def authenticate(host: Host, request: Request) -> Caller:
    """Return who calls. Raises Refusal with the host's own word in `code`."""
    key = _key(host, request)
    if key["status"] not in ("active", "expired", "quota_exhausted"):
        raise gate_error(401, "API_KEY_DISABLED", "API key is disabled")
    _check_address(key, client_address(request))
    user = host.users.get(key["user_id"])
    if user is None:
        raise gate_error(401, "USER_NOT_FOUND", "User associated with API key not found")
    if user["status"] != "active":
        raise gate_error(401, "USER_INACTIVE", "User account is not active")
    group = _check_group(host, key, user)
    if host.settings.run_mode != "simple":
        _check_billing(host, key, user, group)
    return Caller(key, user, group)


def _key(host: Host, request: Request) -> Row:
    address = client_address(request)
    until = host.runtime.auth_blocked.get(address, 0.0)
    if until > host.now():
        # Valid keys behind the same address are refused too.
        text = "Too many invalid authentication attempts; retry later"
        blocked = gate_error(429, "INVALID_AUTH_RATE_LIMITED", text)
        blocked.headers["Retry-After"] = str(math.ceil(until - host.now()))
        raise blocked
    key, refusal = _find_key(host, request)
    if key is None:
        _count_bad_try(host, address)
        raise refusal
    return key


def _count_bad_try(host: Host, address: str) -> None:
    since = host.now() - _BAD_TRIES_WINDOW_S
    tries = [*(at for at in host.runtime.invalid_auth.get(address, []) if at > since), host.now()]
    host.runtime.invalid_auth[address] = tries
    if len(tries) >= _BAD_TRIES:
        host.runtime.auth_blocked[address] = host.now() + _BLOCK_S
        host.runtime.invalid_auth.pop(address)


def _find_key(host: Host, request: Request) -> tuple[Row | None, Refusal]:
    if request.query_params.get("key", "").strip() or request.query_params.get("api_key", "").strip():
        return None, gate_error(
            400,
            "api_key_in_query_deprecated",
            "API key in query parameter is deprecated. Please use Authorization header instead.",
        )
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    value = token.strip() if scheme.lower() == "bearer" else ""
    value = value or request.headers.get("x-api-key", "") or request.headers.get("x-goog-api-key", "")
    if not value:
        return None, gate_error(
            401,
            "API_KEY_REQUIRED",
            "API key is required in Authorization header (Bearer scheme), x-api-key header, or x-goog-api-key header",
        )
    return host.keys_by_value.get(value), gate_error(401, "INVALID_API_KEY", "Invalid API key")


def _check_address(key: Row, address: str) -> None:
    allowed, refused = key["ip_whitelist"] or [], key["ip_blacklist"] or []
    if (allowed and not _among(address, allowed)) or _among(address, refused):
        raise gate_error(403, "ACCESS_DENIED", f"Access denied. Your IP is {address}")


def _among(address: str, patterns: list[str]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in ipaddress.ip_network(pattern, strict=False) for pattern in patterns)


def _check_group(host: Host, key: Row, user: Row) -> Row | None:
    if key["group_id"] is None:
        return None
    group = host.groups.get(key["group_id"])
    if group is None:
        raise gate_error(403, "GROUP_DELETED", "API Key 所属分组已删除")
    if group["status"] != "active":
        raise gate_error(403, "GROUP_DISABLED", "API Key 所属分组已停用")
    standard = group["subscription_type"] != "subscription"
    if standard and group["is_exclusive"] and group["id"] not in (user["allowed_groups"] or []):
        raise gate_error(403, "GROUP_NOT_ALLOWED", "API Key 所属专属分组不再允许当前用户使用")
    return group


def _check_billing(host: Host, key: Row, user: Row, group: Row | None) -> None:
    if group is not None and group["subscription_type"] == "subscription":
        raise gate_error(403, "SUBSCRIPTION_NOT_FOUND", "No active subscription found for this group")
    if key["status"] == "expired" or (key["expires_at"] is not None and key["expires_at"] <= host.now()):
        raise gate_error(403, "API_KEY_EXPIRED", "API key 已过期")
    if key["status"] == "quota_exhausted" or 0 < key["quota"] <= key["quota_used"]:
        raise gate_error(429, "API_KEY_QUOTA_EXHAUSTED", "API key 额度已用完")
    if user["balance"] <= 0:
        raise gate_error(403, "INSUFFICIENT_BALANCE", "Insufficient account balance")
