"""Which embedded parts a manifest set needs: every `embedded://` name in it, with the secrets that go with it."""

from __future__ import annotations

from reconciler.embedded.stack import Part, StackSpec
from reconciler.errors import InvalidInput
from reconciler.manifest import ControlPlane, ManifestSet, ProviderAccount, ShadowHost, ValueFrom

SCHEME = "embedded://"


def stack_spec(manifests: ManifestSet) -> StackSpec:
    """Return the stack that serves these manifests. Raises InvalidInput for a secret that is not an env variable."""
    parts: dict[str, Part] = {}
    for plane in manifests.of(ControlPlane):
        if (name := _name(plane.spec.endpoint)) is not None:
            token = _env(plane.spec.admin_token.value_from, f"ControlPlane/{plane.name} spec.adminToken")
            parts[name] = Part(name, "gateway", (token,))
    for host in manifests.of(ShadowHost):
        if (name := _name(host.spec.admin_endpoint)) is not None:
            key = _env(host.spec.admin_credential.value_from, f"ShadowHost/{host.name} spec.adminCredential")
            parts[name] = Part(name, "host", (key,))
    for name, accounts in _upstreams(manifests).items():
        keys = {_env(each.spec.credential.value_from, f"ProviderAccount/{each.name}") for each in accounts}
        models = {model for each in accounts for model in each.spec.models}
        parts[name] = Part(name, "upstream", tuple(sorted(keys)), tuple(sorted(models)))
    if not parts:
        raise InvalidInput("no manifest has an embedded:// endpoint, so there is nothing to start")
    taken = {name for part in parts.values() for name in part.secret_env}
    return StackSpec(tuple(parts[name] for name in sorted(parts)), tuple(sorted(_all_env(manifests) - taken)))


def _upstreams(manifests: ManifestSet) -> dict[str, list[ProviderAccount]]:
    found: dict[str, list[ProviderAccount]] = {}
    for account in manifests.of(ProviderAccount):
        if (name := _name(account.spec.base_url)) is not None:
            found.setdefault(name, []).append(account)
    return found


def _name(endpoint: str) -> str | None:
    return endpoint.removeprefix(SCHEME).partition("/")[0] if endpoint.startswith(SCHEME) else None


def _env(source: ValueFrom, what: str) -> str:
    if source.env is None:
        raise InvalidInput(
            f"{what}: an embedded part takes its secret from an environment variable",
            hint="use valueFrom: {env: RECONCILE_SECRET_...} with embedded:// endpoints",
        )
    return source.env


def _all_env(manifests: ManifestSet) -> set[str]:
    return {
        source.env
        for loaded in manifests
        for _, source in loaded.resource.secrets()
        if source.env is not None
    }
