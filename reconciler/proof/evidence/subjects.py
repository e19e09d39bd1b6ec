"""What a piece of evidence is about: the digests of the manifests involved, of the whole set, and the git commit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from reconciler.manifest import (
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
from reconciler.proof.drills.model import DrillResult
from reconciler.proof.evidence import canonical
from reconciler.proof.evidence.source import Source
from reconciler.proof.model import PathKey
from reconciler.proof.scope import Scope

WHOLE_SET = "manifests"
COMMIT = "git"


def resource_digest(resource: Resource) -> str:
    """Return the SHA-256, in hex, of a manifest's canonical JSON, as written: defaults that were left out stay out.

    Comments, key order, quotes and the file it stands in do not count.
    """
    return canonical.digest(_as_written(resource))


def manifest_digests(manifests: ManifestSet) -> dict[str, str]:
    """Return the digest of every manifest by `Kind/name`, and of the whole set: its list sorted by kind and name."""
    found = {_name(loaded.resource): resource_digest(loaded.resource) for loaded in manifests}
    return {WHOLE_SET: canonical.digest([_as_written(loaded.resource) for loaded in manifests]), **found}


def _as_written(resource: Resource) -> dict[str, Any]:
    return resource.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _name(resource: Resource) -> str:
    return f"{resource.KIND}/{resource.name}"


@dataclass(frozen=True)
class Subjects:
    """What evidence of one run's paths is about. Digests are computed once, at the first question."""

    manifests: ManifestSet
    source: Source | None = None

    @cached_property
    def _digests(self) -> dict[str, str]:
        return manifest_digests(self.manifests)

    @cached_property
    def _scope(self) -> Scope:
        return Scope(self.manifests)

    def of(self, path: PathKey, intended: Mapping[str, Any] | None) -> list[dict[str, Any]]:
        """Return the subjects of one path: the set, the manifests involved sorted by name, the commit if clean.

        A dirty work tree is not what its commit says, so its commit is no subject.
        """
        involved = sorted({_name(resource) for resource in self._involved(path, intended or {})})
        found = [{"name": name, "digest": {"sha256": self._digests[name]}} for name in (WHOLE_SET, *involved)]
        if self.source is not None and not self.source.dirty:
            found.append({"name": COMMIT, "digest": {"gitCommit": self.source.commit}})
        return found

    def of_drill(self, result: DrillResult) -> list[dict[str, Any]]:
        """Return the subjects of a drill: like those of its first route; of a key, the key's own."""
        key = result.key
        if key.model:
            return self.of(PathKey(key.subject, key.model), {"managedKey": result.managed_key})
        return self.of(PathKey("", ""), {"managedKey": key.subject})

    def _involved(self, path: PathKey, intended: Mapping[str, Any]) -> Iterator[Resource]:
        yield from self.manifests.of(ControlPlane)
        yield from self._scope.covering(path)
        yield from self._named(ManagedKey.KIND, intended.get("managedKey"))
        for account in {path.account, *intended.get("accounts", {}).values()}:
            yield from self._named(ProviderAccount.KIND, account)
        yield from self._of_route(path) if path.route else self._of_account(path)

    def _of_route(self, path: PathKey) -> Iterator[Resource]:
        for route in self._named(Route.KIND, path.route):
            assert isinstance(route, Route)
            yield route
            yield from self._named(LogicalGroup.KIND, route.spec.logical_group)
            yield from self._named(GatewayKey.KIND, route.spec.gateway_key)
            yield from self._group(route.spec.shadow_group)
        for binding in self.manifests.of(ModelBinding):
            if binding.spec.public_model == path.model:
                yield from (binding for bound in binding.spec.routes if bound.route == path.route)

    def _of_account(self, path: PathKey) -> Iterator[Resource]:
        for account in self._named(ProviderAccount.KIND, path.account):
            assert isinstance(account, ProviderAccount)
            yield from self._named(ShadowHost.KIND, account.spec.host)
            for group in account.spec.groups:
                yield from self._group(group)

    def _group(self, name: str) -> Iterator[Resource]:
        for group in self._named(ShadowGroup.KIND, name):
            assert isinstance(group, ShadowGroup)
            yield group
            yield from self._named(ShadowHost.KIND, group.spec.host)

    def _named(self, kind: str, name: str | None) -> Iterator[Resource]:
        loaded = self.manifests.find(kind, name) if name else None
        if loaded is not None:
            yield loaded.resource
