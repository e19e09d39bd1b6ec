"""The benches of sub2api: the embedded host in this process, and a live server."""

from __future__ import annotations

import asyncio
import os
from abc import abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from reconciler.embedded.clock import ManualClock
from reconciler.embedded.host import HostSecrets, HostSettings, create_host_app
from reconciler.embedded.upstream import UpstreamSettings, create_upstream_app
from reconciler.hosts.contract import HostDriver
from reconciler.hosts.registry import open_driver
from reconciler.hosts.sub2api import Sub2apiDriver
from tests.hosts.bench import CREDENTIAL, PASSWORD, Bench, fingerprint

ADMIN_KEY = "admin-" + "0123456789abcdef" * 4

_WORDINGS: dict[int, Any] = {
    401: {"code": "INVALID_ADMIN_KEY", "message": "Invalid admin API key"},
    403: {"code": 403, "message": "forbidden", "reason": "GROUP_NOT_ALLOWED"},
    404: {"code": 404, "message": "group not found", "reason": "GROUP_NOT_FOUND"},
    409: {"code": 409, "message": "group name already exists", "reason": "GROUP_EXISTS"},
    423: {
        "code": "ADMIN_COMPLIANCE_ACK_REQUIRED",
        "message": "administrator compliance acknowledgement is required",
        "metadata": {"version": "v2026.06.10"},
    },
    429: {"code": "RATE_LIMITED", "message": "too many requests"},
    500: {"code": 500, "message": "internal error"},
    502: "<html><h1>502 Bad Gateway</h1></html>",
    503: "<html><h1>503 Service Unavailable</h1></html>",
}


@dataclass(frozen=True)
class LiveServer:
    """Where a live sub2api is, from the environment."""

    url: str
    admin_key: str
    upstream: str
    """Base URL of an OpenAI-like upstream that answers every model."""
    failing: str
    """The same for one that fails, with `{status}` in place of how."""

    @classmethod
    def from_environment(cls) -> LiveServer | None:
        """Return the server that the environment names; None when it names none."""
        if "RECONCILE_TEST_SUB2API_URL" not in os.environ:
            return None
        return cls(
            os.environ["RECONCILE_TEST_SUB2API_URL"],
            os.environ["RECONCILE_TEST_SUB2API_ADMIN_KEY"],
            os.environ["RECONCILE_TEST_SUB2API_UPSTREAM"],
            os.environ["RECONCILE_TEST_SUB2API_FAILING_UPSTREAM"],
        )


class Sub2apiBench(Bench):
    """A sub2api, however it is reached."""

    def __init__(self, url: str, admin_key: str, upstream: str, inner: httpx.AsyncBaseTransport) -> None:
        self._admin_key = admin_key
        self._upstream = upstream
        self._hand = httpx.AsyncClient(base_url=url, transport=inner, trust_env=False, timeout=30)
        self._hand_made: list[str] = []
        super().__init__(url, inner)

    def open(self, **parts: Any) -> HostDriver:
        parts = {"issuer_password": PASSWORD, **parts}
        driver: HostDriver
        if "page_size" in parts or "jitter" in parts:
            driver = Sub2apiDriver(self.host, **self._parts(), **parts)
        else:
            driver = open_driver(self.host, **self._parts(), **parts)
        self._opened.append(driver)
        return driver

    def _parts(self) -> Any:
        return {
            "admin_endpoint": self.url,
            "data_endpoint": self.url,
            "admin_key": self._admin_key,
            "installation": self.installation,
            "fingerprint": fingerprint,
            "transport": self.faults,
            "sleep": self.time.sleep,
            "clock": self.time.clock,
            "now": self.now,
        }

    @abstractmethod
    def failing_upstream(self, status: int) -> str:
        """Return the base URL of an upstream that answers everything with a status."""

    @abstractmethod
    def now(self) -> datetime:
        """Return the time on the host."""

    def wording(self, status: int) -> Any:
        return _WORDINGS[status]

    async def by_hand(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"x-api-key": self._admin_key}
        response = await self._hand.request(method, f"/api/v1/admin{path}", json=body, headers=headers)
        assert response.status_code < 300, response.text
        return response.json().get("data")

    async def foreign_group(self, name: str) -> str:
        body = {"name": name, "platform": "openai", "rate_multiplier": 1, "description": "made by hand"}
        made = await self.by_hand("POST", "/groups", body)
        self._hand_made.append(f"/groups/{made['id']}")
        return str(made["id"])

    async def foreign_account(self, name: str, groups: list[str]) -> str:
        body = {
            "name": name,
            "platform": "openai",
            "type": "apikey",
            "credentials": {"api_key": "canary-foreign-key-1", "base_url": self.upstream},
            "concurrency": 1,
            "priority": 1,
            "group_ids": [int(group) for group in groups],
        }
        made = await self.by_hand("POST", "/accounts", body)
        self._hand_made.append(f"/accounts/{made['id']}")
        return str(made["id"])

    async def hand_made(self, path: str, body: Any) -> str:
        """POST by hand; what came of it is taken away at the end."""
        made = await self.by_hand("POST", path, body)
        self._hand_made.append(f"{path}/{made['id']}")
        return str(made["id"])

    async def ask(self, key: str, model: str, content: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"}
        body = {"model": model, "messages": [{"role": "user", "content": content}]}
        return await self._hand.post("/v1/chat/completions", json=body, headers=headers)

    @property
    def upstream(self) -> str:
        return self._upstream

    async def close(self) -> None:
        await self.take_away()
        for path in reversed(self._hand_made):
            await self._hand.delete(f"/api/v1/admin{path}", headers={"x-api-key": self._admin_key})
        await self._hand.aclose()


class Upstreams(httpx.AsyncBaseTransport):
    """The upstream app for every host name, except those that are told to fail."""

    def __init__(self, app: Any) -> None:
        self._app = httpx.ASGITransport(app)
        self.failing: dict[str, int] = {}
        """Host name -> status that it answers everything with."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if (status := self.failing.get(request.url.host)) is not None:
            return httpx.Response(
                status, json={"error": {"message": f"upstream says {status}"}}, request=request
            )
        return await self._app.handle_async_request(request)


class EmbeddedBench(Sub2apiBench):
    """The embedded host, in this process and in made-up time."""

    def __init__(self, **settings: Any) -> None:
        self.host_clock = ManualClock()
        upstream = create_upstream_app(
            UpstreamSettings(keys=(CREDENTIAL, "canary-upstream-key-2", "canary-foreign-key-1")),
            self.host_clock,
        )
        self.upstreams = Upstreams(upstream)
        self.app = create_host_app(
            settings=HostSettings(probe_responses=False, **settings),
            clock=self.host_clock,
            secrets=HostSecrets(admin_api_key=ADMIN_KEY),
            upstream=self.upstreams,
        )
        super().__init__(
            "http://embedded.test", ADMIN_KEY, "http://upstream.test/v1", httpx.ASGITransport(self.app)
        )

    async def pass_time(self, seconds: float) -> None:
        self.host_clock.advance(seconds)

    def failing_upstream(self, status: int) -> str:
        name = f"answers-{status}.test"
        self.upstreams.failing[name] = status
        return f"http://{name}/v1"

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.host_clock.now(), UTC)

    async def close(self) -> None:
        await self.take_away()
        await self._hand.aclose()
        await self.app.host.close()


class LiveBench(Sub2apiBench):
    """A running sub2api, shared with other tests."""

    def __init__(self, server: LiveServer) -> None:
        self._failing = server.failing
        super().__init__(
            server.url, server.admin_key, server.upstream, PatientLogin(httpx.AsyncHTTPTransport())
        )

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def failing_upstream(self, status: int) -> str:
        return self._failing.format(status=status)

    def now(self) -> datetime:
        return datetime.now(UTC)


class PatientLogin(httpx.AsyncBaseTransport):
    """Waits out the server's limit of 20 logins a minute, which every test's own service user runs into."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        for _ in range(30):
            response = await self._inner.handle_async_request(request)
            if response.status_code != 429 or not request.url.path.endswith("/auth/login"):
                return response
            await response.aread()
            await response.aclose()
            await asyncio.sleep(2)
        raise httpx.ReadTimeout("logins stay limited", request=request)

    async def aclose(self) -> None:
        await self._inner.aclose()
