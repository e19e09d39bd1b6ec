"""What a control-plane document uses: which host objects its routes refer to, and which of them carry traffic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from reconciler.plan.model import CONTROL, Fields, ObjectKey, host_plane

Document = Mapping[str, Any]

Served = frozenset[str]
"""Public models as "logical group/public model"."""

NOTHING: Served = frozenset()


@dataclass(frozen=True)
class Usage:
    """One document's use of things. A route that is disabled or bound to no model refers, but carries nothing."""

    document: Document
    carried: Mapping[ObjectKey, Served] = field(init=False)
    """Object -> the public models that go through it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "carried", _carried(self.document))

    @cached_property
    def referenced(self) -> frozenset[ObjectKey]:
        """Every object that stands in the document, or that a route in it names."""
        found: set[ObjectKey] = set()
        for kind, section in SECTIONS.items():
            found.update(ObjectKey(CONTROL, kind, entry["name"]) for entry in self.document.get(section, ()))
        for route in self.document.get("routes", ()):
            found.update(host_objects(route))
        return frozenset(found)

    def uses(self, key: ObjectKey) -> bool:
        """True when the object stands in the document, or a route in it names it."""
        return (key._replace(kind="ShadowGroup") if key.kind == "Channel" else key) in self.referenced

    @cached_property
    def group_ids(self) -> frozenset[tuple[str, str]]:
        """(plane, id) of every group on a host that a route in the document names by id."""
        return frozenset(
            (host_plane(route["shadow_host"]), route["shadow_group_id"])
            for route in self.document.get("routes", ())
        )

    @cached_property
    def key_versions(self) -> frozenset[tuple[ObjectKey, str]]:
        """(GatewayKey, version of its value) of every route in the document."""
        return frozenset(
            (host_objects(route)[1], route["gateway_key_version"])
            for route in self.document.get("routes", ())
        )

    def through(self, key: ObjectKey, fields: Fields) -> Served:
        """Return the public models that go through an object with these fields; empty when there is none."""
        if key.kind == "ProviderAccount":
            groups = (ObjectKey(key.plane, "ShadowGroup", str(name)) for name in fields.get("groups") or ())
            return NOTHING.union(*(self.carried.get(group, NOTHING) for group in groups))
        if key.kind == "Channel":
            return self.carried.get(key._replace(kind="ShadowGroup"), NOTHING)
        return self.carried.get(key, NOTHING)

    def in_service(self, key: ObjectKey, fields: Fields) -> bool:
        """True when a route of the document refers to the object, whether or not it carries anything now."""
        if key.kind == "ProviderAccount":
            return any(
                ObjectKey(key.plane, "ShadowGroup", str(name)) in self.referenced
                for name in fields.get("groups") or ()
            )
        return self.uses(key)


SECTIONS: Mapping[str, str] = {
    "ShadowHost": "shadow_hosts",
    "LogicalGroup": "logical_groups",
    "Route": "routes",
    "ModelBinding": "model_bindings",
    "ManagedKey": "managed_keys",
}
"""Kind -> section of the document."""


def host_objects(route: Mapping[str, Any]) -> tuple[ObjectKey, ...]:
    """Return the host objects that a route's entry names; the key issuer issues the keys of all routes of its host."""
    host = route["shadow_host"]
    plane = host_plane(host)
    return (
        ObjectKey(plane, "ShadowGroup", route["shadow_group"]),
        ObjectKey(plane, "GatewayKey", route["gateway_key"]),
        ObjectKey(plane, "KeyIssuer", host),
    )


def _carried(document: Document) -> dict[ObjectKey, Served]:
    routes = {route["name"]: route for route in document.get("routes", ()) if route.get("enabled", True)}
    found: dict[ObjectKey, set[str]] = {}
    for binding in document.get("model_bindings", ()):
        model = f"{binding['logical_group']}/{binding['public_model']}"
        for bound in binding["routes"]:
            route = routes.get(bound["route"])
            if route is None:
                continue
            for key in (
                *host_objects(route),
                ObjectKey(CONTROL, "Route", route["name"]),
                ObjectKey(CONTROL, "ShadowHost", route["shadow_host"]),
                ObjectKey(CONTROL, "LogicalGroup", binding["logical_group"]),
                ObjectKey(CONTROL, "ModelBinding", binding["name"]),
            ):
                found.setdefault(key, set()).add(model)
    return {key: frozenset(models) for key, models in found.items()}
