"""Where `embedded://NAME` endpoints really are: the stack file that `reconcile up` writes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from reconciler.errors import InvalidInput
from reconciler.manifest import ControlPlane, ManifestSet, ProviderAccount, ShadowHost

STACK_ENV = "RECONCILE_STACK"
DEFAULT_STACK = ".reconcile/stack/stack.json"


def stack_endpoints(path: str | None = None) -> dict[str, str]:
    """Return `embedded://NAME` -> URL of the running stack; empty when there is no stack file."""
    file = Path(path or os.environ.get(STACK_ENV) or DEFAULT_STACK)
    if not file.exists():
        return {}
    try:
        endpoints = json.loads(file.read_text(encoding="utf-8"))["endpoints"]
        return {str(name): str(url) for name, url in endpoints.items()}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise InvalidInput(
            f"{file}: not a stack file: {error}", hint="start the stack again: reconcile up"
        ) from error


def resolve_endpoints(manifests: ManifestSet, stack: Mapping[str, str]) -> dict[str, str]:
    """Return every endpoint of the set, as written -> as reachable.

    Raises InvalidInput for an `embedded://` endpoint that the stack does not have.
    """
    found: dict[str, str] = {}
    for where, endpoint in _endpoints(manifests):
        found[endpoint] = resolve(endpoint, stack, where=where)
    return found


def resolve(endpoint: str, stack: Mapping[str, str], *, where: str) -> str:
    """Return one endpoint as reachable, without a final slash. A stack may stand in for any endpoint by name."""
    if endpoint in stack:
        return stack[endpoint].rstrip("/")
    if not endpoint.startswith("embedded://"):
        return endpoint.rstrip("/")
    name, _, path = endpoint.removeprefix("embedded://").partition("/")
    base = stack.get(f"embedded://{name}")
    if base is None:
        known = ", ".join(sorted(stack)) or "no stack is running"
        raise InvalidInput(
            f"{where}: no embedded part {name!r} ({known})",
            hint="start the stack: reconcile up; or name the file of a running one: --stack DIR/stack.json",
        )
    return f"{base.rstrip('/')}/{path}".rstrip("/")


def _endpoints(manifests: ManifestSet) -> list[tuple[str, str]]:
    found: list[tuple[str, str | None]] = []
    for plane in manifests.of(ControlPlane):
        found += [(f"ControlPlane/{plane.name}", plane.spec.endpoint)]
        found += [(f"ControlPlane/{plane.name}", plane.spec.data_endpoint)]
    for host in manifests.of(ShadowHost):
        found += [(f"ShadowHost/{host.name}", host.spec.admin_endpoint)]
        found += [(f"ShadowHost/{host.name}", host.spec.data_endpoint)]
    for account in manifests.of(ProviderAccount):
        found += [(f"ProviderAccount/{account.name}", account.spec.base_url)]
    return [(where, endpoint) for where, endpoint in found if endpoint is not None]
