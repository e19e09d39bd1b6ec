"""Keeping the inventory in step with what stands: everything of ours is in it, under the id that it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from reconciler.manifest import ManifestSet
from reconciler.plan.model import (
    RETIRED,
    Action,
    Change,
    DesiredObject,
    InventoryEntry,
    ObjectKey,
    Plan,
    retired,
)

MANIFEST_OF: Mapping[str, str] = {"KeyIssuer": "ShadowHost", "Channel": "ShadowGroup"}
"""Kind without a manifest of its own -> the kind whose manifest asks for it."""


def prunable(manifests: ManifestSet, key: ObjectKey) -> bool:
    """True unless the manifest of an object says that it stays when the manifest goes."""
    loaded = manifests.find(MANIFEST_OF.get(key.kind, key.kind), key.name)
    return loaded.resource.prunable if loaded else True


def overdue(
    plan: Plan,
    desired: Mapping[ObjectKey, DesiredObject],
    inventory: Sequence[InventoryEntry],
    manifests: ManifestSet,
) -> list[InventoryEntry]:
    """Return the entries that the inventory lacks or has wrong; empty when it is in step.

    A run may have been killed after it made an object and before it wrote that down; the store may be a new one; the
    prune annotation of a manifest may have changed. Without this, such an object would outlive its manifest, or go
    though it was to stay.
    """
    gone = {entry.key for entry in plan.forget}
    known = {entry.key: entry for entry in inventory if entry.key not in gone}
    found = {
        change.key: _entry(change, desired.get(change.key), known.get(change.key))
        for change in plan.changes
        if change.action in (Action.NOOP, Action.UPDATE) and change.object_id is not None
    }
    wanted = {key: entry for key, entry in {**known, **found}.items() if RETIRED not in key.name}
    named = (
        replace(entry, prunable=prunable(manifests, key))
        for key, entry in wanted.items()
        if manifests.find(MANIFEST_OF.get(key.kind, key.kind), key.name)
    )
    return sorted((entry for entry in named if entry != known.get(entry.key)), key=lambda entry: entry.key)


def _entry(change: Change, desired: DesiredObject | None, had: InventoryEntry | None) -> InventoryEntry:
    assert change.object_id is not None
    if had is not None and had.object_id == change.object_id:
        return had
    written = desired.fingerprint if desired is not None and change.action is Action.NOOP else None
    return InventoryEntry(change.key, change.object_id, written or "")


def replacement(entry: InventoryEntry, old_id: str, had: InventoryEntry | None) -> InventoryEntry:
    """Return the entry of the object that `entry` takes the place of, so that it goes even if this run does not end."""
    return InventoryEntry(
        retired(entry.key, old_id), old_id, adopted=had.adopted if had is not None else False
    )
