"""Rules about routes and the lists that name other manifests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.manifest.acceptance import Acceptance
from reconciler.manifest.gateway_key import GatewayKey
from reconciler.manifest.managed_key import ManagedKey
from reconciler.manifest.manifest_set import Path, Problem
from reconciler.manifest.meta import Resource
from reconciler.manifest.model_binding import ModelBinding
from reconciler.manifest.provider_account import ProviderAccount
from reconciler.manifest.quote import dotted, quote
from reconciler.manifest.route import Route
from reconciler.manifest.survey import Survey


def key_opens_the_routes_group(survey: Survey) -> Iterator[Problem]:
    """A route's gateway key is a key of the route's shadow group."""
    for route in survey.of(Route):
        key = survey.named(GatewayKey, route.spec.gateway_key)
        if key is not None and key.spec.group != route.spec.shadow_group:
            says = (
                f"GatewayKey {quote(key.name)} opens ShadowGroup {quote(key.spec.group)}, "
                f"the route goes to {quote(route.spec.shadow_group)}"
            )
            fix = f"use a GatewayKey whose group is {quote(route.spec.shadow_group)}"
            yield survey.error(route, ("spec", "gatewayKey"), "key-of-other-group", says, fix)


def items_stand_once(survey: Survey) -> Iterator[Problem]:
    """A list names a thing once: a route of a binding, a group of an account, a model, a drill."""
    for loaded in survey.loaded.manifests:
        for path, items, tail in _lists(loaded.resource):
            first: dict[str, int] = {}
            for index, item in enumerate(items):
                if first.setdefault(item, index) != index:
                    says = f"{dotted(path)} names {quote(item)} twice"
                    here: Path = (*path, index, *tail)
                    yield survey.error(loaded.resource, here, "duplicate-item", says, "keep one of them")


def _lists(resource: Resource) -> list[tuple[Path, Sequence[str], Path]]:
    """Return the lists of a resource whose items must differ: path, items, and the rest of each item's path."""
    if isinstance(resource, ModelBinding):
        return [(("spec", "routes"), [bound.route for bound in resource.spec.routes], ("route",))]
    if isinstance(resource, ProviderAccount):
        return [
            (("spec", "groups"), resource.spec.groups, ()),
            (("spec", "models"), resource.spec.models, ()),
        ]
    if isinstance(resource, ManagedKey):
        models = resource.spec.limits.models or []
        return [
            (("spec", "logicalGroups"), resource.spec.logical_groups, ()),
            (("spec", "limits", "models"), models, ()),
        ]
    if isinstance(resource, Acceptance):
        return [(("spec", "drills"), resource.spec.drills, ())]
    return []


RULES = (key_opens_the_routes_group, items_stand_once)
