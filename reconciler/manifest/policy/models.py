"""Rules about public and shadow models: who serves what, and what a logical group offers."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.manifest.logical_group import LogicalGroup
from reconciler.manifest.manifest_set import Problem
from reconciler.manifest.model_binding import ModelBinding
from reconciler.manifest.quote import quote
from reconciler.manifest.route import Route
from reconciler.manifest.survey import Survey


def public_model_is_bound_once(survey: Survey) -> Iterator[Problem]:
    """A logical group binds a public model once."""
    for bindings in survey.bindings_of.values():
        first: dict[str, ModelBinding] = {}
        for binding in bindings:
            model = binding.spec.public_model
            other = first.setdefault(model, binding)
            if other is not binding:
                says = (
                    f"{quote(model)} of LogicalGroup {quote(binding.spec.logical_group)} is bound already by "
                    f"ModelBinding {quote(other.name)} ({survey.at(other, ('spec', 'publicModel'))})"
                )
                fix = "merge the two, or offer one of them under another name"
                yield survey.error(binding, ("spec", "publicModel"), "duplicate-public-model", says, fix)


def bound_routes_are_of_the_group(survey: Survey) -> Iterator[Problem]:
    """A binding's routes belong to the binding's logical group."""
    for binding in survey.of(ModelBinding):
        for index, bound in enumerate(binding.spec.routes):
            route = survey.named(Route, bound.route)
            if route is None or route.spec.logical_group == binding.spec.logical_group:
                continue
            if survey.named(LogicalGroup, route.spec.logical_group) is None:
                continue  # the route's reference dangles, which is told where it stands
            says = (
                f"Route {quote(route.name)} is of LogicalGroup {quote(route.spec.logical_group)}, "
                f"the binding of {quote(binding.spec.logical_group)}"
            )
            fix = "bind a route of the same logical group"
            yield survey.error(binding, ("spec", "routes", index, "route"), "route-of-other-group", says, fix)


def public_model_has_a_fallback(survey: Survey) -> Iterator[Problem]:
    """A public model has two enabled routes that do not fail together (another shadow group or gateway key)."""
    if not survey.whole("Route"):
        return
    for binding in survey.of(ModelBinding):
        routes = [survey.named(Route, bound.route) for bound in binding.spec.routes]
        ways = {
            (r.spec.shadow_group, r.spec.gateway_key) for r in routes if r is not None and survey.enabled(r)
        }
        if len(ways) < 2 and None not in routes:
            model = quote(binding.spec.public_model)
            says = f"{model} has one enabled way and no fallback" if ways else f"{model} has no enabled route"
            fix = "bind a second enabled route, over another shadow group"
            yield from survey.warnings(binding, ("spec", "routes"), "no-fallback", says, fix)


def group_offers_a_model(survey: Survey) -> Iterator[Problem]:
    """A logical group offers at least one public model."""
    if not survey.whole("ModelBinding"):
        return
    for group in survey.of(LogicalGroup):
        if group.name not in survey.bindings_of:
            says, fix = "it offers no public model", "add a ModelBinding for it, or remove it"
            yield from survey.warnings(group, ("metadata", "name"), "no-model", says, fix)


RULES = (
    public_model_is_bound_once,
    bound_routes_are_of_the_group,
    public_model_has_a_fallback,
    group_offers_a_model,
)
