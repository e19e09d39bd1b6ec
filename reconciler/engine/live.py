"""Live edits: what cannot be staged is changed in place, one at a time, proved at once, and reversed if it breaks.

Binding an account to a group in service is such an edit; it comes after the account's own proof.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.engine.hostwork import HostWork, with_groups
from reconciler.engine.observe import Observed, observe
from reconciler.engine.proof_records import latest
from reconciler.engine.prospect import Prospect
from reconciler.engine.proving import Proofs
from reconciler.engine.reach import edited_paths, joins
from reconciler.engine.workspace import Workspace
from reconciler.errors import LeaseLost, RemoteError
from reconciler.manifest import ProviderAccount
from reconciler.plan.model import Change, ChangeClass, DesiredObject, ObjectKey, ObservedObject
from reconciler.proof.model import PathKey, PathProof


@dataclass
class Live:
    """Makes the live edits of one plan."""

    workspace: Workspace
    work: HostWork
    proofs: Proofs
    prospect: Prospect
    failed: dict[ObjectKey, str] = field(default_factory=dict)
    """Edits that were reversed or could not be made, and why."""
    proved: list[PathProof] = field(default_factory=list)

    async def edit(self, *, joining: bool, revision: int, document: Mapping[str, Any]) -> None:
        """Make the edits that bind accounts to groups in service (`joining`), or all the others. Raises LeaseLost."""
        for change in self.prospect.plan.pending():
            if change.change_class is not ChangeClass.LIVE or change.object_id is None:
                continue
            before = self._observed(change)
            if before is not None and joins(change.key, before, self.prospect.desired[change.key]) == joining:
                await self._guarded(change.key, before, self.prospect.desired[change.key], revision, document)

    async def bind(
        self,
        wanted: Mapping[ObjectKey, frozenset[str]],
        *,
        revision: int,
        document: Mapping[str, Any],
        observed: Observed,
    ) -> None:
        """Bind accounts that were proved in quarantine to all their groups, in service or not.

        Those that `observed`, a reading after expand, shows bound to all of them already are not asked for again.
        """
        bound = {
            (plane, each.kind, each.object_id): set(each.fields["groups"])
            for plane, seen in observed.planes.items()
            for each in seen.objects
            if each.kind == ProviderAccount.KIND
        }
        for key in sorted(wanted):
            account_id = self.work.id(key)
            if account_id is None or wanted[key] <= bound.get((key.plane, key.kind, account_id), set()):
                continue
            seen = await self.workspace.drivers[key.plane.removeprefix("host/")].get(key.kind, account_id)
            if seen is None or wanted[key] <= set(seen.fields["groups"]):
                continue
            await self._guarded(
                key, seen, with_groups(self.prospect.desired[key], tuple(wanted[key])), revision, document
            )

    def _observed(self, change: Change) -> ObservedObject | None:
        seen = self.prospect.observed.planes[change.key.plane].objects
        return next(
            (each for each in seen if (each.kind, each.object_id) == (change.key.kind, change.object_id)),
            None,
        )

    async def _guarded(
        self,
        key: ObjectKey,
        before: ObservedObject,
        desired: DesiredObject,
        revision: int,
        document: Mapping[str, Any],
    ) -> None:
        try:
            await self._one(key, before, desired, revision, document)
        except LeaseLost:
            raise
        except (RemoteError, KeyError) as error:
            self.failed[key] = str(error)[:300]
            self.workspace.progress.warn(f"{key.kind}/{key.name}: {self.failed[key]}")

    async def _one(
        self,
        key: ObjectKey,
        before: ObservedObject,
        desired: DesiredObject,
        revision: int,
        document: Mapping[str, Any],
    ) -> None:
        if joins(key, before, desired) and not await self._account_is_proved(key, before):
            raise RemoteError(
                "the account itself is not proved, so it is not bound", where=f"{key.kind}/{key.name}"
            )
        paths = edited_paths(
            self.proofs.scope, key, before.fields.get("groups", ()), desired.fields.get("groups", ())
        )
        held = self._holding(paths)
        await self.work.update(before.object_id, desired)
        observed = await observe(self.workspace)
        found = await self.proofs.paths(
            paths, revision=revision, document=document, observed=observed, handing_over=True
        )
        self.proved += found
        broken = [proof for proof in found if not proof.holds and proof.key in held]
        if not broken:
            return
        await self.work.update(before.object_id, _as_before(desired, before))
        link = broken[0].broken
        why = f"{link.link.value}: {link.reason.value}: {link.message}" if link else "the chain is incomplete"
        raise RemoteError(f"reversed, because a proof broke: {why}", where=f"{key.kind}/{key.name}")

    async def _account_is_proved(self, key: ObjectKey, before: ObservedObject) -> bool:
        account = self.workspace.manifests.get(ProviderAccount, key.name)
        known = latest(self.workspace)
        wanted = [PathKey("", model, account.name) for model in account.spec.models]
        if all(path in known and known[path].holds for path in wanted):
            return True
        found = await self.proofs.in_service(account, before.object_id)
        self.proved += found
        return all(proof.holds for proof in found)

    def _holding(self, paths: Sequence[PathKey]) -> frozenset[PathKey]:
        known = latest(self.workspace)
        return frozenset(path for path in paths if path in known and known[path].holds)


def _as_before(desired: DesiredObject, before: ObservedObject) -> DesiredObject:
    fields = {name: before.fields[name] for name in desired.fields if name in before.fields}
    fingerprint = before.marker.fingerprint if before.marker else desired.fingerprint
    return replace(desired, fields=fields, fingerprint=fingerprint)
