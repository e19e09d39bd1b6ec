"""Where each secret is sent, and where it may be: a secret stays bound to the origins it was first used with.

It is known again by the place that it comes from, which planning knows, and by its value, which apply knows as well. So
neither a manifest of a new name nor another spelling of a file's path sends a known secret to a new origin unasked.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.engine.secret_policy import Purpose
from reconciler.errors import Refused
from reconciler.manifest import (
    ControlPlane,
    GatewayKey,
    ManagedKey,
    ManifestSet,
    ProviderAccount,
    Resource,
    ShadowGroup,
    ShadowHost,
    ValueFrom,
)
from reconciler.plan.guard import OriginUse, Refusal, origin, origin_changes

Origins = Mapping[str, frozenset[str]]
"""Word for a secret -> the origins it is bound to."""
Reference = tuple[str, str, str]
"""(kind, name, field path) of one secret reference."""

ADMIN_PATHS = ("spec.adminToken", "spec.adminCredential")
"""The secrets that looking at a plane sends to it."""


@dataclass(frozen=True)
class Use:
    """One secret on its way to one endpoint, as written in the manifests."""

    reference: Reference
    source: ValueFrom
    endpoint: str

    def purpose(self) -> Purpose:
        """Return what the secret is for, on this way alone."""
        kind, name, path = self.reference
        return Purpose(f"{kind}/{name} {path}", kind, frozenset({self.endpoint}))


def uses(manifests: ManifestSet) -> list[Use]:
    """Return every secret with each endpoint that it is sent to. Suspended manifests send none but admin credentials.

    An account's credential goes to its host and, through it, to the account's base URL. An embedded endpoint is its own
    origin as written: the ports behind it are the stack's business.
    """
    found: list[Use] = []
    for loaded in manifests:
        resource = loaded.resource
        for path, source in resource.secrets():
            if path in ADMIN_PATHS or not resource.suspended:
                reference = (resource.KIND, resource.name, path)
                found += [Use(reference, source, to) for to in endpoints_of(resource, manifests)]
    return found


def purpose(resource: Resource, path: str, manifests: ManifestSet, at: str = "") -> Purpose:
    """Return what the secret in one field of a manifest is for; `at` says in messages where that is."""
    what = f"{at}{resource.KIND}/{resource.name} {path}"
    return Purpose(what, resource.KIND, frozenset(endpoints_of(resource, manifests)))


def endpoints_of(resource: Resource, manifests: ManifestSet) -> Iterable[str]:
    """Return every endpoint that the secrets of a manifest are sent to, as written."""
    match resource:
        case ControlPlane():
            return (resource.spec.endpoint,)
        case ShadowHost():
            return (resource.spec.admin_endpoint,)
        case ProviderAccount():
            host = manifests.get(ShadowHost, resource.spec.host)
            return (resource.spec.base_url, host.spec.admin_endpoint)
        case GatewayKey():
            host = manifests.get(ShadowHost, manifests.get(ShadowGroup, resource.spec.group).spec.host)
            return (*_control_plane(manifests), host.spec.data_endpoint or host.spec.admin_endpoint)
        case ManagedKey():
            return _control_plane(manifests)
    return ()


def _control_plane(manifests: ManifestSet) -> tuple[str, ...]:
    return tuple(plane.spec.endpoint for plane in manifests.of(ControlPlane))


def origin_uses(
    wanted: Iterable[Use], known: Origins, fingerprints: Mapping[Reference, str] | None = None
) -> list[OriginUse]:
    """Return the uses with what is known of their secrets; `fingerprints` are those of values that were read."""
    return [
        OriginUse(
            *use.reference,
            wanted=use.endpoint,
            known=frozenset().union(
                *(known.get(word, frozenset()) for word in _words(use, fingerprints or {}))
            ),
            source=described(use.source),
        )
        for use in wanted
    ]


def bindings(wanted: Iterable[Use], fingerprints: Mapping[Reference, str]) -> dict[str, frozenset[str]]:
    """Return what to remember: by source and by value, the origins that each secret is sent to."""
    found: dict[str, set[str]] = {}
    for use in wanted:
        for word in _words(use, fingerprints):
            found.setdefault(word, set()).add(origin(use.endpoint))
    return {word: frozenset(bound) for word, bound in found.items()}


def _words(use: Use, fingerprints: Mapping[Reference, str]) -> list[str]:
    value = fingerprints.get(use.reference)
    return [source_word(use.source), *([f"value:{value}"] if value else [])]


def source_word(source: ValueFrom) -> str:
    """Return the word by which the place that a secret comes from is known; a path by its shortest spelling."""
    kind, *rest = source.key()
    if kind == "file":
        rest = [posixpath.normpath(name) for name in rest]
    return f"source:{hashlib.sha256(chr(0).join((kind, *rest)).encode()).hexdigest()[:32]}"


def described(source: ValueFrom) -> str:
    """Return where a secret comes from, for people; of a command its program only."""
    kind, name = source.key()[:2]
    return f"environment variable {name}" if kind == "env" else f"{kind} {name}"


def require_known_origins(wanted: Iterable[OriginUse]) -> None:
    """Raise Refused when a secret would go where it was never sent before: called before anything is sent."""
    found: list[Refusal] = origin_changes(wanted)
    if found:
        raise Refused(
            "\n".join(refusal.message for refusal in found),
            hint=f"nothing was sent; if it is meant: reconcile apply {found[0].flag}",
        )
