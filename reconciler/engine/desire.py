"""What the manifests ask of every plane, in each plane's canonical form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from reconciler.engine.secret_values import Keyring, KeyWords
from reconciler.hosts.contract import HostDriver, NormalizeContext
from reconciler.manifest import (
    GatewayKey,
    ManagedKey,
    ManifestSet,
    ProviderAccount,
    Resource,
    ShadowGroup,
    ShadowHost,
)
from reconciler.plan.model import UNKNOWN_UNTIL_APPLY, DesiredObject, ObjectKey, PlaneObservation, host_plane
from reconciler.plane.document import Resolved, desired_objects

SecretKey = tuple[str, str, str]
"""(kind, name, field path) of one secret reference."""


@dataclass(frozen=True)
class Knowledge:
    """What is known besides the manifests: fingerprints of secrets, ids on hosts, endpoints."""

    fingerprints: Mapping[SecretKey, str] = field(default_factory=dict)
    """Keyed fingerprints of secret values, as far as they were read or remembered."""
    endpoints: Mapping[str, str] = field(default_factory=dict)


def host_of(resource: Resource, manifests: ManifestSet) -> str | None:
    """Return the ShadowHost that a manifest's own object stands on, or None for control-plane kinds."""
    match resource:
        case ShadowHost():
            return resource.name
        case ShadowGroup() | ProviderAccount():
            return resource.spec.host
        case GatewayKey():
            return manifests.get(ShadowGroup, resource.spec.group).spec.host
    return None


def desired_on_hosts(
    manifests: ManifestSet, drivers: Mapping[str, HostDriver], words: KeyWords, knowledge: Knowledge
) -> list[DesiredObject]:
    """Return the host objects that all manifests ask for; suspended manifests ask for nothing here."""
    found: list[DesiredObject] = []
    fingerprints = _by_manifest(knowledge.fingerprints)
    for loaded in manifests:
        resource = loaded.resource
        if resource.suspended or not isinstance(
            resource, ShadowHost | ShadowGroup | ProviderAccount | GatewayKey
        ):
            continue
        host = host_of(resource, manifests)
        if host is None or (isinstance(resource, GatewayKey) and not resource.issued):
            continue
        context = NormalizeContext(
            host=manifests.get(ShadowHost, host),
            resolve_endpoint=knowledge.endpoints,
            source=loaded.at(),
            fingerprints=fingerprints.get((resource.KIND, resource.name), {}),
        )
        if isinstance(resource, GatewayKey):
            context = replace(context, fingerprints={"value": issued_fingerprint(resource, host, words)})
        found += drivers[host].normalize(resource, context)
    return found


def _by_manifest(fingerprints: Mapping[SecretKey, str]) -> dict[tuple[str, str], dict[str, str]]:
    """Return (kind, name) -> field path -> fingerprint."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for (kind, name, path), value in fingerprints.items():
        found.setdefault((kind, name), {})[path] = value
    return found


def desired_in_control_plane(
    manifests: ManifestSet,
    words: KeyWords,
    knowledge: Knowledge,
    observations: Mapping[str, PlaneObservation],
) -> list[DesiredObject]:
    """Return the control-plane objects that all manifests ask for."""
    resolved = Resolved(
        group_ids=group_ids(manifests, observations, words.installation),
        gateway_key_versions=gateway_key_versions(manifests, words, knowledge),
        managed_key_versions={
            key.name: knowledge.fingerprints.get(
                (ManagedKey.KIND, key.name, "spec.valueFrom"), UNKNOWN_UNTIL_APPLY
            )
            for key in manifests.of(ManagedKey)
        },
        endpoints=knowledge.endpoints,
    )
    return desired_objects(manifests, resolved)


def group_ids(
    manifests: ManifestSet, observations: Mapping[str, PlaneObservation], installation: str
) -> dict[str, str]:
    """Return the host's id of every ShadowGroup that stands on its host with our mark."""
    standing = {
        (plane, seen.marker.name): seen.object_id
        for plane, observation in observations.items()
        for seen in observation.objects
        if seen.kind == ShadowGroup.KIND
        and seen.marker is not None
        and seen.marker.names(installation, ShadowGroup.KIND, seen.marker.name)
    }
    groups = [(group.name, (host_plane(group.spec.host), group.name)) for group in manifests.of(ShadowGroup)]
    return {name: standing[place] for name, place in groups if place in standing}


def issued_version(key: GatewayKey) -> str:
    """Return the version word of a key that we make."""
    return f"v{key.spec.version}"


def gateway_key_versions(manifests: ManifestSet, words: KeyWords, knowledge: Knowledge) -> dict[str, str]:
    """Return, per GatewayKey, the word under which the gateway holds its current value.

    The value of a key that we make follows from its name and version, so its word is known without reading any secret.
    """
    found: dict[str, str] = {}
    for key in manifests.of(GatewayKey):
        if key.issued:
            host = manifests.get(ShadowGroup, key.spec.group).spec.host
            found[key.name] = f"{issued_version(key)}-{issued_fingerprint(key, host, words)}"
        else:
            found[key.name] = knowledge.fingerprints.get(
                (GatewayKey.KIND, key.name, "spec.valueFrom"), UNKNOWN_UNTIL_APPLY
            )
    return found


def issued_fingerprint(key: GatewayKey, host: str, words: KeyWords) -> str:
    """Return what changes with the value of a key that we make; no secret is needed to know it."""
    return words.fingerprint(host, key.name, issued_version(key))


def issued_value(key: GatewayKey, manifests: ManifestSet, keyring: Keyring) -> str:
    """Return the value of a key that we make. A secret: it goes to the host and the gateway, and nowhere else."""
    host = manifests.get(ShadowGroup, key.spec.group).spec.host
    return keyring.gateway_key(host, key.name, issued_version(key))


def by_key(desired: Sequence[DesiredObject]) -> dict[ObjectKey, DesiredObject]:
    """Return desired objects by their key."""
    return {each.key: each for each in desired}
