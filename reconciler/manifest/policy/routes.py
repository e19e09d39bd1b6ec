"""Rules about routes and the lists that name other manifests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

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


def order_is_as_meant(survey: Survey) -> Iterator[Problem]:
    """The routes of a binding are those that an Acceptance's order names, tried in that order."""
    if not survey.whole("Route", "ModelBinding", "LogicalGroup"):
        return
    for acceptance in survey.of(Acceptance):
        for index, order in enumerate(acceptance.spec.order):
            binding = survey.named(ModelBinding, order.binding)
            routes = [survey.named(Route, name) for name in order.routes]
            known = [route for route in routes if route is not None]
            if binding is None or len(known) < len(routes):
                continue
            yield from _lacking(survey, acceptance, index, binding, known)
            bound = {entry.route for entry in binding.spec.routes}
            serving = [route for route in known if route.name in bound and survey.enabled(route)]
            yield from _out_of_order(survey, acceptance, index, binding, serving)


def _lacking(
    survey: Survey, acceptance: Acceptance, index: int, binding: ModelBinding, meant: Sequence[Route]
) -> Iterator[Problem]:
    bound = [entry.route for entry in binding.spec.routes]
    model, name = quote(binding.spec.public_model), f"ModelBinding {quote(binding.name)}"
    for number, route in enumerate(meant):
        path: Path = ("spec", "order", index, "routes", number)
        if route.name not in bound:
            says = f"Route {quote(route.name)} is meant to serve {model}, and {name} does not bind it"
            yield survey.error(
                acceptance, path, "missing-binding", says, "bind it, or take it out of the order"
            )
        elif not survey.enabled(route):
            says = f"Route {quote(route.name)} is meant to serve {model}, and is not enabled"
            yield survey.error(
                acceptance, path, "missing-binding", says, "enable it, or take it out of the order"
            )
    names = [route.name for route in meant]
    for entry in bound:
        extra = survey.named(Route, entry)
        if extra is not None and survey.enabled(extra) and entry not in names:
            says = f"Route {quote(entry)} serves {model} by {name}, and the order does not name it"
            fix = "put it in its place in the order, or take it out of the binding"
            yield survey.error(acceptance, ("spec", "order", index, "routes"), "wrong-order", says, fix)


def _out_of_order(
    survey: Survey, acceptance: Acceptance, index: int, binding: ModelBinding, serving: Sequence[Route]
) -> Iterator[Problem]:
    names = acceptance.spec.order[index].routes
    for first, then in pairwise(serving):
        before, after = survey.priority(first), survey.priority(then)
        if after < before:
            says = (
                f"for {quote(binding.spec.public_model)} Route {quote(then.name)} (priority {after}) is tried before "
                f"Route {quote(first.name)} (priority {before})"
            )
            fix = f"give {quote(then.name)} a priority above {before}, or correct the order"
            path: Path = ("spec", "order", index, "routes", names.index(then.name))
            yield survey.error(acceptance, path, "wrong-order", says, fix)


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
        orders: list[tuple[Path, Sequence[str], Path]] = [
            (("spec", "order", index, "routes"), order.routes, ())
            for index, order in enumerate(resource.spec.order)
        ]
        return [(("spec", "drills"), resource.spec.drills, ()), *orders]
    return []


RULES = (key_opens_the_routes_group, order_is_as_meant, items_stand_once)
