"""The data plane as a raw ASGI application: no framework on the request path."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from reconciler.gateway.contract import DecisionLog, ProbeTokens, RevisionSource, UpstreamClient
from reconciler.gateway.dataplane import errors, models
from reconciler.gateway.dataplane.caller import identify
from reconciler.gateway.dataplane.endpoints import ENDPOINTS, MODELS
from reconciler.gateway.dataplane.errors import Problem, Protocol
from reconciler.gateway.dataplane.exchange import Exchange
from reconciler.gateway.dataplane.failover import refusal
from reconciler.gateway.dataplane.headers import FirstValues, find, first_values
from reconciler.gateway.dataplane.inbound import Receive, Scope, Send
from reconciler.gateway.dataplane.metrics import Counts, DataPlaneCollector
from reconciler.gateway.dataplane.request_ids import new_request_id
from reconciler.gateway.dataplane.rows import expired
from reconciler.gateway.dataplane.settings import DataPlaneSettings
from reconciler.gateway.runtime.plane import Runtime
from reconciler.routing.resolve import has_expired


class DataPlane:
    """An ASGI application for everything under `/v1`. Its parts are handed in; it owns none and closes none."""

    def __init__(
        self,
        *,
        revisions: RevisionSource,
        runtime: Runtime,
        upstream: UpstreamClient,
        log: DecisionLog,
        tokens: ProbeTokens,
        settings: DataPlaneSettings,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self.revisions = revisions
        self.runtime = runtime
        self.upstream = upstream
        self.log = log
        self.tokens = tokens
        self.settings = settings
        self.counts = Counts()
        self.clock = clock
        self.monotonic = monotonic
        self._background: set[asyncio.Task[None]] = set()

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that no request waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def collector(self) -> DataPlaneCollector:
        """Return what shows the data plane's numbers in a Prometheus registry."""
        return DataPlaneCollector(self.counts, self.runtime, self.revisions, self.log)

    async def sweep(self) -> None:
        """Forget what has expired of the runtime plane, with an audit row each; call it every half minute or so."""
        for namespace, binding in await self.runtime.backend.sweep():
            expired(self.log, self.counts, binding, namespace=namespace, now=self.clock())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        endpoint = ENDPOINTS.get(path)
        if endpoint is not None and method == "POST":
            await Exchange(self, endpoint, scope, receive, send).run()
            return
        headers = first_values(scope["headers"])
        protocol: Protocol = "anthropic" if find(headers, b"anthropic-version") else "openai"
        request_id = new_request_id(self.clock())
        try:
            if path != MODELS and not path.startswith(MODELS + "/"):
                known = endpoint is not None
                raise _not_allowed("POST") if known else Problem(404, "not_found", "There is no such path")
            if method not in ("GET", "HEAD"):
                raise _not_allowed("GET, HEAD")
            body = await self._models(headers, path, anthropic=protocol == "anthropic")
        except Problem as problem:
            shaped = errors.shape(protocol, problem, request_id)
            await _answer(send, problem.status, shaped.headers, shaped.body)
            return
        told = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", request_id.encode()),
        ]
        await _answer(send, 200, told, b"" if method == "HEAD" else body)

    async def _models(self, headers: FirstValues, path: str, *, anthropic: bool) -> bytes:
        caller = await identify(headers, self.revisions, self.tokens)
        if has_expired(caller.revision.configuration.index, caller.key, self.clock()):
            raise refusal("key-expired")
        if path in (MODELS, MODELS + "/"):
            return msgspec.json.encode(models.listing(caller, anthropic=anthropic))
        model = path.removeprefix(MODELS + "/")  # decoded by the server, slashes included
        return msgspec.json.encode(models.one(caller, model, anthropic=anthropic))


def create_data_plane(
    *,
    revisions: RevisionSource,
    runtime: Runtime,
    upstream: UpstreamClient,
    log: DecisionLog,
    tokens: ProbeTokens,
    settings: DataPlaneSettings | None = None,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> DataPlane:
    """Return the data plane. `clock` gives seconds since the epoch, `monotonic` seconds for durations."""
    return DataPlane(
        revisions=revisions,
        runtime=runtime,
        upstream=upstream,
        log=log,
        tokens=tokens,
        settings=settings or DataPlaneSettings(),
        clock=clock,
        monotonic=monotonic,
    )


def _not_allowed(allowed: str) -> Problem:
    return Problem(405, "method_not_allowed", "This path does not take that method", allowed=allowed)


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
