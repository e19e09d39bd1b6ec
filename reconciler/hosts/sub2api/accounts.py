"""ProviderAccounts as sub2api accounts. The marker is in `notes`; secrets can be written, never read."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from reconciler.errors import LostAnswer, NotFound, Rejected
from reconciler.hosts.contract import AccountMarks, Refs, Secrets
from reconciler.hosts.sub2api import normal
from reconciler.hosts.sub2api.api import Api, make_once, settled
from reconciler.hosts.sub2api.groups import Groups
from reconciler.hosts.sub2api.names import foreign, group_id, stamped
from reconciler.hosts.sub2api.settings import ACCOUNT_CREDENTIALS, ACCOUNT_EXTRA, ACCOUNT_FIELDS
from reconciler.hosts.sub2api.shape import Json, identity, mapping, moment, shape, text
from reconciler.hosts.sub2api.survey import Survey
from reconciler.plan.model import DesiredObject, Fields, Marker, ObservedObject

_TIMED_MARKS = {
    "rate_limited": "rate_limit_reset_at",
    "overloaded": "overload_until",
    "temp_unschedulable": "temp_unschedulable_until",
}


class Accounts:
    def __init__(self, api: Api, groups: Groups, now: Callable[[], datetime], survey: Survey) -> None:
        self._api = api
        self._groups = groups
        self._names = groups.names
        self._now = now
        self._survey = survey

    async def raw_all(self, **params: str | int) -> list[Json]:
        return await self._api.all("/accounts", **params)

    async def get(self, object_id: str) -> ObservedObject | None:
        raw = await self._api.one(f"/accounts/{object_id}")
        return None if raw is None else await self.observe(raw)

    async def observe(self, raw: Json) -> ObservedObject:
        """Return an account in canonical form, asking for the groups that it names and nobody has read yet."""
        with shape("an account", self._api.where):
            groups = normal.group_ids(raw)
        await self._groups.know(groups)
        return self.observed(raw)

    def observed(self, raw: Json) -> ObservedObject:
        with shape("an account", self._api.where):
            marks = self.marks(raw)
            return ObservedObject(
                kind="ProviderAccount",
                object_id=identity(raw),
                host_name=text(raw, "name"),
                fields=normal.account_fields(raw, self._names),
                marker=Marker.parse(text(raw, "notes")),
                runtime={
                    "schedulable": marks.schedulable,
                    "status": marks.status,
                    "reasons": list(marks.reasons),
                    "pausedByOperator": marks.paused_by_operator,
                    "hasCredential": bool(mapping(raw, "credentials_status").get("has_api_key")),
                    "groupIds": normal.group_ids(raw),
                },
            )

    def marks(self, raw: Json) -> AccountMarks:
        """Return what the host itself has put on an account; marks whose time is over no longer count."""
        now = self._now()
        reasons = [word for word, name in _TIMED_MARKS.items() if (moment(raw, name) or now) > now]
        limits = mapping(mapping(raw, "extra"), "model_rate_limits")
        for model, limit in sorted(limits.items()):
            if isinstance(limit, dict) and (moment(limit, "rate_limit_reset_at") or now) > now:
                reasons.append(f"model_rate_limited: {self._api.transport.scrubber.clean(model)}")
        status = text(raw, "status")
        if status == "error":
            reasons.append(f"error: {self._api.transport.scrubber.clean(text(raw, 'error_message'))}")
        return AccountMarks(bool(raw["schedulable"]), status, tuple(sorted(reasons)))

    async def create(
        self, desired: DesiredObject, marker: Marker, secrets: Secrets, refs: Refs
    ) -> ObservedObject:
        """Make the account, bound to the groups it names and to no other.

        Raises: ValueError when it names none, for the host would then bind it to a default group.
        """
        bound = sorted({group_id(name, refs) for name in desired.fields.get("groups", ())}, key=int)
        if not bound:
            raise ValueError(
                f"ProviderAccount/{desired.key.name}: an account is never created without groups"
            )
        await self._confirm_groups(bound)
        self._learn(secrets)
        body = self._new(desired.fields, marker, secrets, bound)
        once = uuid.uuid4().hex

        async def post() -> Json:
            made = self._api.record(await self._api.post("/accounts", body, once=once), "a new account")
            # The answer to a create does not tell the groups.
            return self._api.record(await self._api.get(f"/accounts/{made['id']}"), "a new account")

        free = self._survey.is_free("ProviderAccount", desired.fields["name"])
        raw, _ = await make_once(lambda: self._look(desired, marker), post, free=free)
        made = await self.observe(raw)
        if set(normal.group_ids(raw)) != set(bound) or _differs(made.fields, desired.fields):
            # Found again after a lost answer, or an orphan of a create that failed half-way.
            return await self.update(made.object_id, desired, marker, secrets, refs)
        return made

    async def _confirm_groups(self, bound: list[str]) -> None:
        """Raise NotFound for a group that is gone: the host would bind the account to its dead row."""
        await self._groups.know(bound)
        for found in bound:
            if not self._names.knows(found):
                raise NotFound(f"group {found} is gone", where=self._api.where, reason="GROUP_NOT_FOUND")

    async def _look(self, desired: DesiredObject, marker: Marker) -> Json | None:
        """Return the account that an earlier try of this create made; None when there is none.

        One of ours with another credential or origin is the predecessor that this one replaces. Names are not unique
        on the host: a foreign account of the name is a conflict all the same, for people could not tell them apart.
        """
        name = desired.fields["name"]
        with shape("a page of accounts", self._api.where):
            items = [raw for raw in await self.raw_all(search=name) if text(raw, "name") == name]
            found = [(raw, Marker.parse(text(raw, "notes"))) for raw in items]
        for raw, mark in found:
            kept = normal.account_fields(raw, self._names)
            if mark == marker and all(
                kept[field] == desired.fields[field] for field in desired.replace_fields
            ):
                return raw
        for raw, mark in found:
            if mark is None or mark.installation != marker.installation:
                raise foreign(f"account {name!r}", identity(raw), self._api.where)
        return None

    def _learn(self, secrets: Secrets) -> None:
        self._api.transport.scrubber.learn(*secrets.values.values())

    def _new(self, fields: Fields, marker: Marker, secrets: Secrets, bound: list[str]) -> Json:
        """Return the body of a create. Numbers are always sent: left out they become 0."""
        settings = fields["settings"]
        return {
            "name": fields["name"],
            "notes": str(marker),
            "platform": fields["platform"],
            "type": fields["type"],
            "credentials": {**_credentials({}, fields), "api_key": secrets.values["credential"]},
            "extra": {s.host: s.write(settings[s.name]) for s in ACCOUNT_EXTRA},
            "concurrency": fields["concurrency"],
            "priority": fields["priority"],
            "rate_multiplier": settings["rateMultiplier"],
            **({"load_factor": settings["loadFactor"]} if settings["loadFactor"] else {}),
            "group_ids": [int(found) for found in bound],
        }

    async def update(
        self, object_id: str, desired: DesiredObject, marker: Marker, secrets: Secrets, refs: Refs
    ) -> ObservedObject:
        """Bring the account to the desired fields; what is equal already is not sent.

        After a lost answer the account is read again and what is still missing is sent once more.
        """
        self._learn(secrets)

        async def bring() -> ObservedObject:
            raw = self._api.record(await self._api.get(f"/accounts/{object_id}"), "an account")
            return await self._bring(raw, desired, marker, secrets, refs)

        return await settled(bring)

    async def _bring(
        self, raw: Json, desired: DesiredObject, marker: Marker, secrets: Secrets, refs: Refs
    ) -> ObservedObject:
        path, fields = f"/accounts/{identity(raw)}", desired.fields
        extra = self._changed_extra(raw, fields)
        if extra:
            await self._merge_extra(identity(raw), extra)
        body = self._changed(raw, desired, marker, secrets, refs)
        if body:
            raw = self._api.record(await self._api.put(path, body), "an updated account")
        elif extra:
            raw = self._api.record(await self._api.get(path), "an account")
        raw = await self._state(raw, path, fields)
        return await self.observe(raw)

    def _changed_extra(self, raw: Json, fields: Fields) -> Json:
        with shape("an account", self._api.where):
            now = normal.shown(ACCOUNT_EXTRA, mapping(raw, "extra"))
        wanted = fields["settings"]
        return {s.host: s.write(wanted[s.name]) for s in ACCOUNT_EXTRA if now[s.name] != wanted[s.name]}

    async def _merge_extra(self, object_id: str, extra: Json) -> None:
        """Set keys of `extra` and leave the rest. A PUT would wipe what the host has learnt at run time."""
        result = await self._api.post(
            "/accounts/bulk-update", {"account_ids": [int(object_id)], "extra": extra}
        )
        with shape("a bulk update", self._api.where):
            failed = int(result["failed"])
        if failed:
            raise Rejected(f"account {object_id}: its settings were refused", where=self._api.where)

    def _changed(
        self, raw: Json, desired: DesiredObject, marker: Marker, secrets: Secrets, refs: Refs
    ) -> Json:
        """Return the body of a PUT with what differs; credentials only as a whole, for a PUT replaces them."""
        fields = desired.fields
        with shape("an account", self._api.where):
            now = normal.account_fields(raw, self._names)
            notes, current = text(raw, "notes"), mapping(raw, "credentials")
        body: Json = {
            n: fields[n] for n in ("name", "type", "priority", "concurrency") if now[n] != fields[n]
        }
        for setting in ACCOUNT_FIELDS:
            if now["settings"][setting.name] != fields["settings"][setting.name]:
                body[setting.host] = fields["settings"][setting.name]
        if notes != stamped(notes, marker):
            body["notes"] = stamped(notes, marker)
        wanted = _credentials(current, fields)
        if "credential" in secrets.values:
            body["credentials"] = {**wanted, "api_key": secrets.values["credential"]}
        elif wanted != current:
            body["credentials"] = wanted
        if "groups" in fields and now["groups"] != sorted(fields["groups"]):
            body["group_ids"] = self._ordered(raw, {group_id(name, refs) for name in fields["groups"]})
        return body

    @staticmethod
    def _ordered(raw: Json, wanted: set[str] | frozenset[str]) -> list[int]:
        """Return group ids with those already there first and in their order: the position is a priority."""
        kept = [found for found in normal.group_ids(raw) if found in wanted]
        return [int(found) for found in (*kept, *sorted(wanted - set(kept), key=int))]

    async def _state(self, raw: Json, path: str, fields: Fields) -> Json:
        """Clear the host's error mark, pause or resume: only what the manifest says, and only if it is not so."""
        with shape("an account", self._api.where):
            status, schedulable = text(raw, "status"), bool(raw["schedulable"])
        paused = fields.get("paused")
        if paused is True and status == "error":
            # Out of scheduling already, but by the host; only this status says that a person wants it so.
            return self._api.record(await self._api.put(path, {"status": "inactive"}), "a paused account")
        repairing = fields.get("marked") is False and status == "error"
        if repairing or (paused is False and status == "inactive"):
            # A PUT of the status would leave a block in the host's memory for two minutes; this lifts it as well.
            raw = await self._act(path, "clear-error", {})
            status, schedulable = "active", bool(raw["schedulable"])
        # The host's own mark took it out of scheduling, and clearing the mark does not put it back.
        wanted = not paused if paused is not None else schedulable or repairing
        if status == "active" and schedulable != wanted:
            raw = await self._act(path, "schedulable", {"schedulable": wanted})
        return raw

    async def _act(self, path: str, action: str, body: Json) -> Json:
        await self._api.post(f"{path}/{action}", body)
        return self._api.record(await self._api.get(path), "an account")

    async def bind(
        self, object_id: str, wanted: frozenset[str], seen: ObservedObject | None = None
    ) -> ObservedObject:
        """Set exactly which groups the account serves; an empty list unbinds it from all, here in a PUT."""
        path = f"/accounts/{object_id}"
        if seen is not None and not wanted & set(seen.runtime["groupIds"]) and wanted:
            # None of its groups stays, so there is no order to keep, and the answer shows what came of it.
            with suppress(LostAnswer):
                data = await self._api.put(path, {"group_ids": sorted(map(int, wanted))})
                return await self.observe(self._api.record(data, "a bound account"))

        async def set_groups() -> ObservedObject:
            raw = self._api.record(await self._api.get(path), "an account")
            if set(normal.group_ids(raw)) != wanted:
                data = await self._api.put(path, {"group_ids": self._ordered(raw, wanted)})
                raw = self._api.record(data, "a bound account")
            return await self.observe(raw)

        return await settled(set_groups)

    async def delete(self, object_id: str) -> None:
        """Soft-delete the account; the host answers 200 for one that is gone already."""
        with suppress(NotFound):
            await self._api.delete(f"/accounts/{object_id}")


def _credentials(current: Json, fields: Fields) -> Json:
    """Return all non-secret credentials: what a person added is kept, ours replaced, our defaults left out."""
    owned = {"base_url", "model_mapping", "header_override_enabled", *(s.host for s in ACCOUNT_CREDENTIALS)}
    kept: dict[str, Any] = {name: value for name, value in current.items() if name not in owned}
    ours = {s.host: fields["settings"][s.name] for s in ACCOUNT_CREDENTIALS}
    if ours["header_overrides"]:
        kept["header_override_enabled"] = True
    return {
        **kept,
        "base_url": fields["baseUrl"],
        "model_mapping": normal.model_mapping(fields["models"]),
        **{host: value for host, value in ours.items() if value},
    }


def _differs(now: Fields, desired: Fields) -> bool:
    return any(now[name] != value for name, value in desired.items() if name != "groups")
