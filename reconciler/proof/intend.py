"""What each path must turn out to be: the revision under test and the hosts as observed, joined. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.manifest import ManifestSet, ModelBinding, ProviderAccount, ShadowGroup
from reconciler.plan.model import ObservedObject, PlaneObservation, host_plane
from reconciler.proof import judge
from reconciler.proof.judge import Intended, Policy, Standing
from reconciler.proof.model import PathKey
from reconciler.routing.config import Configuration, ManagedKey, Route, parse
from reconciler.routing.resolve import group_for, ordered_routes


@dataclass(frozen=True)
class GroupOnHost:
    """A shadow group as it stands: its accounts, ours and foreign."""

    group_id: str | None
    unknown: str | None = None
    """Why nothing is known of it, when its host could not be read."""
    accounts: Mapping[str, str] = field(default_factory=dict)
    """Host account id -> ProviderAccount name, for those that the manifests bind to it."""
    leaving: Mapping[str, str] = field(default_factory=dict)
    """The same for accounts that carry our mark, and that no manifest binds to it (any more)."""
    foreign: tuple[str, ...] = ()
    """Host-side names of all other accounts that are bound to it."""
    models: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Host account id, of the first two -> the models that it serves."""


def groups_on_hosts(
    manifests: ManifestSet, planes: Mapping[str, PlaneObservation], installation: str
) -> dict[str, GroupOnHost]:
    """Return every ShadowGroup of the set as it stands on its host."""
    return {
        group.name: _group(group, planes.get(host_plane(group.spec.host)), manifests, installation)
        for group in manifests.of(ShadowGroup)
    }


def _group(
    group: ShadowGroup, seen: PlaneObservation | None, manifests: ManifestSet, installation: str
) -> GroupOnHost:
    if seen is None or seen.unknown is not None:
        return GroupOnHost(None, unknown=seen.unknown if seen and seen.unknown else "not observed")
    group_id = next(
        (each.object_id for each in seen.objects if _is(each, installation, ShadowGroup.KIND, group.name)),
        None,
    )
    if group_id is None:
        return GroupOnHost(None)
    accounts: dict[str, str] = {}
    leaving: dict[str, str] = {}
    foreign: list[str] = []
    models: dict[str, frozenset[str]] = {}
    for each in seen.objects:
        if each.kind != ProviderAccount.KIND or group.name not in each.fields.get("groups", ()):
            continue
        mark = each.marker
        if mark is None or not mark.names(installation, ProviderAccount.KIND, mark.name):
            foreign.append(each.host_name)
            continue
        bound = _binds(manifests, mark.name, group.name)
        (accounts if bound else leaving)[each.object_id] = mark.name
        # A renamed model (`m -> n`) is served too; whether it is billed as intended is for the usage row to say.
        models[each.object_id] = frozenset(
            str(model).split(" -> ")[0] for model in each.fields.get("models", ())
        )
    return GroupOnHost(group_id, None, accounts, leaving, tuple(sorted(foreign)), models)


def _is(each: ObservedObject, installation: str, kind: str, name: str) -> bool:
    return each.kind == kind and each.marker is not None and each.marker.names(installation, kind, name)


def _binds(manifests: ManifestSet, account: str, group: str) -> bool:
    loaded = manifests.find(ProviderAccount.KIND, account)
    resource = loaded.resource if loaded else None
    return isinstance(resource, ProviderAccount) and group in resource.spec.groups


@dataclass(frozen=True)
class UnderTest:
    """A revision to prove, and what is known around it."""

    revision: int
    document: Mapping[str, Any]
    active_document: Mapping[str, Any]
    manifests: ManifestSet
    groups: Mapping[str, GroupOnHost]
    gateway_keys: frozenset[tuple[str, str]]
    """(name, version) of every value that the gateway holds."""
    key_ids: Mapping[str, str]
    """GatewayKey name -> the host's id, for keys that we made."""
    stand_ins: Mapping[PathKey, str | None] = field(default_factory=dict)
    """Path -> the managed key in whose name it is best proved (`scope.stand_in`)."""
    handing_over: bool = False
    """True while an apply is under way: what leaves a group does so last, and answers for it until then."""


def intend(under_test: UnderTest, paths: list[PathKey], policies: Mapping[PathKey, Policy]) -> list[Intended]:
    """Return what each path must turn out to be in the revision under test; paths it does not hold say so."""
    configuration = parse(under_test.document)
    active = parse(under_test.active_document)
    known = _Known(
        configuration,
        active,
        {route.name: route for route in configuration.routes},
        {
            PathKey(bound.route, binding.spec.public_model): binding
            for binding in under_test.manifests.of(ModelBinding)
            for bound in binding.spec.routes
        },
    )
    return [_intend(path, under_test, known, policies) for path in paths]


@dataclass(frozen=True)
class _Known:
    """Both revisions, and what is looked up once per path."""

    configuration: Configuration
    active: Configuration
    routes: Mapping[str, Route]
    bindings: Mapping[PathKey, ModelBinding]


def _intend(
    path: PathKey,
    under_test: UnderTest,
    known: _Known,
    policies: Mapping[PathKey, Policy],
) -> Intended:
    configuration = known.configuration
    route = known.routes.get(path.route)
    binding = known.bindings.get(path._replace(key=""))
    group_name = binding.spec.logical_group if binding else ""
    ordered = ordered_routes(configuration, group_name, path.model)
    chosen = next((each for each in ordered if each.route == path.route), None)
    pool = under_test.groups.get(route.shadow_group) if route else None
    policy = policies.get(path, Policy())
    shadow_model = chosen.shadow_model if chosen else ""
    standing = _standing(path, route, chosen.shadow_model if chosen else None, pool, under_test)
    return Intended(
        key=path,
        revision=under_test.revision,
        logical_group=group_name,
        public_model=path.model,
        managed_key=_managed_key(configuration, group_name, path, under_test.stand_ins.get(path)),
        host=route.shadow_host if route else "",
        group=route.shadow_group if route else "",
        group_id=route.shadow_group_id if route else "",
        shadow_model=shadow_model,
        gateway_key=route.gateway_key if route else "",
        key_id=under_test.key_ids.get(route.gateway_key) if route else None,
        accounts=_serving(pool, under_test) if pool else {},
        better=frozenset(
            each.route
            for each in ordered
            if chosen and each.route != path.route and each.priority <= chosen.priority
        ),
        in_service=any(
            each.route == path.route for each in ordered_routes(known.active, group_name, path.model)
        ),
        configured=judge.judge_configured(standing),
        policy=policy,
        standing=standing,
    )


def _managed_key(
    configuration: Configuration, group: str, path: PathKey, preferred: str | None
) -> str | None:
    """Return the key that the probe borrows the rights of: the path's own, the preferred one, else any that may."""
    index = configuration.index

    def may(key: ManagedKey | None) -> bool:
        if key is None or (key.limits.models is not None and path.model not in key.limits.models):
            return False
        return group_for(index, key, path.model) == group

    if path.key or may(index.keys.get(preferred or "")):
        name = path.key or preferred
        return name if may(index.keys.get(name or "")) else None
    return next((key.name for key in configuration.managed_keys if may(key)), None)


def _serving(pool: GroupOnHost, under_test: UnderTest) -> Mapping[str, str]:
    """Return the accounts that may answer: host id -> ProviderAccount."""
    return {**pool.accounts, **pool.leaving} if under_test.handing_over else pool.accounts


def _standing(
    path: PathKey,
    route: Route | None,
    shadow_model: str | None,
    pool: GroupOnHost | None,
    under_test: UnderTest,
) -> Standing:
    """Return what a path needs, and what stands of it."""
    asked = {
        "revision": under_test.revision,
        "route": path.route,
        "model": path.model,
        "host": route.shadow_host if route else "",
        "group": route.shadow_group if route else "",
        "groupId": route.shadow_group_id if route else "",
        "shadowModel": shadow_model or "",
        "gatewayKey": route.gateway_key if route else "",
        "gatewayKeyVersion": route.gateway_key_version if route else "",
    }
    if route is None or shadow_model is None:
        return Standing(asked, {"inRevision": False})
    if pool is None or pool.unknown is not None:
        why = pool.unknown if pool and pool.unknown else "not observed"
        return Standing(asked, {"inRevision": True, "unknown": why})
    serving = _serving(pool, under_test)
    return Standing(
        asked,
        {
            "inRevision": True,
            "groupId": pool.group_id,
            "accounts": sorted(serving.values()),
            "leaving": [] if under_test.handing_over else sorted(pool.leaving.values()),
            "foreign": [name[:100] for name in pool.foreign],
            "serving": sorted(name for each, name in serving.items() if shadow_model in pool.models[each]),
            "keyHeld": (route.gateway_key, route.gateway_key_version) in under_test.gateway_keys,
        },
    )
