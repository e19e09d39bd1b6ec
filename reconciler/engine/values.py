"""The secrets of one run: read once, at the start of apply, all problems told together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.engine.desire import SecretKey, issued_value
from reconciler.engine.secret_values import SecretReader
from reconciler.engine.workspace import Workspace
from reconciler.errors import InvalidInput, ReconcileError, Refused
from reconciler.manifest import ControlPlane, GatewayKey, ManagedKey, ManifestSet, ProviderAccount, ShadowHost
from reconciler.plan.guard import OriginUse
from reconciler.state.model import Lease, SecretMemory
from reconciler.state.store import Store


@dataclass(frozen=True)
class Values:
    """Secret values by reference. Never printed; given only to the call that needs one."""

    by_reference: Mapping[SecretKey, str] = field(default_factory=dict, repr=False)

    def account(self, name: str) -> str:
        """Return the upstream credential of a ProviderAccount."""
        return self.by_reference[(ProviderAccount.KIND, name, "spec.credential")]

    def issuer_password(self, host: str) -> str:
        """Return the password of a host's service user; empty when the host has no key issuer."""
        return self.by_reference.get((ShadowHost.KIND, host, "spec.keyIssuer.passwordFrom"), "")

    def managed_key(self, name: str) -> str:
        """Return a consumer's key."""
        return self.by_reference[(ManagedKey.KIND, name, "spec.valueFrom")]

    def gateway_key(self, key: GatewayKey, workspace: Workspace) -> str:
        """Return the value of a gateway key, whether we make it or it is given."""
        if key.issued:
            return issued_value(key, workspace.manifests, workspace.keyring)
        return self.by_reference[(GatewayKey.KIND, key.name, "spec.valueFrom")]


def read_values(manifests: ManifestSet, reader: SecretReader) -> Values:
    """Read every secret that applying needs. Raises InvalidInput or Refused that names all that failed."""
    found: dict[SecretKey, str] = {}
    failures: list[ReconcileError] = []
    for loaded in manifests:
        resource = loaded.resource
        if resource.suspended:
            continue
        for path, source in resource.secrets():
            try:
                value = reader.read(source, what=f"{loaded.at()}: {resource.KIND}/{resource.name} {path}")
                found[(resource.KIND, resource.name, path)] = value
            except ReconcileError as error:
                failures.append(error)
    for key in manifests.of(ManagedKey):
        if key.spec.deliver_to is not None and not key.suspended:
            try:
                value = reader.generated(Path(key.spec.deliver_to.file), what=f"ManagedKey/{key.name}")
                found[(ManagedKey.KIND, key.name, "spec.valueFrom")] = value
            except ReconcileError as error:
                failures.append(error)
    if failures:
        raise _together(failures)
    return Values(found)


def _together(failures: list[ReconcileError]) -> ReconcileError:
    kind = Refused if any(isinstance(failure, Refused) for failure in failures) else InvalidInput
    hints = {failure.hint for failure in failures if failure.hint}
    return kind("\n".join(failure.message for failure in failures), hint="\n  ".join(sorted(hints)) or None)


def remembered(manifests: ManifestSet, store: Store) -> dict[SecretKey, str]:
    """Return the fingerprints of the last apply: what plan compares with, because it reads no secret."""
    found: dict[SecretKey, str] = {}
    memories = store.secrets()
    for loaded in manifests:
        resource = loaded.resource
        paths = {path for path, _ in resource.secrets()}
        if isinstance(resource, ManagedKey):
            paths.add("spec.valueFrom")
        for path in sorted(paths):
            memory = memories.get((resource.KIND, resource.name, path))
            if memory is not None:
                found[(resource.KIND, resource.name, path)] = memory.fingerprint
    return found


def remember_values(workspace: Workspace, values: Values, lease: Lease) -> None:
    """Remember the fingerprint of every secret, and the origin it is used with."""
    wanted = {(use.kind, use.name, use.path): use.wanted for use in origins(workspace)}
    known = workspace.store.secrets()
    memories = {
        key: SecretMemory(workspace.keyring.fingerprint(value), wanted.get(key, ""))
        for key, value in values.by_reference.items()
    }
    news = {key: memory for key, memory in memories.items() if memory != known.get(key)}
    workspace.store.remember_secrets(news, lease)


def origins(workspace: Workspace) -> list[OriginUse]:
    """Return every secret that is sent somewhere, with the origin it goes to and the one it was first used with.

    An embedded endpoint is its own origin as written: the ports behind it are the stack's business.
    """
    manifests = workspace.manifests
    found: list[tuple[str, str, str, str]] = []
    for plane in manifests.of(ControlPlane):
        found.append((plane.KIND, plane.name, "spec.adminToken", plane.spec.endpoint))
    for host in manifests.of(ShadowHost):
        found.append((host.KIND, host.name, "spec.adminCredential", host.spec.admin_endpoint))
        found.append((host.KIND, host.name, "spec.keyIssuer.passwordFrom", host.spec.admin_endpoint))
    for account in manifests.of(ProviderAccount):
        found.append((account.KIND, account.name, "spec.credential", account.spec.base_url))
    memories = workspace.store.secrets()
    return [
        OriginUse(kind, name, path, wanted=wanted, remembered=_origin_in(memories.get((kind, name, path))))
        for kind, name, path, wanted in found
    ]


def _origin_in(memory: SecretMemory | None) -> str | None:
    return memory.origin or None if memory else None
