"""The canonical shadow rule: public aliases live in the control plane; a host knows its upstream's own names only.

A public name is an *alias* unless a ModelBinding asks for it as it is and an account lists it: then it may be the
upstream's own name, published as such, which no manifest can tell from an alias.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from reconciler.manifest.manifest_set import Path, Problem
from reconciler.manifest.model_binding import ModelBinding
from reconciler.manifest.provider_account import ProviderAccount
from reconciler.manifest.quote import did_you_mean, dotted, quote
from reconciler.manifest.route import Route
from reconciler.manifest.shadow_group import ShadowGroup
from reconciler.manifest.shadow_host import ShadowHost
from reconciler.manifest.survey import Survey, called

_MAPPING_FIELDS = frozenset(("modelmapping", "modelaliases", "modelmap"))


class _Lead(NamedTuple):
    """One entry of a ModelBinding: where its route leads the public name."""

    binding: ModelBinding
    path: Path
    route: str
    public: str
    shadow: str


def _leads(survey: Survey) -> list[_Lead]:
    return [
        _Lead(
            binding,
            ("spec", "routes", index, "shadowModel"),
            bound.route,
            binding.spec.public_model,
            bound.shadow_model,
        )
        for binding in survey.of(ModelBinding)
        for index, bound in enumerate(binding.spec.routes)
    ]


def _aliases(survey: Survey) -> dict[str, _Lead]:
    """Return the aliases, each with the first entry that leads it anywhere."""
    leads = _leads(survey)
    listed = {model for account in survey.of(ProviderAccount) for model in account.spec.models}
    own = {lead.public for lead in leads if lead.public == lead.shadow} & listed
    found: dict[str, _Lead] = {}
    for lead in leads:
        if lead.public not in own:
            found.setdefault(lead.public, lead)
    return found


def shadow_model_is_canonical(survey: Survey) -> Iterator[Problem]:
    """A shadow model is the upstream's canonical name: some account of the route's group serves it under that name."""
    if not survey.whole("ProviderAccount"):
        return
    aliases = _aliases(survey)
    for lead in _leads(survey):
        group = _group_of(survey, lead)
        if group is not None:
            yield from _shadow_model(survey, lead, group.name, aliases)


def _group_of(survey: Survey, lead: _Lead) -> ShadowGroup | None:
    route = survey.named(Route, lead.route)
    return survey.named(ShadowGroup, route.spec.shadow_group) if route is not None else None


def _shadow_model(survey: Survey, lead: _Lead, group: str, aliases: dict[str, _Lead]) -> Iterator[Problem]:
    served, model = survey.served_by(group), lead.shadow
    if model in aliases:
        if not _verified(survey, survey.host_of(group)):
            says = f"{quote(model)} is a public alias; a host is never asked for one"
            fix = f"write the upstream's own name: {_listed(served - aliases.keys())}"
            yield survey.error(lead.binding, lead.path, "alias-as-shadow-model", says, fix)
        return
    if model in served:
        return
    near = did_you_mean(model, served)
    says = f"no account of ShadowGroup {quote(group)} serves {quote(model)}"
    fix = f"did you mean {quote(near)}?" if near else f"its accounts serve: {_listed(served)}"
    yield survey.error(lead.binding, lead.path, "unserved-model", says, fix)


def _verified(survey: Survey, host: ShadowHost | None) -> bool:
    """True when the host's driver was verified to be asked for aliases."""
    return host is not None and survey.aliases_verified.get(host.spec.driver, False)


def _listed(models: set[str]) -> str:
    shown = [quote(model) for model in sorted(models)]
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "") or "nothing"


def accounts_list_no_alias(survey: Survey) -> Iterator[Problem]:
    """An account's models are its upstream's own names: none is an alias that the control plane leads elsewhere."""
    if not survey.whole("ModelBinding"):
        return
    aliases = _aliases(survey)
    for account in survey.of(ProviderAccount):
        if _verified(survey, survey.named(ShadowHost, account.spec.host)):
            continue
        for index, model in enumerate(account.spec.models):
            if model in aliases:
                lead = aliases[model]
                says = (
                    f"{quote(model)} is a public alias: {called(lead.binding)} "
                    f"({survey.at(lead.binding, lead.path)}) leads it to {quote(lead.shadow)}"
                )
                fix = f"take it out: a host is asked for {quote(lead.shadow)}, and knows no alias"
                yield survey.error(account, ("spec", "models", index), "alias-on-host", says, fix)


def aliases_are_led_everywhere(survey: Survey) -> Iterator[Problem]:
    """A public name is not asked of accounts that serve what another route leads it to: it may be an alias there."""
    leads = _leads(survey)
    for lead in leads:
        group = _group_of(survey, lead)
        if group is None or lead.public != lead.shadow or _verified(survey, survey.host_of(group.name)):
            continue
        served = survey.served_by(group.name)
        other = next((each for each in leads if each.public == lead.public and _meant(each, served)), None)
        if other is not None and lead.shadow in served:
            says = (
                f"{quote(lead.public)} is asked of ShadowGroup {quote(group.name)} as it is, though Route "
                f"{quote(other.route)} ({survey.at(other.binding, other.path)}) leads it to {quote(other.shadow)}, "
                "which is served there too"
            )
            fix = (
                f"write {quote(other.shadow)} here, and take {quote(lead.public)} out of the accounts' models; "
                "leave both if it is the upstream's own name"
            )
            yield from survey.warnings(lead.binding, lead.path, "alias-not-led", says, fix)


def _meant(lead: _Lead, served: set[str]) -> bool:
    return lead.shadow != lead.public and lead.shadow in served


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


RULES = (
    shadow_model_is_canonical,
    accounts_list_no_alias,
    aliases_are_led_everywhere,
    no_model_mapping_on_hosts,
)
