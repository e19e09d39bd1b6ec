"""One attempt at one upstream.

Source: sub2api v0.1.179, `internal/service/openai_gateway_chat_completions_raw.go`, `openai_gateway_request_body.go`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.embedded.database import Row
from reconciler.embedded.dataplane import marks
from reconciler.embedded.state import Host
from reconciler.embedded.transport import UpstreamAnswer, UpstreamBroken, UpstreamUnreachable

_FAILS_OVER = frozenset({401, 402, 403, 405, 429, 529})
_DEFAULT_BASE = "https://api.openai.com"


@dataclass
class FailedOver:
    """An attempt whose failure lets another account try."""

    account: Row
    status: int
    message: str
    headers: Mapping[str, str]
    upstream_model: str


@dataclass
class Rejected:
    """An answer that is the client's own: handed on, not failed over."""

    account: Row
    status: int
    kind: str
    message: str
    upstream_status: int
    upstream_model: str


class Missing:
    """The upstream does not have this endpoint; nothing was marked."""


def endpoint_url(account: Row, endpoint: str) -> str:
    """Return where an account's upstream has `/chat/completions`, `/embeddings` or `/responses`."""
    base = str(account["credentials"].get("base_url") or _DEFAULT_BASE).strip().rstrip("/")
    if base.endswith(endpoint):
        return base
    last = base.rsplit("/", 1)[-1]
    return f"{base}{endpoint}" if re.fullmatch(r"v\d+", last) else f"{base}/v1{endpoint}"


def upstream_headers(account: Row, client: Mapping[str, str], *, stream: bool) -> dict[str, str]:
    """Return the headers of an upstream request: of the client's own only two are handed on."""
    credentials = account["credentials"]
    headers = {name: client[name] for name in ("accept-language", "user-agent") if client.get(name)}
    headers |= {
        "authorization": f"Bearer {credentials.get('api_key', '')}",
        "content-type": "application/json",
        "accept": "text/event-stream" if stream else "application/json",
    }
    if credentials.get("user_agent"):
        headers["user-agent"] = str(credentials["user_agent"])
    if credentials.get("header_override_enabled") is True:
        headers |= {
            name: value for name, value in (credentials.get("header_overrides") or {}).items() if value
        }
    return headers


async def attempt(
    host: Host,
    account: Row,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    upstream_model: str,
    *,
    mark_missing: bool = True,
) -> UpstreamAnswer | FailedOver | Rejected | Missing:
    """Send a request; return the answer when it is a success, else what became of it. Marks the account.

    With `mark_missing` False an endpoint that is not there (404, 405) is Missing.
    """
    try:
        answer = await host.upstream.post(url, headers, body, host.settings.upstream_timeout_s)
    except UpstreamUnreachable as error:
        marks.after_refusal(host, account, f'Post "{url}": connect: {error}')
        return FailedOver(account, 502, f"Post {url}: {error}", {}, upstream_model)
    except UpstreamBroken as error:
        marks.after_answer(host, account, 502, "", str(error), upstream_model)
        return FailedOver(account, 502, str(error), {}, upstream_model)
    if answer.status < 400:
        marks.after_success(host, account, upstream_model)
        return answer
    raw = await _error_body(answer)
    if answer.status in (404, 405) and not mark_missing:
        return Missing()
    return _failed(host, account, answer, raw, upstream_model)


async def _error_body(answer: UpstreamAnswer) -> bytes:
    try:
        return await answer.read()
    except UpstreamBroken:
        return b""
    finally:
        await answer.close()


def _failed(
    host: Host, account: Row, answer: UpstreamAnswer, raw: bytes, upstream_model: str
) -> FailedOver | Rejected:
    message, status = error_message(raw), answer.status
    text = raw[:65_536].decode(errors="replace")
    moved_on = marks.after_answer(host, account, status, text, message, upstream_model)
    if moved_on or status in _FAILS_OVER or status >= 500:
        return FailedOver(account, status, message, answer.headers, upstream_model)
    if not marks.counts(account, status):
        return Rejected(account, 500, "api_error", "Upstream gateway error", status, upstream_model)
    if status == 413:
        return Rejected(
            account, 413, "invalid_request_error", "Request payload is too large", status, upstream_model
        )
    kind = {400: "invalid_request_error", 404: "not_found_error"}.get(status, "api_error")
    return Rejected(account, status, kind, message or f"Upstream error: {status}", status, upstream_model)


def error_message(raw: bytes) -> str:
    """Return the message in an upstream's error body, cut to 500 characters."""
    try:
        document: Any = json.loads(raw)
    except ValueError:
        return raw[:500].decode(errors="replace")
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return str(error["message"])[:500]
    if isinstance(error, str):
        return error[:500]
    return str(document.get("message", ""))[:500] if isinstance(document, dict) else ""


def exhausted(status: int) -> tuple[int, str, str]:
    """Return (status, type, message) that a client gets when no account is left, by the last upstream status."""
    return {
        401: (502, "upstream_error", "Upstream authentication failed, please contact administrator"),
        403: (502, "upstream_error", "Upstream access forbidden, please contact administrator"),
        429: (429, "rate_limit_error", "Upstream rate limit exceeded, please retry later"),
        529: (503, "upstream_error", "Upstream service overloaded, please retry later"),
        **dict.fromkeys(
            (500, 502, 503, 504), (502, "upstream_error", "Upstream service temporarily unavailable")
        ),
    }.get(status, (502, "upstream_error", "Upstream request failed"))
