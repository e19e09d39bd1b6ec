"""Channels: prices and restriction for one ShadowGroup, and never a model mapping. The marker is in `description`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from reconciler.errors import NotFound
from reconciler.hosts.contract import Refs, Secrets
from reconciler.hosts.sub2api import normal
from reconciler.hosts.sub2api.api import Api, make_once, settled
from reconciler.hosts.sub2api.groups import Groups
from reconciler.hosts.sub2api.names import foreign, group_id, stamped
from reconciler.hosts.sub2api.settings import PRICES
from reconciler.hosts.sub2api.shape import Json, identity, shape, text
from reconciler.plan.model import DesiredObject, Fields, Marker, ObservedObject


class Channels:
    def __init__(self, api: Api, groups: Groups) -> None:
        self._api = api
        self._groups = groups
        self._names = groups.names

    async def raw_all(self) -> list[Json]:
        return await self._api.all("/channels")

    async def get(self, object_id: str) -> ObservedObject | None:
        raw = await self._api.one(f"/channels/{object_id}")
        return None if raw is None else await self.observe(raw)

    async def observe(self, raw: Json) -> ObservedObject:
        """Return a channel in canonical form, asking for the groups that it lists and nobody has read yet."""
        with shape("a channel", self._api.where):
            groups = normal.listed_groups(raw)
        await self._groups.know(groups)
        return self.observed(raw)

    def observed(self, raw: Json) -> ObservedObject:
        with shape("a channel", self._api.where):
            listed = normal.listed_groups(raw)
            return ObservedObject(
                kind="Channel",
                object_id=identity(raw),
                host_name=text(raw, "name"),
                fields=normal.channel_fields(raw, self._names),
                marker=Marker.parse(text(raw, "description")),
                runtime={"deadGroups": [found for found in listed if not self._names.knows(found)]},
            )

    async def create(
        self, desired: DesiredObject, marker: Marker, secrets: Secrets, refs: Refs
    ) -> ObservedObject:
        body = {**_body(desired.fields, refs), "description": str(marker)}
        body.pop("status")

        async def post() -> ObservedObject:
            made = self._api.record(await self._api.post("/channels", body), "a new channel")
            return await self._read(made["id"])

        found, existed = await make_once(lambda: self._look(desired, marker), post)
        return await self.update(found.object_id, desired, marker, secrets, refs) if existed else found

    async def _look(self, desired: DesiredObject, marker: Marker) -> ObservedObject | None:
        name = desired.fields["name"]
        items, _, _ = await self._api.page("/channels", search=name)
        for item in [await self.observe(raw) for raw in items if raw.get("name") == name]:
            if item.marker != marker:
                raise foreign(f"channel {name!r}", item.object_id, self._api.where)
            return item
        return None

    async def update(
        self, object_id: str, desired: DesiredObject, marker: Marker, secrets: Secrets, refs: Refs
    ) -> ObservedObject:
        raw = self._api.record(await self._api.get(f"/channels/{object_id}"), "a channel")
        with shape("a channel", self._api.where):
            description = stamped(text(raw, "description"), marker)
        body = {**_body(desired.fields, refs), "description": description}
        await settled(lambda: self._api.put(f"/channels/{object_id}", body))
        return await self._read(object_id)

    async def _read(self, object_id: str) -> ObservedObject:
        return await self.observe(
            self._api.record(await self._api.get(f"/channels/{object_id}"), "a channel")
        )

    async def delete(self, object_id: str) -> None:
        with suppress(NotFound):
            await self._api.delete(f"/channels/{object_id}")


def _body(fields: Fields, refs: Refs) -> Json:
    """Return every field that we own; in a PUT, null would keep what is there and {} or [] clears it."""
    return {
        "name": fields["name"],
        "status": fields["status"],
        "group_ids": sorted(int(group_id(name, refs)) for name in fields["groups"]),
        "restrict_models": fields["restrictModels"],
        "billing_model_source": fields["billingModelSource"],
        "model_pricing": [_price(entry) for entry in fields["pricing"]],
        "model_mapping": fields["modelMapping"],
    }


def _price(entry: Fields) -> Json:
    """Return one pricing entry; its platform is always sent, for left out it becomes anthropic."""
    priced: dict[str, Any] = {host: entry[name] for name, host in PRICES.items() if name in entry}
    named = {"platform": entry["platform"], "models": entry["models"], "billing_mode": entry["billingMode"]}
    return {**named, **priced}
