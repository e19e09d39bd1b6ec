"""Running the drills that Acceptances demand, and keeping what came of them beside the proofs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.engine.proof_records import latest_drills, record_of_drill
from reconciler.engine.proving import Proofs
from reconciler.engine.surroundings import Surroundings
from reconciler.engine.workspace import Workspace
from reconciler.manifest import ManagedKey
from reconciler.plan.model import Plan
from reconciler.proof.drills import DrillResult, DrillRunner, DrillTarget, demanded, targets
from reconciler.proof.drills.runner import key_of
from reconciler.proof.judge import Policy
from reconciler.proof.model import PathKey, Status
from reconciler.routing.config import Configuration, parse
from reconciler.state.model import Lease


@dataclass(frozen=True)
class Drilling:
    """The drills of one run."""

    workspace: Workspace
    lease: Lease
    proofs: Proofs

    def wanted(self, document: Mapping[str, Any], revision: int) -> list[tuple[str, DrillTarget]]:
        """Return the drills that Acceptances demand of a revision."""
        return demanded_drills(self.proofs.policies.of_path, parse(document), revision)

    def due(self, document: Mapping[str, Any], revision: int) -> list[tuple[str, DrillTarget]]:
        """Return the demanded drills without a result that passed and is fresh; what is owed has none."""
        return stale_drills(self.workspace, self.proofs.policies.of_path, self.wanted(document, revision))

    async def run(self, wanted: Sequence[tuple[str, DrillTarget]]) -> list[DrillResult]:
        """Run drills and store the results."""
        if not wanted:
            return []
        workspace = self.workspace
        workspace.progress.phase("prove", f"running {len(wanted)} drills")
        runner = DrillRunner(
            plane=workspace.plane,
            sender=workspace.sender,
            clock=workspace.clock,
            budget=self.proofs.budget,
            installation=workspace.keyring.installation,
            tell=self._tell,
        )
        return await runner.run(wanted)

    def _tell(self, result: DrillResult) -> None:
        key = result.key
        what = str(key)
        if result.passed:
            self.workspace.progress.step(f"{what}: {result.message}")
        elif result.status is not Status.NOT_TRIED:
            self.workspace.progress.warn(
                f"{what}: {result.status.value}: {result.reason.value}: {result.message}"
            )
        self.workspace.store.put_proof(record_of_drill(result), self.lease)
        if self.workspace.evidence is not None:
            self.workspace.evidence.write_drill(result, instance=self.proofs.instance)


def demanded_drills(
    policy_of: Callable[[PathKey], Policy], configuration: Configuration, revision: int
) -> list[tuple[str, DrillTarget]]:
    """Return the drills that Acceptances demand of a configuration."""
    return demanded(policy_of, targets(configuration, revision))


def due_drills(
    workspace: Surroundings,
    policy_of: Callable[[PathKey], Policy],
    configuration: Configuration,
    revision: int,
    plan: Plan,
) -> list[tuple[str, DrillTarget]]:
    """Return the drills that Acceptances demand of a configuration and that a run of a plan has to do.

    Those are the drills of what the plan can change, by its routing impact, and those without a result that passed,
    is fresh, and began with the same first route or key.
    """
    wanted = demanded_drills(policy_of, configuration, revision)
    stale = {key_of(*each) for each in stale_drills(workspace, policy_of, wanted)}
    affected = frozenset(plan.affected)
    return [
        (drill, target)
        for drill, target in wanted
        if key_of(drill, target) in stale or _touches(plan, affected, target)
    ]


def _touches(plan: Plan, affected: Collection[tuple[str, str]], target: DrillTarget) -> bool:
    """True when a plan can change what a drill of a target says."""
    if any((each.route, each.public_model) in affected for each in target.candidates):
        return True
    if not target.of_key:
        return False
    # What a key may not see must exist to be refused, and what is gone must not be offered to it any more.
    come_or_gone = any(not row.before or not row.after for row in plan.impact)
    changed = {each.key.name for each in plan.pending() if each.key.kind == ManagedKey.KIND}
    return come_or_gone or target.managed_key in changed


def stale_drills(
    workspace: Surroundings, policy_of: Callable[[PathKey], Policy], wanted: Sequence[tuple[str, DrillTarget]]
) -> list[tuple[str, DrillTarget]]:
    """Return those of some drills without a result that passed and is fresh."""
    known, now = latest_drills(workspace.store), workspace.clock.now()

    def fresh(drill: str, target: DrillTarget) -> bool:
        result = known.get(key_of(drill, target))
        if result is None or result.status not in (Status.HOLDS, Status.NOT_TRIED):
            return False
        policies = (policy_of(PathKey(each.route, each.public_model)) for each in target.candidates)
        fresh_s = min((policy.freshness_s for policy in policies), default=0.0)
        return (now - result.at).total_seconds() <= fresh_s

    return [(drill, target) for drill, target in wanted if not fresh(drill, target)]
