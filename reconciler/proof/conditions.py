"""From links to conditions: what each manifest is, given the proofs of every path through it. Pure.

Conditions: Accepted, Programmed, Resolved, Served, Proved and Ready (all of them, and clean); ShadowGroups have
Degraded besides, for a failed account of a group that still serves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from reconciler.manifest import (
    Acceptance,
    ControlPlane,
    ManagedKey,
    ProviderAccount,
    Resource,
    Route,
    ShadowGroup,
    ShadowHost,
)
from reconciler.proof.acceptances import of_acceptance
from reconciler.proof.drills.model import ADVICE as DRILL_ADVICE
from reconciler.proof.drills.model import DrillResult
from reconciler.proof.facts import (
    RENEW,
    STALE,
    Condition,
    Facts,
    ManifestKey,
    accepted,
    describe,
    drills_demanded,
    first,
)
from reconciler.proof.judge import Policy
from reconciler.proof.model import ADVICE, Link, LinkResult, PathKey, PathProof, Reason, Status, at_least
from reconciler.proof.outcome import expires_at
from reconciler.state.model import ConditionStatus, Expiry


def conditions(facts: Facts) -> dict[ManifestKey, list[Condition]]:
    """Return the conditions of every manifest of the set."""
    found: dict[ManifestKey, list[Condition]] = {}
    for loaded in facts.manifests:
        resource = loaded.resource
        if not isinstance(resource, Acceptance):
            found[(resource.KIND, resource.name)] = _of(resource, facts)
    for acceptance in facts.manifests.of(Acceptance):
        found[(Acceptance.KIND, acceptance.name)] = (
            _of(acceptance, facts) if acceptance.suspended else of_acceptance(acceptance, facts, found)
        )
    return found


BESIDE_READY = frozenset({"Degraded", "WithinBudget"})
"""Conditions that tell something worth knowing and do not decide on Ready."""


def _of(resource: Resource, facts: Facts) -> list[Condition]:
    key = (resource.KIND, resource.name)
    idle = _idle(resource, facts)
    if idle is not None:
        reason, message = idle
        names = ("Programmed", "Resolved", "Served", "Proved", "Ready")
        return [accepted(), *(Condition(name, "Unknown", reason, message) for name in names)]
    paths = paths_of(resource, facts)
    policy = facts.policies.get(key, Policy())
    programmed = _programmed(key, paths, facts, policy)
    if isinstance(resource, ControlPlane | ShadowHost):
        rest = _through(resource, facts, policy)
    else:
        rest = [
            _over("Resolved", (Link.RUNTIME, Link.RESOLVED), paths, facts, policy),
            _over("Served", (Link.SERVED,), paths, facts, policy),
            _own_name(resource, facts) or _proved(paths, facts, policy),
        ]
    clean = (
        _over("Clean", (Link.CLEAN,), paths, facts, policy) if paths else Condition("Clean", "True", "Clean")
    )
    result = [accepted(), programmed, *rest]
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


def _programmed(key: ManifestKey, paths: Iterable[PathKey], facts: Facts, policy: Policy) -> Condition:
    own = facts.programmed.get(key)
    if own is not None:
        return own
    through = [path for path in paths if path.route]
    if not through:
        return Condition("Programmed", "True", "Programmed")
    return _over("Programmed", (Link.CONFIGURED,), through, facts, policy)


def _over(
    name: str, links: Sequence[Link], paths: Sequence[PathKey], facts: Facts, policy: Policy
) -> Condition:
    """Return the condition that one or two links make over all paths: the worst of them."""
    unknown: Condition | None = None
    for path in paths:
        proof = facts.proofs.get(path)
        for link in links:
            if not path.route and link not in (Link.SERVED, Link.PROVED, Link.CLEAN):
                continue
            result = proof.link(link) if proof else None
            if result is not None and result.status is Status.HOLDS:
                continue
            found = _not_held(name, path, proof, result, policy).as_of(facts.now)
            if found.status == "False":
                return found
            unknown = unknown or found
    return unknown or Condition(name, "True", name)


def _not_held(
    name: str, path: PathKey, proof: PathProof | None, result: LinkResult | None, policy: Policy
) -> Condition:
    """Return the condition of one link that does not hold, or was not reached."""
    if proof is None:
        return Condition(name, "Unknown", "NotTried", f"{describe(path)} has not been proved yet")
    at = proof.observed_at
    until = Expiry(expires_at(at, policy.freshness_s), STALE) if at is not None else None
    if result is not None:
        truth: ConditionStatus = "False" if result.status is Status.BROKEN else "Unknown"
        return Condition(name, truth, result.reason.value, _sentence(path, result), until)
    broken = proof.broken
    where = (
        f"the chain ended at {broken.link.value} ({broken.reason.value})"
        if broken
        else "the chain is incomplete"
    )
    reason = broken.reason.value if broken else "NotTried"
    return Condition(name, "Unknown", reason, f"{describe(path)}: {where}", until)


def _sentence(path: PathKey, result: LinkResult) -> str:
    advice = ADVICE.get(result.reason, "")
    return f"{describe(path)}: {result.link.value}: {result.message}" + (f"; {advice}" if advice else "")


def _proved(paths: Sequence[PathKey], facts: Facts, policy: Policy) -> Condition:
    condition = _over("Proved", (Link.PROVED,), paths, facts, policy)
    if condition.status == "False":
        disproved = any(facts.proofs[path].disproved for path in paths if path in facts.proofs)
        return replace(condition, message=("Disproved: " if disproved else "") + condition.message)
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
    return replace(condition, until=first(ends)).as_of(facts.now)


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
    wanted = sorted({each for path in paths if path.route for each in drills_demanded(resource, path, facts)})
    if not wanted:
        return None
    known = {each.key.exercised: each for each in facts.drills}
    found = [_of_drill(each, known.get(each), policy) for each in wanted]
    for truth in ("False", "Unknown"):
        worst = next((each for each in found if each.status == truth), None)
        if worst is not None:
            return worst.as_of(facts.now)
    return Condition("Drilled", "True", "Drilled", until=first(each.until for each in found)).as_of(facts.now)


def _of_drill(wanted: tuple[str, str, str], found: DrillResult | None, policy: Policy) -> Condition:
    """Return the condition that one demanded drill makes."""
    drill, group, name = wanted
    what = f"drill {drill} of {f'{group}/{name}' if group else f'key {name}'}"
    if found is None:
        return Condition("Drilled", "Unknown", "NotTried", f"{what} has not run yet")
    until = Expiry(expires_at(found.at, policy.freshness_s), STALE, f"{what} is too old; {RENEW}")
    if found.status in (Status.BROKEN, Status.INCONCLUSIVE):
        truth: ConditionStatus = "False" if found.status is Status.BROKEN else "Unknown"
        return Condition("Drilled", truth, found.reason.value, _drill_sentence(what, found), until)
    return Condition("Drilled", "True", "Drilled", until=until)


def _drill_sentence(what: str, found: DrillResult) -> str:
    advice = DRILL_ADVICE.get(found.reason, "")
    return f"{what}: {found.message}" + (f"; {advice}" if advice else "")


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
                return replace(condition, type="Ready")
    until = first(each.until for each in found if each.type not in BESIDE_READY)
    return Condition("Ready", "True", "Ready", "every link of the proof holds", until)
