"""Running drills: one course per public model and drill, a few at once, and nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from reconciler.errors import RemoteError
from reconciler.plane.client import ControlPlaneClient
from reconciler.proof.budget import Budget
from reconciler.proof.clock import Clock
from reconciler.proof.drills import exercises
from reconciler.proof.drills.course import Course
from reconciler.proof.drills.model import DRILLS, DrillFailed, DrillKey, DrillReason, DrillResult, DrillTarget
from reconciler.proof.model import Status
from reconciler.proof.probe import ProbeSender
from reconciler.proof.together import together

COURSES_AT_ONCE = 8
"""Drills at work at the same time; those that wait for a time to pass do not count."""

EXERCISES: Mapping[str, Callable[[Course], Awaitable[str]]] = {
    "sticky": exercises.sticky,
    "failover": exercises.failover,
    "recovery": exercises.recovery,
    "streaming": exercises.streaming,
    "models": exercises.models,
}


@dataclass(frozen=True)
class DrillRunner:
    """Runs the data-plane drills."""

    plane: ControlPlaneClient
    sender: ProbeSender
    clock: Clock
    budget: Budget
    installation: str
    tell: Callable[[DrillResult], None]

    async def run(self, wanted: Iterable[tuple[str, DrillTarget]]) -> list[DrillResult]:
        """Run (drill, target) pairs, a few at once; results come sorted. Never raises for what the planes do."""
        gate = asyncio.Semaphore(COURSES_AT_ONCE)

        async def one(drill: str, target: DrillTarget) -> DrillResult:
            async with gate:
                result = await self._one(drill, target, gate)
            self.tell(result)
            return result

        ordered = sorted(
            wanted, key=lambda pair: (DRILLS.index(pair[0]), pair[1].logical_group, pair[1].public_model)
        )
        results = await together(one(drill, target) for drill, target in ordered)
        return sorted(results, key=lambda result: result.key)

    async def _one(self, drill: str, target: DrillTarget, gate: asyncio.Semaphore) -> DrillResult:
        course = Course(target, self.plane, self.sender, self.clock, self.budget, self.installation, gate)
        status, reason = Status.HOLDS, DrillReason.OK
        try:
            if not target.candidates:
                raise DrillFailed(DrillReason.NOT_SERVED, "no enabled route serves the model")
            message = await EXERCISES[drill](course)
        except DrillFailed as failed:
            status, reason, message = failed.status, failed.reason, failed.message
        except RemoteError as error:
            status, reason, message = (
                Status.INCONCLUSIVE,
                DrillReason.GATEWAY_UNREACHABLE,
                error.message[:300],
            )
        finally:
            await self._clean(course)
        return DrillResult(
            key=key_of(drill, target),
            status=status,
            reason=reason,
            message=message,
            at=self.clock.now(),
            steps=tuple(course.steps),
            revision=target.revision,
            managed_key=target.managed_key,
        )

    async def _clean(self, course: Course) -> None:
        try:
            for namespace in course.namespaces:
                await asyncio.shield(self.plane.drop_namespace(namespace))
        except RemoteError as error:
            # The gateway forgets namespaces by itself; this only says that it has not yet.
            course.note("the namespace could not be dropped", error=error.message[:200])


def key_of(drill: str, target: DrillTarget) -> DrillKey:
    """Return what a drill of a target is known by."""
    first = target.candidates[0].route if target.candidates else ""
    subject = (target.managed_key or "") if target.of_key else first
    return DrillKey(drill, target.logical_group, target.public_model, subject)
