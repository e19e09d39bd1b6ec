"""ShadowGroups, and the temporary groups of ours (`Quarantine`), as sub2api groups. The marker is in `description`."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from reconciler.errors import NotFound
from reconciler.hosts.contract import Refs, Secrets
from reconciler.hosts.sub2api import normal
from reconciler.hosts.sub2api.api import Api, make_once, settled
from reconciler.hosts.sub2api.names import QUARANTINE, GroupNames, foreign, stamped
from reconciler.hosts.sub2api.settings import GROUP_SETTINGS, LIMIT_FIELDS
from reconciler.hosts.sub2api.shape import Json, identity, shape, text
from reconciler.hosts.sub2api.survey import Survey
from reconciler.plan.model import DesiredObject, Marker, ObservedObject


class Groups:
    def __init__(self, api: Api, names: GroupNames, survey: Survey) -> None:
        self._api = api
        self.names = names
        self._survey = survey

    async def all(self) -> list[ObservedObject]:
        """Return every group; afterwards the names of exactly these are known."""
        rows = await self._api.all("/groups")
        self.names.clear()
        return [self.observed(raw) for raw in rows]

    async def get(self, object_id: str) -> ObservedObject | None:
        raw = await self._api.one(f"/groups/{object_id}")
        if raw is None:
            self.names.forget(object_id)
            return None
        return self.observed(raw)

    async def know(self, group_ids: Iterable[str]) -> None:
        """Learn the names of groups that nobody has read yet; what is gone stays unknown."""
        for group_id in group_ids:
            if not self.names.knows(group_id):
                await self.get(group_id)

    def observed(self, raw: Json) -> ObservedObject:
        with shape("a group", self._api.where):
            marker = Marker.parse(text(raw, "description"))
            group_id = identity(raw)
            self.names.learn(group_id, marker)
            return ObservedObject(
                kind=QUARANTINE if marker is not None and marker.kind == QUARANTINE else "ShadowGroup",
                object_id=group_id,
                host_name=text(raw, "name"),
                fields=normal.group_fields(raw),
                marker=marker,
                runtime={"accounts": int(raw.get("account_count") or 0), "foreignChannel": None},
            )

    async def create(
        self, desired: DesiredObject, marker: Marker, secrets: Secrets, refs: Refs
    ) -> ObservedObject:
        body = {**self._body(desired), "description": str(marker)}
        # A create has no status (always active), and no group to fall back on is said by leaving the field out.
        body.pop("status")
        body.pop("fallback_group_id", None)

        async def post() -> ObservedObject:
            made = self._api.record(await self._api.post("/groups", body), "a new group")
            # The answer to a write echoes what was sent; only a read shows what was stored. A temporary group is
            # never compared with anything: what matters of it is the id.
            return self.observed(made) if marker.kind == QUARANTINE else await self._read(made["id"])

        free = self._survey.is_free("ShadowGroup", desired.fields["name"])
        found, existed = await make_once(lambda: self._look(desired, marker), post, free=free)
        if existed and found.fields != desired.fields:
            return await self.update(found.object_id, desired, marker, secrets, refs)
        return found

    async def _look(self, desired: DesiredObject, marker: Marker) -> ObservedObject | None:
        """Return our group of this name; None when the name is free. Raises Conflict when somebody else has it."""
        name = desired.fields["name"]
        items, _, _ = await self._api.page("/groups", search=name)
        for item in (self.observed(raw) for raw in items if raw.get("name") == name):
            if item.marker != marker:
                raise foreign(f"group {name!r}", item.object_id, self._api.where)
            return item
        return None

    async def update(
        self, object_id: str, desired: DesiredObject, marker: Marker, secrets: Secrets, refs: Refs
    ) -> ObservedObject:
        current = await self._api.get(f"/groups/{object_id}")
        with shape("a group", self._api.where):
            description = stamped(text(current, "description"), marker)
        body = {**self._body(desired), "description": description}
        await settled(lambda: self._api.put(f"/groups/{object_id}", body))
        return await self._read(object_id)

    async def _read(self, object_id: str) -> ObservedObject:
        return self.observed(self._api.record(await self._api.get(f"/groups/{object_id}"), "a group"))

    @staticmethod
    def _body(desired: DesiredObject) -> Json:
        """Return all fields that we own; a limit that is left out means none, also when it was set before."""
        fields: dict[str, Any] = {name: desired.fields[name] for name in ("name", "platform", "status")}
        settings = desired.fields["settings"]
        for setting in GROUP_SETTINGS:
            value = setting.write(settings[setting.name])
            if value is not None or setting.host not in LIMIT_FIELDS:
                fields[setting.host] = value
        return fields

    async def delete(self, object_id: str) -> None:
        """Soft-delete the group. The host keeps it in its channel's list, so ours is told first."""
        await self._leave_channels(int(object_id))
        await self.delete_bare(object_id)

    async def delete_bare(self, object_id: str) -> None:
        """Soft-delete a group that is in no channel."""
        with suppress(NotFound):
            await self._api.delete(f"/groups/{object_id}")
        self.names.forget(object_id)

    async def _leave_channels(self, group_id: int) -> None:
        for raw in await self._api.all("/channels"):
            with shape("a channel", self._api.where):
                listed = list(raw.get("group_ids") or [])
                ours = Marker.parse(text(raw, "description"))
            if group_id in listed and self.names.is_ours(ours):
                rest = [other for other in listed if other != group_id]
                await self._api.put(f"/channels/{raw['id']}", {"group_ids": rest})


class TemporaryGroups:
    """Our temporary groups: groups that no channel ever lists, so that none has to be told when they go."""

    def __init__(self, groups: Groups) -> None:
        self.get = groups.get
        self.create = groups.create
        self.update = groups.update
        self.delete = groups.delete_bare
