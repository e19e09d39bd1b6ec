"""Somebody else's channel over a group of ours: a conflict, for it may rename models, and only its owner knows.

Nothing is taken from it: the plan warns, and the ShadowGroup is not Ready until the channel lets go of the group.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.manifest import ManifestSet, ShadowGroup
from reconciler.plan.model import PlaneObservation, host_plane


def foreign_channels(
    manifests: ManifestSet, planes: Mapping[str, PlaneObservation], installation: str
) -> dict[str, str]:
    """Return, per ShadowGroup that a foreign channel holds, a sentence that names the channel; sorted."""
    wanted = {(host_plane(group.spec.host), group.name) for group in manifests.of(ShadowGroup)}
    found: dict[str, str] = {}
    for plane, seen in planes.items():
        for each in seen.objects:
            channel = each.runtime.get("foreignChannel")
            if channel is None or each.kind != ShadowGroup.KIND or each.marker is None:
                continue
            name = each.marker.name
            if (plane, name) in wanted and each.marker.names(installation, ShadowGroup.KIND, name):
                found[name] = (
                    f"channel {str(channel)[:100]!r} on {plane}, which is not ours, holds the group: "
                    "it may rename models on their way to the upstream"
                )
    return dict(sorted(found.items()))
