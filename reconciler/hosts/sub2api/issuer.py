"""The KeyIssuer: the host's service user, who owns the keys that the gateway uses. The marker is in `notes`.

The admin key cannot make, change or delete keys; only their owner can, so the driver logs in as the service user.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from reconciler.errors import Blocked, InvalidInput, NotFound, Unauthorized
from reconciler.hosts.contract import Refs, Secrets
from reconciler.hosts.sub2api import normal
from reconciler.hosts.sub2api.api import PREFIX, Api, make_once, settled
from reconciler.hosts.sub2api.names import foreign, stamped
from reconciler.hosts.sub2api.shape import Json, identity, mapping, shape, text
from reconciler.manifest.shadow_host import KeyIssuer as IssuerSpec
from reconciler.plan.model import DesiredObject, Marker, ObservedObject


class Issuer:
    def __init__(self, api: Api, spec: IssuerSpec | None, password: str | None, mark: str) -> None:
        """`mark` is the user's marker without its fingerprint."""
        self._api = api
        self._mark = mark
        self._spec = spec
        self._password = password
        self._token: str | None = None
        self._login_lock = asyncio.Lock()
        if password:
            api.transport.scrubber.learn(password)

    @property
    def can_log_in(self) -> bool:
        """True when the service user and its password are known; neither need be right."""
        return self._spec is not None and self._password is not None

    async def find(self) -> ObservedObject | None:
        """Return the service user: who has the e-mail address, else who carries our marker; None when nobody does."""
        if self._spec is None:
            return None
        email = self._spec.email.lower()
        for user in await self._search(email):
            if user.fields["name"] == email:
                return user
        # A user of ours whose address was changed, in the manifest or by hand, still owns the keys.
        marked = [user for user in await self._search(self._mark) if user.marker is not None]
        return next((user for user in marked if str(user.marker).startswith(f"{self._mark}:")), None)

    async def _search(self, words: str) -> list[ObservedObject]:
        rows = await self._api.all("/users", search=words, include_subscriptions="false")
        return [self.observed(raw) for raw in rows]

    async def get(self, object_id: str) -> ObservedObject | None:
        raw = await self._api.one(f"/users/{object_id}")
        return None if raw is None else self.observed(raw)

    def observed(self, raw: Json) -> ObservedObject:
        spec = self._require()
        with shape("a user", self._api.where):
            return ObservedObject(
                kind="KeyIssuer",
                object_id=identity(raw),
                host_name=text(raw, "email").lower(),
                fields=normal.issuer_fields(raw, spec.balance_floor),
                marker=Marker.parse(text(raw, "notes")),
                runtime={"balanceUsd": float(raw["balance"])},
            )

    def _require(self) -> IssuerSpec:
        if self._spec is None:
            raise InvalidInput(
                f"{self._api.where}: keys cannot be made without a key issuer",
                hint="Give the ShadowHost a spec.keyIssuer.",
            )
        return self._spec

    async def create(
        self, desired: DesiredObject, marker: Marker, secrets: Secrets, refs: Refs
    ) -> ObservedObject:
        """Make the service user, with no balance: topping up is a step of its own, under a daily ceiling."""
        password = self._take_password(secrets)
        if password is None:
            raise InvalidInput(f"{self._api.where}: the key issuer has no password")
        body = {
            "email": desired.fields["name"],
            "password": password,
            "username": desired.key.name,
            "notes": str(marker),
            "role": desired.fields["role"],
            "concurrency": desired.fields["concurrency"],
            "balance": 0,
        }

        async def post() -> ObservedObject:
            return self.observed(self._api.record(await self._api.post("/users", body), "a new user"))

        found, existed = await make_once(lambda: self._look(marker), post)
        return await self.update(found.object_id, desired, marker, secrets, refs) if existed else found

    async def _look(self, marker: Marker) -> ObservedObject | None:
        found = await self.find()
        if found is None:
            return None
        mark = found.marker
        if mark is None or not mark.names(marker.installation, marker.kind, marker.name):
            raise foreign(f"user {found.host_name!r}", found.object_id, self._api.where)
        return found

    async def update(
        self, object_id: str, desired: DesiredObject, marker: Marker, secrets: Secrets, refs: Refs
    ) -> ObservedObject:
        raw = self._api.record(await self._api.get(f"/users/{object_id}"), "a user")
        fields = desired.fields
        body: dict[str, Any] = {name: fields[name] for name in ("status", "role", "concurrency")}
        with shape("a user", self._api.where):
            body["notes"] = stamped(text(raw, "notes"), marker)
            if text(raw, "email").lower() != fields["name"]:
                body["email"] = fields["name"]
        if "password" in secrets.values:
            body["password"] = self._take_password(secrets)
            self._token = None
        data = await settled(lambda: self._api.put(f"/users/{object_id}", body))
        return self.observed(self._api.record(data, "an updated user"))

    def _take_password(self, secrets: Secrets) -> str | None:
        if "password" in secrets.values:
            self._password = secrets.values["password"]
            self._api.transport.scrubber.learn(self._password)
        return self._password

    async def delete(self, object_id: str) -> None:
        self._token = None
        with suppress(NotFound):
            await self._api.delete(f"/users/{object_id}")

    async def balance(self) -> float | None:
        found = await self.find()
        return None if found is None else float(found.runtime["balanceUsd"])

    async def top_up(self, amount_usd: float, *, idempotency_key: str) -> float:
        """Add to the balance. A user's PUT accepts a balance and ignores it; only this endpoint counts."""
        found = await self.find()
        if found is None:
            raise NotFound("the key issuer does not exist yet", where=self._api.where)
        body = {"balance": amount_usd, "operation": "add", "notes": "reconcile: balance floor"}
        data = await self._api.post(f"/users/{found.object_id}/balance", body, once=idempotency_key)
        with shape("a topped-up user", self._api.where):
            return float(data["balance"])

    async def allow(self, group_id: str) -> None:
        """Let the service user into an exclusive group, keeping those it was let into before."""
        found = await self.find()
        if found is None:
            raise NotFound("the key issuer does not exist yet", where=self._api.where)
        raw = self._api.record(await self._api.get(f"/users/{found.object_id}"), "a user")
        allowed = [*(raw.get("allowed_groups") or [])]
        if int(group_id) not in allowed:
            await self._api.put(f"/users/{found.object_id}", {"allowed_groups": [*allowed, int(group_id)]})

    async def call(self, method: str, path: str, *, once: str | None = None, **parts: Any) -> Any:
        """Call an endpoint of the user API as the service user; logs in again once when the token is no good."""
        for fresh in (False, True):
            token = await self._login(renew=fresh)
            headers = {"Authorization": f"Bearer {token}", **({"Idempotency-Key": once} if once else {})}
            try:
                return await self._api.call(method, PREFIX + path, headers=headers, **parts)
            except Unauthorized as error:
                if fresh or error.status != 401:
                    raise
        raise AssertionError("the second attempt returns or raises")

    async def _login(self, *, renew: bool) -> str:
        used = self._token
        async with self._login_lock:
            # Somebody else may have logged in while this one waited: logins are limited to 20 a minute.
            if self._token is None or (renew and self._token == used):
                self._token = await self._new_token()
            return self._token

    async def _new_token(self) -> str:
        spec = self._require()
        if self._password is None:
            raise InvalidInput(f"{self._api.where}: the key issuer's password was not given")
        body = {"email": spec.email, "password": self._password}
        data = await self._api.call("POST", f"{PREFIX}/auth/login", body=body)
        with shape("a login", self._api.where):
            if mapping(data, "user").get("id") is None and data.get("requires_2fa"):
                raise Blocked(
                    "the key issuer's login wants a second factor",
                    where=self._api.where,
                    hint="Switch two-factor authentication off for this user.",
                )
            token = str(data["access_token"])
        self._api.transport.scrubber.learn(token)
        await self._refuse_simple_mode(token)
        return token

    async def _refuse_simple_mode(self, token: str) -> None:
        """In simple mode the host ignores groups when it schedules: nothing could be proved there."""
        headers = {"Authorization": f"Bearer {token}"}
        data = await self._api.call("GET", f"{PREFIX}/auth/me", headers=headers)
        if isinstance(data, dict) and data.get("run_mode") == "simple":
            raise Blocked(
                "the host runs in simple mode, where groups do not route",
                where=self._api.where,
                reason="SIMPLE_MODE",
                hint="Start sub2api with RUN_MODE=standard.",
            )
