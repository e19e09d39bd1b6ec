"""Phase 1, expand: make what no live path can reach, and prove new accounts before anything may lead to them.

Widening edits of what is in service run at the end. What fails here is held back with its dependants; the rest goes on.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from reconciler.engine.hostwork import HostWork, with_groups
from reconciler.engine.prospect import Prospect
from reconciler.engine.proving import Proofs
from reconciler.engine.reach import groups_in_service
from reconciler.engine.workspace import Workspace
from reconciler.errors import LeaseLost, Refused, RemoteError
from reconciler.manifest import ProviderAccount
from reconciler.plan.model import Action, Change, ChangeClass, DesiredObject, ObjectKey, ObservedObject
from reconciler.plan.order import waves
from reconciler.proof.accounts import QUARANTINE, label
from reconciler.proof.model import ADVICE, PathProof
from reconciler.proof.together import together

QUARANTINES_PER_HOST = 24
"""Accounts under proof at the same time on one host: enough to keep its budget busy, few to clean up after.

Each host has its own number, so that a host that is slow, or has a small budget, holds up no other host's accounts.
"""


@dataclass
class Expanded:
    """What expand came to."""

    failed: dict[ObjectKey, str] = field(default_factory=dict)
    """Objects that could not be made or proved, and why."""
    retired: dict[ObjectKey, str] = field(default_factory=dict)
    """Objects that were replaced: the host's id of the old one, to be deleted in contract."""
    to_bind: dict[ObjectKey, frozenset[str]] = field(default_factory=dict)
    """Accounts to bind to groups in service after promote: the names of all their groups."""


@dataclass
class Expand:
    """Runs the phase for one plan."""

    workspace: Workspace
    work: HostWork
    proofs: Proofs
    prospect: Prospect
    result: Expanded = field(default_factory=Expanded)
    _quarantines: defaultdict[str, asyncio.Semaphore] = field(
        default_factory=lambda: defaultdict(lambda: asyncio.Semaphore(QUARANTINES_PER_HOST))
    )
    """By plane."""

    async def run(self) -> Expanded:
        """Create in waves of independent objects, then widen. Raises LeaseLost."""
        changes = [change for change in self.prospect.plan.pending() if self._mine(change)]
        creating = [change for change in changes if change.change_class is not ChangeClass.WIDEN]
        for wave in waves(creating, list(self.prospect.desired.values())):
            await together(self._guarded(change) for change in wave)
        widening = [change for change in changes if change.change_class is ChangeClass.WIDEN]
        await together(self._guarded(change) for change in widening)
        return self.result

    @cached_property
    def _accounts_seen(self) -> dict[tuple[str, str], ObservedObject]:
        """(plane, id) -> the account as it was observed."""
        return {
            (plane, each.object_id): each
            for plane, seen in self.prospect.observed.planes.items()
            for each in seen.objects
            if each.kind == ProviderAccount.KIND
        }

    def _mine(self, change: Change) -> bool:
        if not change.key.plane.startswith("host/"):
            return False
        return change.change_class in (ChangeClass.EXPAND, ChangeClass.REPLACE, ChangeClass.WIDEN)

    async def _guarded(self, change: Change) -> None:
        desired = self.prospect.desired[change.key]
        blocked = next((key for key in desired.depends_on if key in self.result.failed), None)
        if blocked is not None:
            self.result.failed[change.key] = f"needs {blocked.kind}/{blocked.name}, which failed"
            return
        try:
            await self._apply(change, desired)
        except LeaseLost:
            raise
        except (RemoteError, Refused, KeyError) as error:
            why = (
                f"needs {error.args[0]}, which does not exist"
                if isinstance(error, KeyError)
                else error.message.removeprefix(f"{change.key.kind}/{change.key.name}: ")
            )
            self.result.failed[change.key] = why
            self.workspace.progress.warn(f"{change.key.kind}/{change.key.name}: {why}")

    async def _apply(self, change: Change, desired: DesiredObject) -> None:
        if change.change_class is ChangeClass.WIDEN:
            await self._widen(change, desired)
        elif change.action is Action.ADOPT and change.object_id is not None:
            await self.work.update(change.object_id, desired)
        elif change.key.kind == ProviderAccount.KIND:
            async with self._quarantines[change.key.plane]:
                await self._create_account(change, desired)
        else:
            made = await self.work.create(desired, replaces=_replaced(change))
            self._retire(change, made.object_id)

    def _retire(self, change: Change, made_id: str) -> None:
        """Note the old object of a replacement, to be deleted in contract.

        A key that a hand bound to another group has our mark and value still: create finds it and puts it right, so
        there is no second one, and nothing to delete.
        """
        old = _replaced(change)
        if old is not None and old != made_id:
            self.result.retired[change.key] = old

    async def _create_account(self, change: Change, desired: DesiredObject) -> None:
        """Make an account inside its quarantine group, prove it there, and bind it where nothing live leads yet."""
        account = self.workspace.manifests.get(ProviderAccount, change.key.name)
        async with self.proofs.quarantine(account) as quarantine:
            made = await self.work.create(
                with_groups(desired, (label(account.name),)),
                extra_ids={(QUARANTINE, account.name): quarantine.group_id},
                remember=change.change_class is not ChangeClass.REPLACE,
            )
            found = await self.proofs.account(account, made.object_id, quarantine)
            if _all_proved(found):
                await self.work.bind(change.key, made.object_id, self._free_groups(desired), seen=made)
        found = self.proofs.finish(found)
        if not _all_proved(found):
            await self._discard(change, made.object_id)
            raise RemoteError(_why(found), where=f"ProviderAccount/{account.name}")
        self._retire(change, made.object_id)
        self.work.remember(desired, made.object_id, replaces=_replaced(change))
        self.result.to_bind[change.key] = frozenset(desired.fields["groups"])

    def _free_groups(self, desired: DesiredObject) -> frozenset[str]:
        """Return the ids of those desired groups that no route of the active revision uses."""
        busy = groups_in_service(self.prospect.document_before)
        ids = (
            self.work.id(ObjectKey(desired.key.plane, "ShadowGroup", name))
            for name in desired.fields["groups"]
        )
        return frozenset(each for each in ids if each is not None and each not in busy)

    async def _discard(self, change: Change, object_id: str) -> None:
        """Take a new account that is not proved away again: what is left out of service is not left behind."""
        try:
            await self.work.delete(change.key, object_id)
        except RemoteError as error:
            self.workspace.progress.warn(f"ProviderAccount/{change.key.name} stays for now: {error.message}")

    async def _widen(self, change: Change, desired: DesiredObject) -> None:
        """Edit in place, but leave new groups of an account in service to the time after promote."""
        if change.object_id is None:
            raise KeyError(change.key.name)
        if change.key.kind != ProviderAccount.KIND:
            await self.work.update(change.object_id, desired)
            return
        seen = self._accounts_seen[change.key.plane, change.object_id]
        now = tuple(seen.fields.get("groups", ()))
        await self.work.update(change.object_id, with_groups(desired, now))
        if set(desired.fields["groups"]) - set(now):
            self.result.to_bind[change.key] = frozenset(desired.fields["groups"])


def _replaced(change: Change) -> str | None:
    """Return the id of the object that a change puts another one in the place of; None when it replaces nothing."""
    return change.object_id if change.change_class is ChangeClass.REPLACE else None


def _all_proved(found: Sequence[PathProof]) -> bool:
    return bool(found) and all(proof.broken is None for proof in found)


def _why(found: Sequence[PathProof]) -> str:
    first = next((proof.broken for proof in found if proof.broken is not None), None)
    if first is None:
        return "not proved"
    return f"not proved: {first.reason.value}: {first.message}; {ADVICE[first.reason]}"
