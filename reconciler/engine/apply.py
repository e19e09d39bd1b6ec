"""Apply: observe, plan, guard, then the five phases; and verify, which changes nothing and proves everything.

    observe -> plan -> guard -> expand -> stage -> prove -> promote -> contract -> status

One run holds the installation's lease from the first write to the last; its fencing token goes with every write to
the control plane and the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from reconciler.engine.adoption import require_adoptable
from reconciler.engine.bookkeeping import overdue
from reconciler.engine.contract import Contract
from reconciler.engine.drilling import Drilling
from reconciler.engine.expand import Expand, Expanded
from reconciler.engine.forecast import coming_drills
from reconciler.engine.generated_keys import (
    check_rotation,
    deliver,
    live_versions,
    lost_files,
    lost_message,
)
from reconciler.engine.hostwork import HostWork
from reconciler.engine.janitor import clean_up
from reconciler.engine.leasing import lease_of
from reconciler.engine.live import Live
from reconciler.engine.observe import Observed, observe
from reconciler.engine.owed import Owed
from reconciler.engine.proof_records import stale
from reconciler.engine.prospect import Prospect, knowledge_of, look, prospect
from reconciler.engine.proving import Proofs
from reconciler.engine.staging import Staged, Staging
from reconciler.engine.status import Outcome, write_statuses
from reconciler.engine.values import Values, origins, read_values, remember_values
from reconciler.engine.withdrawal import disproved, withdraw
from reconciler.engine.workspace import Workspace
from reconciler.plan.guard import Allowances, require, require_fresh
from reconciler.plan.model import ObjectKey, Plan
from reconciler.proof.model import PathKey
from reconciler.state.model import Lease


@dataclass(frozen=True)
class ApplyOptions:
    """What the caller allows and demands."""

    allowances: Allowances = field(default_factory=Allowances)
    all_or_nothing: bool = False
    prove: str = "affected"
    """all, affected or none: which paths must be proved before a revision may be promoted.

    `all` runs every demanded drill after the promotion; otherwise those of what the plan can change, and stale ones.
    """
    rotate: frozenset[str] = frozenset()
    """ManagedKeys that we make, to be made anew: the old values stop working at promote."""
    expected_digest: str | None = None
    """Digest of a plan made before; StalePlan when the plan made now differs."""


@dataclass
class Report:
    """What a run came to."""

    plan: Plan
    outcome: Outcome
    revision: int
    """The active revision at the end."""
    promoted: bool = False
    changed: bool = False
    verified: bool = False
    """True for a run that only proved."""
    held_back: dict[ObjectKey, str] = field(default_factory=dict)
    """Objects that were left out of service, and why."""
    left: dict[ObjectKey, str] = field(default_factory=dict)
    """Objects that could not be taken away yet, and why."""
    withdrawn: tuple[PathKey, ...] = ()
    """Paths that were taken out of service because they are disproved."""
    observed: Observed | None = None
    """The last look at every plane."""

    @property
    def exit_code(self) -> int:
        """0 when everything asked for is done and proved, else 3."""
        return 0 if self.outcome.all_ready and not self.held_back else 3


async def apply(workspace: Workspace, options: ApplyOptions) -> Report:
    """Make the live planes match the manifests, and prove it.

    Raises: InvalidInput, Refused, StalePlan, LeaseLost; RemoteError only when the control plane itself fails.
    """
    check_rotation(workspace.manifests, options.rotate)
    values = read_values(workspace.manifests, workspace.reader)
    async with lease_of(workspace) as (fenced, lease):
        return await _Apply(fenced, lease, options, values).run()


async def verify(workspace: Workspace) -> Report:
    """Prove every path and account again, through the active revision, and say what is not Ready. Changes nothing."""
    values = read_values(workspace.manifests, workspace.reader)
    async with lease_of(workspace) as (fenced, lease):
        run = _Apply(fenced, lease, ApplyOptions(), values)
        return await run.verify()


@dataclass
class _Apply:
    workspace: Workspace
    lease: Lease
    options: ApplyOptions
    values: Values

    async def run(self) -> Report:
        workspace = self.workspace
        before, work, proofs = await self._begin()
        plan = before.plan
        self._check_digest(before)
        require_adoptable(plan, workspace.manifests)
        require(
            plan,
            self.options.allowances,
            origins=origins(workspace, self.values),
            prove=self.options.prove,
        )
        before = self._make_keys(before)
        plan = before.plan
        remember_values(workspace, self.values, self.lease)
        self._keep_books(before)
        if not plan.pending():
            return await self._settled(before, proofs)
        workspace.progress.phase(
            "expand", f"{len(plan.pending())} changes; making what no live path can reach"
        )
        owed = Owed.note(workspace, self.lease, coming_drills(workspace, before, self.options.prove))
        expanded = await Expand(workspace, work, proofs, before).run()
        observed = await observe(workspace, workspace.store.inventory())
        live = Live(workspace, work, proofs, before)
        active = observed.snapshot
        await live.edit(joining=False, revision=active.revision, document=active.document)
        staging = Staging(
            workspace,
            proofs,
            replace(before, observed=observed),
            expanded,
            self.values,
            all_or_nothing=self.options.all_or_nothing,
            prove=self.options.prove,
        )
        staged = await staging.run(observed)
        now_active = staged.revision or active.revision
        await live.bind(expanded.to_bind, revision=now_active, document=staged.document, observed=observed)
        await live.edit(joining=True, revision=now_active, document=staged.document)
        # What could not be bound has not taken the place of anything yet.
        expanded.failed.update(live.failed)
        contract = Contract(workspace, work, before, expanded, staged)
        if not (self.options.all_or_nothing and staged.held_back):
            await contract.run()
        return await self._finish(before, proofs, expanded, live, staged, contract, owed)

    async def _begin(self) -> tuple[Prospect, HostWork, Proofs]:
        workspace = self.workspace
        workspace.progress.phase("observe", "reading the control plane and the hosts")
        before = await look(workspace, self.values)
        work = HostWork.open(workspace, self.values, self.lease, before.observed)
        if await clean_up(workspace, work, before.observed):
            before = await look(workspace, self.values)
            work = HostWork.open(workspace, self.values, self.lease, before.observed)
        workspace.progress.phase("plan", _counts(before.plan))
        return before, work, Proofs(workspace, self.lease, work, before.observed.snapshot.instance)

    def _check_digest(self, before: Prospect) -> None:
        expected = self.options.expected_digest
        if expected is None:
            return
        # A plan reads no secret, so the digest to compare is that of a plan made the same way.
        knowledge = knowledge_of(self.workspace, None, before.document_before)
        made = prospect(self.workspace, before.as_read, before.inventory, knowledge)
        require_fresh(made.plan, expected)

    def _make_keys(self, before: Prospect) -> Prospect:
        """Make the consumers' keys that are missing or to be rotated, and plan again if there was any."""
        workspace = self.workspace
        for name, file in self._lost(before).items():
            if name not in self.options.rotate:
                workspace.progress.warn(lost_message(name, file))
        live = live_versions(before.document_before, workspace.keyring.installation)
        had = self.values.by_reference
        self.values = deliver(self.values, workspace.manifests, workspace.reader, live, self.options.rotate)
        if self.values.by_reference == had:
            return before
        knowledge = knowledge_of(workspace, self.values, before.document_before)
        return prospect(workspace, before.as_read, before.inventory, knowledge)

    async def _write_statuses(
        self, seen: Prospect, proofs: Proofs, held_back: Mapping[ObjectKey, str]
    ) -> Outcome:
        return await write_statuses(
            self.workspace, self.lease, seen, proofs, held_back, lost=self._lost(seen)
        )

    def _lost(self, seen: Prospect) -> dict[str, Path]:
        return lost_files(self.values, seen.document_before, self.workspace.keyring.installation)

    def _keep_books(self, seen: Prospect) -> None:
        store = self.workspace.store
        for entry in seen.plan.forget:
            store.forget(entry.key, self.lease)
        store.remember_all(
            overdue(seen.plan, seen.desired, seen.inventory, self.workspace.manifests), self.lease
        )

    async def _settled(self, before: Prospect, proofs: Proofs) -> Report:
        """Nothing to change: renew only what is not proved, or not any more."""
        observed = before.observed
        due = {*self._due(proofs, observed), *proofs.disturbed(observed)}
        await self._renew(proofs, observed, sorted(due))
        await self._drill(proofs, observed)
        withdrawn, after = await self._withdraw(before, proofs)
        outcome = await self._write_statuses(after, proofs, {})
        return Report(
            before.plan,
            outcome,
            after.observed.snapshot.revision,
            changed=bool(withdrawn),
            withdrawn=withdrawn,
            observed=after.as_read,
        )

    async def _withdraw(self, seen: Prospect, proofs: Proofs) -> tuple[tuple[PathKey, ...], Prospect]:
        """Take out of service what is disproved, where an Acceptance says so; return it, and a new look."""
        paths = disproved(self.workspace, proofs, seen.observed)
        if not paths:
            return (), seen
        await withdraw(self.workspace, paths, seen.observed)
        return paths, await look(self.workspace, self.values)

    async def _finish(
        self,
        before: Prospect,
        proofs: Proofs,
        expanded: Expanded,
        live: Live,
        staged: Staged,
        contract: Contract,
        owed: Owed,
    ) -> Report:
        self.workspace.progress.phase("status", "looking once more, and writing the status down")
        after = await look(self.workspace, self.values)
        self._keep_books(after)
        # Tried in vain a moment ago is not tried again; proved by an account that has left since is.
        in_vain = {proof.key for proof in (*staged.proofs, *live.proved) if not proof.holds}
        due = self._due(proofs, after.observed)
        await self._renew(proofs, after.observed, [path for path in due if path not in in_vain])
        if staged.revision is None and staged.held_back:
            # What was drilled before says nothing of what was changed; of what was to be changed only, it does.
            owed.settle()
        await self._drill(proofs, after.observed)
        held_back = {**expanded.failed, **live.failed, **staged.held_back}
        withdrawn, after = await self._withdraw(after, proofs)
        outcome = await self._write_statuses(after, proofs, held_back)
        return Report(
            plan=before.plan,
            outcome=outcome,
            revision=after.observed.snapshot.revision,
            promoted=staged.revision is not None,
            changed=True,
            held_back=held_back,
            left=contract.left,
            withdrawn=withdrawn,
            observed=after.as_read,
        )

    async def verify(self) -> Report:
        """Prove everything again."""
        before, _, proofs = await self._begin()
        await self._renew(proofs, before.observed, proofs.scope.everything())
        await self._drill_all(proofs, before.observed)
        for path in disproved(self.workspace, proofs, before.observed):
            self.workspace.progress.warn(
                f"route {path.route} is disproved for model {path.model}: the next apply takes it out of service"
            )
        outcome = await self._write_statuses(before, proofs, {})
        return Report(before.plan, outcome, before.observed.snapshot.revision, verified=True)

    def _due(self, proofs: Proofs, observed: Observed) -> list[PathKey]:
        """Return the paths that have no proof of what they are now, sorted."""
        due = stale(self.workspace, proofs.scope, proofs.policies.of_path)
        return sorted({*due, *proofs.outdated(observed)})

    async def _drill(self, proofs: Proofs, observed: Observed) -> None:
        drilling, snapshot = Drilling(self.workspace, self.lease, proofs), observed.snapshot
        await drilling.run(drilling.due(snapshot.document, snapshot.revision))

    async def _drill_all(self, proofs: Proofs, observed: Observed) -> None:
        drilling, snapshot = Drilling(self.workspace, self.lease, proofs), observed.snapshot
        await drilling.run(drilling.wanted(snapshot.document, snapshot.revision))

    async def _renew(self, proofs: Proofs, observed: Observed, due: Sequence[PathKey]) -> None:
        routes = [path for path in due if path.route]
        accounts = sorted({path.account for path in due if path.account})
        if not due:
            return
        self.workspace.progress.phase("prove", f"proving {len(routes)} paths and {len(accounts)} accounts")
        await proofs.accounts_in_service(accounts, observed)
        if routes:
            snapshot = observed.snapshot
            await proofs.paths(
                routes, revision=snapshot.revision, document=snapshot.document, observed=observed
            )


def _counts(plan: Plan) -> str:
    pending = plan.pending()
    if not pending:
        return "nothing to change"
    counts: dict[str, int] = {}
    for change in pending:
        counts[change.action.value] = counts.get(change.action.value, 0) + 1
    return ", ".join(f"{count} to {action}" for action, count in sorted(counts.items()))
