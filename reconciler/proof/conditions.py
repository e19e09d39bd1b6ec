"""From links to conditions: what each manifest is, given the proofs of every path through it. Pure.

Conditions: Accepted, Programmed, Resolved, Served, Proved and Ready (all of them, and clean); ShadowGroups have
Degraded besides, for a failed account of a group that still serves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from reconciler.manifest import (
    Acceptance,
    ControlPlane,
    ManagedKey,
    ManifestSet,
    ProviderAccount,
    Resource,
    Route,
    ShadowGroup,
    ShadowHost,
)
from reconciler.proof.drills.model import ADVICE as DRILL_ADVICE
from reconciler.proof.drills.model import DRILLS, PER_KEY, DrillKey, DrillReason, DrillResult
from reconciler.proof.judge import Policy
from reconciler.proof.model import ADVICE, Link, LinkResult, PathKey, PathProof, Reason, Status, at_least
from reconciler.proof.outcome import expires_at
from reconciler.proof.scope import Scope
from reconciler.state.model import Expiry, Spent

Truth = Literal["True", "False", "Unknown"]
ManifestKey = tuple[str, str]

STALE = "Stale"
TARGET_NOT_READY = "TargetNotReady"
RENEW = "run reconcile verify"
"""What to do about a proof that is too old, or missing."""


@dataclass(frozen=True)
class Condition:
    """One condition as it is now; the state store keeps since when."""

    type: str
    status: Truth
    reason: str
    message: str = ""
    until: Expiry | None = None
    """Until when it holds if nothing is proved again; None: until something else is found."""

    def as_of(self, now: datetime) -> Condition:
        """Return the condition as it is at a moment."""
        end = self.until
        return Condition(self.type, "Unknown", end.reason, end.message) if end and end.over(now) else self


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


def conditions(facts: Facts) -> dict[ManifestKey, list[Condition]]:
    """Return the conditions of every manifest of the set."""
    found: dict[ManifestKey, list[Condition]] = {}
    for loaded in facts.manifests:
        resource = loaded.resource
        if not isinstance(resource, Acceptance):
            found[(resource.KIND, resource.name)] = _of(resource, facts)
    for acceptance in facts.manifests.of(Acceptance):
        found[(Acceptance.KIND, acceptance.name)] = _of_acceptance(acceptance, facts, found)
    return found


def ready(found: Sequence[Condition]) -> Condition:
    """Return the Ready condition."""
    return next(condition for condition in found if condition.type == "Ready")


BESIDE_READY = frozenset({"Degraded", "WithinBudget"})
"""Conditions that tell something worth knowing and do not decide on Ready."""

OUT_OF_SCOPE = frozenset({"Suspended", "Disabled", "Unreferenced"})
"""Ready reasons that are outside the exit code: nobody asked for a proof."""


def _of(resource: Resource, facts: Facts) -> list[Condition]:
    key = (resource.KIND, resource.name)
    idle = _idle(resource, facts)
    if idle is not None:
        reason, message = idle
        names = ("Programmed", "Resolved", "Served", "Proved", "Ready")
        return [_accepted(), *(Condition(name, "Unknown", reason, message) for name in names)]
    paths = paths_of(resource, facts)
    policy = facts.policies.get(key, Policy())
    programmed = _programmed(key, paths, facts)
    if isinstance(resource, ControlPlane | ShadowHost):
        rest = _through(resource, facts, policy)
    else:
        rest = [
            _over("Resolved", (Link.RUNTIME, Link.RESOLVED), paths, facts),
            _over("Served", (Link.SERVED,), paths, facts),
            _own_name(resource, facts) or _proved(paths, facts, policy),
        ]
    clean = _over("Clean", (Link.CLEAN,), paths, facts) if paths else Condition("Clean", "True", "Clean")
    result = [_accepted(), programmed, *rest]
    drilled = _drilled(resource, paths, facts, policy)
    if drilled is not None:
        result.append(drilled)
    held = facts.held_back.get(key)
    if held is not None:
        result[1] = Condition("Programmed", "False", "HeldBack", held)
    found = _ready([*result, clean])
    if isinstance(resource, ShadowGroup):
        result.append(_degraded(resource, facts, serves=found.status == "True"))
    return [*result, found]


def _accepted() -> Condition:
    return Condition("Accepted", "True", "Valid")


def _idle(resource: Resource, facts: Facts) -> tuple[str, str] | None:
    if resource.suspended:
        return "Suspended", "suspended by its annotation"
    if isinstance(resource, Route) and not facts.scope.enabled(resource.name):
        by = facts.scope.suspended_by(resource)
        return (
            ("Suspended", f"{by.KIND}/{by.name} is suspended")
            if by
            else ("Disabled", "the route is not enabled")
        )
    if isinstance(resource, ControlPlane | ShadowHost | ProviderAccount):
        return None
    if not paths_of(resource, facts):
        return "Unreferenced", "no enabled path leads through it"
    return None


def paths_of(resource: Resource, facts: Facts) -> list[PathKey]:
    """Return the paths that must all be proved for a manifest; a plane or host needs only one of its own."""
    return [] if isinstance(resource, ControlPlane | ShadowHost) else facts.scope.of(resource)


def _programmed(key: ManifestKey, paths: Iterable[PathKey], facts: Facts) -> Condition:
    own = facts.programmed.get(key)
    if own is not None:
        return own
    through = [path for path in paths if path.route]
    if not through:
        return Condition("Programmed", "True", "Programmed")
    return _over("Programmed", (Link.CONFIGURED,), through, facts)


def _over(name: str, links: Sequence[Link], paths: Sequence[PathKey], facts: Facts) -> Condition:
    """Return the condition that one or two links make over all paths: the worst of them."""
    unknown: Condition | None = None
    for path in paths:
        proof = facts.proofs.get(path)
        for link in links:
            if not path.route and link not in (Link.SERVED, Link.PROVED, Link.CLEAN):
                continue
            result = proof.link(link) if proof else None
            if result is None:
                unknown = unknown or _not_reached(name, path, proof)
            elif result.status is Status.BROKEN:
                return Condition(name, "False", _word(result), _sentence(path, result))
            elif result.status is not Status.HOLDS:
                unknown = unknown or Condition(name, "Unknown", _word(result), _sentence(path, result))
    return unknown or Condition(name, "True", name)


def _not_reached(name: str, path: PathKey, proof: PathProof | None) -> Condition:
    if proof is None:
        return Condition(name, "Unknown", "NotTried", f"{describe(path)} has not been proved yet")
    broken = proof.broken
    where = (
        f"the chain ended at {broken.link.value} ({broken.reason.value})"
        if broken
        else "the chain is incomplete"
    )
    return Condition(
        name, "Unknown", broken.reason.value if broken else "NotTried", f"{describe(path)}: {where}"
    )


def _word(result: LinkResult) -> str:
    return result.reason.value


def _sentence(path: PathKey, result: LinkResult) -> str:
    advice = ADVICE.get(result.reason, "")
    return f"{describe(path)}: {result.link.value}: {result.message}" + (f"; {advice}" if advice else "")


def describe(path: PathKey) -> str:
    """Return a path in words."""
    what = f"route {path.route}" if path.route else f"account {path.account}"
    return f"key {path.key}, " * bool(path.key) + f"{what}, model {path.model}"


def _proved(paths: Sequence[PathKey], facts: Facts, policy: Policy) -> Condition:
    condition = _over("Proved", (Link.PROVED,), paths, facts)
    if condition.status == "False":
        disproved = any(facts.proofs[path].disproved for path in paths if path in facts.proofs)
        return Condition(
            "Proved", "False", condition.reason, ("Disproved: " if disproved else "") + condition.message
        )
    if condition.status != "True":
        return condition
    ends = []
    for path in paths:
        proof = facts.proofs[path]
        message = f"{describe(path)}: the proof is too old; {RENEW}"
        if not at_least(proof.grade, policy.minimum_grade):
            message = f"{describe(path)}: grade {proof.grade.value}, below {policy.minimum_grade.value}"
            return Condition("Proved", "False", Reason.GRADE_TOO_LOW.value, message)
        if proof.observed_at is None:
            return Condition("Proved", "Unknown", STALE, message)
        ends.append(Expiry(expires_at(proof.observed_at, policy.freshness_s), STALE, message))
    return replace(condition, until=_first(ends)).as_of(facts.now)


def _first(ends: Iterable[Expiry | None]) -> Expiry | None:
    """Return what expires first, or None when nothing does."""
    return min((each for each in ends if each is not None), key=lambda each: each.at, default=None)


def _through(resource: ControlPlane | ShadowHost, facts: Facts, policy: Policy) -> list[Condition]:
    """A plane or host needs one current proof through it: it expires with the newest."""
    ends = []
    for proof in facts.proofs.values():
        through = isinstance(resource, ControlPlane) or proof.host == resource.name
        own = proof.key.route or isinstance(resource, ShadowHost)
        if through and own and proof.observed_at is not None and proof.holds:
            ends.append(expires_at(proof.observed_at, policy.freshness_s))
    names, message = ("Resolved", "Served", "Proved"), f"no current proof leads through it; {RENEW}"
    if not ends:
        return [Condition(name, "Unknown", "NoProof", message) for name in names]
    until = Expiry(max(ends), "NoProof", message)
    return [Condition(name, "True", name, until=until).as_of(facts.now) for name in names]


def _own_name(resource: Resource, facts: Facts) -> Condition | None:
    """Return what is wrong when a managed key's own path was last proved in the name of another key; else None."""
    if not isinstance(resource, ManagedKey):
        return None
    for group, path in sorted(facts.scope.own_paths(resource.name).items()):
        proof = facts.proofs.get(path)
        name = (proof.intended or {}).get("managedKey") if proof else None
        if name not in (None, resource.name):
            message = f"{describe(path)} was last proved in the name of {name}; {RENEW}"
            return Condition("Proved", "Unknown", "NotTried", f"logical group {group}: {message}")
    return None


def _drilled(resource: Resource, paths: Sequence[PathKey], facts: Facts, policy: Policy) -> Condition | None:
    """Return the condition that the demanded drills make over some paths; None when none is demanded."""
    wanted = sorted({each for path in paths if path.route for each in _demanded(resource, path, facts)})
    if not wanted:
        return None
    known = {_drill_of(each.key): each for each in facts.drills}
    unknown: Condition | None = None
    ends = []
    for drill, group, name in wanted:
        found = known.get((drill, group, name))
        what = f"drill {drill} of {f'{group}/{name}' if group else f'key {name}'}"
        if found is None or found.status is Status.INCONCLUSIVE:
            message = _drill_sentence(what, found) if found else f"{what} has not run yet"
            unknown = unknown or Condition(
                "Drilled", "Unknown", found.reason.value if found else "NotTried", message
            )
        elif found.status is Status.BROKEN:
            return Condition("Drilled", "False", found.reason.value, _drill_sentence(what, found))
        else:
            end = expires_at(found.at, policy.freshness_s)
            ends.append(Expiry(end, STALE, f"{what} is too old; {RENEW}"))
    return unknown or Condition("Drilled", "True", "Drilled", until=_first(ends)).as_of(facts.now)


def _drill_sentence(what: str, found: DrillResult) -> str:
    advice = DRILL_ADVICE.get(found.reason, "")
    return f"{what}: {found.message}" + (f"; {advice}" if advice else "")


def _demanded(resource: Resource, path: PathKey, facts: Facts) -> Iterator[tuple[str, str, str]]:
    """Yield the drills that a path's Acceptances ask for: (drill, logical group, model), or ("models", "", key)."""
    for drill in facts.demanded.get(path._replace(key=""), frozenset()) & frozenset(DRILLS):
        if drill not in PER_KEY:
            yield drill, facts.scope.logical_group_of(path), path.model
        elif isinstance(resource, ManagedKey):
            yield drill, "", resource.name
        else:
            yield from ((drill, "", key) for key in facts.scope.keys_of(path))


def _drill_of(key: DrillKey) -> tuple[str, str, str]:
    return key.drill, key.logical_group, key.model or key.subject


def _degraded(group: ShadowGroup, facts: Facts, *, serves: bool) -> Condition:
    if not serves:
        return Condition(
            "Degraded", "False", "NotServing", "the group does not serve, which is worse than degraded"
        )
    for account in facts.manifests.of(ProviderAccount):
        if group.name not in account.spec.groups or account.suspended:
            continue
        for path in facts.scope.of_account(account.name):
            proof = facts.proofs.get(path)
            if proof is not None and proof.broken is not None:
                return Condition("Degraded", "True", "AccountFailed", _sentence(path, proof.broken))
    return Condition("Degraded", "False", "AllAccountsServe")


def _ready(found: Sequence[Condition]) -> Condition:
    for truth in ("False", "Unknown"):
        for condition in found:
            if condition.status == truth and condition.type not in BESIDE_READY:
                return Condition("Ready", truth, condition.reason, condition.message)
    until = _first(each.until for each in found if each.type not in BESIDE_READY)
    return Condition("Ready", "True", "Ready", "every link of the proof holds", until)


def _of_acceptance(
    acceptance: Acceptance, facts: Facts, found: Mapping[ManifestKey, Sequence[Condition]]
) -> list[Condition]:
    if acceptance.suspended:
        return _of(acceptance, facts)
    worst = Condition("Ready", "True", "Ready", "every target is Ready")
    ends = []
    for key in facts.scope.targets(acceptance):
        target, name = ready(found[key]), f"{key[0]}/{key[1]}"
        if target.until is not None:
            message = f"{name}: {target.until.message}"[:1000]
            ends.append(Expiry(target.until.at, TARGET_NOT_READY, message))
        if target.status == "True" or target.reason in OUT_OF_SCOPE:
            continue
        if worst.status == "True" or (target.status == "False" and worst.status == "Unknown"):
            message = f"{name}: {target.message}"[:1000]
            worst = Condition("Ready", target.status, TARGET_NOT_READY, message)
    if worst.status == "True":
        worst = replace(worst, until=_first(ends))
    names = ("Programmed", "Resolved", "Served", "Proved")
    return [
        _accepted(),
        *(replace(worst, type=name) for name in names),
        _within_budget(acceptance, facts),
        worst,
    ]


def _within_budget(acceptance: Acceptance, facts: Facts) -> Condition:
    """Return what proving has cost today, and False when a probe could not be sent for it."""
    budget, spent = acceptance.spec.budget, facts.spent.get(acceptance.name, Spent())
    money = "unknown" if spent.usd is None else f"{spent.usd:.6f}"
    ceiling = "" if budget.max_usd is None else f" of {budget.max_usd:g}"
    said = (
        f"reserved today: {spent.requests} of {budget.max_requests} requests, "
        f"{spent.tokens} of {budget.max_tokens} tokens, {money}{ceiling} USD"
    )
    paths = facts.scope.of(acceptance)
    probes_refused = any(
        result.reason is Reason.OVER_BUDGET
        for path in paths
        if (proof := facts.proofs.get(path)) is not None
        for result in proof.links
    )
    drilled = {each for path in paths if path.route for each in _demanded(acceptance, path, facts)}
    drills_refused = any(
        each.reason is DrillReason.OVER_BUDGET and _drill_of(each.key) in drilled for each in facts.drills
    )
    if probes_refused or drills_refused:
        advice = ADVICE[Reason.OVER_BUDGET]
        return Condition("WithinBudget", "False", Reason.OVER_BUDGET.value, f"{said}; {advice}")
    return Condition("WithinBudget", "True", "WithinBudget", said)
