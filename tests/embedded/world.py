"""An embedded host with its upstreams in this process, in made-up time, and short words for what tests do to it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from reconciler.embedded.clock import ManualClock
from reconciler.embedded.database import Database
from reconciler.embedded.host import HostSecrets, HostSettings, create_host_app
from reconciler.embedded.loopback import AppTransport
from reconciler.embedded.upstream import UpstreamSettings, create_upstream_app

ADMIN_KEY = "admin-" + "ab" * 32
PASSWORD = "canary-admin-password-1"
UPSTREAM_KEY = "canary-upstream-key-1"
RAW_CHAT = {"openai_responses_mode": "force_chat_completions"}


class World:
    """A host `http://host.test` with two upstreams, `http://alpha.test` and `http://beta.test`."""

    def __init__(self, settings: HostSettings | None = None, database: Database | None = None) -> None:
        self.clock = ManualClock()
        self.alpha = create_upstream_app(UpstreamSettings((UPSTREAM_KEY,), name="alpha"), self.clock)
        self.beta = create_upstream_app(
            UpstreamSettings((UPSTREAM_KEY,), name="beta", responses=True), self.clock
        )
        self.app = create_host_app(
            database,
            settings or HostSettings(probe_responses=False),
            self.clock,
            secrets=HostSecrets(
                admin_email="admin@example.com", admin_password=PASSWORD, admin_api_key=ADMIN_KEY
            ),
            upstream=AppTransport({"alpha.test": self.alpha, "beta.test": self.beta}),
        )
        self.host = self.app.host
        self.client = httpx.AsyncClient(
            transport=AppTransport({"host.test": self.app}), base_url="http://host.test"
        )
        self._emails = 0

    async def close(self) -> None:
        await self.client.aclose()
        await self.host.close()

    async def settle(self) -> None:
        """Let the host's background work finish."""
        while self.host.runtime.background:
            await asyncio.gather(*self.host.runtime.background)
            await asyncio.sleep(0)

    async def admin(self, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
        """Call the admin API with the admin key."""
        headers = {"x-api-key": ADMIN_KEY} | more.pop("headers", {})
        return await self.client.request(method, f"/api/v1/admin{path}", json=body, headers=headers, **more)

    async def ok(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """Call the admin API and return `data`; the answer must be a success."""
        response = await self.admin(method, path, body, **more)
        assert response.status_code == 200, response.text
        return response.json().get("data")

    async def login(self, email: str, password: str = "canary-password-1") -> str:
        """Return an access token."""
        body = {"email": email, "password": password}
        response = await self.client.post("/api/v1/auth/login", json=body)
        assert response.status_code == 200, response.text
        return str(response.json()["data"]["access_token"])

    async def as_user(
        self, token: str, method: str, path: str, body: Any = None, **more: Any
    ) -> httpx.Response:
        """Call a user route."""
        headers = {"Authorization": f"Bearer {token}"} | more.pop("headers", {})
        return await self.client.request(method, f"/api/v1{path}", json=body, headers=headers, **more)

    async def group(self, name: str = "chat", **fields: Any) -> int:
        body = {"name": name, "platform": "openai", "rate_multiplier": 1, **fields}
        return int((await self.ok("POST", "/groups", body))["id"])

    async def account(self, *group_ids: int, name: str = "one", at: str = "alpha", **fields: Any) -> int:
        """Make an account; `mapping` is its model mapping, `credentials` are laid over."""
        credentials: dict[str, Any] = {"api_key": UPSTREAM_KEY, "base_url": f"http://{at}.test/v1"}
        if (mapping := fields.pop("mapping", None)) is not None:
            credentials["model_mapping"] = mapping
        credentials |= fields.pop("credentials", {})
        body = {
            "name": name,
            "platform": "openai",
            "type": "apikey",
            "credentials": credentials,
            "extra": RAW_CHAT,
            "concurrency": 5,
            "priority": 50,
            "group_ids": list(group_ids),
            **fields,
        }
        return int((await self.ok("POST", "/accounts", body))["id"])

    async def user(self, *, balance: float = 10.0, **fields: Any) -> tuple[int, str]:
        """Make a user; return its id and an access token."""
        self._emails += 1
        email = f"svc{self._emails}@example.com"
        body = {"email": email, "password": "canary-password-1", "balance": balance, **fields}
        made = await self.ok("POST", "/users", body)
        return int(made["id"]), await self.login(email)

    async def key(
        self, group_id: int | None, value: str = "canary-gateway-key-1", **fields: Any
    ) -> tuple[int, str]:
        """Make a user of its own and a key; return the key's id and the user's token."""
        _, token = await self.user()
        body = {"name": "gateway", "custom_key": value, **fields}
        if group_id is not None:
            body["group_id"] = group_id
        response = await self.as_user(token, "POST", "/keys", body)
        assert response.status_code == 200, response.text
        return int(response.json()["data"]["id"]), token

    async def chat(
        self, model: str = "m", text: str = "hi", *, key: str = "canary-gateway-key-1", **fields: Any
    ) -> httpx.Response:
        """Send one chat request."""
        headers = {"Authorization": f"Bearer {key}"} | fields.pop("headers", {})
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        return await self.client.post("/v1/chat/completions", json=body, headers=headers)

    async def row(self, response: httpx.Response) -> dict[str, Any]:
        """Return the one usage row of an answer, once it is readable."""
        self.clock.advance(1)
        rows = await self.rows(response)
        assert len(rows) == 1, rows
        return rows[0]

    async def rows(self, response: httpx.Response) -> list[dict[str, Any]]:
        """Return the usage rows of an answer that are readable now."""
        correlation = response.headers["x-client-request-id"]
        data = await self.ok("GET", "/usage", params={"request_id": f"client:{correlation}"})
        rows: list[dict[str, Any]] = data["items"]
        return rows

    async def served(self, *, mapping: dict[str, str] | None = None, **fields: Any) -> tuple[int, int]:
        """Make a group, an account in it and a key for it; return the ids of group and account."""
        group = await self.group()
        account = await self.account(group, mapping=mapping, **fields)
        await self.key(group)
        return group, account
