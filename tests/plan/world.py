"""A model of the world: hosts and a control plane that do what a plan says, without any real host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.plan.model import (
    CONTROL,
    Action,
    Change,
    ChangeClass,
    DesiredObject,
    InventoryEntry,
    Marker,
    ObjectKey,
    ObservedObject,
    Plan,
    PlaneObservation,
    retired,
)
from reconciler.plan.order import waves
from reconciler.plan.planner import plan
from reconciler.plane import document
from tests.plan.cast import OURS


@dataclass
class World:
    """Objects by (plane, id), the control plane's document, and our inventory."""

    hosts: frozenset[str]
    objects: dict[tuple[str, str], ObservedObject] = field(default_factory=dict)
    active: dict[str, Any] = field(default_factory=dict)
    inventory: dict[ObjectKey, InventoryEntry] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()
    next_id: int = 1

    def put(self, plane: str, seen: ObservedObject) -> None:
        """Let an object stand on a host, under a fresh id."""
        self.objects[plane, str(self.next_id)] = replace(seen, object_id=str(self.next_id))
        self.next_id += 1

    def on(self, plane: str) -> list[ObservedObject]:
        return [seen for (where, _), seen in self.objects.items() if where == plane]

    def foreign(self) -> dict[tuple[str, str], ObservedObject]:
        """Everything that does not carry our marker."""
        return {
            place: seen
            for place, seen in self.objects.items()
            if seen.marker is None or seen.marker.installation != OURS
        }

    def plan(self, desired: Sequence[DesiredObject]) -> Plan:
        """Plan against the world as it stands."""
        observations = {
            host: PlaneObservation(host, unknown="down")
            if host in self.unknown
            else PlaneObservation(host, tuple(self.on(host)))
            for host in self.hosts
        }
        observations[CONTROL] = document.observe(self.active, revision=1)
        return plan(
            desired,
            observations,
            list(self.inventory.values()),
            installation=OURS,
            document_before=self.active,
            document_after=self._after(desired),
        )

    def _after(self, desired: Sequence[DesiredObject]) -> dict[str, Any]:
        wanted = [each for each in desired if each.key.plane == CONTROL]
        return document.merge(self.active, wanted, installation=OURS)

    def apply(self, desired: Sequence[DesiredObject]) -> Plan:
        """Do what the plan says, in the order of its waves; fails when something is done before what it needs."""
        made = self.plan(desired)
        wanted = {each.key: each for each in desired}
        after = self._after(desired)
        on_hosts = [change for change in made.pending() if change.key.plane != CONTROL]
        deletions = [change for change in on_hosts if change.action is Action.DELETE]
        for wave in waves([change for change in on_hosts if change not in deletions], desired):
            for change in wave:
                self._execute(change, wanted[change.key])
        self.active = after
        for wave in waves([*deletions, *self._retirements(on_hosts)], ()):
            for change in wave:
                self._execute(change, None)
        for entry in made.forget:
            del self.inventory[entry.key]
        return made

    def _retirements(self, changes: Sequence[Change]) -> list[Change]:
        """Return the deletions of what the changes replaced: they end the same run."""
        return [
            replace(change, action=Action.DELETE, key=retired(change.key, change.object_id))
            for change in changes
            if change.change_class is ChangeClass.REPLACE and change.object_id is not None
        ]

    def _execute(self, change: Change, wanted: DesiredObject | None) -> None:
        if change.action is Action.DELETE:
            assert change.object_id is not None
            seen = self.objects.pop((change.key.plane, change.object_id))
            assert not self._stand_on(change.key, seen), "deleted before what stands on it"
            del self.inventory[change.key]
            return
        assert wanted is not None
        for needed in wanted.depends_on:
            assert self._find(needed) is not None, f"{change.key} was made before {needed}"
        if change.action is Action.CREATE or change.change_class is ChangeClass.REPLACE:
            self._make(change, wanted)
            return
        assert change.object_id is not None
        place = (change.key.plane, change.object_id)
        merged = {**self.objects[place].fields, **wanted.fields}
        self.objects[place] = replace(
            self.objects[place], fields=merged, host_name=wanted.host_name or "", marker=self._marker(wanted)
        )
        self._remember(wanted, change.object_id, adopted=change.action is Action.ADOPT)

    def _make(self, change: Change, wanted: DesiredObject) -> None:
        old = self.inventory.get(change.key)
        if change.object_id is not None and old is not None:
            self.inventory[retired(change.key, change.object_id)] = replace(
                old, key=retired(change.key, change.object_id), object_id=change.object_id
            )
        made = ObservedObject(
            wanted.key.kind, "", wanted.host_name or "", dict(wanted.fields), self._marker(wanted)
        )
        self._remember(wanted, str(self.next_id))
        self.put(wanted.key.plane, made)

    def _remember(self, wanted: DesiredObject, object_id: str, *, adopted: bool = False) -> None:
        self.inventory[wanted.key] = InventoryEntry(
            wanted.key, object_id, wanted.fingerprint or "", adopted=adopted
        )

    def _marker(self, wanted: DesiredObject) -> Marker:
        return Marker(OURS, wanted.key.kind, wanted.key.name, wanted.fingerprint or "-")

    def _find(self, key: ObjectKey) -> ObservedObject | None:
        marked = [
            seen for seen in self.on(key.plane) if seen.marker and seen.marker.names(OURS, key.kind, key.name)
        ]
        return marked[0] if marked else None

    def _stand_on(self, key: ObjectKey, gone: ObservedObject) -> list[ObservedObject]:
        """Our objects that name a deleted group, unless another group of that name is still there."""
        if key.kind != "ShadowGroup" or self._find(
            key._replace(name=gone.marker.name if gone.marker else "")
        ):
            return []
        return [
            seen
            for seen in self.on(key.plane)
            if seen.marker and seen.marker.installation == OURS
            if key.name in seen.fields.get("groups", ()) or seen.fields.get("group") == key.name
        ]
