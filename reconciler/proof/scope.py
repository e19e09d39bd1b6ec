"""Which paths there are: every enabled (route, public model), and every (account, model). Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from reconciler.manifest import (
    Acceptance,
    ControlPlane,
    GatewayKey,
    LogicalGroup,
    ManagedKey,
    ManifestSet,
    ModelBinding,
    ProviderAccount,
    Resource,
    Route,
    ShadowGroup,
    ShadowHost,
)
from reconciler.proof.judge import Policy
from reconciler.proof.model import Grade, PathKey, at_least

ManifestKey = tuple[str, str]


@dataclass(frozen=True)
class Scope:
    """The paths of a manifest set."""

    manifests: ManifestSet
    best: Mapping[str, Grade] = field(default_factory=dict)
    """ShadowHost -> the strongest grade that its driver can give; exact for one that is not in it."""
    _paths_of_acceptance: dict[str, frozenset[PathKey]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def enabled(self, route_name: str) -> bool:
        """True when a route may serve: enabled by itself or by its group, and neither it nor its parts suspended."""
        return route_name in self._enabled

    @cached_property
    def _enabled(self) -> frozenset[str]:
        return frozenset(route.name for route in self.manifests.of(Route) if self._may_serve(route))

    def _may_serve(self, route: Route) -> bool:
        group = self.manifests.get(LogicalGroup, route.spec.logical_group)
        wanted = group.spec.route_defaults.enabled if route.spec.enabled is None else route.spec.enabled
        return wanted and self.suspended_by(route) is None

    def suspended_by(self, route: Route) -> Resource | None:
        """Return the manifest whose suspension takes a route out: itself, its logical group or its shadow group."""
        parts: tuple[Resource, ...] = (
            route,
            self.manifests.get(LogicalGroup, route.spec.logical_group),
            self.manifests.get(ShadowGroup, route.spec.shadow_group),
        )
        return next((part for part in parts if part.suspended), None)

    def all_routes(self) -> list[PathKey]:
        """Return every enabled (route, public model), sorted."""
        return list(self._routes)

    @cached_property
    def _routes(self) -> tuple[PathKey, ...]:
        return tuple(
            sorted(
                PathKey(bound.route, binding.spec.public_model)
                for binding in self.manifests.of(ModelBinding)
                if not binding.suspended
                for bound in binding.spec.routes
                if self.enabled(bound.route)
            )
        )

    @cached_property
    def _by_route(self) -> dict[str, list[PathKey]]:
        return _grouped(self._routes, lambda path: path.route)

    def binds(self, account: str | None, group: str | None) -> bool:
        """True when a manifest binds the account to the shadow group."""
        loaded = self.manifests.find(ProviderAccount.KIND, account or "")
        resource = loaded.resource if loaded else None
        return isinstance(resource, ProviderAccount) and group in resource.spec.groups

    def all_accounts(self) -> list[PathKey]:
        """Return every (account, model) of accounts that are not suspended, sorted."""
        return list(self._accounts)

    @cached_property
    def _accounts(self) -> tuple[PathKey, ...]:
        return tuple(
            sorted(
                PathKey("", model, account.name)
                for account in self.manifests.of(ProviderAccount)
                if not account.suspended
                for model in account.spec.models
            )
        )

    @cached_property
    def _by_account(self) -> dict[str, list[PathKey]]:
        return _grouped(self._accounts, lambda path: path.account)

    @cached_property
    def _route_names(self) -> dict[tuple[str, str], list[str]]:
        """(field, value) -> names of the routes that refer to it."""
        found: dict[tuple[str, str], list[str]] = {}
        for route in self.manifests.of(Route):
            spec = route.spec
            for field_name, value in (
                ("group", spec.shadow_group), ("key", spec.gateway_key), ("logical", spec.logical_group)
            ):  # fmt: skip
                found.setdefault((field_name, value), []).append(route.name)
        return found

    def of_route(self, name: str) -> list[PathKey]:
        return list(self._by_route.get(name, ()))

    def of_routes(self, names: Iterable[str]) -> list[PathKey]:
        return sorted(path for name in set(names) for path in self._by_route.get(name, ()))

    def of_binding(self, name: str) -> list[PathKey]:
        binding = self.manifests.get(ModelBinding, name)
        routes = self.of_routes(entry.route for entry in binding.spec.routes)
        return [path for path in routes if path.model == binding.spec.public_model]

    def of_group(self, name: str) -> list[PathKey]:
        return self.of_routes(self._route_names.get(("group", name), ()))

    def of_gateway_key(self, name: str) -> list[PathKey]:
        return self.of_routes(self._route_names.get(("key", name), ()))

    def of_logical_group(self, name: str) -> list[PathKey]:
        return self.of_routes(self._route_names.get(("logical", name), ()))

    def of_managed_key(self, name: str) -> list[PathKey]:
        """Return every path that a key may use, and those that are proved in its own name."""
        shared = [path for path in self._routes if name in self.keys_of(path)]
        return sorted({*shared, *self.own_paths(name).values()})

    def keys_of(self, path: PathKey) -> tuple[str, ...]:
        """Return the managed keys whose requests for a route's model go to its logical group, sorted."""
        return self._keys.get((self.logical_group_of(path), path.model), ())

    @cached_property
    def _keys(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """(logical group, public model) -> managed keys; a key goes to the first of its groups that binds a model."""
        bound: dict[str, set[str]] = {}
        for binding in self.manifests.of(ModelBinding):
            bound.setdefault(binding.spec.public_model, set()).add(binding.spec.logical_group)
        found: dict[tuple[str, str], list[str]] = {}
        for key in sorted(self.manifests.of(ManagedKey), key=lambda each: each.name):
            models = bound if key.spec.limits.models is None else bound.keys() & set(key.spec.limits.models)
            for model in () if key.suspended else models:
                group = next((each for each in key.spec.logical_groups if each in bound[model]), None)
                if group is not None:
                    found.setdefault((group, model), []).append(key.name)
        return {where: tuple(names) for where, names in found.items()}

    def stand_in(self, path: PathKey) -> str | None:
        """Return the managed key in whose name a route's path is proved: its own, else the first that may use it."""
        return path.key or next(iter(self.keys_of(path)), None)

    def own_paths(self, name: str) -> dict[str, PathKey]:
        """Return logical group -> the one path there that is proved in the name of a managed key.

        For the first key of a path it is the path itself; for every other key the path is proved once more. So a key
        costs at most one probe per logical group, however many routes there are.
        """
        return self._own_paths.get(name, {})

    @cached_property
    def _own_paths(self) -> dict[str, dict[str, PathKey]]:
        found: dict[str, dict[str, PathKey]] = {}
        for path in self._routes:
            group = self.logical_group_of(path)
            for place, name in enumerate(self.keys_of(path)):
                known = found.setdefault(name, {})
                if place == 0 and known.get(group, path._replace(key=name)).key:
                    known[group] = path
                known.setdefault(group, path._replace(key=name))
        return found

    def all_keys(self) -> list[PathKey]:
        """Return the paths that are proved once more, in the name of a key, sorted."""
        own = (path for paths in self._own_paths.values() for path in paths.values())
        return sorted(path for path in own if path.key)

    def everything(self) -> list[PathKey]:
        """Return all paths: routes, those in the name of keys, and accounts."""
        return [*self._routes, *self.all_keys(), *self._accounts]

    def of_account(self, name: str) -> list[PathKey]:
        return list(self._by_account.get(name, ()))

    def logical_group_of(self, path: PathKey) -> str:
        """Return the LogicalGroup of a route's path."""
        return self.manifests.get(Route, path.route).spec.logical_group

    def host_of(self, route: str) -> str:
        """Return the ShadowHost of a route."""
        group = self.manifests.get(Route, route).spec.shadow_group
        return self.manifests.get(ShadowGroup, group).spec.host

    def group_names(self) -> frozenset[str]:
        """Return the names of all ShadowGroups."""
        return frozenset(group.name for group in self.manifests.of(ShadowGroup))

    def of(self, resource: Resource) -> list[PathKey]:
        """Return every path that a manifest has a part in."""
        by_name = {
            Route.KIND: self.of_route,
            ModelBinding.KIND: self.of_binding,
            ShadowGroup.KIND: self.of_group,
            GatewayKey.KIND: self.of_gateway_key,
            LogicalGroup.KIND: self.of_logical_group,
            ManagedKey.KIND: self.of_managed_key,
            ProviderAccount.KIND: self.of_account,
            ShadowHost.KIND: self.of_host,
        }
        if isinstance(resource, ControlPlane):
            return self.all_routes()
        if isinstance(resource, Acceptance):
            targets = (self.manifests.items[key].resource for key in self.targets(resource))
            return sorted({path for target in targets for path in self.of(target)})
        return by_name[resource.KIND](resource.name)

    def of_host(self, name: str) -> list[PathKey]:
        """Return the routes through a host, and its accounts."""
        routes = [path for path in self.all_routes() if self.host_of(path.route) == name]
        on_host = {
            account.name for account in self.manifests.of(ProviderAccount) if account.spec.host == name
        }
        return [*routes, *(path for path in self.all_accounts() if path.account in on_host)]

    def covering(self, path: PathKey) -> list[Acceptance]:
        """Return the Acceptances that a path falls under, through any of their targets."""
        return [
            acceptance
            for acceptance in self.manifests.of(Acceptance)
            if not acceptance.suspended and self._covers(acceptance.name, path)
        ]

    def path_policy(self, path: PathKey, default: Policy) -> Policy:
        """Return the strictest policy that a path falls under, else the default."""
        best = self.best_grade([path])
        found = [Policy.of(acceptance.spec, best) for acceptance in self.covering(path)]
        return strictest(found) if found else replace(default, minimum_grade=best)

    def best_grade(self, paths: Iterable[PathKey]) -> Grade:
        """Return the strongest grade that every one of some paths can be proved with."""
        if all(grade is Grade.EXACT for grade in self.best.values()):
            return Grade.EXACT
        hosts = {
            self.host_of(path.route) if path.route else self._host_of_account(path.account) for path in paths
        }
        return weakest(self.best.get(host, Grade.EXACT) for host in hosts)

    def _host_of_account(self, name: str) -> str:
        return self.manifests.get(ProviderAccount, name).spec.host

    def _covers(self, acceptance: str, path: PathKey) -> bool:
        covered = self._covered(acceptance)
        # A path in the name of a key falls under what its route does; the key's own Acceptances name it themselves.
        return path in covered or (bool(path.key) and path._replace(key="") in covered)

    def _covered(self, acceptance: str) -> frozenset[PathKey]:
        if acceptance not in self._paths_of_acceptance:
            self._paths_of_acceptance[acceptance] = frozenset(
                self.of(self.manifests.get(Acceptance, acceptance))
            )
        return self._paths_of_acceptance[acceptance]

    def targets(self, acceptance: Acceptance) -> list[ManifestKey]:
        """Return the manifests that an Acceptance is about, sorted."""
        found = {
            (loaded.resource.KIND, loaded.resource.name)
            for target in acceptance.spec.targets
            for loaded in self.manifests
            if loaded.resource.KIND == target.kind
            and (target.name is None or loaded.resource.name == target.name)
            and target.labels.items() <= loaded.resource.metadata.labels.items()
        }
        return sorted(found)

    def policies(self, default: Policy) -> dict[ManifestKey, Policy]:
        """Return each manifest's policy: the strictest of the Acceptances that name it, or the default."""
        found: dict[ManifestKey, list[Policy]] = {
            (loaded.resource.KIND, loaded.resource.name): [] for loaded in self.manifests
        }
        best = {
            (loaded.resource.KIND, loaded.resource.name): self.best_grade(self.of(loaded.resource))
            for loaded in self.manifests
        }
        for acceptance in self.manifests.of(Acceptance):
            if acceptance.suspended:
                continue
            for key in self.targets(acceptance):
                found[key].append(Policy.of(acceptance.spec, best[key]))
        return {
            key: strictest(policies) if policies else replace(default, minimum_grade=best[key])
            for key, policies in found.items()
        }


def _grouped(paths: Iterable[PathKey], by: Callable[[PathKey], str]) -> dict[str, list[PathKey]]:
    found: dict[str, list[PathKey]] = {}
    for path in paths:
        found.setdefault(by(path), []).append(path)
    return found


def strictest(policies: list[Policy]) -> Policy:
    """Return the policy that satisfies all of several."""
    grade = Grade.NONE
    for policy in policies:
        grade = policy.minimum_grade if at_least(policy.minimum_grade, grade) else grade
    return Policy(
        minimum_grade=grade,
        freshness_s=min(policy.freshness_s for policy in policies),
        deadline_s=max(policy.deadline_s for policy in policies),
        probes=max(policy.probes for policy in policies),
        max_tokens=min(policy.max_tokens for policy in policies),
        drills=frozenset().union(*(policy.drills for policy in policies)),
    )


def weakest(grades: Iterable[Grade]) -> Grade:
    """Return the weakest of several grades; exact when there are none."""
    found = Grade.EXACT
    for grade in grades:
        found = found if at_least(grade, found) else grade
    return found
