"""Passwords, session tokens and admin keys of the embedded host.

Source: sub2api v0.1.179, `internal/service/auth_service.go` (HS256 JWT; refresh tokens `rt_` + 64 hex).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from typing import Any

ACCESS_TTL_S = 86_400
REFRESH_TTL_S = 30 * 86_400


class InvalidToken(Exception):
    """Not a token of ours, or changed on the way."""


class ExpiredToken(InvalidToken):
    """Ours, but too old."""


def hash_password(password: str) -> str:
    """Return a salted hash. Cheap on purpose: the embedded host guards nothing that is worth guessing."""
    salt = secrets.token_hex(8)
    return f"{salt}${_derive(password, salt)}"


def password_matches(password: str, stored: str) -> bool:
    """True when `password` is the one that was hashed."""
    salt, _, digest = stored.partition("$")
    return hmac.compare_digest(_derive(password, salt), digest)


def _derive(password: str, salt: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), 1_000).hex()


def sign(claims: dict[str, Any], secret: str) -> str:
    """Return a JWT."""
    header = _encode(b'{"alg":"HS256","typ":"JWT"}')
    payload = _encode(json.dumps(claims, separators=(",", ":")).encode())
    return f"{header}.{payload}.{_signature(header, payload, secret)}"


def verify(token: str, secret: str, now: float) -> dict[str, Any]:
    """Return the claims. Raises InvalidToken, ExpiredToken."""
    parts = token.split(".")
    if len(parts) != 3 or not hmac.compare_digest(_signature(parts[0], parts[1], secret), parts[2]):
        raise InvalidToken
    try:
        claims = json.loads(_decode(parts[1]))
    except ValueError as error:
        raise InvalidToken from error
    if not isinstance(claims, dict) or not isinstance(claims.get("user_id"), int):
        raise InvalidToken
    if now >= claims.get("exp", 0):
        raise ExpiredToken
    return claims


def _signature(header: str, payload: str, secret: str) -> str:
    return _encode(hmac.new(secret.encode(), f"{header}.{payload}".encode(), hashlib.sha256).digest())


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def new_admin_key() -> str:
    """Return `admin-` and 64 hex digits."""
    return f"admin-{secrets.token_hex(32)}"


def new_refresh_token() -> str:
    """Return `rt_` and 64 hex digits."""
    return f"rt_{secrets.token_hex(32)}"


def new_api_key() -> str:
    """Return `sk-` and 64 hex digits."""
    return f"sk-{secrets.token_hex(32)}"


def masked(key: str) -> str:
    """Return a key with its middle left out, as the admin page shows it."""
    return f"{key[:10]}...{key[-4:]}"
