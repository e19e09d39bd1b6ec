"""Phases 2 to 4: stage one revision, prove by it, promote it, or leave out what failed and try again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.engine.desire import desired_in_control_plane
from reconciler.engine.expand import Expanded
from reconciler.engine.observe import Observed, comment_of
from reconciler.engine.prospect import Prospect, suspended_keys, unprunable
from reconciler.engine.proving import Proofs
from reconciler.engine.reach import staged_paths
from reconciler.engine.values import Values
from reconciler.engine.workspace import Workspace
from reconciler.errors import Refused, RemoteError
from reconciler.manifest import GatewayKey, ManagedKey, Route, ShadowGroup
from reconciler.plan.model import UNKNOWN_UNTIL_APPLY, DesiredObject, ObjectKey, host_plane
from reconciler.plane import document
from reconciler.plane.document import control_key, entries
from reconciler.plane.held_back import hold_back
from reconciler.proof.model import Link, PathProof

ROUNDS = 3
"""How often a revision is staged without what failed, before the run gives up."""


@dataclass
class Staged:
    """What staging came to."""

    revision: int | None = None
    """The promoted revision; None when the active one is already as wanted or nothing could be promoted."""
    held_back: dict[ObjectKey, str] = field(default_factory=dict)
    proofs: list[PathProof] = field(default_factory=list)
    document: Mapping[str, Any] = field(default_factory=dict)
    """What is active afterwards."""


@dataclass
class Staging:
    """Runs the phases for one plan."""

    workspace: Workspace
    proofs: Proofs
    prospect: Prospect
    expanded: Expanded
    values: Values
    all_or_nothing: bool = False
    prove: str = "affected"
    result: Staged = field(default_factory=Staged)

    async def run(self, observed: Observed) -> Staged:
        """Stage, prove and promote; at most `ROUNDS` times. `observed` is a reading after expand."""
        self.result.document = observed.snapshot.document
        failed = self._failed_before(observed)
        for _ in range(ROUNDS):
            wanted = self._wanted(observed)
            chosen, held = hold_back(observed.snapshot.document, wanted, failed)
            self._hold(held, failed)
            if self.all_or_nothing and held:
                return self.result
            if same(chosen, observed.snapshot.document):
                return self.result
            broken = await self._round(observed, chosen)
            if broken is None:
                return self.result
            failed |= broken
            if self.all_or_nothing:
                self._hold(failed, failed)
                return self.result
        self._hold(failed, failed)
        return self.result

    async def _round(self, observed: Observed, chosen: Mapping[str, Any]) -> dict[ObjectKey, str] | None:
        """Stage one document and promote it if its proofs hold; else drop it and return what failed."""
        workspace, base = self.workspace, observed.snapshot.revision
        await self._put_keys(observed, chosen)
        workspace.progress.phase("stage", f"staging a revision on revision {base}")
        revision = await self._stage(chosen, base)
        try:
            broken = await self._prove(observed, revision, chosen)
            if not broken:
                workspace.progress.phase("promote", f"promoting revision {revision}")
                await workspace.plane.promote(revision)
                self.result.revision, self.result.document = revision, chosen
                return None
        except BaseException:
            # Ctrl-C included: a staged revision serves nobody, but leaving it would hold its keys for an hour.
            await asyncio.shield(workspace.plane.drop(revision))
            raise
        workspace.progress.warn(f"revision {revision} is dropped: {len(broken)} objects are not proved")
        await workspace.plane.drop(revision)
        return broken

    async def _stage(self, chosen: Mapping[str, Any], base: int) -> int:
        """Stage a document and return its revision; interrupted in between, wait for its number and drop it again."""
        workspace = self.workspace
        comment = comment_of(workspace.keyring.installation, f"manifests {workspace.manifests.digest[:12]}")
        staging = asyncio.ensure_future(workspace.plane.stage(chosen, base=base, comment=comment))
        try:
            return await asyncio.shield(staging)
        except asyncio.CancelledError:
            with suppress(RemoteError):
                await workspace.plane.drop(await staging)
            raise

    async def _prove(
        self, observed: Observed, revision: int, chosen: Mapping[str, Any]
    ) -> dict[ObjectKey, str]:
        paths = staged_paths(self.prospect.plan, self.proofs.scope, chosen, self.prove)
        self.workspace.progress.phase("prove", f"proving {len(paths)} paths by revision {revision}")
        if not paths:
            return {}
        seen = await self._with_current_keys(observed)
        found = await self.proofs.paths(
            paths, revision=revision, document=chosen, observed=seen, handing_over=True
        )
        self.result.proofs = [*self.result.proofs, *found]
        broken = [proof for proof in found if not proof.holds]
        return blame(broken, found, observed.snapshot.document, chosen)

    async def _with_current_keys(self, observed: Observed) -> Observed:
        snapshot = await self.workspace.plane.snapshot()
        if snapshot.revision != observed.snapshot.revision:
            raise Refused("another revision was promoted meanwhile", hint="run apply again")
        return replace(observed, snapshot=snapshot)

    def _wanted(self, observed: Observed) -> dict[str, Any]:
        desired = desired_in_control_plane(
            self.workspace.manifests, self.workspace.keyring.words, self.prospect.knowledge, observed.planes
        )
        kept = [each for each in desired if not self._unsettled(each)]
        self._leave_out(each for each in desired if self._unsettled(each))
        installation = self.workspace.keyring.installation
        suspended = suspended_keys(self.workspace.manifests)
        keep = suspended.keys() | unprunable(self.prospect.inventory, desired)
        wanted = document.merge(observed.snapshot.document, kept, installation=installation, keep=keep)
        return self._with_active_form(wanted, observed, desired, kept)

    def _unsettled(self, each: DesiredObject) -> bool:
        return UNKNOWN_UNTIL_APPLY in each.fields.values() or [UNKNOWN_UNTIL_APPLY] in each.fields.values()

    def _leave_out(self, unsettled: Iterable[DesiredObject]) -> None:
        for each in unsettled:
            self.result.held_back.setdefault(each.key, "something it refers to does not exist on its host")

    def _with_active_form(
        self,
        wanted: dict[str, Any],
        observed: Observed,
        desired: Sequence[DesiredObject],
        kept: Sequence[DesiredObject],
    ) -> dict[str, Any]:
        """Keep the active form of what is desired but cannot be settled now: it must not look deleted."""
        before, after = entries(observed.snapshot.document), entries(wanted)
        for key in {each.key for each in desired} - {each.key for each in kept}:
            if key in before:
                after[key] = before[key]
        chosen, held = hold_back(observed.snapshot.document, document.assemble(after), ())
        for key in held:
            self.result.held_back.setdefault(key, "something it refers to is held back")
        return chosen

    def _failed_before(self, observed: Observed) -> dict[ObjectKey, str]:
        """Return the control-plane objects that rest on host objects which failed, or on hosts that are unknown."""
        failed: dict[ObjectKey, str] = {}
        unknown = observed.unknown_hosts()
        for route in self.workspace.manifests.of(Route):
            group = self.workspace.manifests.get(ShadowGroup, route.spec.shadow_group)
            plane = host_plane(group.spec.host)
            needs = [
                ObjectKey(plane, ShadowGroup.KIND, group.name),
                ObjectKey(plane, GatewayKey.KIND, route.spec.gateway_key),
            ]
            for need in needs:
                if need in self.expanded.failed:
                    failed[control_key("Route", route.name)] = (
                        f"{need.kind}/{need.name}: {self.expanded.failed[need]}"
                    )
            if group.spec.host in unknown:
                failed[control_key("Route", route.name)] = f"ShadowHost/{group.spec.host} is unknown"
        return failed

    def _hold(self, held: Iterable[ObjectKey], failed: Mapping[ObjectKey, str]) -> None:
        for key in held:
            self.result.held_back.setdefault(key, failed.get(key, "something it refers to is held back"))

    async def _put_keys(self, observed: Observed, chosen: Mapping[str, Any]) -> None:
        """Give the gateway every key value that the document refers to and that it does not hold yet."""
        workspace = self.workspace
        for route in chosen["routes"]:
            name, version = route["gateway_key"], route["gateway_key_version"]
            loaded = workspace.manifests.find(GatewayKey.KIND, name)
            if (name, version) in observed.snapshot.gateway_keys or not isinstance(
                key := loaded.resource if loaded else None, GatewayKey
            ):
                continue
            await workspace.plane.put_gateway_key(name, version, self.values.gateway_key(key, workspace))
        for entry in chosen["managed_keys"]:
            for version in entry["versions"]:
                if (
                    entry["name"],
                    version,
                ) not in observed.snapshot.managed_keys and workspace.manifests.find(
                    ManagedKey.KIND, entry["name"]
                ):
                    await workspace.plane.put_managed_key(
                        entry["name"], version, self.values.managed_key(entry["name"])
                    )


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """True when two documents hold the same objects."""
    return entries(one) == entries(other)


def blame(
    broken: Sequence[PathProof],
    found: Sequence[PathProof],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> dict[ObjectKey, str]:
    """Return the changed objects that broken paths are laid at.

    A route of which no path holds is to blame itself; otherwise the model's binding is, and last the managed key in
    whose name it was asked for. A path whose own objects did
    not change is laid at its changed neighbours only if it no longer *resolves*; otherwise it would be just as broken
    without this change, and is reported without stopping it.
    """
    old, new = entries(before), entries(after)
    proved = {proof.key for proof in found if proof.holds}
    holding = {path.route for path in proved}
    blamed: dict[ObjectKey, str] = {}
    for proof in broken:
        route = control_key("Route", proof.key.route)
        bindings = [
            key
            for key, entry in new.items()
            if key.kind == "ModelBinding"
            and entry["public_model"] == proof.key.model
            and any(bound["route"] == proof.key.route for bound in entry["routes"])
        ]
        suspects = bindings if proof.key.route in holding else [route, *bindings]
        name = control_key("ManagedKey", str((proof.intended or {}).get("managedKey")))
        if proof.key.key and proof.key._replace(key="") in proved:
            # In another key's name the very same path holds.
            suspects = []
        suspects = [*suspects, name]
        changed = [key for key in suspects if old.get(key) != new.get(key)]
        reason = _reason(proof)
        if changed:
            blamed.setdefault(changed[0], reason)
        elif proof.broken is not None and proof.broken.link is Link.RESOLVED:
            for key in _around(new, route, old):
                blamed.setdefault(key, reason)
    return blamed


def _around(
    new: Mapping[ObjectKey, Mapping[str, Any]], route: ObjectKey, old: Mapping[ObjectKey, Mapping[str, Any]]
) -> list[ObjectKey]:
    """Return what else changed near a route: its host, its logical group, or the routes beside it."""
    entry = new.get(route)
    if entry is None:
        return []
    near = [
        control_key("ShadowHost", entry["shadow_host"]),
        control_key("LogicalGroup", entry["logical_group"]),
    ]
    near += [
        key
        for key, other in new.items()
        if key.kind == "Route" and other["logical_group"] == entry["logical_group"] and key != route
    ]
    return [key for key in near if old.get(key) != new.get(key)]


def _reason(proof: PathProof) -> str:
    link = proof.broken
    return f"{link.link.value}: {link.reason.value}: {link.message}" if link else "the chain is incomplete"
