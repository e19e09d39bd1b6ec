"""What goes: inventory entries that no manifest stands for, and what is only reported.

On a host an object is deleted only when the inventory and its marker agree that we made it, or the inventory says that
we adopted it. In the control plane the next revision's document decides, and the plan tells what it leaves out: markers
and objects stand in the same transaction there, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from reconciler.manifest.meta import PRUNE
from reconciler.plan.match import PlaneIndex, agrees
from reconciler.plan.model import (
    CONTROL,
    RETIRED,
    Action,
    Change,
    ChangeClass,
    InventoryEntry,
    ObjectKey,
    ObservedObject,
    Skipped,
    SkipReason,
)
from reconciler.plan.order import LEVELS
from reconciler.plan.service import Usage

_SILENT_ORPHANS = frozenset({"Quarantine"})
"""Kinds whose leftovers the janitor clears away; they are no drift."""


@dataclass(frozen=True)
class Wanted:
    """What deletion has to respect: all that is meant by a manifest, or still used."""

    keys: AbstractSet[ObjectKey]
    """Of desired and of suspended manifests."""
    claimed: AbstractSet[tuple[str, str, str]]
    """(plane, kind, id) of objects that a desired object is matched to."""
    active: Usage
    kept: Sequence[Usage]
    """The document after the plan, and every other one that may become active."""
    carrying: AbstractSet[ObjectKey] = frozenset()
    """ShadowGroups on which something of ours stands that this plan does not move."""


@dataclass
class Leftovers:
    """The answer, in the planner's words."""

    changes: list[Change] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    forget: list[InventoryEntry] = field(default_factory=list)


def leftovers(
    inventory: Sequence[InventoryEntry], planes: Mapping[str, PlaneIndex], wanted: Wanted
) -> Leftovers:
    """Return what is to be done about everything that stands on known planes and that no manifest means."""
    found = Leftovers()
    entries = {(entry.key.plane, entry.key.kind, entry.object_id): entry for entry in inventory}
    for entry in sorted(inventory, key=lambda each: (each.key, each.object_id)):
        plane = planes.get(entry.key.plane)
        if plane is not None and entry.key not in wanted.keys:
            _leave(entry, plane, wanted, found)
    for plane in planes.values():
        for seen in plane.by_id.values():
            place = (plane.plane, seen.kind, seen.object_id)
            if plane.ours(seen) and place not in entries and place not in wanted.claimed:
                _orphan(seen, plane, wanted, found)
    return found


def _leave(entry: InventoryEntry, plane: PlaneIndex, wanted: Wanted, found: Leftovers) -> None:
    seen = plane.by_id.get((entry.key.kind, entry.object_id))
    label = f"{entry.key.kind}/{entry.key.name}"
    if seen is None or (entry.key.plane, entry.key.kind, entry.object_id) in wanted.claimed:
        found.forget.append(entry)
    elif not entry.prunable:
        message = f'no manifest names it any more; it stays, for it was marked {PRUNE}: "false"'
        found.skipped.append(Skipped(entry.key, SkipReason.NOT_PRUNED, message))
    elif not agrees(plane, entry, seen):
        carried = f"carries the marker {seen.marker}" if seen.marker else "carries no marker"
        found.warnings.append(
            f"{entry.key.plane}: the inventory says that id {entry.object_id} is our {label}, but it {carried}; "
            "nothing is deleted"
        )
    elif entry.key in wanted.carrying:
        message = "no manifest names it any more, but something that could not be moved still stands on it"
        found.skipped.append(Skipped(entry.key, SkipReason.STILL_REFERENCED, message))
    elif _still_used(entry, wanted):
        message = "no manifest names it any more, but a revision that is or may become active still uses it"
        found.skipped.append(Skipped(entry.key, SkipReason.STILL_REFERENCED, message))
    else:
        found.changes.append(_deletion(entry.key, seen, wanted))


def _overlay(key: ObjectKey, wanted: Wanted) -> bool:
    """True for a channel whose group stays: the group serves on without it, at the host's own prices."""
    return key.kind == "Channel" and key._replace(kind="ShadowGroup") in wanted.keys


def _still_used(entry: InventoryEntry, wanted: Wanted) -> bool:
    key = entry.key
    if _overlay(key, wanted):
        return False
    if key.plane == CONTROL:
        # It stands in a revision or it does not: what other revisions have of it stays theirs.
        return wanted.kept[0].uses(key)
    if RETIRED in key.name:
        return means_replaced(key, entry.object_id, wanted.kept[1:], wanted.kept[0])
    return any(usage.uses(key) for usage in wanted.kept)


def means_replaced(key: ObjectKey, object_id: str, kept: Iterable[Usage], after: Usage) -> bool:
    """True when a document that may become active means an object that was replaced, and not its replacement.

    `key` is a retired one: the name in it is that of the replacement too, so id and version have to tell.
    """
    current = key._replace(name=key.name.partition(RETIRED)[0])
    if key.kind == "ShadowGroup":
        return any((key.plane, object_id) in usage.group_ids for usage in kept)
    return key.kind == "GatewayKey" and any(
        name == current for usage in kept for name, _ in usage.key_versions - after.key_versions
    )


def _deletion(key: ObjectKey, seen: ObservedObject, wanted: Wanted) -> Change:
    control = key.plane == CONTROL
    replaced = RETIRED in key.name
    carries = not replaced and not _overlay(key, wanted)
    return Change(
        Action.DELETE,
        key,
        ChangeClass.REVISION if control else ChangeClass.CONTRACT,
        object_id=seen.object_id,
        serves=tuple(sorted(wanted.active.through(key, seen.fields))) if carries else (),
        reason="it was replaced" if replaced else "no manifest names it any more",
    )


def _orphan(seen: ObservedObject, plane: PlaneIndex, wanted: Wanted, found: Leftovers) -> None:
    """Deal with an object that carries our marker, and that the inventory does not know."""
    assert seen.marker is not None
    if seen.marker.kind != seen.kind or seen.kind in _SILENT_ORPHANS or seen.kind not in LEVELS:
        return
    key = ObjectKey(plane.plane, seen.kind, seen.marker.name)
    if key in wanted.keys:
        return
    if plane.plane == CONTROL and not wanted.kept[0].uses(key):
        found.changes.append(_deletion(key, seen, wanted))
        return
    found.warnings.append(
        f"{plane.plane}: {seen.kind} {seen.host_name!r} (id {seen.object_id}) carries our marker for "
        f"{seen.kind}/{seen.marker.name}, but neither the inventory nor a manifest knows it; it is left alone "
        "(rebuild the inventory to have it deleted)"
    )
