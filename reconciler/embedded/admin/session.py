"""Log-in, refresh, the admin key, the compliance gate, and what anybody may read.

Source: sub2api v0.1.179, `internal/server/middleware/admin_auth.go`, `jwt_auth.go`, `admin_compliance.go`,
`internal/service/auth_service.go`, `admin_compliance.go`.
"""

from __future__ import annotations

import hmac
import json
import math
import secrets
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from reconciler.embedded import tokens
from reconciler.embedded.admin import users
from reconciler.embedded.binding import Field, bind
from reconciler.embedded.call import Call, Endpoint
from reconciler.embedded.database import Row
from reconciler.embedded.envelope import Refusal, application_error, gate_error, json_response, success
from reconciler.embedded.settings import VERSION
from reconciler.embedded.state import Host

_LOGIN = {
    "email": Field("string", "Email", required=True),
    "password": Field("string", "Password", required=True),
    "turnstile_token": Field("string"),
}
_REFRESH = {"refresh_token": Field("string", "RefreshToken", required=True)}
_ACCEPT = {"phrase": Field("string", "Phrase", required=True), "language": Field("string")}
_TEXT_VERSION = "v2026.06.10"
_DOCUMENTS = {
    f"document_{what}_{language}": f"{prefix}docs/legal/admin-compliance.{language}.md"
    for what, prefix in (("path", ""), ("url", "https://github.com/Wei-Shaw/sub2api/blob/main/"))
    for language in ("zh", "en")
}
_PHRASES = {
    "ack_phrase_zh": "我已阅读、理解并同意 Sub2API 部署与运营合规承诺",
    "ack_phrase_en": (
        "I have read, understood, and agree to the Sub2API Deployment and Operation Compliance Commitment"
    ),
}


def authenticate_admin(host: Host, request: Request) -> tuple[Row, bool]:
    """Return the acting admin, and whether by the admin key. Raises Refusal 401, 403."""
    if key := request.headers.get("x-api-key"):
        stored = host.database.setting("admin_api_key") or ""
        if not stored or not hmac.compare_digest(key.encode(), stored.encode()):
            raise gate_error(401, "INVALID_ADMIN_KEY", "Invalid admin API key")
        return host.admin(), True
    token = _bearer(request.headers.get("authorization", ""))
    if not token:
        raise gate_error(401, "UNAUTHORIZED", "Authorization required")
    user = _user_of(host, token)
    if user["role"] != "admin":
        raise gate_error(403, "FORBIDDEN", "Admin access required")
    return user, False


def authenticate_user(host: Host, request: Request) -> Row:
    """Return the acting user of a user route; the admin key does not open it. Raises Refusal 401."""
    header = request.headers.get("authorization", "")
    if not header:
        raise gate_error(401, "UNAUTHORIZED", "Authorization header is required")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise gate_error(401, "INVALID_AUTH_HEADER", "Authorization header format must be 'Bearer {token}'")
    if not token.strip():
        raise gate_error(401, "EMPTY_TOKEN", "Token cannot be empty")
    return _user_of(host, token.strip())


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _user_of(host: Host, token: str) -> Row:
    try:
        claims = tokens.verify(token, host.jwt_secret(), host.now())
    except tokens.ExpiredToken:
        raise gate_error(401, "TOKEN_EXPIRED", "Token has expired") from None
    except tokens.InvalidToken:
        raise gate_error(401, "INVALID_TOKEN", "Invalid token") from None
    user = host.users.get(claims["user_id"])
    if user is None:
        raise gate_error(401, "USER_NOT_FOUND", "User not found")
    if user["status"] != "active":
        raise gate_error(401, "USER_INACTIVE", "User account is not active")
    if claims.get("token_version") != user["token_version"]:
        raise gate_error(401, "TOKEN_REVOKED", "Token has been revoked (password changed)")
    return user


def check_gate(host: Host) -> None:
    """Refuse (423) every admin call until the compliance text is accepted."""
    if host.database.setting("compliance") is None:
        raise gate_error(
            423,
            "ADMIN_COMPLIANCE_ACK_REQUIRED",
            "administrator compliance acknowledgement is required",
            dict(sorted(_DOCUMENTS.items())) | {"version": _TEXT_VERSION},
        )


async def login(call: Call) -> Response:
    """`POST /api/v1/auth/login`."""
    host = call.host
    _limit_logins(call)
    given = bind(call.body, _LOGIN, "LoginRequest")
    user = host.users.first(lambda row: row["email"].lower() == given["email"].lower())
    if user is None or not tokens.password_matches(given["password"], user["password"]):
        raise application_error(401, "invalid email or password", "INVALID_CREDENTIALS")
    if user["status"] != "active":
        raise application_error(403, "user is not active", "USER_NOT_ACTIVE")
    answer = _open_session(host, user) | {
        "user": users.shallow(host, user) | {"allowed_groups": user["allowed_groups"]}
    }
    user["last_active_at"] = host.now()
    host.touch(user)
    host.users.save(user)
    return success(answer)


async def me(call: Call) -> Response:
    """`GET /api/v1/auth/me`: the user, and the server's run mode; what a stock host says of bindings is left out."""
    assert call.actor is not None
    return success({**users.shallow(call.host, call.user), "run_mode": call.host.settings.run_mode})


def _limit_logins(call: Call) -> None:
    host, most = call.host, call.host.settings.logins_per_minute
    address = call.request.client.host if call.request.client else ""
    recent = [at for at in host.runtime.logins.get(address, []) if at > host.now() - 60.0]
    if most and len(recent) >= most:
        wait = math.ceil(recent[0] + 60.0 - host.now())
        message = "Too many requests, please try again later"
        raise Refusal(429, {"error": "rate limit exceeded", "message": message}, {"Retry-After": str(wait)})
    host.runtime.logins[address] = [*recent, host.now()]


def _open_session(host: Host, user: Row) -> dict[str, Any]:
    now = int(host.now())
    claims = {
        "user_id": user["id"], "email": user["email"], "role": user["role"], "token_version": user["token_version"],
        "sid": secrets.token_hex(16), "exp": now + tokens.ACCESS_TTL_S, "nbf": now, "iat": now,
    }  # fmt: skip
    refresh_token = tokens.new_refresh_token()
    host.sessions.insert({
        "token": refresh_token, "user_id": user["id"], "version": user["token_version"],
        "expires_at": now + tokens.REFRESH_TTL_S,
    })  # fmt: skip
    return {
        "access_token": tokens.sign(claims, host.jwt_secret()), "refresh_token": refresh_token,
        "expires_in": tokens.ACCESS_TTL_S, "token_type": "Bearer",
    }  # fmt: skip


async def refresh(call: Call) -> Response:
    """`POST /api/v1/auth/refresh`: the old refresh token is used up."""
    host = call.host
    given = bind(call.body, _REFRESH, "RefreshTokenRequest")
    session = host.sessions.first(lambda row: row["token"] == given["refresh_token"])
    user = host.users.get(session["user_id"]) if session else None
    if session is None or user is None:
        raise application_error(401, "invalid refresh token", "REFRESH_TOKEN_INVALID")
    host.sessions.remove(session["id"])
    if session["expires_at"] <= host.now():
        raise application_error(401, "refresh token has expired", "REFRESH_TOKEN_EXPIRED")
    if session["version"] != user["token_version"] or user["status"] != "active":
        raise application_error(401, "token has been revoked", "TOKEN_REVOKED")
    return success(_open_session(host, user))


async def read_admin_key(call: Call) -> Response:
    """`GET /admin/settings/admin-api-key`."""
    key = call.host.database.setting("admin_api_key")
    return success({"exists": key is not None, "masked_key": tokens.masked(key) if key else ""})


async def regenerate_admin_key(call: Call) -> Response:
    """`POST /admin/settings/admin-api-key/regenerate`: the old one dies at once."""
    key = tokens.new_admin_key()
    call.host.database.set_setting("admin_api_key", key)
    return success({"key": key})


async def delete_admin_key(call: Call) -> Response:
    """`DELETE /admin/settings/admin-api-key`."""
    call.host.database.set_setting("admin_api_key", None)
    return success({"message": "Admin API key deleted"})


def _compliance(host: Host) -> dict[str, Any]:
    accepted = host.database.setting("compliance")
    return {"required": accepted is None, "version": _TEXT_VERSION, **_DOCUMENTS, **_PHRASES}


async def read_compliance(call: Call) -> Response:
    """`GET /admin/compliance`."""
    return success(_compliance(call.host) | _acknowledgement(call.host))


def _acknowledgement(host: Host) -> dict[str, Any]:
    accepted = host.database.setting("compliance")
    if accepted is None:
        return {}
    return {
        "acknowledgement": {
            "version": _TEXT_VERSION,
            "document_zh": _DOCUMENTS["document_path_zh"],
            "document_en": _DOCUMENTS["document_path_en"],
            "admin_user_id": host.admin()["id"],
            **json.loads(accepted),
        }
    }


def accept(host: Host, user_agent: str) -> None:
    """Store that the compliance text was accepted now."""
    accepted = {"ip_address": "127.0.0.1", "user_agent": user_agent, "accepted_at": host.stamp(host.now())}
    host.database.set_setting("compliance", json.dumps(accepted))


async def accept_compliance(call: Call) -> Response:
    """`POST /admin/compliance/accept`: the exact phrase of the language."""
    given = bind(call.body, _ACCEPT, "AcceptComplianceRequest")
    wanted = _PHRASES["ack_phrase_zh" if given.get("language") == "zh" else "ack_phrase_en"]
    if given["phrase"].strip() != wanted:
        raise application_error(400, "confirmation phrase does not match", "ADMIN_COMPLIANCE_INVALID_PHRASE")
    accept(call.host, call.request.headers.get("user-agent", ""))
    return success(_compliance(call.host) | _acknowledgement(call.host))


async def health(call: Call) -> Response:
    """`GET /health`."""
    return json_response({"status": "ok"})


async def setup_status(call: Call) -> Response:
    """`GET /setup/status`."""
    return json_response({"code": 0, "data": {"needs_setup": False, "step": "completed"}})


async def public_settings(call: Call) -> Response:
    """`GET /api/v1/settings/public`: the part of it that says what this server is."""
    offset = call.host.settings.utc_offset_minutes
    sign = "-" if offset < 0 else "+"
    return success({
        "registration_enabled": False, "email_verify_enabled": False, "turnstile_enabled": False,
        "site_name": "Sub2API", "site_subtitle": "Subscription to API Conversion Platform", "api_base_url": "",
        "table_default_page_size": 20, "table_page_size_options": [10, 20, 50], "backend_mode_enabled": False,
        "version": VERSION, "server_timezone": "UTC" if not offset else "Local",
        "server_utc_offset": f"{sign}{abs(offset) // 60:02}:{abs(offset) % 60:02}",
    })  # fmt: skip


async def version(call: Call) -> Response:
    """`GET /admin/system/version`."""
    return success({"version": VERSION})


_KEY = "/api/v1/admin/settings/admin-api-key"
ENDPOINTS = [
    Endpoint("GET", "/health", health, "open"),
    Endpoint("GET", "/setup/status", setup_status, "open"),
    Endpoint("GET", "/api/v1/settings/public", public_settings, "open"),
    Endpoint("POST", "/api/v1/auth/login", login, "open"),
    Endpoint("POST", "/api/v1/auth/refresh", refresh, "open"),
    Endpoint("GET", "/api/v1/auth/me", me, "user"),
    Endpoint("GET", _KEY, read_admin_key),
    Endpoint("POST", f"{_KEY}/regenerate", regenerate_admin_key),
    Endpoint("DELETE", _KEY, delete_admin_key),
    Endpoint("GET", "/api/v1/admin/compliance", read_compliance, "admin-ungated"),
    Endpoint("POST", "/api/v1/admin/compliance/accept", accept_compliance, "admin-ungated"),
    Endpoint("GET", "/api/v1/admin/system/version", version),
]
