"""The cast of the planner's tests: one small house, and short ways to say what is desired, observed and remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from reconciler.manifest import Location
from reconciler.plan.model import (
    CONTROL,
    Change,
    DesiredObject,
    InventoryEntry,
    Marker,
    ObjectKey,
    ObservedObject,
    Plan,
    PlaneObservation,
)
from reconciler.plan.planner import plan
from reconciler.plane import document

OURS = "inst-test"
EAST = "host/east"
SOURCE = Location("manifests/east.yaml", 12, 1)

Document = Mapping[str, Any]


def key(kind: str, name: str, plane: str = EAST) -> ObjectKey:
    return ObjectKey(plane, kind, name)


def group(name: str = "chat", /, plane: str = EAST, **fields: Any) -> DesiredObject:
    given = {"name": name, "platform": "openai", "settings": {"rpmLimit": 0}, **fields}
    return DesiredObject(
        key("ShadowGroup", name, plane), given, SOURCE, replace_fields=frozenset({"platform"})
    )


def account(
    name: str = "alpha", /, plane: str = EAST, *, fingerprint: str | None = "fp1", **fields: Any
) -> DesiredObject:
    given = {
        "name": name,
        "baseUrl": "https://api.example/v1",
        "models": ["gpt-4o"],
        "groups": ["chat"],
        "concurrency": 10,
        "priority": 50,
        **fields,
    }
    return DesiredObject(
        key("ProviderAccount", name, plane),
        given,
        SOURCE,
        fingerprint=fingerprint,
        depends_on=tuple(key("ShadowGroup", each, plane) for each in given["groups"]),
        replace_fields=frozenset({"baseUrl"}),
    )


def gateway_key(
    name: str = "chat-key", plane: str = EAST, of: str = "chat", version: int = 1
) -> DesiredObject:
    return DesiredObject(
        key("GatewayKey", name, plane),
        {"group": of, "version": version},
        SOURCE,
        fingerprint=f"v{version}",
        depends_on=(key("ShadowGroup", of, plane),),
        replace_fields=frozenset({"group", "version"}),
    )


def control(kind: str, name: str, /, *needs: ObjectKey, **fields: Any) -> DesiredObject:
    return DesiredObject(key(kind, name, CONTROL), {"name": name, **fields}, SOURCE, depends_on=needs)


def shadow_host(name: str = "east", url: str = "http://east.example") -> DesiredObject:
    return control("ShadowHost", name, driver="sub2api", data_endpoint=url)


def logical_group(name: str = "products") -> DesiredObject:
    return control("LogicalGroup", name, sticky={"mode": "session", "ttl_seconds": 3600})


def route(
    name: str = "east-chat", *, of: str = "products", host: str = "east", group: str = "chat", **fields: Any
) -> DesiredObject:
    given = {
        "logical_group": of,
        "shadow_host": host,
        "shadow_group": group,
        "shadow_group_id": "1",
        "gateway_key": f"{group}-key",
        "gateway_key_version": "v1",
        "priority": 10,
        "weight": 100,
        "enabled": True,
        **fields,
    }
    needs = (key("LogicalGroup", of, CONTROL), key("ShadowHost", host, CONTROL))
    return control("Route", name, *needs, **given)


def binding(
    *routes: str, name: str = "fast", of: str = "products", model: str = "fast", shadow: str = "gpt-4o"
) -> DesiredObject:
    bound = [{"route": each, "shadow_model": shadow} for each in routes]
    needs = (key("LogicalGroup", of, CONTROL), *(key("Route", each, CONTROL) for each in routes))
    return control("ModelBinding", name, *needs, logical_group=of, public_model=model, routes=bound)


def managed_key(name: str = "team", *groups: str, version: str = "v1", **limits: Any) -> DesiredObject:
    return control(
        "ManagedKey",
        name,
        logical_groups=list(groups or ("products",)),
        versions=[version],
        owner="",
        expires_at=None,
        limits={"requests_per_minute": None, "concurrent_requests": None, "models": None, **limits},
    )


HOUSE: tuple[DesiredObject, ...] = (
    group(),
    account(),
    gateway_key(),
    shadow_host(),
    logical_group(),
    route(),
    binding("east-chat"),
    managed_key(),
)
"""Everything that one served public model needs."""


def marker(kind: str, name: str, fingerprint: str = "-", installation: str = OURS) -> Marker:
    return Marker(installation, kind, name, fingerprint)


def seen(desired: DesiredObject, object_id: str = "1", **changes: Any) -> ObservedObject:
    """The object as it stands after it was made as desired; `changes` are fields that differ."""
    return ObservedObject(
        kind=desired.key.kind,
        object_id=object_id,
        host_name=desired.host_name or "",
        fields={**desired.fields, **changes},
        marker=marker(desired.key.kind, desired.key.name, desired.fingerprint or "-"),
    )


def foreign(desired: DesiredObject, object_id: str = "99", **changes: Any) -> ObservedObject:
    """As `seen`, but made by somebody else."""
    return replace(seen(desired, object_id, **changes), marker=None)


def entry(
    desired: DesiredObject, object_id: str = "1", *, adopted: bool = False, prunable: bool = True
) -> InventoryEntry:
    return InventoryEntry(
        desired.key, object_id, desired.fingerprint or "", adopted=adopted, prunable=prunable
    )


def plane(*objects: ObservedObject, name: str = EAST, unknown: str | None = None) -> PlaneObservation:
    return PlaneObservation(name, tuple(objects), unknown=unknown)


def doc(*desired: DesiredObject, base: Document | None = None) -> dict[str, Any]:
    """The control plane's document after these were applied to `base`."""
    return document.merge(
        base or {}, [each for each in desired if each.key.plane == CONTROL], installation=OURS
    )


def make(
    *desired: DesiredObject,
    observed: Sequence[ObservedObject] = (),
    inventory: Sequence[InventoryEntry] = (),
    before: Document | None = None,
    **options: Any,
) -> Plan:
    """Plan with one known host and a control plane whose document is `before`."""
    active = before or {}
    return plan(
        desired,
        {EAST: plane(*observed), CONTROL: document.observe(active, revision=7)},
        inventory,
        installation=OURS,
        document_before=active,
        document_after=doc(*desired, base=active),
        **options,
    )


def only(plan: Plan) -> Change:
    """The plan's one pending change."""
    (change,) = plan.pending()
    return change


def running(*desired: DesiredObject) -> dict[str, Any]:
    """Options for `make`: these stand, as desired, in the inventory too; ids count from 1."""
    on_host = [each for each in desired if each.key.plane == EAST]
    return {
        "observed": [seen(each, str(number)) for number, each in enumerate(on_host, 1)],
        "inventory": [entry(each, str(number)) for number, each in enumerate(on_host, 1)],
        "before": doc(*desired),
    }
