"""Rules about gateway keys and managed keys."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC

from reconciler.manifest.gateway_key import GatewayKey
from reconciler.manifest.managed_key import ManagedKey
from reconciler.manifest.manifest_set import Path, Problem
from reconciler.manifest.quote import did_you_mean, quote
from reconciler.manifest.survey import Survey, called


def issued_keys_have_an_issuer(survey: Survey) -> Iterator[Problem]:
    """A gateway key that we make is on a host with a key issuer."""
    for key in survey.of(GatewayKey):
        host = survey.host_of(key.spec.group)
        if key.issued and host is not None and host.spec.key_issuer is None:
            says = (
                f"it has no valueFrom, and ShadowHost {quote(host.name)} has no keyIssuer that could make it"
            )
            fix = f"add keyIssuer to ShadowHost {quote(host.name)}, or give the key with valueFrom"
            yield survey.error(key, ("spec", "valueFrom"), "no-key-issuer", says, fix)


def keys_have_their_own_value(survey: Survey) -> Iterator[Problem]:
    """Two keys have different values: no two take theirs from one source, or are delivered to one file."""
    first: dict[tuple[str, ...], GatewayKey | ManagedKey] = {}
    for key in survey.keys:
        for path, source in _sources(key):
            other = first.setdefault((key.KIND, *source), key)
            if other is not key:
                says = (
                    f"{called(other)} ({survey.at(other, ('metadata', 'name'))}) has the same source or file"
                )
                yield survey.error(key, path, "shared-key-value", says, "give each key a value of its own")


def _sources(key: GatewayKey | ManagedKey) -> Iterator[tuple[Path, tuple[str, ...]]]:
    if key.spec.value_from is not None:
        yield ("spec", "valueFrom"), key.spec.value_from.key()
    if isinstance(key, ManagedKey) and key.spec.deliver_to is not None:
        yield ("spec", "deliverTo", "file"), ("deliver", key.spec.deliver_to.file)


def limits_name_models_of_the_groups(survey: Survey) -> Iterator[Problem]:
    """The models in a managed key's limits are public models of its logical groups."""
    if not survey.whole("ModelBinding"):
        return
    for key in survey.of(ManagedKey):
        groups = key.spec.logical_groups
        known = {
            binding.spec.public_model for group in groups for binding in survey.bindings_of.get(group, ())
        }
        for index, model in enumerate(key.spec.limits.models or ()):
            if model not in known:
                near = did_you_mean(model, known)
                fix = (
                    f"did you mean {quote(near)}?"
                    if near
                    else "name public models of the key's logical groups"
                )
                says = f"none of its logical groups offers {quote(model)}"
                yield survey.error(key, ("spec", "limits", "models", index), "unknown-limit-model", says, fix)


def keys_have_not_expired(survey: Survey) -> Iterator[Problem]:
    """A managed key has not expired yet."""
    for key in survey.of(ManagedKey):
        expires = key.spec.expires_at
        if survey.now is not None and expires is not None and expires <= survey.now:
            says = f"it expired at {expires.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
            fix = "set a later expiresAt, or remove the key"
            yield from survey.warnings(key, ("spec", "expiresAt"), "expired-key", says, fix)


RULES = (
    issued_keys_have_an_issuer,
    keys_have_their_own_value,
    limits_name_models_of_the_groups,
    keys_have_not_expired,
)
