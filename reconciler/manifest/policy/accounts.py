"""Rules about provider accounts: where they stand, and that the usage log can tell them apart."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.manifest.manifest_set import Problem
from reconciler.manifest.policy.endpoints import same_endpoint
from reconciler.manifest.provider_account import ProviderAccount
from reconciler.manifest.quote import quote
from reconciler.manifest.shadow_group import ShadowGroup
from reconciler.manifest.survey import Survey


def account_stands_on_its_groups_host(survey: Survey) -> Iterator[Problem]:
    """An account's groups are on the account's host."""
    for account in survey.of(ProviderAccount):
        for index, name in enumerate(account.spec.groups):
            group = survey.named(ShadowGroup, name)
            if group is not None and group.spec.host != account.spec.host:
                says = (
                    f"ShadowGroup {quote(name)} is on ShadowHost {quote(group.spec.host)}, "
                    f"the account on {quote(account.spec.host)}"
                )
                fix = "name groups of the account's own host; make a second account for the other host"
                yield survey.error(account, ("spec", "groups", index), "group-on-other-host", says, fix)


def account_has_its_groups_platform(survey: Survey) -> Iterator[Problem]:
    """An account has the platform of its groups."""
    for account in survey.of(ProviderAccount):
        for index, name in enumerate(account.spec.groups):
            group = survey.named(ShadowGroup, name)
            if group is not None and group.spec.platform != account.spec.platform:
                says = f"its platform {account.spec.platform} is not that of ShadowGroup {quote(name)}"
                fix = (
                    f"set platform: {group.spec.platform}, or name groups of platform {account.spec.platform}"
                )
                yield survey.error(account, ("spec", "groups", index), "platform-mismatch", says, fix)


def accounts_differ(survey: Survey) -> Iterator[Problem]:
    """Two accounts of one host differ in base URL or credential, else no usage row could tell them apart."""
    first: dict[tuple[object, ...], ProviderAccount] = {}
    for account in survey.of(ProviderAccount):
        source = account.spec.credential.value_from.key()
        other = first.setdefault((account.spec.host, same_endpoint(account.spec.base_url), source), account)
        if other is not account:
            says = (
                f"it has the host, base URL and credential of ProviderAccount {quote(other.name)} "
                f"({survey.at(other, ('metadata', 'name'))})"
            )
            fix = "merge the two (one account may serve several groups), or give this one its own credential"
            yield survey.error(account, ("spec", "credential"), "ambiguous-account", says, fix)


def account_is_shared_knowingly(survey: Survey) -> Iterator[Problem]:
    """An account serves several logical groups only when it says `shared: true`."""
    for account in survey.of(ProviderAccount):
        routes = [route for group in account.spec.groups for route in survey.routes_into.get(group, ())]
        groups = sorted({route.spec.logical_group for route in routes})
        if len(groups) > 1 and not account.spec.shared:
            says = f"it serves the logical groups {', '.join(map(quote, groups))} without shared: true"
            fix = "set shared: true if they may use up each other's quota, else use an account for each"
            yield survey.error(account, ("spec", "groups"), "shared-account", says, fix)


RULES = (
    account_stands_on_its_groups_host,
    account_has_its_groups_platform,
    accounts_differ,
    account_is_shared_knowingly,
)
