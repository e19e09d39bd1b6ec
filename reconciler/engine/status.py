"""Writing down what a run found: conditions, proofs and events per manifest, in the state store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from reconciler.engine.channels import foreign_channels
from reconciler.engine.departed import manifest_of, settle_departed
from reconciler.engine.desire import host_of
from reconciler.engine.generated_keys import lost_message
from reconciler.engine.proof_records import forget_drills, latest, latest_drills
from reconciler.engine.prospect import Prospect
from reconciler.engine.proving import Proofs
from reconciler.engine.workspace import Workspace
from reconciler.manifest import Acceptance, ControlPlane, ManagedKey, Resource, ShadowGroup, ShadowHost
from reconciler.plan.model import RETIRED, Action, Change, ObjectKey, Skipped, SkipReason
from reconciler.proof.conditions import conditions
from reconciler.proof.facts import OUT_OF_SCOPE, Condition, Facts, all_drills_demanded
from reconciler.proof.model import ADVICE, PathProof, Reason
from reconciler.state.model import Condition as StoredCondition
from reconciler.state.model import Lease, Status

ManifestKey = tuple[str, str]
MESSAGE_CHARS = 1000


@dataclass(frozen=True)
class Outcome:
    """The status of every manifest of the set, as stored."""

    statuses: tuple[Status, ...] = field(default_factory=tuple)

    @property
    def all_ready(self) -> bool:
        """True when every manifest that asks for proof is Ready."""
        return not self.not_ready

    @property
    def not_ready(self) -> tuple[Status, ...]:
        """Return what is not Ready; suspended, disabled and unreferenced manifests are outside."""
        return tuple(status for status in self.statuses if _counts_against(status))


def _counts_against(status: Status) -> bool:
    found = next(each for each in status.conditions if each.type == "Ready")
    return found.status != "True" and found.reason not in OUT_OF_SCOPE


async def write_statuses(
    workspace: Workspace,
    lease: Lease,
    seen: Prospect,
    proofs: Proofs,
    held_back: Mapping[ObjectKey, str],
    *,
    lost: Mapping[str, Path],
) -> Outcome:
    """Derive the conditions of every manifest from what was seen and proved, and store them.

    `lost` are the ManagedKeys whose delivered file is gone. Statuses of manifests that are gone themselves are dropped
    once nothing of theirs stands.
    """
    known = latest(workspace)
    today, accepting = workspace.clock.now().date(), workspace.manifests.of(Acceptance)
    facts = Facts(
        manifests=workspace.manifests,
        scope=proofs.scope,
        proofs=known,
        now=workspace.clock.now(),
        policies=proofs.policies.of_manifests(),
        programmed=programmed(workspace, seen),
        held_back={manifest_of(key): why for key, why in held_back.items()},
        demanded={path: proofs.policies.of_path(path).drills for path in proofs.scope.all_routes()},
        drills=tuple(latest_drills(workspace.store).values()),
        spent={each.name: workspace.store.spent(each.name, today) for each in accepting},
    )
    found = conditions(facts)
    forget_drills(workspace.store, all_drills_demanded(facts), lease)
    for key in workspace.manifests.of(ManagedKey):
        if key.spec.generate:
            found[key.KIND, key.name] = [*found[key.KIND, key.name], _delivered(key, lost)]
    resources = [loaded.resource for loaded in workspace.manifests]
    # In three transactions for all manifests, not in three for each: there may be thousands.
    generations = workspace.store.observe_generations(
        {(each.KIND, each.name): resource_digest(each) for each in resources}, lease
    )
    revision = seen.observed.snapshot.revision
    before = {(status.kind, status.name): status for status in workspace.store.written_statuses()}
    made = (
        _status(each, generations[each.KIND, each.name], revision, found, facts, workspace)
        for each in resources
    )
    written = workspace.store.put_statuses(made, lease)
    events = [_event(before.get((status.kind, status.name)), status) for status in written]
    workspace.store.add_events((event for event in events if event is not None), lease)
    settle_departed(workspace, seen, before, lease)
    return Outcome(written)


def _delivered(key: ManagedKey, lost: Mapping[str, Path]) -> Condition:
    if key.name in lost:
        return Condition("Delivered", "False", "FileGone", lost_message(key.name, lost[key.name]))
    return Condition("Delivered", "True", "Delivered")


def _status(
    resource: Resource,
    generation: int,
    revision: int,
    found: Mapping[ManifestKey, Sequence[Condition]],
    facts: Facts,
    workspace: Workspace,
) -> Status:
    return Status(
        api_version=resource.api_version,
        kind=resource.KIND,
        name=resource.name,
        observed_generation=generation,
        revision=revision,
        conditions=tuple(
            _stored(each, generation, workspace) for each in found[resource.KIND, resource.name]
        ),
        proofs=tuple(_proof(proof) for proof in _telling(resource, facts)),
    )


def _stored(condition: Condition, generation: int, workspace: Workspace) -> StoredCondition:
    end = condition.until
    return StoredCondition(
        type=condition.type,
        status=condition.status,
        reason=condition.reason,
        message=condition.message[:MESSAGE_CHARS],
        observed_generation=generation,
        last_transition_time=workspace.clock.now(),
        until=replace(end, message=end.message[:MESSAGE_CHARS]) if end else None,
    )


def _telling(resource: Resource, facts: Facts) -> list[PathProof]:
    """Return the proofs to show with a manifest: all of its own; of what merely passes through it, the newest."""
    found = [facts.proofs[path] for path in facts.scope.of(resource) if path in facts.proofs]
    if not isinstance(resource, ControlPlane | ShadowHost):
        return found
    holding = [proof for proof in found if proof.holds and proof.observed_at is not None]
    return sorted(holding, key=lambda proof: (bool(proof.key.route), proof.observed_at or facts.now))[-1:]


def _proof(proof: PathProof) -> dict[str, object]:
    return proof.to_json()


def _event(before: Status | None, after: Status) -> tuple[str, str, str, str, str] | None:
    """Return the event to write when a manifest became Ready, or stopped being so."""
    was = _ready_of(before) if before else None
    now = _ready_of(after)
    if was is not None and (was.status, was.reason) == (now.status, now.reason):
        return None
    kind = "Normal" if now.status == "True" or now.reason in OUT_OF_SCOPE else "Warning"
    return (after.kind, after.name, kind, now.reason, now.message)


def _ready_of(status: Status) -> StoredCondition:
    return next(each for each in status.conditions if each.type == "Ready")


def programmed(workspace: Workspace, seen: Prospect) -> dict[ManifestKey, Condition]:
    """Return the Programmed condition of every manifest whose own objects are not as desired."""
    found: dict[ManifestKey, Condition] = {}
    for change in seen.plan.pending():
        if change.action is not Action.DELETE:
            found.setdefault(manifest_of(change.key), _out_of_date(change))
    for skipped in seen.plan.skipped:
        if skipped.reason is not SkipReason.SUSPENDED and RETIRED not in skipped.key.name:
            found.setdefault(manifest_of(skipped.key), _skipped(skipped))
    for loaded in workspace.manifests:
        host = host_of(loaded.resource, workspace.manifests)
        why = seen.observed.unknown_hosts().get(host) if host else None
        if why is not None:
            key = (loaded.resource.KIND, loaded.resource.name)
            found[key] = Condition("Programmed", "Unknown", "HostUnknown", why)
    found.update(_conflicts(workspace, seen))
    for plane in workspace.manifests.of(ControlPlane):
        found.pop((ControlPlane.KIND, plane.name), None)
    return found


def _conflicts(workspace: Workspace, seen: Prospect) -> dict[ManifestKey, Condition]:
    reason = Reason.FOREIGN_CHANNEL
    held = foreign_channels(workspace.manifests, seen.observed.planes, workspace.keyring.installation)
    return {
        (ShadowGroup.KIND, name): Condition("Programmed", "False", reason.value, f"{why}; {ADVICE[reason]}")
        for name, why in held.items()
    }


def _out_of_date(change: Change) -> Condition:
    fields = ", ".join(each.path for each in change.fields[:5])
    what = f"{change.action.value} pending on {change.key.plane}"
    reason = "Missing" if change.action is Action.CREATE else "Drifted"
    return Condition("Programmed", "False", reason, f"{what}: {fields}" if fields else what)


def _skipped(skipped: Skipped) -> Condition:
    unknown = skipped.reason in (SkipReason.HOST_UNKNOWN, SkipReason.CONTROL_PLANE_UNKNOWN)
    return Condition("Programmed", "Unknown" if unknown else "False", str(skipped.reason), skipped.message)


def resource_digest(resource: Resource) -> str:
    """Return what changes when a manifest's content changes."""
    body = resource.model_dump(mode="json", by_alias=True)
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
