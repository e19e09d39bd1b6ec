"""Rules about hosts and control planes, and that no two manifests mean one thing on a host."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.manifest.control_plane import ControlPlane
from reconciler.manifest.manifest_set import Path, Problem
from reconciler.manifest.meta import Resource
from reconciler.manifest.policy.endpoints import port_fits, same_endpoint
from reconciler.manifest.provider_account import ProviderAccount
from reconciler.manifest.quote import quote
from reconciler.manifest.shadow_group import ShadowGroup
from reconciler.manifest.shadow_host import ShadowHost
from reconciler.manifest.survey import Survey, called

_ADOPT: Path = ("metadata", "annotations", "reconcile.dev/adopt")


def hosts_have_their_own_endpoint(survey: Survey) -> Iterator[Problem]:
    """Two hosts, or two control planes, have different admin endpoints."""
    hosts = [(host, host.spec.admin_endpoint, "adminEndpoint") for host in survey.of(ShadowHost)]
    planes = [(plane, plane.spec.endpoint, "endpoint") for plane in survey.of(ControlPlane)]
    first: dict[tuple[str, str], Resource] = {}
    for resource, endpoint, field in (*hosts, *planes):
        other = first.setdefault((resource.KIND, same_endpoint(endpoint)), resource)
        if other is not resource:
            says = f"{called(other)} ({survey.at(other, ('metadata', 'name'))}) has the same endpoint"
            fix = "keep one of the two: two manifests of one backend would undo each other's work"
            yield survey.error(resource, ("spec", field), "duplicate-endpoint", says, fix)


def endpoints_can_be_reached(survey: Survey) -> Iterator[Problem]:
    """An endpoint has a host, and a port that exists."""
    for resource, endpoint, path in _endpoints(survey):
        if endpoint is not None and not port_fits(endpoint):
            says = f"{quote(endpoint)} has no host name, or a port that does not exist"
            yield survey.error(
                resource, path, "bad-endpoint", says, "write a host, and a port from 1 to 65535"
            )


def _endpoints(survey: Survey) -> Iterator[tuple[Resource, str | None, Path]]:
    for plane in survey.of(ControlPlane):
        yield plane, plane.spec.endpoint, ("spec", "endpoint")
        yield plane, plane.spec.data_endpoint, ("spec", "dataEndpoint")
    for host in survey.of(ShadowHost):
        yield host, host.spec.admin_endpoint, ("spec", "adminEndpoint")
        yield host, host.spec.data_endpoint, ("spec", "dataEndpoint")
    for account in survey.of(ProviderAccount):
        yield account, account.spec.base_url, ("spec", "baseUrl")


def host_objects_are_claimed_once(survey: Survey) -> Iterator[Problem]:
    """No two manifests of a kind have one host-side name, or adopt one object, on one host."""
    first: dict[tuple[str, ...], Resource] = {}
    for resource in survey.on_hosts:
        name = resource.host_side_name
        claims: list[tuple[str, str, Path]] = [("has the name", name, _name_path(resource))]
        if resource.adopt is not None:
            claims.append(("adopts", resource.adopt, _ADOPT))
        for verb, what, path in claims:
            other = first.setdefault((resource.KIND, resource.spec.host, verb, what), resource)
            if other is not resource:
                says = (
                    f"{called(other)} already {verb} {quote(what)} on ShadowHost {quote(resource.spec.host)}"
                )
                fix = "give them different names on the host, or remove one"
                yield survey.error(resource, path, "duplicate-host-object", says, fix)


def _name_path(resource: ShadowGroup | ProviderAccount) -> Path:
    return ("spec", "hostName") if resource.spec.host_name is not None else ("metadata", "name")


RULES = (hosts_have_their_own_endpoint, endpoints_can_be_reached, host_objects_are_claimed_once)
