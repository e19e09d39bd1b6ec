"""The gateway put together, as one ASGI application: `/v1` goes straight to the data plane, the rest elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Receive, Scope, Send

from reconciler.gateway.contract import StorageUnavailable, UpstreamClient
from reconciler.gateway.control.app import create_control_app
from reconciler.gateway.control.auth import Credentials
from reconciler.gateway.control.context import Context
from reconciler.gateway.dataplane.app import DataPlane, create_data_plane
from reconciler.gateway.dataplane.fast_path import FastPath
from reconciler.gateway.dataplane.upstream import create_upstream
from reconciler.gateway.dataplane.upstream.pool import PooledUpstream
from reconciler.gateway.decisions import BatchedLog
from reconciler.gateway.health import create_health_app
from reconciler.gateway.last_revision import LastRevision
from reconciler.gateway.memory import collect
from reconciler.gateway.replica import Replica
from reconciler.gateway.revisions import Revisions
from reconciler.gateway.row_counts import RowCounts
from reconciler.gateway.runtime.backend import RuntimeBackend
from reconciler.gateway.runtime.memory import MemoryBackend
from reconciler.gateway.runtime.plane import Runtime
from reconciler.gateway.runtime.redis_backend import RedisBackend
from reconciler.gateway.settings import Settings
from reconciler.gateway.storage import Storage
from reconciler.gateway.storage.changes import changes_of
from reconciler.gateway.storage.logs import MAX_DELETED as LOG_BATCH
from reconciler.gateway.threads import Threads
from reconciler.gateway.times import Now, utc_now
from reconciler.gateway.tokens import SignedProbeTokens
from reconciler.gateway.worker_metrics import served

TIDY_S = 30.0
"""Between two rounds of forgetting expired bindings, saving the runtime's snapshot and deleting old log rows."""
TIDY_PAUSE_S = 0.1
"""Between two batches of deleted log rows, for the writers of new ones."""

log = logging.getLogger(__name__)


@dataclass
class Gateway:
    """An ASGI application, and what the process around it wants to know."""

    data_plane: DataPlane
    control: ASGIApp
    health: ASGIApp
    fast_path: FastPath | None
    """For ordinary requests, which the server may give here instead; None: our own pool is not in use."""
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
async def open_gateway(
    settings: Settings,
    *,
    now: Now = utc_now,
    clock: Callable[[], float] = time.time,
    upstream: UpstreamClient | None = None,
) -> AsyncIterator[Gateway]:
    """Open storage, load what is active, and run the gateway until the context ends; then store what is left.

    When storage is away, the copy of the last revision on disk is served until it answers.

    `upstream` replaces the client towards the hosts that the settings name; it is closed at the end.
    Raises: UnusableKeyFile, ForeignSchema, ForeignMasterKey, StorageUnavailable.
    """
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    credentials = Credentials(settings.tokens_file)
    keys = settings.keys()
    async with contextlib.AsyncExitStack() as stack:
        threads = Threads()
        stack.callback(threads.close)
        storage = Storage.connect(settings.database, now=now, check_values=keys.check_values)
        stack.callback(storage.close)
        copy = LastRevision(settings.last_revision, keys) if settings.last_revision else None
        revisions = Revisions(storage, keys, threads, copy)
        await _load(storage, revisions, threads)
        runtime = Runtime(await _backend(settings, clock, stack))
        replica = Replica(
            settings.name, storage=storage, threads=threads, revisions=revisions, in_flight=runtime.in_flight
        )
        stack.push_async_callback(_leave, replica)
        row_counts = RowCounts(settings.row_counts)
        decisions = BatchedLog(storage.logs, counts=row_counts)
        stack.push_async_callback(decisions.aclose)
        client = upstream or create_upstream(settings.upstream, addresses=settings.addresses)
        stack.push_async_callback(client.aclose)
        tokens = SignedProbeTokens(keys.probe_secrets, storage.probe_uses, threads, now=now)
        data_plane = create_data_plane(
            revisions=revisions, runtime=runtime, upstream=client, log=decisions, tokens=tokens, clock=clock
        )
        context = Context(storage, threads, keys, revisions, replica, tokens, runtime, settings.policy, now)
        follow = replica.follow(changes_of(storage.database, poll_s=settings.poll_s))
        async with _running(follow, _tidy(context, data_plane, settings)):
            registry = CollectorRegistry()
            registry.register(data_plane.collector())
            registry.register(row_counts)
            if settings.worker is not None:
                await stack.enter_async_context(served(settings.data, settings.worker, registry))
            yield _assemble(context, data_plane, credentials, registry, settings)


async def _load(storage: Storage, revisions: Revisions, threads: Threads) -> None:
    """Load what is active; when storage is away, what was active last. Raises what `Storage.check` raises."""
    try:
        await threads.run(storage.check)
        await revisions.refresh()
    except StorageUnavailable:
        if not await revisions.restore():
            raise


async def _backend(
    settings: Settings, clock: Callable[[], float], stack: contextlib.AsyncExitStack
) -> RuntimeBackend:
    if settings.redis_url is not None:
        shared = await RedisBackend.open(settings.redis_url, replica=settings.name, clock=clock)
        stack.push_async_callback(shared.aclose)
        return shared
    own = MemoryBackend(path=settings.data / "runtime.json", clock=clock)
    stack.push_async_callback(own.aclose)
    return own


def _assemble(
    context: Context,
    data_plane: DataPlane,
    credentials: Credentials,
    registry: CollectorRegistry,
    settings: Settings,
) -> Gateway:
    siblings = settings.data if settings.worker is not None else None
    gateway = Gateway(
        data_plane=data_plane,
        control=create_control_app(context, credentials, registry),
        fast_path=_fast_path(data_plane),
        health=create_health_app(
            context.revisions, context.replica, registry, draining=lambda: gateway.draining, siblings=siblings
        ),
    )
    return gateway


def _fast_path(data_plane: DataPlane) -> FastPath | None:
    pool = data_plane.upstream
    return FastPath(data_plane, pool) if isinstance(pool, PooledUpstream) else None


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


async def _tidy(context: Context, data_plane: DataPlane, settings: Settings) -> None:
    """Keep what grows within bounds, for ever."""
    backend = data_plane.runtime.backend
    while True:
        await asyncio.sleep(TIDY_S)
        try:
            await data_plane.sweep()
            collect()
            if isinstance(backend, MemoryBackend):
                await backend.save()
            await _thin_out(context, settings)
        except (StorageUnavailable, OSError) as error:
            log.warning("tidying failed, it is tried again", extra={"error": str(error)})
        # A defect must not end the loop: what grows without bounds ends the process some day.
        except Exception:
            log.exception("tidying failed, it is tried again")


async def _thin_out(context: Context, settings: Settings) -> None:
    """Delete old log rows, batch by batch, with pauses in which new ones are written."""
    tidy = context.storage.logs.tidy
    while True:
        deleted = await context.run(tidy, keep_for=settings.keep_logs_for, keep_rows=settings.keep_log_rows)
        if deleted < LOG_BATCH:
            return
        await asyncio.sleep(TIDY_PAUSE_S)


async def _leave(replica: Replica) -> None:
    """Take this process off the list of replicas; when storage is away it falls off by itself."""
    with contextlib.suppress(StorageUnavailable):
        await replica.leave()
