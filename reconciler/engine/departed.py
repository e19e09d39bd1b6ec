"""Manifests that are gone: their status goes with their last object, and says until then why something stands."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from reconciler.engine.prospect import Prospect
from reconciler.engine.workspace import Workspace
from reconciler.plan.model import CONTROL, ObjectKey
from reconciler.plane.document import entries, owned
from reconciler.state.model import Condition, Lease, Status

ManifestKey = tuple[str, str]
REASON = "Removed"

_MANIFEST_KIND = {"KeyIssuer": "ShadowHost", "Channel": "ShadowGroup"}


def manifest_of(key: ObjectKey) -> ManifestKey:
    """Return the manifest that an object comes from."""
    kind = _MANIFEST_KIND.get(key.kind, key.kind) if key.plane != CONTROL else key.kind
    return (kind, key.name.partition("#")[0])


def settle_departed(
    workspace: Workspace, seen: Prospect, before: Mapping[ManifestKey, Status], lease: Lease
) -> None:
    """Forget every status whose manifest is gone and of which nothing stands; mark those of which something does."""
    named = {(loaded.resource.KIND, loaded.resource.name) for loaded in workspace.manifests}
    departed = {key: status for key, status in before.items() if key not in named}
    if not departed:
        return
    standing = _standing(workspace, seen)
    workspace.store.drop_statuses(sorted(departed.keys() - standing.keys()), lease)
    marked = [_marked(status, standing[key]) for key, status in departed.items() if key in standing]
    workspace.store.put_statuses(marked, lease)


def _standing(workspace: Workspace, seen: Prospect) -> dict[ManifestKey, str]:
    """Return why something of a manifest stands, for every manifest of which something does."""
    why = {manifest_of(skipped.key): skipped.message for skipped in seen.plan.skipped}
    keys: Collection[ObjectKey] = [
        *(entry.key for entry in workspace.store.inventory()),
        *(
            key
            for key, entry in entries(seen.document_before).items()
            if owned(entry, workspace.keyring.installation)
        ),
    ]
    return {manifest_of(key): why.get(manifest_of(key), f"it still stands on {key.plane}") for key in keys}


def _marked(status: Status, why: str) -> Status:
    said = [
        Condition(
            of_type, "Unknown", REASON, f"no manifest names it any more; {why}", status.observed_generation
        )
        for of_type in ("Programmed", "Ready")
    ]
    return replace(status, conditions=tuple(said), proofs=())
