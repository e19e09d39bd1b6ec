"""The secrets of one run: read once, at the start of apply, all problems told together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.engine.desire import SecretKey, issued_value
from reconciler.engine.origins import bindings, origin_uses, purpose, uses
from reconciler.engine.secret_values import Keyring, SecretReader
from reconciler.engine.workspace import Workspace
from reconciler.errors import InvalidInput, ReconcileError, Refused
from reconciler.manifest import GatewayKey, ManagedKey, ManifestSet, ProviderAccount, ShadowHost
from reconciler.plan.guard import OriginUse
from reconciler.state.model import Lease, SecretMemory


@dataclass(frozen=True)
class Values:
    """Secret values by reference. Never printed; given only to the call that needs one."""

    by_reference: Mapping[SecretKey, str] = field(default_factory=dict, repr=False)
    undelivered: Mapping[str, Path] = field(default_factory=dict)
    """ManagedKeys with `generate: true` whose file is not there: no key was made yet, or the file is lost."""

    def account(self, name: str) -> str:
        """Return the upstream credential of a ProviderAccount."""
        return self.by_reference[(ProviderAccount.KIND, name, "spec.credential")]

    def issuer_password(self, host: str) -> str:
        """Return the password of a host's service user; empty when the host has no key issuer."""
        return self.by_reference.get((ShadowHost.KIND, host, "spec.keyIssuer.passwordFrom"), "")

    def managed_key(self, name: str) -> str:
        """Return a consumer's key."""
        return self.by_reference[managed(name)]

    def gateway_key(self, key: GatewayKey, workspace: Workspace) -> str:
        """Return the value of a gateway key, whether we make it or it is given."""
        if key.issued:
            return issued_value(key, workspace.manifests, workspace.keyring)
        return self.by_reference[(GatewayKey.KIND, key.name, "spec.valueFrom")]


def managed(name: str) -> SecretKey:
    """Return the reference that stands for a ManagedKey's value, given or generated."""
    return (ManagedKey.KIND, name, "spec.valueFrom")


def read_values(manifests: ManifestSet, reader: SecretReader) -> Values:
    """Read every secret that applying needs. Raises InvalidInput or Refused that names all that failed."""
    found: dict[SecretKey, str] = {}
    undelivered: dict[str, Path] = {}
    failures: list[ReconcileError] = []
    for loaded in manifests:
        resource = loaded.resource
        if resource.suspended:
            continue
        for path, source in resource.secrets():
            try:
                value = reader.read(source, purpose(resource, path, manifests, f"{loaded.at()}: "))
                found[(resource.KIND, resource.name, path)] = value
            except ReconcileError as error:
                failures.append(error)
    for key in manifests.of(ManagedKey):
        if key.spec.deliver_to is not None and not key.suspended:
            try:
                file = Path(key.spec.deliver_to.file)
                delivered = reader.delivered(file, what=f"ManagedKey/{key.name}")
                if delivered is None:
                    undelivered[key.name] = file
                else:
                    found[managed(key.name)] = delivered
            except ReconcileError as error:
                failures.append(error)
    if failures:
        raise _together(failures)
    return Values(found, undelivered)


def _together(failures: list[ReconcileError]) -> ReconcileError:
    kind = Refused if any(isinstance(failure, Refused) for failure in failures) else InvalidInput
    hints = {failure.hint for failure in failures if failure.hint}
    return kind("\n".join(failure.message for failure in failures), hint="\n  ".join(sorted(hints)) or None)


def remembered(manifests: ManifestSet, memories: Mapping[SecretKey, SecretMemory]) -> dict[SecretKey, str]:
    """Return the fingerprints of the last apply: what plan compares with, because it reads no secret."""
    found: dict[SecretKey, str] = {}
    for loaded in manifests:
        resource = loaded.resource
        paths = {path for path, _ in resource.secrets()}
        if isinstance(resource, ManagedKey):
            paths.add("spec.valueFrom")
        for path in sorted(paths):
            reference = (resource.KIND, resource.name, path)
            if reference in memories:
                found[reference] = memories[reference].fingerprint
    return found


def fingerprints_of(values: Values, keyring: Keyring) -> dict[SecretKey, str]:
    """Return the keyed fingerprint of every value that was read."""
    return {reference: keyring.fingerprint(value) for reference, value in values.by_reference.items()}


def remember_values(workspace: Workspace, values: Values, lease: Lease) -> None:
    """Remember the fingerprint of every secret, and the origins that it is bound to from now on."""
    found = fingerprints_of(values, workspace.keyring)
    known, bound = workspace.store.secrets(), workspace.store.secret_origins()
    memories = {key: SecretMemory(fingerprint) for key, fingerprint in found.items()}
    workspace.store.remember_secrets(
        {key: memory for key, memory in memories.items() if memory != known.get(key)}, lease
    )
    wanted = bindings(uses(workspace.manifests), found)
    workspace.store.bind_secrets(
        {word: origins for word, origins in wanted.items() if origins != bound.get(word)}, lease
    )


def origins(workspace: Workspace, values: Values | None = None) -> list[OriginUse]:
    """Return every secret that is sent somewhere, with the origins that it is bound to."""
    found = fingerprints_of(values, workspace.keyring) if values is not None else {}
    return origin_uses(uses(workspace.manifests), workspace.store.secret_origins(), found)
