"""Heads of answers as bytes, for those who write to a client's connection themselves."""

from __future__ import annotations

from http import HTTPStatus

from reconciler.gateway.dataplane.headers import Headers

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


def answer_head(status: int, headers: Headers, end: bytes) -> bytes:
    """Return a head. `end` is the header that says how long the body is, and the blank line."""
    line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
    return b"".join((line, *[b"%b: %b\r\n" % header for header in headers], end))
