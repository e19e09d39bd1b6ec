"""Errors in the shape that the client's protocol expects, always with our request id."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

Protocol = Literal["openai", "responses", "anthropic"]

# Source: https://platform.openai.com/docs/guides/error-codes and https://docs.anthropic.com/en/api/errors
_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}


class Problem(Exception):
    """A request that ends in an error of ours. `code` is a fixed word; `message` is for people, free of secrets.

    `allowed`: the methods that a path takes, which belong to every 405. Source: RFC 9110, section 15.5.6.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        retry_after_s: int | None = None,
        allowed: str | None = None,
    ) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s
        self.allowed = allowed


def gateway_fault() -> Problem:
    """Return the answer when we failed ourselves; what happened is in the log."""
    return Problem(500, "gateway_fault", "The gateway failed")


def broke_off() -> Problem:
    """Return what a client is told when its stream ends too early."""
    return Problem(502, "upstream_broke_off", "The answer broke off before its end")


class Shaped(NamedTuple):
    headers: list[tuple[bytes, bytes]]
    body: bytes


def shape(protocol: Protocol, problem: Problem, request_id: str) -> Shaped:
    """Return headers and body of the error answer."""
    body = msgspec.json.encode(_object(protocol, problem, request_id))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", request_id.encode()),
    ]
    if protocol == "anthropic":
        headers.append((b"request-id", request_id.encode()))
    if problem.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if problem.allowed is not None:
        headers.append((b"allow", problem.allowed.encode()))
    if problem.retry_after_s is not None:
        headers.append((b"retry-after", str(problem.retry_after_s).encode()))
    return Shaped(headers, body)


def stream_event(protocol: Protocol, problem: Problem, request_id: str) -> bytes:
    """Return the event that ends a stream which broke after it had begun.

    The blank line in front ends whatever event was cut short. SDKs raise on it.
    """
    told = _object(protocol, problem, request_id)
    if protocol == "responses":
        # The event of that API is flat; the SDK raises on the nested `error` alone.
        message = _message(problem, request_id)
        told = {"type": "error", "code": problem.code, "message": message, "param": None, **told}
    name = b"" if protocol == "openai" else b"event: error\n"
    return b"\n\n" + name + b"data: " + msgspec.json.encode(told) + b"\n\n"


def _object(protocol: Protocol, problem: Problem, request_id: str) -> dict[str, object]:
    message = _message(problem, request_id)
    if protocol == "anthropic":
        kind = _ANTHROPIC_TYPES.get(problem.status, _otherwise(problem.status, "api_error"))
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}
    kind = _OPENAI_TYPES.get(problem.status, _otherwise(problem.status, "server_error"))
    return {"error": {"message": message, "type": kind, "param": None, "code": problem.code}}


def _otherwise(status: int, server: str) -> str:
    return server if status >= 500 else "invalid_request_error"


def _message(problem: Problem, request_id: str) -> str:
    return f"{problem.message} (request id {request_id})"
