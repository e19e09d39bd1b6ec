"""What a session is: how a request names one, and what of it may leave the gateway.

A client's own session value is never stored, logged or sent to a host: only keyed hashes of it are.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol, TypeGuard

SESSION_HEADER = "x-session-id"
"""The explicit header, from the client and, with the derived value, towards the host.

Source: sub2api reads X-Session-Id for its own stickiness and stores it as `session_id` of the usage row.
"""

STEERING_HEADERS = frozenset(
    {
        SESSION_HEADER,
        "session_id",
        "session-id",
        "conversation_id",
        "x-conversation-id",
        "x-session-affinity",
        "x-opencode-session",
        "x-claude-code-session-id",
    }
)
"""Headers by which a client could steer or mark sessions inside a host; none crosses.

Source: sub2api's session headers, in the order in which its OpenAI gateway looks for them.
"""

SESSION_FIELDS = frozenset({"prompt_cache_key", "user", "metadata"})
"""The fields of a request in which its session is looked for, as `NamesSession` has them."""

_LONGEST = 4096


class NamesSession(Protocol):
    """The places in which the protocols let a client name its session; values as they came, None where absent.

    They are asked for in this order, and only until one will do.
    """

    @property
    def prompt_cache_key(self) -> Any: ...

    @property
    def user(self) -> Any: ...

    @property
    def metadata(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class SessionFields:
    """Keeps `NamesSession`."""

    prompt_cache_key: Any = None
    user: Any = None
    metadata: Any = None


def session_of(mode: str, header: str | None, fields: NamesSession) -> str | None:
    """Return the client's session value under a group's sticky mode ("off", "header", "session"), or None.

    The explicit header wins, then `prompt_cache_key`, `user` and `metadata.user_id`. Empty and non-text values do not
    count; a value longer than 4096 characters does not either.
    """
    if mode == "off":
        return None
    if _usable(header):
        return header
    if mode == "header":
        return None
    if _usable(cache_key := fields.prompt_cache_key):
        return cache_key
    if _usable(user := fields.user):
        return user
    metadata = fields.metadata
    own = metadata.get("user_id") if isinstance(metadata, dict) else None
    return own if _usable(own) else None


def _usable(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST


def session_digest(secret: bytes, managed_key: str, session: str) -> str:
    """Return the keyed hash (32 hex) under which bindings and logs know a session of one managed key."""
    return _keyed(secret, b"session", managed_key, session)


def host_session(secret: bytes, shadow_host: str, digest: str) -> str:
    """Return what a host gets as session header: differs per host, tells nothing about the client's own value."""
    return _keyed(secret, b"host", shadow_host, digest)


def _keyed(secret: bytes, purpose: bytes, scope: str, value: str) -> str:
    message = f"{scope}\0{value}".encode("utf-8", "surrogatepass")
    return blake2b(message, key=secret[:64], person=purpose, digest_size=16).hexdigest()
