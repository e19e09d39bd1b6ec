"""Which headers cross the gateway, in either direction. Names are lower-case bytes, as ASGI has them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from reconciler.routing.sessions import SESSION_HEADER, STEERING_HEADERS

Headers = Sequence[tuple[bytes, bytes]]
FirstValues = Mapping[bytes, bytes]

REQUEST_ID = b"x-request-id"
PROBE = b"x-reconcile-probe"
SESSION = SESSION_HEADER.encode()
_OURS = b"x-reconcile-"
_NONE: frozenset[bytes] = frozenset()

# Source: RFC 9110 section 7.6.1, and the names that older proxies still send.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)
CREDENTIALS = frozenset(
    {b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"cookie", b"set-cookie", b"set-cookie2"}
)
CORRELATION = {
    # Source: sub2api middleware client_request_id; hosts/sub2api.md 8.4.
    "sub2api": b"x-client-request-id",
    # Source: one-api/new-api middleware request-id.
    "new-api": b"x-oneapi-request-id",
    # Source: litellm proxy, common_request_processing get_custom_headers.
    "litellm": b"x-litellm-call-id",
}
"""Host driver -> the header that carries the host's own id of a request."""

_WHOSE_REQUEST = frozenset({REQUEST_ID, b"request-id", *CORRELATION.values()})
_WHO_CALLS = frozenset({b"forwarded", b"via", b"x-real-ip", b"cf-connecting-ip", b"true-client-ip"})
_FROM_CLIENT = (
    HOP_BY_HOP
    | CREDENTIALS
    | _WHOSE_REQUEST
    | _WHO_CALLS
    | frozenset(name.encode() for name in STEERING_HEADERS)
    | {b"host", b"content-length", b"content-type", b"content-encoding", b"accept-encoding", b"expect"}
)
_FROM_HOST = (
    HOP_BY_HOP
    | CREDENTIALS
    | {
        REQUEST_ID,
        b"request-id",
        b"content-length",
        b"server",
        b"date",
        b"via",
        b"alt-svc",
        b"www-authenticate",
        b"strict-transport-security",
        b"x-powered-by",
    }
)
_TELLS_OF_HOST = (b"x-reconcile-", b"x-litellm-model", b"llm_provider-")
"""Beginnings of header names that show what is behind a public model."""
_CREDENTIAL_PARAMETERS = frozenset({b"key", b"api_key", b"api-key", b"access_token", b"token"})
_JSON_BODY = ((b"content-type", b"application/json"), (b"accept-encoding", b"identity"))


def first_values(headers: Headers) -> FirstValues:
    """Return each header's first value: for headers that are looked at more than once."""
    return dict(reversed(headers))


def find(headers: FirstValues, name: bytes) -> str | None:
    """Return the first value of a header as text, or None. Bytes above ASCII are read as Latin-1."""
    value = headers.get(name)
    return None if value is None else value.decode("latin-1").strip()


def towards_host(client: Headers, *, gateway_key: str, session: str | None) -> list[tuple[bytes, bytes]]:
    """Return the headers of an attempt: the client's, less what must not cross, with the route's credential."""
    named = _named_by_connection(client)
    kept = [
        (name, value)
        for name, value in client
        if name not in _FROM_CLIENT
        and not name.startswith((_OURS, b"x-forwarded-"))
        and (not named or name not in named)
    ]
    kept += _JSON_BODY
    kept.append((b"authorization", b"Bearer " + gateway_key.encode("latin-1", "replace")))
    if session is not None:
        kept.append((SESSION, session.encode()))
    return kept


def towards_client(host: Headers, request_id: str, protocol: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of the answer: the host's, less what must not cross, with our request id."""
    named = _named_by_connection(host)
    kept = [
        header for header in host if _crosses_to_client(header[0]) and (not named or header[0] not in named)
    ]
    ours = request_id.encode()
    kept.append((REQUEST_ID, ours))
    if protocol == "anthropic":
        kept.append((b"request-id", ours))
    return kept


@lru_cache(maxsize=1024)
def _crosses_to_client(name: bytes) -> bool:
    return name not in _FROM_HOST and not name.startswith(_TELLS_OF_HOST)


def query_towards_host(query: bytes) -> str:
    """Return the query string for the host, with its question mark, less parameters that hold a credential."""
    if not query:
        return ""
    kept = [part for part in query.split(b"&") if not _is_credential(part)]
    text = quote(b"&".join(kept), safe="=&%+-._~!$'()*,;:@/?")
    return "?" + text if text else ""


def _is_credential(part: bytes) -> bool:
    name = part.partition(b"=")[0]
    return unquote_to_bytes(name).strip().lower() in _CREDENTIAL_PARAMETERS


def _named_by_connection(headers: Headers) -> frozenset[bytes]:
    """Return the headers that a Connection header declares to be for the next hop only."""
    values = [value for name, value in headers if name == b"connection"]
    if not values:
        return _NONE
    return frozenset(token.strip().lower() for value in values for token in value.split(b","))


def retry_after_s(headers: FirstValues, now: float) -> float | None:
    """Return the seconds that a Retry-After header asks to wait, or None. `now` is seconds since the epoch."""
    value = find(headers, b"retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return _until(value, now)
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _until(http_date: str, now: float) -> float | None:
    try:
        moment = parsedate_to_datetime(http_date)
    except (ValueError, OverflowError):  # the latter for numbers that no date can have
        return None
    left = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    return left if left > 0 else None
