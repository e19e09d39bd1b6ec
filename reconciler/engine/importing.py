"""What stands on a host, as manifests.

Only what planning would leave alone is written: a manifest that, put back into the host's form, differs from what
stands there is left out, with the fields that a manifest cannot say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jsonschema import Draft202012Validator
from pydantic import ValidationError

from reconciler.engine.adoption import renamed
from reconciler.errors import InvalidInput
from reconciler.hosts.contract import HostDriver, NormalizeContext
from reconciler.manifest import (
    API_VERSION,
    GatewayKey,
    Location,
    ManifestSet,
    ProviderAccount,
    Resource,
    Route,
    ShadowGroup,
    ShadowHost,
)
from reconciler.manifest.meta import ADOPT
from reconciler.plan.diff import compare
from reconciler.plan.model import DesiredObject, ObservedObject

Normalize = Callable[[Any, NormalizeContext], list[DesiredObject]]
IMPORTED = Location("(imported)", 1, 1)
_KINDS: tuple[type[Resource], ...] = (ShadowGroup, ProviderAccount, GatewayKey)


class _Unsayable(Exception):
    """An object that no manifest can describe as it stands; the message says why."""


@dataclass(frozen=True)
class LeftOut:
    """An object that was not imported, and why."""

    kind: str
    host_name: str
    object_id: str
    reason: str


@dataclass(frozen=True)
class Imported:
    """The manifests, in dependency order and by name, and what they leave out."""

    resources: tuple[Resource, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


@dataclass
class HostImport:
    """One import. `stack` is `embedded://NAME` -> URL, so that those endpoints are written as such."""

    host: ShadowHost
    objects: Iterable[ObservedObject]
    normalize: Normalize
    schemas: Mapping[str, Mapping[str, Any]]
    installation: str
    manifests: ManifestSet
    stack: Mapping[str, str] = field(default_factory=dict)
    _group_names: dict[str, str] = field(default_factory=dict)
    """Canonical name of a group (`chat`, `#12`) -> the manifest's."""
    _taken: set[tuple[str, str]] = field(default_factory=set)

    def run(self) -> Imported:
        """Return a manifest for everything on the host that has none yet."""
        objects = sorted(
            self.objects, key=lambda each: (not self._ours(each), each.host_name, each.object_id)
        )
        self._taken = {(loaded.resource.KIND, loaded.resource.name) for loaded in self.manifests}
        resources: list[Resource] = []
        left_out: list[LeftOut] = []
        for kind in _KINDS:
            for seen in (each for each in objects if each.kind == kind.KIND and not self._described(each)):
                try:
                    resources.append(self._manifest(kind, seen, objects))
                except _Unsayable as error:
                    left_out.append(LeftOut(seen.kind, seen.host_name, seen.object_id, str(error)))
        for seen in (each for each in objects if each.kind == "Channel" and not self._ours(each)):
            reason = "a channel of somebody else's; what it does to its groups is not ours to say"
            left_out.append(LeftOut(seen.kind, seen.host_name, seen.object_id, reason))
        return Imported(tuple(resources), tuple(left_out))

    def _ours(self, seen: ObservedObject) -> bool:
        return seen.marker is not None and seen.marker.installation == self.installation

    def _described(self, seen: ObservedObject) -> bool:
        """True when a manifest given to the import describes the object already, or it is temporary."""
        if seen.marker is not None and self._ours(seen):
            known = self.manifests.find(seen.kind, seen.marker.name) is not None
            if known and seen.kind == ShadowGroup.KIND:
                self._group_names[seen.marker.name] = seen.marker.name
            return known or seen.marker.kind != seen.kind
        for loaded in self.manifests:
            resource = loaded.resource
            here = (
                isinstance(resource, ShadowGroup | ProviderAccount) and resource.spec.host == self.host.name
            )
            if here and resource.KIND == seen.kind and resource.adopt in (seen.object_id, seen.host_name):
                self._group_names[f"#{seen.object_id}"] = resource.name
                return True
        return False

    def _manifest(
        self, kind: type[Resource], seen: ObservedObject, objects: Iterable[ObservedObject]
    ) -> Resource:
        if seen.marker is not None and not self._ours(seen):
            raise _Unsayable(f"it belongs to the installation {seen.marker.installation}")
        if kind is GatewayKey and not self._ours(seen):
            raise _Unsayable("it was made by hand; a GatewayKey with valueFrom can use it")
        name = self._name(seen)
        metadata: dict[str, Any] = {"name": name}
        if not self._ours(seen):
            metadata["annotations"] = {ADOPT: seen.object_id}
        spec = {
            ShadowGroup: self._group_spec,
            ProviderAccount: self._account_spec,
            GatewayKey: self._key_spec,
        }[kind](seen, name, objects)
        document = {"apiVersion": API_VERSION, "kind": kind.KIND, "metadata": metadata, "spec": spec}
        resource = self._typed(kind, document)
        self._check(resource, seen)
        self._taken.add((kind.KIND, name))
        if kind is ShadowGroup:
            self._group_names[name if self._ours(seen) else f"#{seen.object_id}"] = name
        return resource

    def _name(self, seen: ObservedObject) -> str:
        """Return the manifest's name: the marker's, else one made from host and name there, for hosts resemble."""
        if seen.marker is not None:
            return seen.marker.name
        word = re.sub(r"[^a-z0-9]+", "-", seen.host_name.lower()).strip("-")
        if not word.startswith(f"{self.host.name}-"):
            word = f"{self.host.name}-{word or _SHORT[seen.kind]}"
        word = word[:63].strip("-")
        if (seen.kind, word) not in self._taken:
            return word
        tail = f"-{seen.object_id}"
        return word[: 63 - len(tail)].rstrip("-") + tail

    def _group_spec(
        self, seen: ObservedObject, name: str, objects: Iterable[ObservedObject]
    ) -> dict[str, Any]:
        settings = self._settings(seen)
        channel = next(
            (each for each in objects if each.kind == "Channel" and self._serves(each, name)), None
        )
        if channel is not None:
            settings["channel"] = _channel_settings(channel)
        return {
            "host": self.host.name,
            **({"hostName": seen.host_name} if seen.host_name != name else {}),
            "platform": seen.fields["platform"],
            **({"settings": settings} if settings else {}),
        }

    def _serves(self, channel: ObservedObject, group: str) -> bool:
        return self._ours(channel) and channel.marker is not None and channel.marker.name == group

    def _account_spec(
        self, seen: ObservedObject, name: str, objects: Iterable[ObservedObject]
    ) -> dict[str, Any]:
        fields, settings = seen.fields, self._settings(seen)
        variable = f"RECONCILE_SECRET_{re.sub('[^A-Z0-9]', '_', name.upper())}"
        if not fields["models"]:
            raise _Unsayable("it serves every model; give it a list of models on the host first")
        groups = [self._group(group) for group in fields["groups"]]
        return {
            "host": self.host.name,
            "groups": groups,
            **({"shared": True} if self._serves_several(groups) else {}),
            **({"hostName": seen.host_name} if seen.host_name != name else {}),
            **{name: fields[name] for name in ("platform", "type", "models", "priority", "concurrency")},
            "baseUrl": self._endpoint(fields["baseUrl"]),
            "credential": {"valueFrom": {"env": variable}},
            **({"settings": settings} if settings else {}),
        }

    def _serves_several(self, groups: list[str]) -> bool:
        """True when the routes that are known lead to these groups from more than one logical group."""
        routes = [route for route in self.manifests.of(Route) if route.spec.shadow_group in groups]
        return len({route.spec.logical_group for route in routes}) > 1

    def _key_spec(self, seen: ObservedObject, name: str, objects: Iterable[ObservedObject]) -> dict[str, Any]:
        return {"group": self._group(str(seen.fields["group"])), "version": seen.fields["version"]}

    def _group(self, canonical: str) -> str:
        try:
            return self._group_names[canonical]
        except KeyError:
            raise _Unsayable(f"its group {canonical!r} is not among the manifests") from None

    def _settings(self, seen: ObservedObject) -> dict[str, Any]:
        """Return the settings that are not the default; those that no manifest can set are left to `_check`."""
        known = self.schemas[seen.kind]["properties"]
        shown: Mapping[str, Any] = seen.fields["settings"]
        return {n: value for n, value in shown.items() if n in known and value != known[n].get("default")}

    def _endpoint(self, url: str) -> str:
        """Return an endpoint as a manifest of the embedded stack writes it."""
        for name, base in self.stack.items():
            root = base.rstrip("/")
            if url == root or url.startswith(f"{root}/"):
                return name + url.removeprefix(root)
        return url

    def _typed(self, kind: type[Resource], document: dict[str, Any]) -> Resource:
        try:
            resource = kind.model_validate(document)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            path = ".".join(str(part) for part in first["loc"])
            raise _Unsayable(f"{path}: {first['msg']}") from error
        if kind.KIND in self.schemas:
            settings = document["spec"].get("settings", {})
            for problem in Draft202012Validator(dict(self.schemas[kind.KIND])).iter_errors(settings):
                raise _Unsayable(f"spec.settings: {problem.message[:200]}")
        return resource

    def _check(self, resource: Resource, seen: ObservedObject) -> None:
        """Raise unless planning the manifest would find nothing to change on the object."""
        endpoints = {}
        if isinstance(resource, ProviderAccount):
            endpoints[resource.spec.base_url] = seen.fields["baseUrl"]
        context = NormalizeContext(host=self.host, resolve_endpoint=endpoints, source=IMPORTED)
        try:
            desired = self.normalize(resource, context)[0]
        except InvalidInput as error:
            raise _Unsayable(error.message) from error
        changes = compare(desired, renamed(seen, self._group_names))
        if changes:
            raise _Unsayable(f"a manifest cannot say: {', '.join(change.path for change in changes)}")


_SHORT = {"ShadowGroup": "group", "ProviderAccount": "account", "GatewayKey": "key"}


def _channel_settings(channel: ObservedObject) -> dict[str, Any]:
    fields = channel.fields
    entries = [
        {name: value for name, value in entry.items() if name != "platform"} for entry in fields["pricing"]
    ]
    for entry in entries:
        if entry["billingMode"] == "token":
            del entry["billingMode"]
    return {
        **({"restrictModels": True} if fields["restrictModels"] else {}),
        **(
            {"billingModelSource": source}
            if (source := fields["billingModelSource"]) != "channel_mapped"
            else {}
        ),
        **({"pricing": entries} if entries else {}),
    }


async def import_host(
    driver: HostDriver,
    host: ShadowHost,
    manifests: ManifestSet,
    *,
    installation: str,
    stack: Mapping[str, str],
) -> Imported:
    """Observe one host and return what has no manifest yet, as manifests. Changes nothing. Raises RemoteError."""
    await driver.check()
    return HostImport(
        host=host,
        objects=await driver.observe(),
        normalize=driver.normalize,
        schemas=driver.SETTINGS_SCHEMAS,
        installation=installation,
        manifests=manifests,
        stack=stack,
    ).run()
