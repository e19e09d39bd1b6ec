"""What a report tells, whatever its form: chains by logical group and model, accounts by host, drills, and troubles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from reconciler.proof.drills.model import ADVICE as DRILL_ADVICE
from reconciler.proof.drills.model import DrillResult
from reconciler.proof.facts import OUT_OF_SCOPE, describe
from reconciler.proof.model import ADVICE, LinkResult, PathKey, PathProof, Status
from reconciler.proof.outcome import Outcome, is_stale, outcome_of
from reconciler.state.model import TOO_OLD, Condition
from reconciler.state.model import Status as ManifestStatus

OWN_KINDS = ("Route", "ProviderAccount", "ManagedKey")
"""Kinds whose statuses together hold every chain; those in a key's own name stand with the key."""


class State(StrEnum):
    """How a chain is shown: its outcome, or that its proof is too old. Sorted from good to bad."""

    PROVED = "Proved"
    STALE = "Stale"
    INCONCLUSIVE = "Inconclusive"
    BROKEN = "Broken"
    DISPROVED = "Disproved"


SEVERITY = {state: number for number, state in enumerate(State)}


@dataclass(frozen=True)
class Chain:
    """One path's chain, as last proved."""

    proof: PathProof
    state: State
    evidence: str | None = None
    """Id of the signed record of this very proof."""

    @property
    def name(self) -> str:
        """Return the route, or the account, and the key in whose name it was asked once more."""
        path = self.proof.key
        return (path.route or path.account) + (f", as key {path.key}" if path.key else "")

    @property
    def deciding(self) -> LinkResult | None:
        """Return the link that decides what the chain comes to, when it does not hold."""
        worst = [result for result in self.proof.links if result.status is Status.BROKEN]
        return worst[0] if worst else self.proof.broken

    @property
    def named(self) -> str | None:
        """Return what the host's usage row named, in words; None when there is no row."""
        proof = self.proof
        if proof.usage_log_id is None:
            return None
        return f"{proof.host} / {proof.group} / {proof.account or 'an account of nobody'} as {proof.model}"


@dataclass(frozen=True)
class Choice:
    """A public model of a logical group, with its candidates in the order of trial."""

    logical_group: str
    public_model: str
    chains: tuple[Chain, ...]


@dataclass(frozen=True)
class HostAccounts:
    """The accounts of one host, by account and model."""

    host: str
    chains: tuple[Chain, ...]


@dataclass(frozen=True)
class Trouble:
    """One thing that is not as it should be, and what to do about it."""

    state: State
    subject: str
    reason: str
    message: str
    advice: str = ""
    path: PathKey | None = None
    """The chain that it is about, or None."""


@dataclass(frozen=True)
class ProofReport:
    """Everything that is known, at one moment."""

    made_at: datetime
    revision: int | None
    choices: tuple[Choice, ...]
    hosts: tuple[HostAccounts, ...]
    drills: tuple[DrillResult, ...] = ()
    troubles: tuple[Trouble, ...] = field(default=())
    """Worst first."""
    ready: int = 0
    asked: int = 0
    """Manifests that ask for proof; `ready` of them are Ready."""

    @property
    def chains(self) -> tuple[Chain, ...]:
        """Return all chains: routes in order, then accounts."""
        parts: tuple[Choice | HostAccounts, ...] = (*self.choices, *self.hosts)
        return tuple(chain for part in parts for chain in part.chains)

    def count(self, state: State) -> int:
        """Return how many chains are in a state."""
        return sum(chain.state is state for chain in self.chains)

    @property
    def worst(self) -> State | None:
        """Return the worst there is; Proved when there is no trouble, None when nothing is known."""
        if self.troubles:
            return self.troubles[0].state
        return State.PROVED if self.chains else None


def gather(
    statuses: Sequence[ManifestStatus],
    *,
    drills: Iterable[DrillResult] = (),
    evidence: Mapping[tuple[PathKey, datetime], str] | None = None,
    now: datetime,
) -> ProofReport:
    """Return the report of these statuses. `evidence` has ids by path and the time of the proof."""
    chains = [_chain(proof, evidence or {}, now) for proof in _proofs(statuses)]
    choices = _choices(chain for chain in chains if chain.proof.key.route)
    known = {(choice.logical_group, choice.public_model) for choice in choices}
    known |= {("", each.name) for each in statuses if each.kind == "ManagedKey"}
    exercised = sorted(
        (each for each in drills if (each.key.logical_group, each.key.model or each.key.subject) in known),
        key=lambda each: each.key,
    )
    judged = [each for each in statuses if _ready(each).reason not in OUT_OF_SCOPE]
    return ProofReport(
        made_at=now,
        revision=max((each.revision for each in statuses if each.revision is not None), default=None),
        choices=choices,
        hosts=_hosts(chain for chain in chains if not chain.proof.key.route),
        drills=tuple(exercised),
        troubles=_troubles(chains, exercised, judged, now),
        ready=sum(_ready(each).status == "True" for each in judged),
        asked=len(judged),
    )


def _proofs(statuses: Sequence[ManifestStatus]) -> list[PathProof]:
    found: dict[PathKey, PathProof] = {}
    for status in statuses:
        for body in status.proofs if status.kind in OWN_KINDS else ():
            proof = PathProof.from_json(body)
            known = found.get(proof.key)
            if known is None or _moment(known) < _moment(proof):
                found[proof.key] = proof
    return [found[key] for key in sorted(found)]


def _moment(proof: PathProof) -> datetime:
    return proof.observed_at or datetime.min.replace(tzinfo=UTC)


def _chain(proof: PathProof, evidence: Mapping[tuple[PathKey, datetime], str], now: datetime) -> Chain:
    outcome = outcome_of(proof)
    stale = outcome is Outcome.PROVED and is_stale(proof, now)
    recorded = evidence.get((proof.key, proof.observed_at)) if proof.observed_at else None
    return Chain(proof, State.STALE if stale else State(outcome.value), recorded)


def _choices(chains: Iterable[Chain]) -> tuple[Choice, ...]:
    found: dict[tuple[str, str], list[Chain]] = {}
    for chain in chains:
        group = str((chain.proof.intended or {}).get("logicalGroup") or "(no logical group)")
        found.setdefault((group, chain.proof.key.model), []).append(chain)
    return tuple(
        Choice(group, model, tuple(sorted(found[group, model], key=_trial))) for group, model in sorted(found)
    )


def _trial(chain: Chain) -> tuple[int, str]:
    # As many routes go before it as were marked unavailable to reach it.
    return len((chain.proof.intended or {}).get("better", ())), chain.name


def _hosts(chains: Iterable[Chain]) -> tuple[HostAccounts, ...]:
    found: dict[str, list[Chain]] = {}
    for chain in chains:
        found.setdefault(chain.proof.host or "(no host)", []).append(chain)
    return tuple(
        HostAccounts(host, tuple(sorted(found[host], key=lambda chain: (chain.name, chain.proof.key.model))))
        for host in sorted(found)
    )


def _ready(status: ManifestStatus) -> Condition:
    return status.condition("Ready") or Condition("Ready", "Unknown", "NotTried")


def _troubles(
    chains: Sequence[Chain], drills: Sequence[DrillResult], judged: Sequence[ManifestStatus], now: datetime
) -> tuple[Trouble, ...]:
    found = [_of_chain(chain, now) for chain in chains if chain.state is not State.PROVED]
    found += [_of_drill(drill) for drill in drills if drill.status in (Status.BROKEN, Status.INCONCLUSIVE)]
    told = {trouble.reason for trouble in found}
    spoilt = {chain.proof.key for chain in chains if chain.state is not State.PROVED}
    found += _of_manifests([each for each in judged if not _is_told(each, told, spoilt)])
    return tuple(sorted(found, key=lambda trouble: -SEVERITY[trouble.state]))


def _of_chain(chain: Chain, now: datetime) -> Trouble:
    link, subject = chain.deciding, describe(chain.proof.key)
    if chain.state is State.STALE:
        advice = "run reconcile verify, or see why the controller does not"
        return Trouble(State.STALE, subject, "Stale", "the proof is too old", advice, chain.proof.key)
    if link is None:
        return Trouble(
            chain.state, subject, "NotTried", "the chain was not tried to its end", "", chain.proof.key
        )
    message = f"{link.link.value}: {link.message or link.reason.value}"
    if is_stale(chain.proof, now):
        message += f"; {TOO_OLD}"
    return Trouble(
        chain.state, subject, link.reason.value, message, ADVICE.get(link.reason, ""), chain.proof.key
    )


def _of_drill(drill: DrillResult) -> Trouble:
    state = State.BROKEN if drill.status is Status.BROKEN else State.INCONCLUSIVE
    return Trouble(
        state, str(drill.key), drill.reason.value, drill.message, DRILL_ADVICE.get(drill.reason, "")
    )


def _is_told(status: ManifestStatus, told: set[str], spoilt: set[PathKey]) -> bool:
    """True when a manifest is Ready, or a chain or drill that is told already explains why not."""
    ready = _ready(status)
    if ready.status == "True" or status.kind == "Acceptance" or ready.reason in told:
        return True
    through = {PathProof.from_json(body).key for body in status.proofs}
    return bool(through & spoilt) or (ready.reason == "NoProof" and bool(spoilt))


def _of_manifests(statuses: Sequence[ManifestStatus]) -> list[Trouble]:
    """Return what is left to explain, told once for all manifests of which the same is said."""
    found: dict[tuple[State, str, str], list[str]] = {}
    for status in statuses:
        ready = _ready(status)
        state = State.BROKEN if ready.status == "False" else State.INCONCLUSIVE
        found.setdefault((state, ready.reason, ready.message), []).append(f"{status.kind}/{status.name}")
    return [
        Trouble(state, ", ".join(names), reason, message) for (state, reason, message), names in found.items()
    ]
