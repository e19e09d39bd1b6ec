"""Gateway, hosts and upstreams in one process and one event loop, in made-up time, driven by the real engine."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from starlette.types import ASGIApp

from reconciler.embedded.app import HostApp, create_host_app
from reconciler.embedded.database import Database
from reconciler.embedded.faults import HOST_KINDS
from reconciler.embedded.loopback import AppTransport
from reconciler.embedded.settings import HostSecrets, HostSettings
from reconciler.embedded.upstream import UpstreamApp, UpstreamSettings, create_upstream_app
from reconciler.engine.apply import ApplyOptions, Report, apply, verify
from reconciler.engine.secret_values import SecretReader
from reconciler.engine.workspace import Options, Workspace, open_workspace
from reconciler.gateway.app import open_gateway
from reconciler.gateway.contract import UpstreamFailed, UpstreamRequest
from reconciler.gateway.settings import Settings
from reconciler.manifest import ManifestSet
from reconciler.state.store import Store
from tests.matrix.manifests import ACCOUNTS, manifests
from tests.matrix.virtual import VirtualClock

ADMIN = "canary-gateway-admin-1"
HOSTS = ("east", "west")
HOST_ADMIN = {"east": "admin-" + "ea" * 32, "west": "admin-" + "ab" * 32}
SECRETS = {
    "RECONCILE_SECRET_GATEWAY_ADMIN": ADMIN,
    "RECONCILE_SECRET_KEY_APP": "canary-consumer-key-of-app-1",
    "RECONCILE_SECRET_KEY_BILLING": "canary-consumer-key-of-billing-1",
    **{f"RECONCILE_SECRET_{name.upper()}_ADMIN": key for name, key in HOST_ADMIN.items()},
    **{f"RECONCILE_SECRET_{name.upper()}_ISSUER": f"canary-issuer-password-{name}" for name in HOSTS},
    **{f"RECONCILE_SECRET_UPSTREAM_{name.upper()}": f"canary-upstream-key-{name}" for name in ACCOUNTS},
}
STACK = {
    f"embedded://{name}": f"http://{name}.test"
    for name in ("gateway", *HOSTS, *(f"upstream-{account}" for account in ACCOUNTS))
}
LEASE_S = 1e7
"""Longer than any made-up time that a run takes: the lease is renewed in real time."""

BY_GATEWAY = {"sent_by": "gateway"}
"""Tells a request that the gateway hands on from one that the engine sends to a host itself."""

Alter = Callable[[httpx.Request, httpx.Response], Awaitable[httpx.Response]]


@dataclass
class Net(httpx.AsyncBaseTransport):
    """The network between engine, gateway and hosts: by host name, with what a test puts in the way."""

    clock: VirtualClock
    apps: dict[str, ASGIApp] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    """Host names that refuse connections."""
    alter: list[Alter] = field(default_factory=list)
    """Each sees every answer, and may put another one in its place."""
    before: list[Callable[[httpx.Request], Awaitable[None]]] = field(default_factory=list)
    """Each sees every request first, and may raise."""
    rewrite: list[Callable[[httpx.Request], httpx.Request]] = field(default_factory=list)
    """Each may put another request in the place of one of the engine's own: the far side then really acts by it."""

    def __post_init__(self) -> None:
        self._inner = AppTransport(self.apps)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        for look in self.before:
            await look(request)
        for change in self.rewrite if request.extensions.get("sent_by") != BY_GATEWAY["sent_by"] else ():
            request = change(request)
        if request.url.host in self.down:
            raise httpx.ConnectError("connection refused", request=request)
        self.clock.busy += 1
        try:
            answer = await self._inner.handle_async_request(request)
            body = await answer.aread()
        finally:
            self.clock.busy -= 1
        whole = httpx.Response(answer.status_code, headers=answer.headers.raw, content=body, request=request)
        for alter in self.alter:
            whole = await alter(request, whole)
        return whole

    async def aclose(self) -> None:
        """Stay open: every client of a run shares it."""

    async def stop(self) -> None:
        await self._inner.aclose()


class Gatewards:
    """Keeps `gateway.contract.UpstreamClient` over a `Net`: the gateway's way to the hosts."""

    def __init__(self, net: Net) -> None:
        self._net = net

    async def send(self, request: UpstreamRequest) -> WholeResponse:
        asked = httpx.Request(
            request.method, request.origin.rstrip("/") + request.path, headers=list(request.headers),
            content=request.body, extensions=BY_GATEWAY,
        )  # fmt: skip
        try:
            return WholeResponse(await self._net.handle_async_request(asked))
        except httpx.ConnectError as error:
            raise UpstreamFailed("refused", sent=False) from error
        except httpx.HTTPError as error:
            raise UpstreamFailed("reset", sent=True) from error

    async def aclose(self) -> None:
        """Nothing is open."""


class WholeResponse:
    """Keeps `gateway.contract.UpstreamResponse` for an answer that is already there."""

    def __init__(self, answer: httpx.Response) -> None:
        self.status = answer.status_code
        self.headers: Sequence[tuple[bytes, bytes]] = [
            (name.lower(), value) for name, value in answer.headers.raw
        ]
        self._body = answer.content

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._body

    async def read(self, limit: int) -> bytes:
        if len(self._body) > limit:
            raise UpstreamFailed("too-large", sent=True)
        return self._body

    async def aclose(self) -> None:
        """Nothing is open."""


@dataclass
class World:
    """Everything at once. `hosts` and `upstreams` are the apps themselves, for faults and a look behind the curtain."""

    folder: Path
    clock: VirtualClock
    net: Net
    hosts: dict[str, HostApp]
    upstreams: dict[str, UpstreamApp]
    store: Store
    manifests: ManifestSet

    async def apply(self, options: ApplyOptions | None = None) -> Report:
        async with self.workspace() as workspace:
            return await apply(workspace, options or ApplyOptions())

    async def verify(self) -> Report:
        async with self.workspace() as workspace:
            return await verify(workspace)

    def workspace(self) -> contextlib.AbstractAsyncContextManager[Workspace]:
        options = Options(
            stack=STACK, clock=self.clock, transport=self.net, reader=SecretReader(environ=SECRETS),
            with_secrets=True, lease_s=LEASE_S,
        )  # fmt: skip
        return open_workspace(self.manifests, self.store, options)

    async def admin(self, host: str, method: str, path: str, body: Any = None) -> Any:
        """Call a host's admin API as an operator's hand would; it must succeed."""
        url = f"http://{host}.test/api/v1/admin{path}"
        return (await self._call(method, url, body, {"x-api-key": HOST_ADMIN[host]}))["data"]

    async def gateway(self, method: str, path: str, body: Any = None) -> Any:
        """Call the control API as an operator's hand would; it must succeed."""
        url = f"http://gateway.test/api/v1{path}"
        return await self._call(method, url, body, {"authorization": f"Bearer {ADMIN}"})

    async def _call(self, method: str, url: str, body: Any, headers: dict[str, str]) -> Any:
        async with httpx.AsyncClient(transport=AppTransport(self.net.apps)) as client:
            answer = await client.request(method, url, json=body, headers=headers)
        assert answer.is_success, f"{method} {url}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def rows(self, host: str, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.admin(host, "GET", f"{path}?page_size=1000"))["items"]
        return found

    async def account(self, name: str, host: str) -> dict[str, Any]:
        return next(each for each in await self.rows(host, "/accounts") if each["name"] == name)

    async def group(self, name: str, host: str) -> dict[str, Any]:
        return next(each for each in await self.rows(host, "/groups") if each["name"] == name)

    def faults(self, host: str, *faults: dict[str, Any]) -> None:
        """Order faults of a host, beside those already ordered."""
        book = self.hosts[host].host.faults
        known = [
            {name: value for name, value in each.shown().items() if name != "hits"} for each in book.faults
        ]
        book.replace({"faults": [*known, *faults]}, HOST_KINDS)


@contextlib.asynccontextmanager
async def opened(
    folder: Path, clock: VirtualClock, wanted: ManifestSet | None = None, **delays_s: float
) -> AsyncIterator[World]:
    """Run a world on the files of `folder`; empty means an empty world. `delays_s` are hosts' settings."""
    net = Net(clock)
    upstreams = {
        name: create_upstream_app(
            UpstreamSettings((SECRETS[f"RECONCILE_SECRET_UPSTREAM_{name.upper()}"],), name=name), clock.embedded
        )
        for name in ACCOUNTS
    }  # fmt: skip
    net.apps.update({f"upstream-{name}.test": app for name, app in upstreams.items()})
    hosts = {name: _host(name, folder, clock, net, delays_s) for name in HOSTS}
    net.apps.update({f"{name}.test": app for name, app in hosts.items()})
    settings = Settings(folder / "gateway", _tokens(folder), replica="gateway-1")
    async with contextlib.AsyncExitStack() as stack:
        for app in hosts.values():
            stack.push_async_callback(app.host.close)
        stack.push_async_callback(net.stop)
        gateway = await stack.enter_async_context(
            open_gateway(settings, now=clock.now, clock=clock.timestamp, upstream=Gatewards(net))
        )
        net.apps["gateway.test"] = gateway
        store = stack.enter_context(Store.open(f"sqlite:///{folder}/state.db", now=clock.now))
        yield World(folder, clock, net, hosts, upstreams, store, wanted or manifests())


def _tokens(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    tokens = folder / "tokens"
    tokens.write_text(f"admin {ADMIN}\n")
    tokens.chmod(0o600)
    return tokens


def _host(name: str, folder: Path, clock: VirtualClock, net: Net, delays_s: Mapping[str, float]) -> HostApp:
    delays = {"usage_delay_s": 0.0, "membership_delay_s": 0.0, "ops_delay_s": 0.0, **delays_s}
    return create_host_app(
        Database(folder / f"{name}.db"),
        HostSettings(
            name=name,
            usage_delay_s=delays["usage_delay_s"],
            membership_delay_s=delays["membership_delay_s"],
            ops_delay_s=delays["ops_delay_s"],
            logins_per_minute=0,
            probe_responses=False,
        ),
        clock.embedded,
        secrets=HostSecrets(admin_api_key=HOST_ADMIN[name], jwt_secret="canary-jwt-secret-" + "j" * 32),
        upstream=AppTransport(net.apps),
    )


def copied(template: Path, folder: Path) -> Path:
    """Return a copy of a world's files, to be opened in its place."""
    shutil.copytree(template, folder)
    return folder
