"""Rules about public and shadow models: the canonical shadow rule, and who serves what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reconciler.manifest.logical_group import LogicalGroup
from reconciler.manifest.manifest_set import Path, Problem
from reconciler.manifest.model_binding import BoundRoute, ModelBinding
from reconciler.manifest.provider_account import ProviderAccount
from reconciler.manifest.quote import did_you_mean, dotted, quote
from reconciler.manifest.route import Route
from reconciler.manifest.shadow_group import ShadowGroup
from reconciler.manifest.survey import Survey

_MAPPING_FIELDS = frozenset(("modelmapping", "modelaliases", "modelmap"))


def shadow_model_is_canonical(survey: Survey) -> Iterator[Problem]:
    """A shadow model is the upstream's canonical name: some account of the route's group serves it under that name."""
    aliases = _aliases(survey)
    for binding in survey.of(ModelBinding):
        for index, bound in enumerate(binding.spec.routes):
            route = survey.named(Route, bound.route)
            if route is not None and survey.named(ShadowGroup, route.spec.shadow_group) is not None:
                path: Path = ("spec", "routes", index, "shadowModel")
                yield from _shadow_model(survey, binding, bound, route.spec.shadow_group, path, aliases)


def _aliases(survey: Survey) -> frozenset[str]:
    """Return the public names that are no account's model."""
    canonical = {model for account in survey.of(ProviderAccount) for model in account.spec.models}
    return frozenset(binding.spec.public_model for binding in survey.of(ModelBinding)) - canonical


def _shadow_model(
    survey: Survey, binding: ModelBinding, bound: BoundRoute, group: str, path: Path, aliases: frozenset[str]
) -> Iterator[Problem]:
    served = survey.served_by(group)
    model = bound.shadow_model
    if model in served or not survey.whole("ProviderAccount"):
        return
    if model in aliases:
        host = survey.host_of(group)
        if host is None or not survey.aliases_verified.get(host.spec.driver, False):
            says = f"{quote(model)} is a public alias; a host is never asked for one"
            fix = f"write the upstream's own name: {_listed(served)}"
            yield survey.error(binding, path, "alias-as-shadow-model", says, fix)
        return
    near = did_you_mean(model, served)
    says = f"no account of ShadowGroup {quote(group)} serves {quote(model)}"
    fix = f"did you mean {quote(near)}?" if near else f"its accounts serve: {_listed(served)}"
    yield survey.error(binding, path, "unserved-model", says, fix)


def _listed(models: set[str]) -> str:
    shown = [quote(model) for model in sorted(models)]
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "") or "nothing"


def no_model_mapping_on_hosts(survey: Survey) -> Iterator[Problem]:
    """No host-side model mapping: public aliases live in the control plane only."""
    for resource in survey.on_hosts:
        for path in model_mappings(resource):
            says = f"{dotted(path)} maps models on the host; public aliases live in the control plane only"
            fix = "remove it, and bind the public name with a ModelBinding"
            yield survey.error(resource, path, "model-mapping-on-host", says, fix)


def model_mappings(resource: ShadowGroup | ProviderAccount) -> Iterator[Path]:
    """Yield the path of every model mapping in a resource's driver settings."""
    return _mappings(resource.spec.settings, ("spec", "settings"))


def _mappings(settings: Any, path: Path) -> Iterator[Path]:
    """Yield the path of every model mapping that is not empty."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            here = (*path, str(key))
            if str(key).replace("_", "").replace("-", "").lower() in _MAPPING_FIELDS and value:
                yield here
            else:
                yield from _mappings(value, here)
    elif isinstance(settings, list):
        for index, item in enumerate(settings):
            yield from _mappings(item, (*path, index))


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
    shadow_model_is_canonical,
    no_model_mapping_on_hosts,
    public_model_is_bound_once,
    bound_routes_are_of_the_group,
    public_model_has_a_fallback,
    group_offers_a_model,
)
