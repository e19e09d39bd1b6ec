"""The sub2api driver: the host contract, put together from the host's objects. Each object has its own file."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol

import httpx

from reconciler.errors import Conflict, RemoteError
from reconciler.hosts.contract import (
    AccountMarks,
    Capabilities,
    ErrorRow,
    Gate,
    HostDriver,
    HostStatus,
    NormalizeContext,
    Refs,
    Secrets,
    UsageRow,
)
from reconciler.hosts.sub2api import normal, usage
from reconciler.hosts.sub2api.accounts import Accounts
from reconciler.hosts.sub2api.api import PAGE_SIZE, PREFIX, Api, Sub2apiDialect
from reconciler.hosts.sub2api.channels import Channels
from reconciler.hosts.sub2api.groups import Groups, TemporaryGroups
from reconciler.hosts.sub2api.issuer import Issuer
from reconciler.hosts.sub2api.keys import Keys
from reconciler.hosts.sub2api.names import GroupNames
from reconciler.hosts.sub2api.settings import SETTINGS_SCHEMAS
from reconciler.hosts.sub2api.shape import Json, shape, text
from reconciler.hosts.sub2api.survey import Survey
from reconciler.manifest import GatewayKey, ProviderAccount, ShadowGroup, ShadowHost
from reconciler.plan.model import DesiredObject, Marker, ObservedObject
from reconciler.remote.budget import Clock, Sleep
from reconciler.remote.transport import Transport

VERIFIED_VERSION = (0, 1, 179)
"""The oldest version that the driver was held against."""


class HostObjects(Protocol):
    """What the driver asks of each kind's file."""

    async def get(self, object_id: str) -> ObservedObject | None: ...

    async def create(
        self, desired: DesiredObject, marker: Marker, secrets: Secrets, refs: Refs
    ) -> ObservedObject: ...

    async def update(
        self, object_id: str, desired: DesiredObject, marker: Marker, secrets: Secrets, refs: Refs
    ) -> ObservedObject: ...

    async def delete(self, object_id: str) -> None: ...


class Sub2apiDriver(HostDriver):
    """One sub2api server. `fingerprint` is the installation's keyed fingerprint: key values never leave, it does.

    Endpoints are base URLs without `/api/v1`. `issuer_password` is needed only to make, change or delete keys.
    """

    NAME: ClassVar[str] = "sub2api"
    CAPABILITIES: ClassVar[Capabilities] = Capabilities(
        best_grade="exact",
        correlation_header=usage.CORRELATION_HEADER,
        kinds=frozenset({"ShadowGroup", "ProviderAccount", "GatewayKey", "KeyIssuer", "Channel"}),
        platforms=frozenset({"openai", "anthropic", "gemini"}),
        membership_delay_s=2.0,
        usage_delay_s=0.2,
        rest_s=46.0,
    )
    SETTINGS_SCHEMAS: ClassVar[Mapping[str, Mapping[str, Any]]] = SETTINGS_SCHEMAS

    def __init__(
        self,
        host: ShadowHost,
        *,
        admin_endpoint: str,
        data_endpoint: str,
        admin_key: str,
        installation: str,
        fingerprint: Callable[[str], str],
        issuer_password: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
        clock: Clock = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = random.random,
        timeout: httpx.Timeout | None = None,
        page_size: int = PAGE_SIZE,
    ) -> None:
        self.data_endpoint = data_endpoint
        self._transport = Transport(
            admin_endpoint,
            where=f"ShadowHost/{host.name}",
            limits=host.spec.request_budget,
            dialect=Sub2apiDialect(),
            transport=transport,
            sleep=sleep,
            clock=clock,
            now=now,
            jitter=jitter,
            timeout=timeout,
        )
        self._api = Api(self._transport, admin_key, page_size)
        self._installation = installation
        self._names = GroupNames(installation)
        self._survey = Survey()
        self._groups = Groups(self._api, self._names, self._survey)
        self._accounts = Accounts(self._api, self._groups, now, self._survey)
        self._issuer = Issuer(
            self._api,
            host.spec.key_issuer,
            issuer_password,
            f"reconcile:{installation}:KeyIssuer:{host.name}",
        )
        self._keys = Keys(self._api, self._groups, self._issuer, fingerprint, self._survey)
        self._channels = Channels(self._api, self._groups)
        self._usage = usage.Usage(self._api)
        self._kinds: dict[str, HostObjects] = {
            "ShadowGroup": self._groups,
            "Quarantine": TemporaryGroups(self._groups),
            "ProviderAccount": self._accounts,
            "GatewayKey": self._keys,
            "KeyIssuer": self._issuer,
            "Channel": self._channels,
        }

    @property
    def requests_sent(self) -> int:
        return self._transport.counters.requests

    async def check(self) -> HostStatus:
        """Verify gate and credential with a read of the admin API, and tell the version."""
        await self._api.get("/groups", page=1, page_size=1)
        data = await self._api.call("GET", f"{PREFIX}/settings/public")
        with shape("the public settings", self._api.where):
            version = self._transport.scrubber.clean(text(data, "version"))
        return HostStatus(version=version, notes=_version_notes(version))

    async def gate(self) -> Gate | None:
        data = await self._api.get("/compliance")
        with shape("the compliance text", self._api.where):
            if not data["required"]:
                return None
            return Gate(text(data, "version"), text(data, "document_url_en"), text(data, "ack_phrase_en"))

    async def accept_gate(self, gate: Gate) -> None:
        await self._api.post("/compliance/accept", {"phrase": gate.phrase, "language": "en"})

    async def observe(self) -> list[ObservedObject]:
        try:
            found = await self._read_all()
            self._survey.read(found)
            return found
        except* RemoteError as errors:
            first = errors.exceptions[0]
        raise first

    async def _read_all(self) -> list[ObservedObject]:
        """Read everything at once; when one read fails the others are stopped. Raises an ExceptionGroup."""
        async with asyncio.TaskGroup() as reads:
            groups = reads.create_task(self._groups.all())
            accounts = reads.create_task(self._accounts.raw_all())
            channels = reads.create_task(self._channels.raw_all())
            issuer = reads.create_task(self._issuer_with_keys())
        # Everything else names groups, so it is read into shape once they are all known.
        found = [self._accounts.observed(raw) for raw in accounts.result()]
        seen = [self._channels.observed(raw) for raw in channels.result()]
        found += [*seen, *_with_foreign_channels(groups.result(), seen, self._names)]
        user, keys = issuer.result()
        found += [*user, *[self._keys.observed(raw) for raw in keys]]
        return sorted(found, key=lambda item: (item.kind, int(item.object_id)))

    async def _issuer_with_keys(self) -> tuple[list[ObservedObject], list[Json]]:
        user = await self._issuer.find()
        return ([], []) if user is None else ([user], await self._keys.raw_all(user.object_id))

    async def get(self, kind: str, object_id: str) -> ObservedObject | None:
        return await self._kinds[kind].get(object_id)

    def normalize(
        self, desired: ShadowGroup | ProviderAccount | GatewayKey | ShadowHost, context: NormalizeContext
    ) -> list[DesiredObject]:
        return normal.desired(desired, context, self._installation)

    async def create(
        self, desired: DesiredObject, marker: Marker, secrets: Secrets, refs: Refs
    ) -> ObservedObject:
        return await self._kinds[desired.key.kind].create(desired, marker, secrets, refs)

    async def update(
        self, object_id: str, desired: DesiredObject, marker: Marker, secrets: Secrets, refs: Refs
    ) -> ObservedObject:
        return await self._kinds[desired.key.kind].update(object_id, desired, marker, secrets, refs)

    async def delete(self, kind: str, object_id: str, marker: Marker | None) -> None:
        objects = self._kinds[kind]
        if marker is not None:
            found = await objects.get(object_id)
            if found is None:
                return
            if found.marker != marker:
                raise Conflict(
                    f"{kind} {object_id} does not carry our marker; it is left alone",
                    where=self._api.where,
                    reason="MarkerMismatch",
                )
        await objects.delete(object_id)

    async def bind(
        self, account_id: str, group_ids: frozenset[str], *, seen: ObservedObject | None = None
    ) -> ObservedObject:
        return await self._accounts.bind(account_id, group_ids, seen)

    async def usage(self, correlation_id: str) -> list[UsageRow]:
        return await self._usage.of_request(correlation_id)

    async def usage_of_key(self, key_id: str, *, since: datetime, until: datetime) -> list[UsageRow]:
        return await self._usage.of_key(key_id, since=since, until=until)

    async def errors(self, correlation_id: str) -> list[ErrorRow]:
        return await self._usage.errors(correlation_id)

    async def marks(self, account_id: str) -> AccountMarks:
        raw = self._api.record(await self._api.get(f"/accounts/{account_id}"), "an account")
        with shape("an account", self._api.where):
            return self._accounts.marks(raw)

    async def members(self, group_id: str) -> list[ObservedObject]:
        rows = await self._accounts.raw_all(group=group_id)
        return [await self._accounts.observe(raw) for raw in rows]

    def correlation(self, headers: Mapping[str, str], body: bytes) -> str | None:
        return usage.correlation(headers)

    async def issuer_balance(self) -> float | None:
        return await self._issuer.balance()

    async def top_up(self, amount_usd: float, *, idempotency_key: str) -> float:
        return await self._issuer.top_up(amount_usd, idempotency_key=idempotency_key)

    async def close(self) -> None:
        await self._transport.close()


def _with_foreign_channels(
    groups: list[ObservedObject], channels: list[ObservedObject], names: GroupNames
) -> list[ObservedObject]:
    """Return the groups, each telling which channel of somebody else's holds it: it may rename models on the way."""
    holders = {
        name: channel.host_name
        for channel in channels
        if not names.is_ours(channel.marker)
        for name in channel.fields["groups"]
    }
    return [
        replace(group, runtime={**group.runtime, "foreignChannel": holders.get(names.name(group.object_id))})
        for group in groups
    ]


def _version_notes(version: str) -> tuple[str, ...]:
    numbers = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    if numbers is None:
        return (f"sub2api says its version is {version!r}, which cannot be compared",)
    if tuple(int(part) for part in numbers.groups()) < VERIFIED_VERSION:
        return (
            f"sub2api {version} is older than {'.'.join(map(str, VERIFIED_VERSION))}, the oldest verified",
        )
    return ()
