"""ManagedKeys that we make: delivered once to a file, and made anew only when somebody asks for it.

A key that is live stays as it is when its file is lost: whoever holds it goes on working. The gateway knows a
keyed hash only, so the value cannot be written again; the operator has to say that a new one is wanted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from reconciler.engine.secret_values import SecretReader
from reconciler.engine.values import Values, managed
from reconciler.errors import InvalidInput
from reconciler.manifest import ManagedKey, ManifestSet
from reconciler.plane.document import owned

ROTATE_FLAG = "--rotate-key"


def live_versions(document: Mapping[str, Any], installation: str) -> dict[str, str]:
    """Return the version of every managed key of ours that the active configuration has."""
    return {
        entry["name"]: entry["versions"][0]
        for entry in document.get("managed_keys", ())
        if owned(entry, installation) and entry["versions"]
    }


def lost_files(values: Values, document: Mapping[str, Any], installation: str) -> dict[str, Path]:
    """Return the live keys whose file is not there any more."""
    live = live_versions(document, installation)
    return {name: file for name, file in values.undelivered.items() if name in live}


def lost_message(name: str, file: Path) -> str:
    """Return what to tell of a lost file."""
    return (
        f"ManagedKey/{name}: {file}, which the key was delivered to, is gone; the key itself stays valid. "
        f"Put the file back, or make a new key with: reconcile apply {ROTATE_FLAG} {name}"
    )


def deliver(
    values: Values,
    manifests: ManifestSet,
    reader: SecretReader,
    live: Collection[str],
    rotate: Collection[str],
) -> Values:
    """Return the values with every key made that was never made before, or that is to be rotated; `live` ones stay.

    Raises: InvalidInput, Refused.
    """
    made = {}
    for key in manifests.of(ManagedKey):
        file = key.spec.deliver_to
        wanted = key.name in rotate or (key.name in values.undelivered and key.name not in live)
        if wanted and file is not None and not key.suspended:
            made[managed(key.name)] = reader.deliver(Path(file.file), what=f"ManagedKey/{key.name}")
    left = {name: file for name, file in values.undelivered.items() if managed(name) not in made}
    return replace(values, by_reference={**values.by_reference, **made}, undelivered=left)


def check_rotation(manifests: ManifestSet, rotate: Collection[str]) -> None:
    """Raise InvalidInput when a key that is to be rotated is not one that we make."""
    names = [key.name for key in manifests.of(ManagedKey)]
    for name in sorted(rotate):
        found = manifests.find(ManagedKey.KIND, name)
        if found is None or not isinstance(found.resource, ManagedKey):
            near = get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names) or 'none'}"
            raise InvalidInput(f"no ManagedKey {name!r} in the manifests", hint=hint)
        if not found.resource.spec.generate:
            raise InvalidInput(
                f"{found.at()}: ManagedKey/{name} has a valueFrom, so its value is not ours to make",
                hint="change the value there, and apply again",
            )
