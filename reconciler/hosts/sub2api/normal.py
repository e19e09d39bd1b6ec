"""Canonical form, both ways: what a manifest asks for, and what the host shows, as the same plain fields. Pure.

Field names are the manifests'. Settings are complete on both sides, defaults filled in; keys of the host that are in
no table are neither shown nor touched. `paused` and `marked` of an account stand in the desired fields only when the
manifest says what they shall be, and are always shown in the observed ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.errors import InvalidInput
from reconciler.hosts.contract import NormalizeContext
from reconciler.hosts.sub2api.names import GroupNames, check_group_name, check_name, key_name
from reconciler.hosts.sub2api.settings import (
    ACCOUNT_CREDENTIALS,
    ACCOUNT_EXTRA,
    ACCOUNT_FIELDS,
    ACCOUNT_SETTINGS,
    GROUP_SETTINGS,
    PRICES,
    Setting,
)
from reconciler.hosts.sub2api.shape import Json, identity, mapping, objects, text
from reconciler.manifest import GatewayKey, ProviderAccount, ShadowGroup, ShadowHost
from reconciler.plan.model import DesiredObject, Fields, Marker, ObjectKey, host_plane

ISSUER_CONCURRENCY = 0
"""No limit of its own: the service user carries all traffic, and limits are the gateway's. Absent means the same."""
ACCOUNT_REPLACE = frozenset({"platform", "type", "baseUrl"})
"""Where a credential goes is never edited in service."""
FINGERPRINT_CHARS = 12
"""Length of a keyed fingerprint in a marker."""

_RENAMED = " -> "
_HOST_MADE_KEY_STATUS = frozenset({"quota_exhausted", "expired"})


def desired(
    resource: ShadowGroup | ProviderAccount | GatewayKey | ShadowHost,
    context: NormalizeContext,
    installation: str,
) -> list[DesiredObject]:
    """Return the host objects that a manifest asks for. Raises InvalidInput for what the host cannot hold."""
    match resource:
        case ShadowGroup():
            return [_group(resource, context), *_channel(resource, context)]
        case ProviderAccount():
            return [_account(resource, context)]
        case GatewayKey():
            return [_key(resource, context, installation)] if resource.issued else []
        case ShadowHost():
            return [_issuer(resource, context)] if resource.spec.key_issuer is not None else []


def _object_key(context: NormalizeContext, kind: str, name: str) -> ObjectKey:
    return ObjectKey(host_plane(context.host.name), kind, name)


def _group(manifest: ShadowGroup, context: NormalizeContext) -> DesiredObject:
    what = f"ShadowGroup/{manifest.name}"
    settings = filled(GROUP_SETTINGS, manifest.spec.settings)
    if settings["messagesDispatch"] and manifest.spec.platform != "openai":
        raise InvalidInput(
            f"{what}: messagesDispatch works on openai groups only",
            hint="Take it out of spec.settings, or make the group's platform openai.",
        )
    fields = {
        "name": check_group_name(manifest.host_side_name, what),
        "platform": manifest.spec.platform,
        "status": "active",
        "settings": settings,
    }
    key = _object_key(context, "ShadowGroup", manifest.name)
    return DesiredObject(
        key, fields, context.source, adopt=manifest.adopt, replace_fields=frozenset({"platform"})
    )


def _channel(manifest: ShadowGroup, context: NormalizeContext) -> list[DesiredObject]:
    wanted = manifest.spec.settings.get("channel")
    if wanted is None:
        return []
    platform = manifest.spec.platform
    fields = {
        "name": manifest.host_side_name,
        "status": "active",
        "groups": [manifest.name],
        "restrictModels": bool(wanted.get("restrictModels", False)),
        "billingModelSource": wanted.get("billingModelSource", "channel_mapped"),
        "pricing": _sorted_pricing(_wanted_price(entry, platform) for entry in wanted.get("pricing", [])),
        "modelMapping": {},
    }
    group = _object_key(context, "ShadowGroup", manifest.name)
    return [
        DesiredObject(
            _object_key(context, "Channel", manifest.name), fields, context.source, depends_on=(group,)
        )
    ]


def _wanted_price(entry: Mapping[str, Any], platform: str) -> Json:
    prices = {name: float(entry[name]) for name in PRICES if entry.get(name) is not None}
    mode = entry.get("billingMode", "token")
    return {"platform": platform, "models": sorted(entry["models"]), "billingMode": mode, **prices}


def _account(manifest: ProviderAccount, context: NormalizeContext) -> DesiredObject:
    spec = manifest.spec
    base_url = context.resolve_endpoint.get(spec.base_url, spec.base_url)
    fields: dict[str, Any] = {
        "name": check_name(manifest.host_side_name, f"ProviderAccount/{manifest.name}"),
        "platform": spec.platform,
        "type": spec.type,
        "baseUrl": base_url.rstrip("/"),
        "models": sorted(set(spec.models)),
        "priority": spec.priority,
        "concurrency": spec.concurrency,
        "groups": sorted(set(spec.groups)),
        "settings": filled(ACCOUNT_SETTINGS, spec.settings),
    }
    if "paused" in spec.settings:
        fields["paused"] = bool(spec.settings["paused"])
    if spec.settings.get("repair"):
        fields["marked"] = False
    return DesiredObject(
        _object_key(context, "ProviderAccount", manifest.name),
        fields,
        context.source,
        fingerprint=context.fingerprints.get("spec.credential"),
        depends_on=tuple(_object_key(context, "ShadowGroup", group) for group in fields["groups"]),
        adopt=manifest.adopt,
        replace_fields=ACCOUNT_REPLACE,
    )


def _key(manifest: GatewayKey, context: NormalizeContext, installation: str) -> DesiredObject:
    key_name(
        Marker(installation, "GatewayKey", manifest.name, "0" * FINGERPRINT_CHARS), manifest.spec.version
    )
    fields = {
        "group": manifest.spec.group,
        "version": manifest.spec.version,
        "status": "active",
        "quotaUsd": 0.0,
        "expiresAt": None,
    }
    return DesiredObject(
        _object_key(context, "GatewayKey", manifest.name),
        fields,
        context.source,
        fingerprint=context.fingerprints.get("value"),
        depends_on=(
            _object_key(context, "ShadowGroup", manifest.spec.group),
            _object_key(context, "KeyIssuer", context.host.name),
        ),
        adopt=manifest.adopt,
        replace_fields=frozenset({"group", "version"}),
    )


def _issuer(manifest: ShadowHost, context: NormalizeContext) -> DesiredObject:
    assert manifest.spec.key_issuer is not None
    fields = {
        "name": manifest.spec.key_issuer.email.lower(),
        "status": "active",
        "role": "user",
        "concurrency": ISSUER_CONCURRENCY,
        "balanceOk": True,
    }
    return DesiredObject(
        _object_key(context, "KeyIssuer", manifest.name),
        fields,
        context.source,
        fingerprint=context.fingerprints.get("spec.keyIssuer.passwordFrom"),
        adopt=manifest.adopt,
    )


def filled(settings: Iterable[Setting], given: Mapping[str, Any]) -> Json:
    """Return all settings in canonical form: what is given, else the default."""
    return {s.name: s.read(given[s.name]) if s.name in given else s.default for s in settings}


def shown(settings: Iterable[Setting], raw: Mapping[str, Any]) -> Json:
    """Return all settings in canonical form, as the host has them."""
    return {s.name: s.read(raw.get(s.host)) for s in settings}


def group_fields(raw: Json) -> Fields:
    """Return the canonical fields of a group as the host shows it."""
    return {
        "name": text(raw, "name"),
        "platform": text(raw, "platform"),
        "status": text(raw, "status"),
        "settings": shown(GROUP_SETTINGS, raw),
    }


def account_fields(raw: Json, names: GroupNames) -> Fields:
    """Return the canonical fields of an account as the host shows it."""
    credentials, status = mapping(raw, "credentials"), text(raw, "status")
    settings = {
        **shown(ACCOUNT_FIELDS, raw),
        **shown(ACCOUNT_CREDENTIALS, _enabled_headers(credentials)),
        **shown(ACCOUNT_EXTRA, mapping(raw, "extra")),
    }
    return {
        "name": text(raw, "name"),
        "platform": text(raw, "platform"),
        "type": text(raw, "type"),
        "baseUrl": text(credentials, "base_url").rstrip("/"),
        "models": _models(mapping(credentials, "model_mapping")),
        "priority": int(raw["priority"]),
        "concurrency": int(raw["concurrency"]),
        "groups": names.sorted(group_ids(raw)),
        "settings": settings,
        "paused": status == "inactive" or (status == "active" and raw["schedulable"] is False),
        "marked": status == "error",
    }


def group_ids(raw: Json) -> list[str]:
    """Return the ids of the groups that an account is bound to; without any, the host leaves the keys out.

    A group that was deleted at the wrong moment still stands in `group_ids`, but not in `groups`: nothing is bound.
    """
    alive = {identity(group) for group in objects(raw.get("groups"))}
    return [found for found in listed_groups(raw) if found in alive]


def listed_groups(raw: Json) -> list[str]:
    """Return the group ids that an account or channel lists, gone or not."""
    return [identity({"id": item}) for item in raw.get("group_ids") or []]


def _enabled_headers(credentials: Json) -> Json:
    """Return the credentials with header overrides that are switched off left out: they have no effect."""
    if credentials.get("header_override_enabled"):
        return credentials
    return {name: value for name, value in credentials.items() if name != "header_overrides"}


def _models(table: Json) -> list[str]:
    """Return the whitelist: `m` for a model sent upstream under its own name, `m -> n` for one that is renamed."""
    return sorted(asked if asked == sent else f"{asked}{_RENAMED}{sent}" for asked, sent in table.items())


def model_mapping(models: Iterable[str]) -> Json:
    """Return the host's mapping for a whitelist in canonical form; the reverse of what is shown."""
    pairs = (model.partition(_RENAMED) for model in models)
    return {asked: sent or asked for asked, _, sent in pairs}


def key_fields(raw: Json, names: GroupNames, version: int | None) -> Fields:
    """Return the canonical fields of a key; statuses that the host makes by itself read as the intended one."""
    status, group = text(raw, "status"), raw.get("group_id")
    return {
        "group": names.name(str(group)) if group is not None else None,
        "version": version,
        "status": "active" if status in _HOST_MADE_KEY_STATUS else status,
        "quotaUsd": float(raw.get("quota") or 0),
        "expiresAt": text(raw, "expires_at") or None,
    }


def issuer_fields(raw: Json, balance_floor: float) -> Fields:
    """Return the canonical fields of the service user; its balance is a floor, for it falls with every request."""
    return {
        "name": text(raw, "email").lower(),
        "status": text(raw, "status"),
        "role": text(raw, "role"),
        "concurrency": int(raw["concurrency"]),
        "balanceOk": float(raw["balance"]) >= balance_floor,
    }


def channel_fields(raw: Json, names: GroupNames) -> Fields:
    """Return the canonical fields of a channel; groups that are gone but still listed are left out."""
    return {
        "name": text(raw, "name"),
        "status": text(raw, "status"),
        "groups": names.sorted(found for found in listed_groups(raw) if names.knows(found)),
        "restrictModels": bool(raw.get("restrict_models")),
        "billingModelSource": text(raw, "billing_model_source") or "channel_mapped",
        "pricing": _sorted_pricing(_shown_price(entry) for entry in objects(raw.get("model_pricing"))),
        "modelMapping": {
            platform: table for platform, table in mapping(raw, "model_mapping").items() if table
        },
    }


def _shown_price(entry: Json) -> Json:
    prices = {name: float(entry[host]) for name, host in PRICES.items() if entry.get(host) is not None}
    models = sorted(str(model) for model in entry.get("models") or [])
    mode = text(entry, "billing_mode") or "token"
    return {
        "platform": text(entry, "platform") or "anthropic",
        "models": models,
        "billingMode": mode,
        **prices,
    }


def _sorted_pricing(entries: Iterable[Json]) -> list[Json]:
    return sorted(entries, key=lambda entry: (entry["platform"], entry["models"]))
