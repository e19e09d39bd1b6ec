"""GatewayKeys as sub2api API keys of the service user. The marker is the first word of the key's name.

The host shows keys in plain text in every answer; here they are turned into a keyed fingerprint at once.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from reconciler.errors import Conflict, InvalidInput, NotFound, Unauthorized
from reconciler.hosts.contract import Refs, Secrets
from reconciler.hosts.sub2api import normal
from reconciler.hosts.sub2api.api import Api, make_once, settled
from reconciler.hosts.sub2api.groups import Groups
from reconciler.hosts.sub2api.issuer import Issuer
from reconciler.hosts.sub2api.names import QUARANTINE, group_id, key_name, key_version
from reconciler.hosts.sub2api.shape import Json, identity, objects, optional_identity, shape, text
from reconciler.hosts.sub2api.survey import Survey
from reconciler.plan.model import DesiredObject, Marker, ObservedObject

_VALUE = re.compile(r"[A-Za-z0-9_-]{16,128}")
"""What the host takes as `custom_key`. Source: internal/service/api_key_service.go, ValidateCustomKey."""


class Keys:
    def __init__(
        self, api: Api, groups: Groups, issuer: Issuer, fingerprint: Callable[[str], str], survey: Survey
    ) -> None:
        self._api = api
        self._groups = groups
        self._issuer = issuer
        self._fingerprint = fingerprint
        self._survey = survey

    async def raw_all(self, user_id: str) -> list[Json]:
        """Return the rows of the service user's keys; they hold the keys in plain text."""
        return await self._api.all(f"/users/{user_id}/api-keys")

    async def get(self, object_id: str) -> ObservedObject | None:
        """Return one key of the service user; asked for by id when we can log in, else looked for among all."""
        if self._issuer.can_log_in:
            try:
                data = await self._issuer.call("GET", f"/keys/{object_id}")
            except NotFound:
                return None
            except Unauthorized:
                # The user is gone, or has another password by now; the list needs neither.
                pass
            else:
                return await self.observe(self._api.record(data, "a key"))
        return await self._listed(object_id)

    async def _listed(self, object_id: str) -> ObservedObject | None:
        user = await self._issuer.find()
        rows = [] if user is None else await self.raw_all(user.object_id)
        found = next((raw for raw in rows if str(raw["id"]) == object_id), None)
        return None if found is None else await self.observe(found)

    async def observe(self, raw: Json) -> ObservedObject:
        """Return a key in canonical form, asking for its group when nobody has read it yet."""
        with shape("a key", self._api.where):
            group = optional_identity(raw, "group_id")
        await self._groups.know([group] if group is not None else [])
        return self.observed(raw)

    def observed(self, raw: Json) -> ObservedObject:
        with shape("a key", self._api.where):
            name, value = text(raw, "name"), text(raw, "key")
            self._api.transport.scrubber.learn(value)
            marker = Marker.parse(name)
            version = key_version(name) if marker is not None else None
            return ObservedObject(
                kind="GatewayKey",
                object_id=identity(raw),
                host_name=name,
                fields=normal.key_fields(raw, self._groups.names, version),
                marker=marker,
                runtime={"status": text(raw, "status"), "fingerprint": self._fingerprint(value)},
            )

    async def create(
        self, desired: DesiredObject, marker: Marker, secrets: Secrets, refs: Refs
    ) -> ObservedObject:
        """Make the key with the value given, so that it can be made again and does not depend on the answer."""
        value = self._value(secrets)
        body = {
            "name": key_name(marker, desired.fields["version"]),
            "group_id": int(group_id(desired.fields["group"], refs)),
            "custom_key": value,
        }
        once = uuid.uuid4().hex

        async def post() -> ObservedObject:
            data = await self._post_allowed(body, once)
            made = self._api.record(data, "a new key")
            if marker.kind == QUARANTINE:
                # Nothing is compared with a temporary key, so what the answer tells of it is enough.
                return await self.observe(made)
            data = await self._issuer.call("GET", f"/keys/{made['id']}")
            return await self.observe(self._api.record(data, "a key"))

        free = self._survey.is_free("GatewayKey", str(marker))
        found, _ = await make_once(lambda: self._look(marker), post, free=free)
        if found.runtime["fingerprint"] != self._fingerprint(value):
            raise Conflict(
                f"key {found.object_id} carries our marker, but another value", where=self._api.where
            )
        if any(found.fields[name] != wanted for name, wanted in desired.fields.items()):
            return await self.update(found.object_id, desired, marker, secrets, refs)
        return found

    async def _post_allowed(self, body: Json, once: str) -> Any:
        """POST the key; into an exclusive group after the service user was let in."""
        try:
            return await self._issuer.call("POST", "/keys", body=body, once=once)
        except Unauthorized as error:
            if error.reason != "GROUP_NOT_ALLOWED":
                raise
        await self._issuer.allow(str(body["group_id"]))
        return await self._issuer.call("POST", "/keys", body=body, once=uuid.uuid4().hex)

    def _value(self, secrets: Secrets) -> str:
        value = secrets.values["value"]
        self._api.transport.scrubber.learn(value)
        if _VALUE.fullmatch(value) is None:
            raise InvalidInput("a sub2api key is 16 to 128 characters of A-Z, a-z, 0-9, _ and -")
        return value

    async def _look(self, marker: Marker) -> ObservedObject | None:
        """Return the key with this very marker, and so with this very value; None when there is none."""
        params = {"search": str(marker), "page": 1, "page_size": self._api.page_size}
        data = await self._issuer.call("GET", "/keys", params=params)
        with shape("a page of keys", self._api.where):
            rows = [raw for raw in objects(data["items"]) if Marker.parse(text(raw, "name")) == marker]
        return await self.observe(rows[0]) if rows else None

    async def update(
        self, object_id: str, desired: DesiredObject, marker: Marker, secrets: Secrets, refs: Refs
    ) -> ObservedObject:
        """Undo what a hand changed: name, group, status, quota and expiry. The value stays for life."""
        fields = desired.fields
        body = {
            "name": key_name(marker, fields["version"]),
            "group_id": int(group_id(fields["group"], refs)),
            "status": fields["status"],
            "quota": fields["quotaUsd"],
            "expires_at": fields["expiresAt"] or "",
        }

        async def put() -> ObservedObject:
            data = await self._issuer.call("PUT", f"/keys/{object_id}", body=body)
            return await self.observe(self._api.record(data, "an updated key"))

        return await settled(put)

    async def delete(self, object_id: str) -> None:
        with suppress(NotFound):
            await self._issuer.call("DELETE", f"/keys/{object_id}")
