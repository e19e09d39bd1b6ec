"""Which paths a change makes to be proved: the rules that a run follows and that its cost is reckoned by. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.manifest import GatewayKey, ManagedKey, ProviderAccount
from reconciler.plan.model import DesiredObject, ObjectKey, ObservedObject, Plan
from reconciler.proof.model import PathKey
from reconciler.proof.scope import Scope


def staged_paths(plan: Plan, scope: Scope, document: Mapping[str, Any], prove: str) -> list[PathKey]:
    """Return the paths that must be proved by a staged revision before it may be promoted, sorted.

    `prove` is all, affected or none; a path that the revision does not hold is none to prove.
    """
    if prove == "none":
        return []
    known = {*scope.all_routes(), *scope.all_keys()}
    if prove == "affected":
        touched = {PathKey(route, model) for route, model in plan.affected}
        for change in plan.pending():
            if change.key.kind == ManagedKey.KIND:
                touched |= set(scope.own_paths(change.key.name).values())
        known &= touched
    return sorted(path for path in known if holds_path(document, path))


def holds_path(of: Mapping[str, Any], path: PathKey) -> bool:
    """True when a document has the route, enabled and bound to the public model."""
    enabled = any(route["name"] == path.route and route["enabled"] for route in of["routes"])
    return enabled and any(
        binding["public_model"] == path.model
        and any(bound["route"] == path.route for bound in binding["routes"])
        for binding in of["model_bindings"]
    )


def edited_paths(
    scope: Scope, key: ObjectKey, before: Iterable[str], desired: Iterable[str]
) -> list[PathKey]:
    """Return the routes whose traffic an edit of a host object in service can touch.

    `before` and `desired` are the groups that it serves, where it is an account.
    """
    if key.kind == GatewayKey.KIND:
        return scope.of_gateway_key(key.name)
    if key.kind == "KeyIssuer":
        host = key.plane.removeprefix("host/")
        return [path for path in scope.all_routes() if scope.host_of(path.route) == host]
    groups = {*before, *desired} or {key.name}
    return sorted({path for group in groups & scope.group_names() for path in scope.of_group(group)})


def joins(key: ObjectKey, before: ObservedObject, desired: DesiredObject) -> bool:
    """True when an edit binds an account to a group that it does not serve yet."""
    if key.kind != ProviderAccount.KIND:
        return False
    return bool(set(desired.fields["groups"]) - set(before.fields["groups"]))


def groups_in_service(document: Mapping[str, Any]) -> frozenset[str]:
    """Return the host-side ids of groups that routes of a document use."""
    return frozenset(route["shadow_group_id"] for route in document.get("routes", []))


def whole_accounts(scope: Scope, due: Iterable[PathKey]) -> list[PathKey]:
    """Return the paths with every model of an account of which any is due: it is proved as a whole; sorted."""
    found: set[PathKey] = set()
    for path in due:
        found |= {path} if path.route else set(scope.of_account(path.account))
    return sorted(found)
