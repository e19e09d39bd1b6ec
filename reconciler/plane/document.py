"""The control plane's document: our manifests as its objects, its objects as observations, and the merge of both.

A revision is always "the base's document, with our objects replaced": foreign objects are carried over untouched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.manifest import (
    ControlPlane,
    GatewayKey,
    LogicalGroup,
    ManagedKey,
    ManifestSet,
    ModelBinding,
    Route,
    ShadowGroup,
    ShadowHost,
    seconds,
)
from reconciler.plan.model import (
    CONTROL,
    UNKNOWN_UNTIL_APPLY,
    DesiredObject,
    Marker,
    ObjectKey,
    ObservedObject,
    PlaneObservation,
)

Document = Mapping[str, Any]

SECTIONS: Mapping[str, str] = {
    "ShadowHost": "shadow_hosts",
    "LogicalGroup": "logical_groups",
    "Route": "routes",
    "ModelBinding": "model_bindings",
    "ManagedKey": "managed_keys",
}
"""Manifest kind -> section of the document, in order of dependency."""


@dataclass(frozen=True)
class Resolved:
    """What the document needs and no manifest says: ids that hosts gave, versions of stored key values, endpoints."""

    group_ids: Mapping[str, str] = field(default_factory=dict)
    """ShadowGroup name -> the host's id, for groups that exist."""
    gateway_key_versions: Mapping[str, str] = field(default_factory=dict)
    managed_key_versions: Mapping[str, str] = field(default_factory=dict)
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """Endpoint as written -> as reachable."""


def control_key(kind: str, name: str) -> ObjectKey:
    """Return the key of an object in the control plane."""
    return ObjectKey(CONTROL, kind, name)


def desired_objects(manifests: ManifestSet, resolved: Resolved) -> list[DesiredObject]:
    """Return what the manifests ask of the control plane, dependencies first; suspended ones ask for nothing. Pure."""
    found = [
        *(_shadow_host(host, manifests, resolved) for host in manifests.of(ShadowHost)),
        *(_logical_group(group, manifests) for group in manifests.of(LogicalGroup)),
        *(_route(route, manifests, resolved) for route in manifests.of(Route)),
        *(_binding(binding, manifests) for binding in manifests.of(ModelBinding)),
        *(_managed_key(key, manifests, resolved) for key in manifests.of(ManagedKey)),
    ]
    suspended = {
        control_key(each.resource.KIND, each.resource.name) for each in manifests if each.resource.suspended
    }
    return [each for each in found if each.key not in suspended]


def _desired(
    manifests: ManifestSet,
    kind: str,
    name: str,
    fields: Mapping[str, Any],
    depends_on: Iterable[ObjectKey] = (),
) -> DesiredObject:
    loaded = manifests.items[(kind, name)]
    return DesiredObject(
        key=control_key(kind, name),
        fields={"name": name, **fields},
        source=loaded.at(),
        depends_on=tuple(depends_on),
        adopt=loaded.resource.adopt,
    )


def _shadow_host(host: ShadowHost, manifests: ManifestSet, resolved: Resolved) -> DesiredObject:
    endpoint = host.spec.data_endpoint or host.spec.admin_endpoint
    fields = {
        "driver": host.spec.driver,
        "data_endpoint": resolved.endpoints.get(endpoint, endpoint).rstrip("/"),
    }
    wanted = _desired(manifests, "ShadowHost", host.name, fields)
    # What else the annotation of a ShadowHost may name is the host's key issuer.
    return wanted if wanted.adopt == host.name else replace(wanted, adopt=None)


def _logical_group(group: LogicalGroup, manifests: ManifestSet) -> DesiredObject:
    sticky, failover = group.spec.sticky, group.spec.failover
    fields = {
        "sticky": {"mode": sticky.mode, "ttl_seconds": seconds(sticky.ttl)},
        "failover": {
            "max_attempts": failover.max_attempts,
            "failure_threshold": failover.failure_threshold,
            "window_seconds": seconds(failover.window),
            "cooldown_seconds": seconds(failover.cooldown),
            "max_cooldown_seconds": seconds(failover.max_cooldown),
        },
    }
    return _desired(manifests, "LogicalGroup", group.name, fields)


def _route(route: Route, manifests: ManifestSet, resolved: Resolved) -> DesiredObject:
    spec = route.spec
    defaults = manifests.get(LogicalGroup, spec.logical_group).spec.route_defaults
    group = manifests.get(ShadowGroup, spec.shadow_group)
    key = manifests.get(GatewayKey, spec.gateway_key)
    fields = {
        "logical_group": spec.logical_group,
        "shadow_host": group.spec.host,
        "shadow_group": group.name,
        "shadow_group_id": resolved.group_ids.get(group.name, UNKNOWN_UNTIL_APPLY),
        "gateway_key": key.name,
        "gateway_key_version": resolved.gateway_key_versions.get(key.name, UNKNOWN_UNTIL_APPLY),
        "priority": defaults.priority if spec.priority is None else spec.priority,
        "weight": defaults.weight if spec.weight is None else spec.weight,
        "enabled": defaults.enabled if spec.enabled is None else spec.enabled,
        "timeout_seconds": seconds(spec.timeout or defaults.timeout),
    }
    depends_on = [control_key("LogicalGroup", spec.logical_group), control_key("ShadowHost", group.spec.host)]
    return _desired(manifests, "Route", route.name, fields, depends_on)


def _binding(binding: ModelBinding, manifests: ManifestSet) -> DesiredObject:
    bound = sorted(binding.spec.routes, key=lambda entry: entry.route)
    fields = {
        "logical_group": binding.spec.logical_group,
        "public_model": binding.spec.public_model,
        "routes": [{"route": entry.route, "shadow_model": entry.shadow_model} for entry in bound],
    }
    depends_on = [
        control_key("LogicalGroup", binding.spec.logical_group),
        *(control_key("Route", entry.route) for entry in bound),
    ]
    return _desired(manifests, "ModelBinding", binding.name, fields, depends_on)


def _managed_key(key: ManagedKey, manifests: ManifestSet, resolved: Resolved) -> DesiredObject:
    spec = key.spec
    version = resolved.managed_key_versions.get(key.name, UNKNOWN_UNTIL_APPLY)
    fields = {
        "logical_groups": list(spec.logical_groups),
        "versions": [version],
        "owner": spec.owner,
        "expires_at": spec.expires_at.isoformat().replace("+00:00", "Z") if spec.expires_at else None,
        "limits": {
            "requests_per_minute": spec.limits.requests_per_minute,
            "concurrent_requests": spec.limits.concurrent_requests,
            "models": sorted(spec.limits.models) if spec.limits.models is not None else None,
        },
    }
    return _desired(
        manifests,
        "ManagedKey",
        key.name,
        fields,
        (control_key("LogicalGroup", group) for group in spec.logical_groups),
    )


def observe(document: Document, *, revision: int, version: str = "") -> PlaneObservation:
    """Return the control plane's objects, ours and foreign, as an observation."""
    objects = [
        ObservedObject(
            kind=kind,
            object_id=entry["name"],
            host_name=entry["name"],
            fields={name: value for name, value in entry.items() if name != "managed_by"},
            marker=Marker.parse(entry.get("managed_by", "")),
        )
        for kind, section in SECTIONS.items()
        for entry in document.get(section, [])
    ]
    return PlaneObservation(plane=CONTROL, objects=tuple(objects), revision=revision, version=version)


def entries(document: Document) -> dict[ObjectKey, Mapping[str, Any]]:
    """Return every object of a document by its key, `managed_by` included."""
    return {
        control_key(kind, entry["name"]): entry
        for kind, section in SECTIONS.items()
        for entry in document.get(section, [])
    }


def assemble(objects: Mapping[ObjectKey, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the document that holds exactly these objects, each section sorted by name."""
    document: dict[str, Any] = {section: [] for section in SECTIONS.values()}
    for key in sorted(objects):
        document[SECTIONS[key.kind]].append(dict(objects[key]))
    return document


def merge(
    base: Document, desired: Sequence[DesiredObject], *, installation: str, keep: Collection[ObjectKey] = ()
) -> dict[str, Any]:
    """Return the base's document with our objects replaced by the desired ones and foreign ones carried over.

    An object of ours that is no longer desired is left out, unless it is in `keep` (suspended manifests). A foreign
    object of a desired name stays as it is unless the manifest adopts it: the planner reports the conflict.
    """
    merged: dict[ObjectKey, Mapping[str, Any]] = {
        key: entry for key, entry in entries(base).items() if key in keep or not owned(entry, installation)
    }
    for wanted in desired:
        if wanted.key in merged and wanted.adopt != wanted.key.name:
            continue
        merged[wanted.key] = entry_of(wanted, installation)
    return assemble(merged)


def entry_of(desired: DesiredObject, installation: str) -> Mapping[str, Any]:
    """Return the document's entry for a desired object, our mark on it."""
    marker = Marker(installation, desired.key.kind, desired.key.name, "-")
    return {**desired.fields, "managed_by": str(marker)}


def owned(entry: Mapping[str, Any], installation: str) -> bool:
    """True when an entry carries this installation's mark."""
    marker = Marker.parse(entry.get("managed_by", ""))
    return marker is not None and marker.installation == installation


def references(key: ObjectKey, entry: Mapping[str, Any]) -> list[ObjectKey]:
    """Return the objects of the same document that an entry needs."""
    if key.kind == "Route":
        return [
            control_key("LogicalGroup", entry["logical_group"]),
            control_key("ShadowHost", entry["shadow_host"]),
        ]
    if key.kind == "ModelBinding":
        routes = [control_key("Route", bound["route"]) for bound in entry["routes"]]
        return [control_key("LogicalGroup", entry["logical_group"]), *routes]
    if key.kind == "ManagedKey":
        return [control_key("LogicalGroup", group) for group in entry["logical_groups"]]
    return []


def control_plane_of(manifests: ManifestSet) -> ControlPlane | None:
    """Return the one ControlPlane of a set, or None when there is not exactly one."""
    planes = manifests.of(ControlPlane)
    return planes[0] if len(planes) == 1 else None
