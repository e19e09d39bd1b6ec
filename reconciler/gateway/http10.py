"""Answers to HTTP/1.0 clients: a stream ends with its connection, for such a client knows no chunks.

Source: RFC 9112, section 6.1: no server may send Transfer-Encoding unless the request was of HTTP/1.1. uvicorn does.
"""

from __future__ import annotations

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


def end_with_connection(cycle: RequestResponseCycle) -> None:
    """Let an answer without a length end by closing, as uvicorn closes every connection of HTTP/1.0 anyway."""
    send, framed = cycle.send, True

    async def send_unframed(message: ASGISendEvent) -> None:
        nonlocal framed
        if message["type"] == "http.response.start":
            framed = any(name == b"content-length" for name, _ in message.get("headers", []))
            cycle.chunked_encoding = None if framed else False
        elif message["type"] == "http.response.body" and not framed:
            cycle.expected_content_length = len(message.get("body", b""))
        await send(message)

    cycle.send = send_unframed  # type: ignore[method-assign]
