"""Running the drills that Acceptances demand, and keeping what came of them beside the proofs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.engine.proof_records import latest_drills, record_of_drill
from reconciler.engine.proving import Proofs
from reconciler.engine.workspace import Workspace
from reconciler.proof.drills import DrillKey, DrillResult, DrillRunner, DrillTarget, demanded, targets
from reconciler.proof.drills.runner import key_of
from reconciler.proof.model import PathKey, Status
from reconciler.state.model import Lease

@dataclass(frozen=True)
class Drilling:
    """The drills of one run."""

    workspace: Workspace
    lease: Lease
    proofs: Proofs

    def wanted(self, document: Mapping[str, Any], revision: int) -> list[tuple[str, DrillTarget]]:
        """Return the drills that Acceptances demand of a revision."""
        return demanded(self.proofs.path_policy, targets(document, revision))

    def stale(self, document: Mapping[str, Any], revision: int) -> list[tuple[str, DrillTarget]]:
        """Return the demanded drills without a result that passed, is fresh, and is of this revision's routes."""
        known = latest_drills(self.workspace.store)
        return [
            (drill, target)
            for drill, target in self.wanted(document, revision)
            if not self._fresh(drill, target, known)
        ]

    def _fresh(self, drill: str, target: DrillTarget, known: Mapping[DrillKey, DrillResult]) -> bool:
        result = known.get(key_of(drill, target))
        if result is None or result.status not in (Status.HOLDS, Status.NOT_TRIED):
            return False
        policies = (
            self.proofs.path_policy(PathKey(each.route, each.public_model)) for each in target.candidates
        )
        fresh_s = min((policy.freshness_s for policy in policies), default=0.0)
        return (self.workspace.clock.now() - result.at).total_seconds() <= fresh_s

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
