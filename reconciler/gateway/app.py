"""The gateway put together, as one ASGI application: `/v1` goes straight to the data plane, the rest elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Receive, Scope, Send

from reconciler.gateway.contract import StorageUnavailable, UpstreamClient
from reconciler.gateway.control.app import create_control_app
from reconciler.gateway.control.auth import Credentials
from reconciler.gateway.control.context import Context
from reconciler.gateway.dataplane.app import DataPlane, create_data_plane
from reconciler.gateway.dataplane.upstream import create_upstream
from reconciler.gateway.decisions import BatchedLog
from reconciler.gateway.health import create_health_app
from reconciler.gateway.keys import Keys, load_master_key
from reconciler.gateway.revisions import Revisions
from reconciler.gateway.runtime.backend import RuntimeBackend
from reconciler.gateway.runtime.memory import MemoryBackend
from reconciler.gateway.runtime.plane import Runtime
from reconciler.gateway.runtime.redis_backend import RedisBackend
from reconciler.gateway.settings import Settings
from reconciler.gateway.storage import Storage
from reconciler.gateway.storage.changes import Changes
from reconciler.gateway.threads import Threads
from reconciler.gateway.times import Now, utc_now
from reconciler.gateway.tokens import SignedProbeTokens

TIDY_S = 30.0
"""Between two rounds of forgetting expired bindings, saving the runtime's snapshot and deleting old log rows."""

log = logging.getLogger(__name__)


@dataclass
class Gateway:
    """An ASGI application, and what the process around it wants to know."""

    data_plane: DataPlane
    control: ASGIApp
    health: ASGIApp
    revisions: Revisions
    runtime: Runtime
    registry: CollectorRegistry
    draining: bool = False
    """Set when the process is asked to stop: it is not ready any more."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path.startswith("/v1/"):
            await self.data_plane(scope, receive, send)
        elif path.startswith("/api/"):
            await self.control(scope, receive, send)
        else:
            await self.health(scope, receive, send)


@contextlib.asynccontextmanager
async def open_gateway(settings: Settings, *, now: Now = utc_now) -> AsyncIterator[Gateway]:
    """Open storage, load what is active, and run the gateway until the context ends; then store what is left.

    Raises: UnusableKeyFile, ForeignSchema, ForeignMasterKey, StorageUnavailable.
    """
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    credentials = Credentials(settings.tokens_file)
    keys = Keys(load_master_key(settings.master_key, create=settings.master_key_file is None))
    async with contextlib.AsyncExitStack() as stack:
        threads = Threads()
        stack.callback(threads.close)
        storage = await threads.run(Storage.open, settings.database, now=now, check_value=keys.check_value)
        stack.callback(storage.close)
        revisions = Revisions(storage, keys, threads, replica=settings.replica or _process_name())
        await revisions.refresh()
        stack.push_async_callback(_leave, revisions)
        backend = await _open_backend(settings, now)
        stack.push_async_callback(backend.aclose)
        decisions = BatchedLog(storage.logs)
        stack.push_async_callback(decisions.aclose)
        upstream = create_upstream(settings.upstream)
        stack.push_async_callback(upstream.aclose)
        runtime = Runtime(backend)
        tokens = SignedProbeTokens(keys.probe_secret, storage.probe_uses, threads, now=now)
        context = Context(storage, threads, keys, revisions, tokens, runtime, settings.policy, now)
        gateway = _assemble(context, runtime, decisions, upstream, credentials)
        follow = revisions.run(Changes(storage.database), runtime.in_flight)
        async with _running(follow, _tidy(context, gateway.data_plane, settings)):
            yield gateway


def _assemble(
    context: Context,
    runtime: Runtime,
    decisions: BatchedLog,
    upstream: UpstreamClient,
    credentials: Credentials,
) -> Gateway:
    registry = CollectorRegistry()
    data_plane = create_data_plane(
        revisions=context.revisions,
        runtime=runtime,
        upstream=upstream,
        log=decisions,
        tokens=context.tokens,
        clock=lambda: context.now().timestamp(),
    )
    registry.register(data_plane.collector())
    gateway = Gateway(
        data_plane=data_plane,
        control=create_control_app(context, credentials, registry),
        health=create_health_app(context.revisions, registry, draining=lambda: gateway.draining),
        revisions=context.revisions,
        runtime=runtime,
        registry=registry,
    )
    return gateway


@contextlib.asynccontextmanager
async def _running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines beside the body, and end them with it."""
    tasks = [asyncio.create_task(item) for item in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _open_backend(settings: Settings, now: Now) -> RuntimeBackend:
    """Return where the runtime plane lives: Redis when there is one to share it, else this process."""
    if settings.redis_url is not None:
        return await RedisBackend.open(settings.redis_url, clock=lambda: now().timestamp())
    return MemoryBackend(path=settings.data / "runtime.json", clock=lambda: now().timestamp())


async def _tidy(context: Context, data_plane: DataPlane, settings: Settings) -> None:
    """Keep what grows within bounds, for ever."""
    logs = context.storage.logs
    while True:
        await asyncio.sleep(TIDY_S)
        try:
            await data_plane.sweep()
            await data_plane.runtime.backend.save()
            await context.run(logs.tidy, keep_for=settings.keep_logs_for, keep_rows=settings.keep_log_rows)
        except (StorageUnavailable, OSError) as error:
            log.warning("tidying failed, it is tried again", extra={"error": str(error)})


async def _leave(revisions: Revisions) -> None:
    """Take this process off the list of replicas; when storage is away it falls off by itself."""
    with contextlib.suppress(StorageUnavailable):
        await revisions.forget_me()


def _process_name() -> str:
    return f"{socket.gethostname()[:40]}-{os.getpid()}"
