"""Breaking connections on purpose, in a process and without one."""

from __future__ import annotations

import asyncio

import httpx
from starlette.responses import Response
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from reconciler.embedded.envelope import json_response
from reconciler.embedded.faults import Fault

_ABORT = "reconciler.embedded.abort"


class Faulty:
    """Says: close the connection without an answer."""


class AbortableProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a way for the app to close the connection at once."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {_ABORT: {"abort": self._abort}}

    def _abort(self) -> None:
        transport = self.transport
        if isinstance(transport, asyncio.Transport):
            transport.abort()


async def close_connection(scope: Scope) -> None:
    """Close the connection of a request without (more of) an answer.

    Without a server in between (httpx.ASGITransport), raises what a client would have seen: httpx.ReadError.
    """
    extension = scope.get("extensions", {}).get(_ABORT)
    if extension is None:
        raise httpx.ReadError("connection closed by an injected fault")
    extension["abort"]()


async def refuse_connection(scope: Scope) -> None:
    """Refuse as nearly as can be done once the connection is there.

    Without a server in between (httpx.ASGITransport), raises what a client would have seen: httpx.ConnectError.
    """
    if _ABORT not in scope.get("extensions", {}):
        raise httpx.ConnectError("connection refused by an injected fault")
    await close_connection(scope)


def answer_fault(fault: Fault, body: dict[str, object]) -> Response:
    """Return the answer that a `status` fault asks for."""
    headers = {"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
    return json_response(body, fault.status or 500, headers)
