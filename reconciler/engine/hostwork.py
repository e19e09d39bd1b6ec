"""Changing hosts: create, update and delete with marker and inventory kept in step."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from reconciler.engine.bookkeeping import prunable, replacement
from reconciler.engine.observe import Observed
from reconciler.engine.values import Values
from reconciler.engine.workspace import Workspace
from reconciler.errors import Conflict, Refused
from reconciler.hosts.contract import Refs, Secrets
from reconciler.manifest import GatewayKey, ShadowHost
from reconciler.plan.model import RETIRED, DesiredObject, InventoryEntry, Marker, ObjectKey, ObservedObject
from reconciler.proof.judge import TEMPORARY
from reconciler.state.model import Lease

IDS = Mapping[tuple[str, str], str]


@dataclass
class HostWork:
    """The writes of one run towards hosts; the drivers of its workspace check the lease before each (`leasing`)."""

    workspace: Workspace
    values: Values
    lease: Lease
    ids: dict[str, dict[tuple[str, str], str]] = field(default_factory=dict)
    """Host -> (kind, manifest name) -> the host's id, of everything of ours that exists."""
    effective_at: dict[tuple[str, str], float] = field(default_factory=dict)
    """(host, group's name) -> monotonic second from which the host surely knows what this run bound there."""

    @classmethod
    def open(cls, workspace: Workspace, values: Values, lease: Lease, observed: Observed) -> HostWork:
        """Return the writer, knowing what was observed."""
        work = cls(workspace, values, lease)
        marked: set[tuple[str, str, str, str]] = set()
        for plane, seen in observed.planes.items():
            host = plane.removeprefix("host/")
            work.ids[host] = {}
            for each in seen.objects:
                mark = each.marker
                if mark and mark.installation == workspace.keyring.installation and mark.kind == each.kind:
                    work.ids[host][(each.kind, mark.name)] = each.object_id
                    marked.add((host, each.kind, mark.name, each.object_id))
        for entry in workspace.store.inventory():
            host, kind, name = _host(entry.key), entry.key.kind, entry.key.name
            ids = work.ids.setdefault(host, {})
            # Of several that carry one mark, the one in the inventory is in service.
            if (kind, name) not in ids or (host, kind, name, entry.object_id) in marked:
                ids[(kind, name)] = entry.object_id
        return work

    def id(self, key: ObjectKey) -> str | None:
        """Return the host's id of one of our objects, or None when it is not known to exist."""
        return self.ids.get(_host(key), {}).get((key.kind, key.name))

    async def create(
        self,
        desired: DesiredObject,
        *,
        extra_ids: IDS | None = None,
        remember: bool = True,
        replaces: str | None = None,
    ) -> ObservedObject:
        """Make an object and enter it in the inventory; `replaces` is the id of the one that it takes the place of."""
        driver = self.workspace.drivers[_host(desired.key)]
        made = await driver.create(
            desired, self.marker(desired), self._secrets(desired), self._refs(desired, extra_ids)
        )
        if remember:
            self.remember(desired, made.object_id, replaces=replaces)
        if desired.key.kind == "KeyIssuer":
            await self._top_up(desired.key.name)
        self.workspace.progress.step(f"created {desired.key.kind}/{desired.key.name} on {_host(desired.key)}")
        return made

    async def update(self, object_id: str, desired: DesiredObject) -> ObservedObject:
        """Bring an object to its desired fields."""
        driver = self.workspace.drivers[_host(desired.key)]
        changed = await driver.update(
            object_id, desired, self.marker(desired), self._secrets(desired), self._refs(desired, None)
        )
        self.remember(desired, object_id)
        self._note_binding(desired)
        if desired.key.kind == "KeyIssuer":
            await self._top_up(desired.key.name)
        self.workspace.progress.step(f"updated {desired.key.kind}/{desired.key.name} on {_host(desired.key)}")
        return changed

    async def _top_up(self, host: str) -> None:
        """Add to the service user's balance when it is below the floor, within what the day allows.

        It ends up to one floor above the floor: filled just up to it, the very next request would fall below again.
        """
        issuer = self.workspace.manifests.get(ShadowHost, host).spec.key_issuer
        driver = self.workspace.drivers[host]
        balance = await driver.issuer_balance()
        if issuer is None or balance is None or balance >= issuer.balance_floor:
            return
        wanted = issuer.balance_floor * (
            math.floor((issuer.balance_floor - balance) / issuer.balance_floor) + 1
        )
        day = self.workspace.clock.now().date()
        # Counted before it is sent: a crash in between costs some of the day's allowance, never money.
        allowed = self.workspace.store.top_up(host, day, wanted, issuer.max_top_up_per_day)
        if allowed <= 0:
            raise Refused(
                f"ShadowHost/{host}: the key issuer's balance is {balance:g} USD, below {issuer.balance_floor:g}, "
                f"and today's top-ups have reached {issuer.max_top_up_per_day:g} USD",
                hint="raise spec.keyIssuer.maxTopUpPerDay, or find out what spends so much",
            )
        await driver.top_up(allowed, idempotency_key=f"reconcile-{uuid.uuid4().hex}")
        self.workspace.progress.step(f"topped up the key issuer of {host} by {allowed:g} USD")

    async def delete(self, key: ObjectKey, object_id: str, *, adopted: bool = False) -> None:
        """Delete an object that carries our mark (or was adopted), and forget it."""
        driver = self.workspace.drivers[_host(key)]
        seen = await driver.get(key.kind, object_id)
        if seen is not None:
            name = key.name.partition(RETIRED)[0]
            ours = seen.marker is not None and seen.marker.names(
                self.workspace.keyring.installation, key.kind, name
            )
            if not ours and not adopted:
                raise Conflict(
                    f"{key.kind} {object_id} does not carry our mark; it is left alone", where=key.plane
                )
            # Its mark was read just now; the driver need not read it a second time.
            await driver.delete(key.kind, object_id, None)
        if self.id(key) in (object_id, None):
            self.workspace.store.forget(key, self.lease)
            self.ids.get(_host(key), {}).pop((key.kind, key.name), None)
        self.workspace.progress.step(f"deleted {key.kind}/{key.name} on {_host(key)}")

    async def bind(
        self,
        account: ObjectKey,
        account_id: str,
        group_ids: frozenset[str],
        *,
        seen: ObservedObject | None = None,
    ) -> ObservedObject:
        """Set which groups an account serves; `seen` is a new account as it was made."""
        return await self.workspace.drivers[_host(account)].bind(account_id, group_ids, seen=seen)

    def _note_binding(self, desired: DesiredObject) -> None:
        host = _host(desired.key)
        at = self.workspace.clock.monotonic() + self.workspace.drivers[host].CAPABILITIES.membership_delay_s
        for group in desired.fields.get("groups", ()) if desired.key.kind == "ProviderAccount" else ():
            self.effective_at[host, str(group)] = at

    async def let_bindings_settle(self, host: str, groups: Iterable[str]) -> None:
        """Wait until the host's scheduler surely knows the accounts that this run bound to any of the groups.

        To be called before another account of such a group is taken away: until then users may be sent to nobody else.
        Nothing on the host tells when a binding is effective, and no probe can choose the account; so this is waited
        for by the clock. Returns at once where nothing was bound.
        """
        clock = self.workspace.clock
        due = max((self.effective_at.get((host, group), 0.0) for group in groups), default=0.0)
        if (wait_s := due - clock.monotonic()) > 0:
            await clock.sleep(wait_s)

    def remember(self, desired: DesiredObject, object_id: str, *, replaces: str | None = None) -> None:
        """Enter an object in the inventory, in one step with the one that it replaces."""
        entry = InventoryEntry(
            key=desired.key,
            object_id=object_id,
            fingerprint=desired.fingerprint or "",
            adopted=desired.adopt is not None,
            prunable=prunable(self.workspace.manifests, desired.key),
        )
        entries = [entry]
        if replaces is not None and replaces != object_id:
            known = {each.key: each for each in self.workspace.store.inventory()}
            entries.append(replacement(entry, replaces, known.get(desired.key)))
        self.workspace.store.remember_all(entries, self.lease)
        self.ids.setdefault(_host(desired.key), {})[(desired.key.kind, desired.key.name)] = object_id

    def marker(self, desired: DesiredObject) -> Marker:
        """Return the mark that the object carries."""
        installation = self.workspace.keyring.installation
        return Marker(installation, desired.key.kind, desired.key.name, desired.fingerprint or "-")

    def _refs(self, desired: DesiredObject, extra: IDS | None) -> Refs:
        return Refs({**self.ids.get(_host(desired.key), {}), **(extra or {})})

    def _secrets(self, desired: DesiredObject) -> Secrets:
        key = desired.key
        if key.kind == "ProviderAccount":
            return Secrets({"credential": self.values.account(key.name)})
        if key.kind == "KeyIssuer":
            return Secrets({"password": self.values.issuer_password(key.name)})
        if key.kind == "GatewayKey":
            manifest = self.workspace.manifests.get(GatewayKey, key.name)
            return Secrets({"value": self.values.gateway_key(manifest, self.workspace)})
        return Secrets()

    def group_ids(self, host: str, names: Iterable[str]) -> frozenset[str]:
        """Return the ids of groups by their names in canonical fields. Raises KeyError for one that is not there."""
        refs = Refs(self.ids.get(host, {}))
        return frozenset(
            name.removeprefix("#") if name.startswith("#") else refs.id("ShadowGroup", name)
            for name in names
            if not name.startswith(TEMPORARY)
        )


def _host(key: ObjectKey) -> str:
    return key.plane.removeprefix("host/")


def with_groups(desired: DesiredObject, groups: tuple[str, ...]) -> DesiredObject:
    """Return a ProviderAccount as desired, but serving other groups."""
    return replace(desired, fields={**desired.fields, "groups": sorted(groups)})
