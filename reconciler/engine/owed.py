"""Drills that are owed: noted in the store before a change, so that a run that is killed before it drills owes them.

A note takes the place of the drill's last result, for that says nothing of what is being changed. Running the drill
replaces the note.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from reconciler.engine.proof_records import latest_drills, record_of_drill
from reconciler.engine.workspace import Workspace
from reconciler.proof.drills import DrillReason, DrillResult, DrillTarget
from reconciler.proof.drills.runner import key_of
from reconciler.proof.model import Status
from reconciler.state.model import Lease


@dataclass(frozen=True)
class Owed:
    """What one run has noted, and the results that stood there before."""

    workspace: Workspace
    lease: Lease
    before: tuple[DrillResult, ...] = ()

    @classmethod
    def note(cls, workspace: Workspace, lease: Lease, coming: Iterable[tuple[str, DrillTarget]]) -> Owed:
        """Note the drills that follow a change, before it is made; one without a result needs no note.

        Raises LeaseLost.
        """
        # Whichever route comes first after the change: part of it may be held back.
        subjects = {key_of(*each).exercised for each in coming}
        known = latest_drills(workspace.store).values()
        before = tuple(
            each for each in known if each.key.exercised in subjects and each.reason is not DrillReason.OWED
        )
        workspace.store.put_proofs((record_of_drill(_owed(each)) for each in before), lease)
        return cls(workspace, lease, before)

    def settle(self) -> None:
        """Put the results back: nothing was changed after all. Raises LeaseLost."""
        self.workspace.store.put_proofs(map(record_of_drill, self.before), self.lease)


def _owed(before: DrillResult) -> DrillResult:
    return replace(
        before,
        status=Status.INCONCLUSIVE,
        reason=DrillReason.OWED,
        message="it is to run after a change, and has not run since that began",
    )
