"""What conditions are derived from, and what they are made of. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from reconciler.manifest import ManagedKey, ManifestSet, Resource
from reconciler.proof.drills.model import DRILLS, PER_KEY, DrillResult
from reconciler.proof.judge import Policy
from reconciler.proof.model import PathKey, PathProof
from reconciler.proof.scope import Scope
from reconciler.state.model import ConditionStatus, Expiry, Spent

ManifestKey = tuple[str, str]

STALE = "Stale"
RENEW = "run reconcile verify"
"""What to do about a proof that is too old, or missing."""


@dataclass(frozen=True)
class Condition:
    """One condition as it is now; the state store keeps since when."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""
    until: Expiry | None = None
    """Until when it holds if nothing is proved again; None: until something else is found."""

    def as_of(self, now: datetime) -> Condition:
        """Return the condition as it is at a moment, by `Expiry.said_of`."""
        end = self.until
        if end is None or not end.over(now):
            return self
        return Condition(self.type, *end.said_of(self.status, self.reason, self.message))


@dataclass(frozen=True)
class Facts:
    """What the conditions are derived from."""

    manifests: ManifestSet
    scope: Scope
    proofs: Mapping[PathKey, PathProof]
    now: datetime
    policies: Mapping[ManifestKey, Policy]
    """The strictest policy of each manifest."""
    programmed: Mapping[ManifestKey, Condition] = field(default_factory=dict)
    """Programmed of each manifest's own objects, where it is not True."""
    held_back: Mapping[ManifestKey, str] = field(default_factory=dict)
    """Manifests that this run left out of service, and why."""
    demanded: Mapping[PathKey, frozenset[str]] = field(default_factory=dict)
    """The drills that each path's Acceptances ask for."""
    drills: Sequence[DrillResult] = ()
    """The newest result of every drill."""
    spent: Mapping[str, Spent] = field(default_factory=dict)
    """What each Acceptance has reserved of today's budget."""


OUT_OF_SCOPE = frozenset({"Suspended", "Disabled", "Unreferenced"})
"""Ready reasons that are outside the exit code: nobody asked for a proof."""


def ready(found: Sequence[Condition]) -> Condition:
    """Return the Ready condition."""
    return next(condition for condition in found if condition.type == "Ready")


def accepted() -> Condition:
    """Return the condition of a manifest that was checked, or it would not have come so far."""
    return Condition("Accepted", "True", "Valid")


def first(ends: Iterable[Expiry | None]) -> Expiry | None:
    """Return what expires first, or None when nothing does."""
    return min((each for each in ends if each is not None), key=lambda each: each.at, default=None)


def drills_demanded(resource: Resource, path: PathKey, facts: Facts) -> Iterator[tuple[str, str, str]]:
    """Yield the drills that a path's Acceptances ask of a manifest, as `DrillKey.exercised`."""
    for drill, group, name in _demanded_of(path, facts):
        if group or not isinstance(resource, ManagedKey) or name == resource.name:
            yield drill, group, name


def all_drills_demanded(facts: Facts) -> frozenset[tuple[str, str, str]]:
    """Return every drill that any Acceptance asks for, as `DrillKey.exercised`."""
    return frozenset(each for path in facts.scope.all_routes() for each in _demanded_of(path, facts))


def _demanded_of(path: PathKey, facts: Facts) -> Iterator[tuple[str, str, str]]:
    for drill in facts.demanded.get(path._replace(key=""), frozenset()) & frozenset(DRILLS):
        if drill not in PER_KEY:
            yield drill, facts.scope.logical_group_of(path), path.model
        else:
            yield from ((drill, "", key) for key in facts.scope.keys_of(path))


def describe(path: PathKey) -> str:
    """Return a path in words."""
    what = f"route {path.route}" if path.route else f"account {path.account}"
    return f"key {path.key}, " * bool(path.key) + f"{what}, model {path.model}"
