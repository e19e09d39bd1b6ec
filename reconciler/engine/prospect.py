"""Observe and plan: what is, what should be, and what would be done about it. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.engine.adoption import with_adopted_names
from reconciler.engine.channels import foreign_channels
from reconciler.engine.desire import Knowledge, by_key, desired_in_control_plane, desired_on_hosts, host_of
from reconciler.engine.generated_keys import live_versions
from reconciler.engine.observe import Observed, observe
from reconciler.engine.surroundings import Surroundings
from reconciler.engine.values import Values, fingerprints_of, managed, remembered
from reconciler.engine.workspace import Workspace
from reconciler.manifest import Location, ManifestSet
from reconciler.plan.model import CONTROL, DesiredObject, InventoryEntry, ObjectKey, Plan, host_plane
from reconciler.plan.planner import plan
from reconciler.plane import document
from reconciler.plane.document import SECTIONS, control_key


@dataclass(frozen=True)
class Prospect:
    """One look at everything, and the plan that follows."""

    observed: Observed
    """With adopted groups called by their manifests' names."""
    as_read: Observed
    inventory: tuple[InventoryEntry, ...]
    desired: Mapping[ObjectKey, DesiredObject]
    document_before: Mapping[str, Any]
    document_after: Mapping[str, Any]
    plan: Plan
    knowledge: Knowledge = field(default_factory=Knowledge)


async def look(workspace: Workspace, values: Values | None = None) -> Prospect:
    """Observe every plane and plan against it.

    Without `values` no payload secret is read: fingerprints of the last apply stand in for them.
    """
    inventory = workspace.store.inventory()
    observed = await observe(workspace, inventory)
    return prospect(
        workspace, observed, inventory, knowledge_of(workspace, values, observed.snapshot.document)
    )


def knowledge_of(workspace: Workspace, values: Values | None, document: Mapping[str, Any]) -> Knowledge:
    """Return what planning may know: fingerprints from the values read, else the remembered ones.

    A key whose file is lost is meant as it is live.
    """
    if values is None:
        fingerprints = remembered(workspace.manifests, workspace.store.secrets())
    else:
        live = live_versions(document, workspace.keyring.installation)
        lost = {managed(name): live[name] for name in values.undelivered if name in live}
        fingerprints = {**fingerprints_of(values, workspace.keyring), **lost}
    return Knowledge(fingerprints=fingerprints, endpoints=workspace.endpoints)


def prospect(
    ground: Surroundings, observed: Observed, inventory: tuple[InventoryEntry, ...], knowledge: Knowledge
) -> Prospect:
    """Plan against what was observed."""
    manifests, words, as_read = ground.manifests, ground.words, observed
    observed = replace(observed, planes=with_adopted_names(observed.planes, manifests))
    on_hosts = desired_on_hosts(manifests, ground.drivers, words, knowledge)
    in_plane = desired_in_control_plane(manifests, words, knowledge, observed.planes)
    before = observed.snapshot.document
    suspended = suspended_keys(manifests)
    keep = suspended.keys() | unprunable(inventory, in_plane)
    after = document.merge(before, in_plane, installation=words.installation, keep=keep)
    desired = [*on_hosts, *in_plane]
    held = foreign_channels(manifests, observed.planes, words.installation)
    made = plan(
        desired,
        observed.planes,
        inventory,
        installation=words.installation,
        document_before=before,
        document_after=after,
        suspended=suspended,
        warnings=[f"ShadowGroup/{name}: {why}" for name, why in held.items()],
        retained_documents=observed.retained,
    )
    return Prospect(observed, as_read, inventory, by_key(desired), before, after, made, knowledge)


def unprunable(inventory: Sequence[InventoryEntry], desired: Sequence[DesiredObject]) -> frozenset[ObjectKey]:
    """Return the control-plane objects that stay though no manifest asks for them any more: it said so when it did."""
    wanted = by_key(desired)
    return frozenset(
        entry.key
        for entry in inventory
        if entry.key.plane == CONTROL and not entry.prunable and entry.key not in wanted
    )


def suspended_keys(manifests: ManifestSet) -> dict[ObjectKey, Location | None]:
    """Return every object of suspended manifests with its place: nothing of theirs is made, changed or deleted."""
    found: dict[ObjectKey, Location | None] = {}
    for loaded in manifests:
        resource = loaded.resource
        if not resource.suspended:
            continue
        if resource.KIND in SECTIONS:
            found[control_key(resource.KIND, resource.name)] = loaded.at()
        host = host_of(resource, manifests)
        for kind in ON_HOST.get(resource.KIND, ()) if host else ():
            found[ObjectKey(host_plane(host or ""), kind, resource.name)] = loaded.at()
    return found


ON_HOST = {
    "ShadowHost": ("KeyIssuer",),
    "ShadowGroup": ("ShadowGroup", "Channel"),
    "ProviderAccount": ("ProviderAccount",),
    "GatewayKey": ("GatewayKey",),
}
"""Manifest kind -> the kinds of its objects on the host."""
