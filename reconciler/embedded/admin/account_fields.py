"""The fields of an account: defaults, redaction, and the merge rules of POST, PUT and bulk update.

Source: sub2api v0.1.179, `internal/service/admin_account.go`, `account_credentials_redact.go`,
`account_header_override.go`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from reconciler.embedded.binding import BOOL, INT, INTS, NUMBER, OBJECT, STRING, Field, struct
from reconciler.embedded.database import Row
from reconciler.embedded.envelope import application_error, bad_request, untyped_error

TYPES = ("oauth", "setup-token", "apikey", "upstream", "bedrock", "service_account")
SECRET_KEYS = (
    "access_token", "refresh_token", "id_token", "agent_private_key", "api_key", "session_key", "cookie", "password",
    "sso_token", "sso", "sso-rw", "clearTextPassword", "aws_secret_access_key", "aws_session_token",
    "service_account_json", "service_account", "private_key",
)  # fmt: skip
_NEVER_STORED = ("password", "sso_token", "sso", "sso-rw", "clearTextPassword", "cookie")
_KEPT_EXTRA = (
    "quota_used", "quota_daily_used", "quota_daily_start", "quota_weekly_used", "quota_weekly_start",
    "upstream_billing_probe_enabled", "upstream_billing_rate_sync_enabled", "upstream_billing_probe",
)  # fmt: skip
"""Keys that the server manages: a PUT of `extra` neither sets nor loses them."""
_BILLING_FLAG = "openai_long_context_billing_enabled"
_BLOCKED_HEADERS = frozenset({
    "authorization", "x-api-key", "x-goog-api-key", "host", "content-type", "content-length", "content-encoding",
    "transfer-encoding", "connection", "cookie", "accept-encoding", "session_id", "conversation_id", "x-session-id",
    "x-session-affinity", "x-conversation-id", "x-opencode-session", "x-client-request-id", "proxy-authorization",
    "te", "trailer", "upgrade", "keep-alive",
})  # fmt: skip

_COMMON: dict[str, Field] = {
    "notes": STRING, "extra": OBJECT, "proxy_id": INT, "concurrency": INT, "priority": INT, "rate_multiplier": NUMBER,
    "load_factor": INT, "group_ids": INTS, "expires_at": INT, "auto_pause_on_expired": BOOL,
    "upstream_billing_probe_enabled": BOOL, "confirm_mixed_channel_risk": BOOL,
}  # fmt: skip
CREATE = {
    "name": Field("string", "Name", required=True),
    "platform": Field("string", "Platform", required=True),
    "type": Field("string", "Type", required=True, one_of=TYPES),
    "credentials": Field("object", "Credentials", required=True),
    **_COMMON,
}
_STATUS = Field("string", "Status", one_of=("active", "inactive", "error"))
UPDATE = {
    "name": STRING, "type": Field("string", "Type", one_of=TYPES), "status": _STATUS, "credentials": OBJECT, **_COMMON,
}  # fmt: skip
_FILTERS = ("platform", "type", "status", "group", "search", "privacy_mode")
BULK = {
    "account_ids": INTS, "filters": struct(**dict.fromkeys(_FILTERS, STRING)), "name": STRING, "status": _STATUS,
    "schedulable": BOOL, "credentials": OBJECT,
    **{name: field for name, field in _COMMON.items() if name not in ("notes", "expires_at")},
}  # fmt: skip


def created(given: dict[str, Any]) -> Row:
    """Return the account that a POST asks for, not yet bound. Raises Refusal."""
    platform, extra = given["platform"], dict(given.get("extra") or {})
    check_multiplier(given)
    _check_billing_flag(platform, extra)
    credentials = stored_credentials(given["credentials"])
    if platform == "openai":
        extra.setdefault(_BILLING_FLAG, False)
    for name in _KEPT_EXTRA[5:]:
        extra.pop(name, None)
    if given.get("upstream_billing_probe_enabled"):
        extra["upstream_billing_probe_enabled"] = True
    if given.get("load_factor", 0) > 10_000 or len(given["name"]) > 100:
        raise untyped_error()
    return blank() | {
        "name": given["name"], "notes": note(given.get("notes")), "platform": platform, "type": given["type"],
        "credentials": credentials, "extra": extra, "proxy_id": given.get("proxy_id"),
        "concurrency": given.get("concurrency", 0), "priority": given.get("priority", 0),
        "rate_multiplier": given.get("rate_multiplier"), "load_factor": given.get("load_factor") or None,
        "expires_at": _positive(given.get("expires_at")),
        "auto_pause_on_expired": given.get("auto_pause_on_expired", True),
    }  # fmt: skip


def blank() -> Row:
    """Return an account without configuration: what the server itself keeps on it."""
    return {
        "status": "active", "error_message": "", "schedulable": True, "last_used_at": None, "rate_limited_at": None,
        "rate_limit_reset_at": None, "overload_until": None, "temp_unschedulable_until": None,
        "temp_unschedulable_reason": "", "bindings": [], "deleted_at": None, "proxy_id": None,
    }  # fmt: skip


def update(row: Row, given: dict[str, Any]) -> Row:
    """Return a changed copy of an account, as a PUT asks; groups are the caller's. Raises Refusal."""
    changed = dict(row)
    if given.get("extra") is not None:
        changed["extra"] = replaced_extra(row, given["extra"])
    if given.get("credentials"):
        changed["credentials"] = stored_credentials(
            replaced_credentials(row["credentials"], given["credentials"])
        )
    if given.get("upstream_billing_probe_enabled") is not None:
        changed["extra"] = changed["extra"] | {
            "upstream_billing_probe_enabled": given["upstream_billing_probe_enabled"]
        }
    if "notes" in given:
        changed["notes"] = note(given["notes"])
    changed.update({name: given[name] for name in ("name", "type", "status") if given.get(name)})
    for name in ("concurrency", "priority", "rate_multiplier", "auto_pause_on_expired"):
        if name in given:
            changed[name] = given[name]
    for name in ("load_factor", "expires_at", "proxy_id"):
        if name in given:
            changed[name] = _positive(given[name])
    if (changed["load_factor"] or 0) > 10_000 or len(changed["name"]) > 100:
        raise untyped_error()
    return changed


def merge(row: Row, given: dict[str, Any]) -> None:
    """Change an account as a bulk update asks: credentials and extra by key, nothing is taken away."""
    if given.get("credentials"):
        row["credentials"] = row["credentials"] | given["credentials"]
    if given.get("extra"):
        row["extra"] = row["extra"] | {k: v for k, v in given["extra"].items() if k not in _KEPT_EXTRA[5:]}
    row.update({name: given[name] for name in ("name", "status") if given.get(name)})
    for name in ("concurrency", "priority", "rate_multiplier", "schedulable"):
        if name in given:
            row[name] = given[name]
    for name in ("load_factor", "proxy_id"):
        if given.get(name):
            row[name] = _positive(given[name])


def replaced_credentials(stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Non-secret keys as given, as a whole; secret keys that were left out are kept."""
    kept = {name: stored[name] for name in SECRET_KEYS if name in stored and name not in given}
    return {**given, **kept}


def replaced_extra(row: Row, given: Mapping[str, Any]) -> dict[str, Any]:
    """`extra` as given, as a whole; only the server's own keys are kept. Raises Refusal."""
    _check_billing_flag(row["platform"], given)
    extra = {name: value for name, value in given.items() if name not in _KEPT_EXTRA[5:]}
    if row["platform"] == "openai" and _BILLING_FLAG not in extra:
        extra[_BILLING_FLAG] = bool(row["extra"].get(_BILLING_FLAG, False))
    return extra | {name: row["extra"][name] for name in _KEPT_EXTRA if name in row["extra"]}


def _check_billing_flag(platform: str, extra: Mapping[str, Any]) -> None:
    if platform == "openai" and not isinstance(extra.get(_BILLING_FLAG, False), bool):
        raise application_error(
            400, f"{_BILLING_FLAG} must be a boolean", "OPENAI_LONG_CONTEXT_BILLING_INVALID"
        )


def check_multiplier(given: Mapping[str, Any]) -> None:
    """Refuse a negative account cost factor."""
    if (given.get("rate_multiplier") or 0) < 0:
        raise bad_request("rate_multiplier must be >= 0")


def stored_credentials(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return credentials as they are stored: header names lower-case, one-time secrets dropped. Raises Refusal."""
    credentials = {name: value for name, value in given.items() if name not in _NEVER_STORED}
    if not isinstance(credentials.get("header_override_enabled") or False, bool):
        raise _bad_header("header_override_enabled must be a boolean")
    overrides = credentials.get("header_overrides")
    if overrides is not None:
        if not isinstance(overrides, dict):
            raise _bad_header("header_overrides must be an object of header name to string value")
        credentials["header_overrides"] = _lower_headers(overrides)
    return credentials


def _lower_headers(overrides: Mapping[str, Any]) -> dict[str, str]:
    if len(overrides) > 64:
        raise _bad_header("header_overrides supports at most 64 entries")
    lowered: dict[str, str] = {}
    for name, value in overrides.items():
        lower = name.strip().lower()
        if not isinstance(value, str):
            raise _bad_header(f'header "{name}" value must be a string')
        if not lower and not value.strip():
            continue
        if not re.fullmatch(r"[a-z0-9!#$%&'*+.^_`|~-]+", lower):
            raise _bad_header(f'invalid header name "{lower}"' if lower else "header name must not be empty")
        if lower in _BLOCKED_HEADERS:
            raise _bad_header(f'header "{lower}" is not allowed to be overridden')
        if lower in lowered:
            raise _bad_header(f'duplicate header name "{lower}" (matching is case-insensitive)')
        lowered[lower] = value.strip()
    return lowered


def _bad_header(message: str) -> Exception:
    return application_error(400, message, "INVALID_HEADER_OVERRIDE")


def note(text: str | None) -> str | None:
    """Return notes as stored: trimmed, empty is null."""
    return (text or "").strip() or None


def _positive(number: int | None) -> int | None:
    return number if number is not None and number > 0 else None


def model_mapping(row: Row) -> dict[str, str]:
    """Return an account's mapping; what is not a text is as if it were not there."""
    mapping = row["credentials"].get("model_mapping")
    known = mapping.items() if isinstance(mapping, dict) else ()
    return {name: target for name, target in known if isinstance(target, str)}


def redacted(credentials: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, bool]]:
    """Return what may be read of credentials, and which secrets are there."""
    shown = {name: credentials[name] for name in sorted(credentials) if name not in SECRET_KEYS}
    present = {f"has_{name}": True for name in sorted(SECRET_KEYS) if credentials.get(name)}
    return shown, present
