"""What is about to be adopted: names for it, and what to say when it cannot be.

A driver calls a group that carries no marker of ours `#<id>`. Once a manifest adopts it, accounts and keys that refer
to it refer to that manifest, also in the plan that is made before the marker is on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from reconciler.errors import InvalidInput
from reconciler.manifest import ManifestSet, ShadowGroup
from reconciler.manifest.meta import ADOPT
from reconciler.plan.model import ADOPTION_FAILED, ObservedObject, Plan, PlaneObservation, host_plane


def failed_adoptions(made: Plan, manifests: ManifestSet) -> list[str]:
    """Return, for each manifest whose adopt annotation cannot be followed, its place and what to write instead."""
    found = []
    for skipped in made.skipped:
        loaded = manifests.find(skipped.key.kind, skipped.key.name)
        if skipped.reason in ADOPTION_FAILED and loaded is not None:
            place = loaded.at(("metadata", "annotations", ADOPT))
            found.append(f"{place}: {skipped.key.kind}/{skipped.key.name}: {skipped.message}")
    return found


def require_adoptable(made: Plan, manifests: ManifestSet) -> None:
    """Raise InvalidInput, naming every place, when an adopt annotation cannot be followed."""
    found = failed_adoptions(made, manifests)
    if found:
        raise InvalidInput("\n".join(found), hint="nothing was changed")


def with_adopted_names(
    planes: Mapping[str, PlaneObservation], manifests: ManifestSet
) -> dict[str, PlaneObservation]:
    """Return the observations with every adopted group called by its manifest's name. Pure."""
    named = dict(planes)
    for plane in {host_plane(group.spec.host) for group in _adopters(manifests)} & named.keys():
        seen = named[plane]
        names = _names(
            seen, [group for group in _adopters(manifests) if host_plane(group.spec.host) == plane]
        )
        named[plane] = replace(seen, objects=tuple(renamed(each, names) for each in seen.objects))
    return named


def _adopters(manifests: ManifestSet) -> list[ShadowGroup]:
    return [group for group in manifests.of(ShadowGroup) if group.adopt is not None]


def _names(seen: PlaneObservation, adopters: list[ShadowGroup]) -> dict[str, str]:
    """Return `#<id>` -> manifest name; an annotation names an id or, where no id is that, a name."""
    groups = [each for each in seen.objects if each.kind == ShadowGroup.KIND]
    found: dict[str, str] = {}
    for adopter in adopters:
        by_id = [each for each in groups if each.object_id == adopter.adopt]
        for each in by_id or [each for each in groups if each.host_name == adopter.adopt]:
            found[f"#{each.object_id}"] = adopter.name
    return found


def renamed(seen: ObservedObject, names: Mapping[str, str]) -> ObservedObject:
    """Return an object with the groups that it refers to called by other names."""
    fields: dict[str, Any] = {**seen.fields}
    if "groups" in fields:
        fields["groups"] = sorted(names.get(name, name) for name in fields["groups"])
    if fields.get("group") in names:
        fields["group"] = names[fields["group"]]
    return replace(seen, fields=fields) if fields != seen.fields else seen
