"""What the gateway's tests share: a clock to turn by hand, and a control plane in this process."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from reconciler.gateway.control.app import create_control_app
from reconciler.gateway.control.auth import Credentials
from reconciler.gateway.control.context import Context
from reconciler.gateway.endpoints import EndpointPolicy
from reconciler.gateway.keys import Keys
from reconciler.gateway.replica import Replica
from reconciler.gateway.revisions import Revisions
from reconciler.gateway.runtime.memory import MemoryBackend
from reconciler.gateway.runtime.plane import Runtime
from reconciler.gateway.storage import Storage
from reconciler.gateway.threads import Threads
from reconciler.gateway.tokens import SignedProbeTokens

ADMIN = "canary-admin-token-1"
VIEWER = "canary-viewer-token-1"
MASTER = b"m" * 32
UPSTREAM_KEY = "canary-upstream-key-1"
CONSUMER_KEY = "canary-consumer-key-1"


class Clock:
    """Stands still until it is told to move."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **how_far: float) -> None:
        self.now += timedelta(**how_far)


def document(*, priority: int = 100, comment: str = "") -> dict[str, Any]:
    """A small configuration with two routes, that names the key values which `store_keys` stores."""
    return {
        "logical_groups": [{"name": "chat", "managed_by": comment}],
        "shadow_hosts": [
            {"name": "east", "driver": "sub2api", "data_endpoint": "http://east.test"},
            {"name": "west", "driver": "sub2api", "data_endpoint": "http://west.test"},
        ],
        "routes": [_route("chat-east", "east", priority), _route("chat-west", "west", 200)],
        "model_bindings": [
            {
                "name": "chat-small",
                "logical_group": "chat",
                "public_model": "small",
                "routes": [
                    {"route": "chat-east", "shadow_model": "gpt-5-mini"},
                    {"route": "chat-west", "shadow_model": "gpt-5-mini"},
                ],
            }
        ],
        "managed_keys": [{"name": "team-a", "logical_groups": ["chat"], "versions": ["v1"]}],
    }


def _route(name: str, host: str, priority: int) -> dict[str, Any]:
    return {
        "name": name,
        "logical_group": "chat",
        "shadow_host": host,
        "shadow_group": f"{host}-group",
        "shadow_group_id": "7",
        "gateway_key": f"{host}-key",
        "gateway_key_version": "v1",
        "priority": priority,
    }


@dataclass
class ControlPlane:
    """A control plane without a process: its parts, and a client with the admin's token."""

    client: httpx.AsyncClient
    context: Context
    clock: Clock
    tokens_file: Path
    registry: CollectorRegistry

    async def store_keys(self) -> None:
        for name in ("east-key", "west-key"):
            await self.ok("POST", f"/gateway-keys/{name}/versions", {"version": "v1", "value": UPSTREAM_KEY})
        await self.ok("POST", "/managed-keys/team-a/versions", {"version": "v1", "value": CONSUMER_KEY})

    async def stage(self, body: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        active = self.context.active().info.revision
        request = {"base": active, "configuration": document() if body is None else body, **fields}
        staged: dict[str, Any] = await self.ok("POST", "/revisions", request)
        return staged

    async def serve(self, body: dict[str, Any] | None = None) -> int:
        """Stage and promote; return the revision."""
        revision = int((await self.stage(body))["revision"])
        await self.ok("POST", f"/revisions/{revision}/promote")
        return revision

    async def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """Call, insist on success, and return the decoded answer."""
        response = await self.call(method, path, body, **options)
        assert response.is_success, response.text
        return response.json() if response.content else None

    async def refused(
        self, status: int, reason: str, method: str, path: str, body: Any = None, **options: Any
    ) -> Any:
        """Call, insist on a problem of that status and reason, and return it."""
        response = await self.call(method, path, body, **options)
        assert response.headers["content-type"] == "application/problem+json", response.text
        problem = response.json()
        assert (response.status_code, problem["status"], problem["reason"]) == (status, status, reason), (
            problem
        )
        return problem

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return await self.client.request(method, f"/api/v1{path}", json=body, **options)


def write_tokens(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines or (f"admin {ADMIN}", f"viewer {VIEWER}")))
    path.chmod(0o600)
    return path


@contextlib.asynccontextmanager
async def control_plane(
    folder: Path, *, url: str | None = None, policy: EndpointPolicy | None = None, clock: Clock | None = None
) -> AsyncIterator[ControlPlane]:
    """Run a control plane in this process; nothing of it runs in the background."""
    clock = clock or Clock()
    keys, threads = Keys(MASTER), Threads(threads=2)
    storage = await threads.run(
        Storage.open, url or f"sqlite:///{folder}/gateway.db", now=clock, check_values=keys.check_values
    )
    revisions = Revisions(storage, keys, threads)
    await revisions.refresh()
    tokens = SignedProbeTokens(keys.probe_secrets, storage.probe_uses, threads, now=clock)
    runtime = Runtime(MemoryBackend(clock=lambda: clock().timestamp()))
    replica = Replica(
        "replica-1", storage=storage, threads=threads, revisions=revisions, in_flight=runtime.in_flight
    )
    policy = policy or EndpointPolicy()
    context = Context(storage, threads, keys, revisions, replica, tokens, runtime, policy, clock)
    tokens_file = write_tokens(folder / "tokens")
    registry = CollectorRegistry()
    app = create_control_app(context, Credentials(tokens_file), registry)
    headers = {"Authorization": f"Bearer {ADMIN}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://gateway.test", headers=headers
    ) as client:
        try:
            yield ControlPlane(client, context, clock, tokens_file, registry)
        finally:
            storage.close()
            threads.close()
