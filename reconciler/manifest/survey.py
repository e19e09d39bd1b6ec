"""All resources of one input, indexed the way rules ask for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TypeVar

from reconciler.manifest.gateway_key import GatewayKey
from reconciler.manifest.loader import LoadResult
from reconciler.manifest.logical_group import LogicalGroup, RouteDefaults
from reconciler.manifest.managed_key import ManagedKey
from reconciler.manifest.manifest_set import Location, Path, Problem
from reconciler.manifest.meta import Resource
from reconciler.manifest.model_binding import ModelBinding
from reconciler.manifest.provider_account import ProviderAccount
from reconciler.manifest.quote import quote
from reconciler.manifest.route import Route
from reconciler.manifest.shadow_group import ShadowGroup
from reconciler.manifest.shadow_host import ShadowHost

R = TypeVar("R", bound=Resource)


@dataclass(frozen=True)
class Survey:
    """What a rule looks at; `loaded` knows which documents are missing because they could not be read.

    `named` and what follows from it return None for a dangling reference: another rule speaks of that.
    """

    loaded: LoadResult
    aliases_verified: Mapping[str, bool] = field(default_factory=dict)
    """Driver -> True when its host was verified to serve public aliases."""
    now: datetime | None = None
    """None: rules about the present time say nothing."""

    def of(self, kind: type[R]) -> list[R]:
        """Return all resources of a kind, sorted by name."""
        return [resource for resource in self._by_kind[kind.KIND] if isinstance(resource, kind)]

    @cached_property
    def on_hosts(self) -> list[ShadowGroup | ProviderAccount]:
        """The manifests that stand for a host object with driver settings."""
        return [*self.of(ShadowGroup), *self.of(ProviderAccount)]

    @cached_property
    def keys(self) -> list[GatewayKey | ManagedKey]:
        """Every key."""
        return [*self.of(GatewayKey), *self.of(ManagedKey)]

    def named(self, kind: type[R], name: str) -> R | None:
        """Return one resource, or None."""
        found = self.loaded.manifests.find(kind.KIND, name)
        return found.resource if found is not None and isinstance(found.resource, kind) else None

    def whole(self, *kinds: str) -> bool:
        """True when every document of these kinds was read, so that the absence of one means something."""
        return not any(self.loaded.may_lack(kind) for kind in kinds)

    def at(self, resource: Resource, path: Path) -> Location:
        """Return the place of a field, or of its nearest parent."""
        return self.loaded.manifests.items[(resource.KIND, resource.name)].at(path)

    def error(self, resource: Resource, path: Path, rule: str, says: str, fix: str) -> Problem:
        """Return an error about a field of a resource."""
        return Problem(self.at(resource, path), rule, f"{called(resource)}: {says}", fix)

    def warnings(self, resource: Resource, path: Path, rule: str, says: str, fix: str) -> list[Problem]:
        """Return a warning about a field of a resource; none when it is suspended, for then nobody acts on it."""
        if resource.suspended:
            return []
        return [Problem(self.at(resource, path), rule, f"{called(resource)}: {says}", fix, "warning")]

    @cached_property
    def _by_kind(self) -> Mapping[str, list[Resource]]:
        found: dict[str, list[Resource]] = defaultdict(list)
        for loaded in self.loaded.manifests:
            found[loaded.resource.KIND].append(loaded.resource)
        return found

    @cached_property
    def accounts_of(self) -> Mapping[str, list[ProviderAccount]]:
        """ShadowGroup -> the accounts in it."""
        return _group(
            (group, account) for account in self.of(ProviderAccount) for group in account.spec.groups
        )

    @cached_property
    def routes_of_group(self) -> Mapping[str, list[Route]]:
        """LogicalGroup -> its routes."""
        return _group((route.spec.logical_group, route) for route in self.of(Route))

    @cached_property
    def routes_into(self) -> Mapping[str, list[Route]]:
        """ShadowGroup -> the routes that it serves."""
        return _group((route.spec.shadow_group, route) for route in self.of(Route))

    @cached_property
    def bindings_of(self) -> Mapping[str, list[ModelBinding]]:
        """LogicalGroup -> its model bindings."""
        return _group((binding.spec.logical_group, binding) for binding in self.of(ModelBinding))

    def served_by(self, shadow_group: str) -> set[str]:
        """Return the canonical models that the accounts of a shadow group serve."""
        return {model for account in self.accounts_of.get(shadow_group, ()) for model in account.spec.models}

    def host_of(self, shadow_group: str) -> ShadowHost | None:
        """Return the host of a shadow group, or None."""
        group = self.named(ShadowGroup, shadow_group)
        return self.named(ShadowHost, group.spec.host) if group is not None else None

    def enabled(self, route: Route) -> bool:
        """True when the route may serve, by itself or by its logical group's default."""
        if route.spec.enabled is not None:
            return route.spec.enabled
        group = self.named(LogicalGroup, route.spec.logical_group)
        return group is None or group.spec.route_defaults.enabled

    def priority(self, route: Route) -> int:
        """Return the route's priority, by itself or by its logical group's default."""
        if route.spec.priority is not None:
            return route.spec.priority
        group = self.named(LogicalGroup, route.spec.logical_group)
        return group.spec.route_defaults.priority if group is not None else RouteDefaults().priority


def called(resource: Resource) -> str:
    """Return how messages call a resource: `Route "chat-east"`."""
    return f"{resource.KIND} {quote(resource.name)}"


def _group(pairs: Iterable[tuple[str, R]]) -> Mapping[str, list[R]]:
    found: dict[str, list[R]] = defaultdict(list)
    for key, resource in pairs:
        found[key].append(resource)
    return found
