"""The embedded host as an ASGI app: routing, request ids, authentication, faults, and the control path."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import httpx
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from reconciler.embedded.admin import (
    account_state,
    accounts,
    channels,
    groups,
    keys,
    ops,
    session,
    usage,
    users,
)
from reconciler.embedded.call import Call, Endpoint
from reconciler.embedded.clock import Clock, SystemClock
from reconciler.embedded.connection import Faulty, answer_fault, close_connection
from reconciler.embedded.database import Database
from reconciler.embedded.dataplane import models
from reconciler.embedded.dataplane.chat import Chat
from reconciler.embedded.dataplane.dialects import Dialect, Embeddings
from reconciler.embedded.dataplane.messages import Messages, count_tokens
from reconciler.embedded.dataplane.responses import Responses
from reconciler.embedded.dataplane.serve import serve
from reconciler.embedded.envelope import Refusal, json_response
from reconciler.embedded.faults import HOST_KINDS
from reconciler.embedded.router import Router
from reconciler.embedded.seed import seed
from reconciler.embedded.settings import HostSecrets, HostSettings
from reconciler.embedded.state import Host
from reconciler.embedded.transport import HttpxTransport, UpstreamTransport

_RESOURCES = (session, groups, accounts, account_state, channels, keys, users, usage, ops)
_DIALECTS: Mapping[str, Dialect] = {
    "/chat/completions": Chat(), "/embeddings": Embeddings(), "/responses": Responses(), "/messages": Messages(),
}  # fmt: skip
_READS = {"/models": models.models, "/usage": models.usage}
_PREFIXES = {"/chat/completions": ("/v1", ""), "/embeddings": ("/v1", ""), "/responses": ("/v1", ""),
             "/messages": ("/v1",), "/models": ("/v1", ""), "/usage": ("/v1",)}  # fmt: skip
_HEADERS = [
    (b"x-content-type-options", b"nosniff"), (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"strict-origin-when-cross-origin"),
]  # fmt: skip

DataHandler = Callable[[Host, Request, str, str], Awaitable[Response]]


class HostApp:
    """The app. `host` is its state, for tests that want to look behind the curtain."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._admin: Router[Endpoint] = Router()
        for module in _RESOURCES:
            for endpoint in module.ENDPOINTS:
                self._admin.add(endpoint.method, endpoint.path, endpoint)
        self._data: Router[DataHandler] = Router()
        for path, dialect in _DIALECTS.items():
            for prefix in _PREFIXES[path]:
                self._data.add("POST", prefix + path, partial(_post, dialect))
        self._data.add("POST", "/v1/messages/count_tokens", partial(_get, count_tokens))
        for path, read in _READS.items():
            for prefix in _PREFIXES[path]:
                self._data.add("GET", prefix + path, partial(_get, read))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                await self.host.close()
                return

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        path = request.url.path
        given = request.headers.get("x-request-id", "").strip()
        request_id = given if 0 < len(given.encode()) <= 64 else str(uuid.uuid4())
        headers = [(b"x-request-id", request_id.encode()), *_HEADERS]
        data = self._data.find(request.method, path)
        correlation = str(uuid.uuid4()) if data is not None else ""
        if correlation:
            headers.append((b"x-client-request-id", correlation.encode()))
        answer = _with_headers(send, headers)
        if path.startswith("/__control/"):
            await (await self._control(request))(scope, receive, answer)
            return
        if (fault := await self._fault_before(request)) is not None:
            await (fault(scope, receive, answer) if isinstance(fault, Response) else close_connection(scope))
            return
        if data is not None:
            response = await _answered(data[0](self.host, request, correlation, request_id))
        else:
            response = await self._admin_call(request)
        await self._finish(request, response, scope, receive, answer)

    async def _fault_before(self, request: Request) -> Response | Faulty | None:
        """Wait as told; return what to answer instead of doing the work, if anything."""
        faults, match = self.host.faults, {"path": request.url.path, "method": request.method}
        delay = self.host.settings.answer_delay_s
        if (slow := faults.take("slow", **match)) is not None:
            delay += slow.seconds or 0.0
        if delay > 0:
            await self.host.clock.sleep(delay)
        if faults.take("drop", **match):
            return Faulty()
        if (fault := faults.take("status", **match)) is not None:
            return answer_fault(fault, {"code": fault.status, "message": fault.message or "injected fault"})
        return None

    async def _finish(
        self, request: Request, response: Response, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Send the answer, or spoil it as told: the work is done by now."""
        faults, match = self.host.faults, {"path": request.url.path, "method": request.method}
        if faults.take("lose-answer", **match):
            await close_connection(scope)
        elif faults.take("malformed", **match):
            await Response(b'{"code":0,"message":"succ', 200, media_type="application/json")(
                scope, receive, send
            )
        elif faults.take("truncate", **match):
            await _truncated(response, scope, receive, send)
        else:
            await response(scope, receive, send)

    async def _admin_call(self, request: Request) -> Response:
        found = self._admin.find(request.method, request.url.path)
        if found is None or (request.url.path.endswith("/") and request.url.path != "/"):
            return PlainTextResponse("404 page not found", 404, media_type="text/plain")
        endpoint, parameters = found
        return await _answered(self._called(endpoint, parameters, request))

    async def _called(self, endpoint: Endpoint, parameters: dict[str, str], request: Request) -> Response:
        actor, by_key = None, False
        if endpoint.access.startswith("admin"):
            actor, by_key = session.authenticate_admin(self.host, request)
            if endpoint.access == "admin":
                session.check_gate(self.host)
        elif endpoint.access == "user":
            actor = session.authenticate_user(self.host, request)
        return await endpoint.handler(
            Call(self.host, request, parameters, await request.body(), actor, by_key)
        )

    async def _control(self, request: Request) -> Response:
        """`/__control/faults`: see reconciler.embedded.faults."""
        if request.url.path != "/__control/faults" or request.method not in ("GET", "PUT", "DELETE"):
            return json_response({"error": "GET, PUT or DELETE /__control/faults"}, 404)
        if request.method == "PUT":
            try:
                self.host.faults.replace(await request.json(), HOST_KINDS)
            except ValueError as error:
                return json_response({"error": str(error)}, 400)
        elif request.method == "DELETE":
            self.host.faults.faults = []
        return json_response(self.host.faults.shown())


async def _answered(work: Awaitable[Response]) -> Response:
    try:
        return await work
    except Refusal as refusal:
        return refusal.response()


async def _post(
    dialect: Dialect, host: Host, request: Request, correlation: str, request_id: str
) -> Response:
    return await serve(host, request, dialect, correlation, request_id)


async def _get(
    read: Callable[[Host, Request], Awaitable[Response]],
    host: Host,
    request: Request,
    correlation: str,
    request_id: str,
) -> Response:
    return await read(host, request)


def _with_headers(send: Send, headers: list[tuple[bytes, bytes]]) -> Send:
    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*headers, *message.get("headers", [])]
        await send(message)

    return answer


async def _truncated(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the head and half of the body, then close the connection."""
    half = bytes(response.body)[: len(response.body) // 2]
    await send(
        {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
    )
    await send({"type": "http.response.body", "body": half, "more_body": True})
    await close_connection(scope)


def create_host_app(
    database: Database | None = None,
    settings: HostSettings | None = None,
    clock: Clock | None = None,
    *,
    secrets: HostSecrets | None = None,
    upstream: UpstreamTransport | httpx.AsyncBaseTransport | None = None,
) -> HostApp:
    """Return an embedded host.

    Everything has a default: a database in memory, a stock host's settings, the machine's clock, random secrets, and
    upstreams over the network. In one process, `upstream` may be an httpx transport that ends in upstream apps, for
    example `AppTransport({"up.test": create_upstream_app(...)})` of reconciler.embedded.loopback.
    """
    transport = (
        HttpxTransport(upstream)
        if upstream is None or isinstance(upstream, httpx.AsyncBaseTransport)
        else upstream
    )
    host = Host(
        database=database or Database(),
        settings=settings or HostSettings(),
        credentials=secrets or HostSecrets(),
        clock=clock or SystemClock(),
        upstream=transport,
    )
    seed(host)
    return HostApp(host)
