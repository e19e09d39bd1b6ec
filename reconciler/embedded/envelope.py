"""The shapes in which the host answers, and the errors that become them.

Source: sub2api v0.1.179, `internal/pkg/response/response.go`, `internal/pkg/errors`, `internal/server/middleware`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response


class Refusal(Exception):  # an answer, not a fault of ours: never leaves this room
    """Ends a handler with a stated answer."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Return the answer."""
        return json_response(self.body, self.status, self.headers)


def application_error(
    status: int,
    message: str,
    reason: str = "",
    metadata: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Refusal:
    """An error of the application: `code` is the HTTP status as a number."""
    body: dict[str, Any] = {"code": status, "message": message}
    if reason:
        body["reason"] = reason
    if metadata:
        body["metadata"] = dict(metadata)
    return Refusal(status, body, headers)


def untyped_error() -> Refusal:
    """What any error without a type becomes, client errors included: 500 and no word of explanation."""
    return application_error(500, "internal error")


def bad_request(message: str) -> Refusal:
    """400 without a reason."""
    return application_error(400, message)


def gate_error(status: int, code: str, message: str, metadata: Mapping[str, str] | None = None) -> Refusal:
    """An error of a middleware: here `code` is a word."""
    body: dict[str, Any] = {"code": code, "message": message}
    if metadata:
        body["metadata"] = dict(metadata)
    return Refusal(status, body)


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON as Go writes it: no spaces, UTF-8."""
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(content, status, dict(headers or {}), media_type="application/json; charset=utf-8")


def success(data: Any = None, headers: Mapping[str, str] | None = None) -> Response:
    """200 with the envelope; `data` is absent when there is nothing."""
    body: dict[str, Any] = {"code": 0, "message": "success"}
    if data is not None:
        body["data"] = data
    return json_response(body, 200, headers)


def deleted(what: str) -> Response:
    """The answer of most deletes."""
    return success({"message": f"{what} deleted successfully"})


def pagination(request: Request) -> tuple[int, int]:
    """Return (page, page size). What is out of range silently becomes 1 and 20."""
    query = request.query_params
    size = query.get("page_size") or query.get("limit") or ""
    page = query.get("page") or ""
    return _within(page, 1, 10**9), _within(size, 20, 1000)


def _within(text: str, default: int, most: int) -> int:
    value = int(text) if text.isascii() and text.isdigit() else 0
    return value if 0 < value <= most else default


def page_of(items: Sequence[Any], total: int, page: int, page_size: int) -> dict[str, Any]:
    """The `data` of a list answer, from the items of one page."""
    pages = max(1, math.ceil(total / page_size))
    return {"items": list(items), "total": total, "page": page, "page_size": page_size, "pages": pages}


def paged(items: Sequence[Any], page: int, page_size: int) -> dict[str, Any]:
    """The `data` of a list answer, from all items."""
    start = (page - 1) * page_size
    return page_of(items[start : start + page_size], len(items), page, page_size)
