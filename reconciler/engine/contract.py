"""Phase 5, contract: take away what nothing refers to any more, once nobody can still be using it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from reconciler.engine.expand import Expanded
from reconciler.engine.hostwork import HostWork
from reconciler.engine.prospect import Prospect
from reconciler.engine.reach import groups_in_service
from reconciler.engine.staging import Staged
from reconciler.engine.workspace import Workspace
from reconciler.errors import LeaseLost, RemoteError
from reconciler.manifest import GatewayKey, ManagedKey, ProviderAccount, ShadowGroup
from reconciler.plan.deletion import means_replaced
from reconciler.plan.model import RETIRED, Action, Change, ChangeClass, ObjectKey, ObservedObject, retired
from reconciler.plan.order import waves
from reconciler.plan.service import Usage
from reconciler.plane.document import control_key
from reconciler.proof.together import together

DRAIN_S = 30.0
"""Longest wait for requests that are still under way on the old revision, in seconds."""
DRAIN_POLL_S = 0.25


@dataclass
class Contract:
    """Runs the phase for one plan, against what is active now."""

    workspace: Workspace
    work: HostWork
    prospect: Prospect
    expanded: Expanded
    staged: Staged
    left: dict[ObjectKey, str] = field(default_factory=dict)
    """What stays for now, and why; the next run tries again."""

    async def run(self) -> None:
        """Wait for the old revision to drain, then narrow and delete. Raises LeaseLost."""
        changes = [change for change in self.prospect.plan.pending() if self._mine(change)]
        if not changes and not self.expanded.retired:
            await self._forget_keys()
            return
        self.workspace.progress.phase(
            "contract", f"taking away {len(changes) + len(self.expanded.retired)} objects"
        )
        if self.staged.revision is not None:
            await self._drain(self.staged.revision)
        narrowing = [change for change in changes if change.change_class is ChangeClass.NARROW]
        await together(self._guarded(change) for change in narrowing)
        deletions = [change for change in changes if change.action is Action.DELETE]
        deletions += [self._retirement(key, old) for key, old in self.expanded.retired.items()]
        # Before their objects on the hosts: those are in the inventory, so that a crash in between is made good.
        await self._forget_keys()
        for wave in waves(deletions, ()):
            await together(self._guarded(change) for change in wave)

    def _mine(self, change: Change) -> bool:
        on_host = change.key.plane.startswith("host/")
        return on_host and change.change_class in (ChangeClass.NARROW, ChangeClass.CONTRACT)

    def _retirement(self, key: ObjectKey, old: str) -> Change:
        return Change(
            Action.DELETE, retired(key, old), ChangeClass.CONTRACT, object_id=old, reason="it was replaced"
        )

    async def _guarded(self, change: Change) -> None:
        try:
            why = self._still_needed(change)
            if why is None:
                await self._apply(change)
                return
        except LeaseLost:
            raise
        except RemoteError as error:
            why = error.message
        self.left[change.key] = why
        self.workspace.progress.warn(f"{change.key.kind}/{change.key.name} stays for now: {why}")

    async def _apply(self, change: Change) -> None:
        if change.object_id is None:
            return
        await self.work.let_bindings_settle(
            change.key.plane.removeprefix("host/"), self._groups_before(change)
        )
        if change.action is Action.DELETE:
            adopted = any(
                entry.key == change.key and entry.adopted for entry in self.workspace.store.inventory()
            )
            await self.work.delete(change.key, change.object_id, adopted=adopted)
        else:
            await self.work.update(change.object_id, self.prospect.desired[change.key])

    def _still_needed(self, change: Change) -> str | None:
        """Return why an object must stay, judged by what is active *now*: part of the plan may have been held back."""
        if change.key.kind == ProviderAccount.KIND and self._carries_alone(change):
            return "an account that was to take its place is not proved"
        if change.action is not Action.DELETE:
            # Narrowed while it serves: that is what the manifest asks for.
            return None
        document = self.staged.document
        retained = [Usage(each) for each in self.prospect.observed.retained]
        if RETIRED in change.key.name and means_replaced(
            change.key, change.object_id or "", retained, Usage(document)
        ):
            return "a revision that may become active again uses it"
        if change.key.kind == ShadowGroup.KIND and change.object_id in groups_in_service(document):
            return "a route of the active revision still uses it"
        if change.key.kind == "Channel" and self._overlays(change.key):
            return "a route of the active revision still uses its group"
        if change.key.kind == GatewayKey.KIND and self._key_is_used(change):
            return "a route of the active revision still uses it"
        return None

    def _overlays(self, channel: ObjectKey) -> bool:
        """True when a channel is to go with its group, and a route of the active revision still uses that."""
        group = channel._replace(kind=ShadowGroup.KIND)
        usage = Usage(self.staged.document)
        return group not in self.prospect.desired and usage.uses(group)

    def _key_is_used(self, change: Change) -> bool:
        """True when the active revision calls the host with this key.

        The old key of a replacement may go although its name is in use, once no route was held back with the old value.
        """
        routes = self.staged.document["routes"]
        name, separator, _ = change.key.name.partition(RETIRED)
        using = {control_key("Route", route["name"]) for route in routes if route["gateway_key"] == name}
        return bool(using & self.staged.held_back.keys()) if separator else bool(using)

    def _carries_alone(self, change: Change) -> bool:
        failed = {
            key
            for key in self.expanded.failed
            if key.kind == ProviderAccount.KIND and key.plane == change.key.plane
        }
        groups = self._groups_before(change)
        return any(
            groups & set(self.prospect.desired[key].fields["groups"])
            for key in failed
            if key in self.prospect.desired
        )

    def _groups_before(self, change: Change) -> frozenset[str]:
        """Return the groups that an account served when the run began."""
        place = (change.key.plane, change.key.kind, change.object_id or "")
        seen = self._seen.get(place) if change.key.kind == ProviderAccount.KIND else None
        return frozenset(map(str, seen.fields.get("groups", ()))) if seen else frozenset()

    @cached_property
    def _seen(self) -> dict[tuple[str, str, str], ObservedObject]:
        return {
            (plane, each.kind, each.object_id): each
            for plane, seen in self.prospect.observed.planes.items()
            for each in seen.objects
        }

    async def _drain(self, revision: int) -> None:
        """Wait until every replica serves `revision` and has nothing under way on an older one, or the time is up."""
        clock = self.workspace.clock
        until = clock.monotonic() + DRAIN_S
        while True:
            snapshot = await self.workspace.plane.snapshot()
            busy = [
                replica
                for replica in snapshot.replicas
                if replica.active_revision < revision
                or any(count for old, count in replica.in_flight.items() if old < revision)
            ]
            if not busy:
                return
            if clock.monotonic() >= until:
                names = ", ".join(replica.id for replica in busy)
                self.workspace.progress.warn(
                    f"replicas still busy on an older revision after {DRAIN_S:g} s: {names}"
                )
                return
            await clock.sleep(DRAIN_POLL_S)

    async def _forget_keys(self) -> None:
        """Drop key values of ours that no revision refers to which is active or may become so.

        Only values under names of ours are ours to drop: those of manifests, and of manifests that are gone.
        """
        plane = self.workspace.plane
        snapshot = await plane.snapshot()
        documents = [snapshot.document, *self.prospect.observed.retained]
        for kind, stored, drop in (
            (GatewayKey.KIND, snapshot.gateway_keys, plane.drop_gateway_key),
            (ManagedKey.KIND, snapshot.managed_keys, plane.drop_managed_key),
        ):
            used = frozenset().union(*(used_key_versions(each)[kind] for each in documents))
            names = self._our_names(kind)
            for name, version in sorted(stored - used):
                if name in names:
                    await drop(name, version)

    def _our_names(self, kind: str) -> set[str]:
        """Return the names of manifests of a kind, and of those that the inventory or this plan takes away."""
        named = {loaded.resource.name for loaded in self.workspace.manifests if loaded.resource.KIND == kind}
        known = {entry.manifest_name for entry in self.prospect.inventory if entry.key.kind == kind}
        leaving = {
            change.key.name.partition(RETIRED)[0]
            for change in self.prospect.plan.pending()
            if change.key.kind == kind and change.action is Action.DELETE
        }
        return named | known | leaving


def used_key_versions(document: Mapping[str, Any]) -> dict[str, frozenset[tuple[str, str]]]:
    """Return the (name, version) of every key value that a document refers to, per kind."""
    return {
        GatewayKey.KIND: frozenset(
            (each["gateway_key"], each["gateway_key_version"]) for each in document["routes"]
        ),
        ManagedKey.KIND: frozenset(
            (each["name"], version) for each in document["managed_keys"] for version in each["versions"]
        ),
    }
