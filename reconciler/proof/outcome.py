"""What a whole chain comes to, in one word."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from reconciler.proof.model import Link, PathProof, Reason, Status


class Outcome(StrEnum):
    """The verdict on one path. `Inconclusive` is never a failure, and never Ready."""

    PROVED = "Proved"
    DISPROVED = "Disproved"
    """The host billed something else than intended: the failure this product exists to catch."""
    BROKEN = "Broken"
    """A link does not hold."""
    INCONCLUSIVE = "Inconclusive"
    """A link could not be judged, or the chain was not tried to its end."""


def outcome_of(proof: PathProof) -> Outcome:
    """Return the verdict that follows from the links."""
    if proof.disproved:
        return Outcome.DISPROVED
    if any(result.status is Status.BROKEN for result in proof.links):
        return Outcome.BROKEN
    return Outcome.PROVED if proof.holds else Outcome.INCONCLUSIVE


def reason_of(proof: PathProof) -> Reason:
    """Return why the outcome is what it is: the reason of the link that decided it; Ok when all hold."""
    worst = [result for result in proof.links if result.status is Status.BROKEN]
    deciding = worst[0] if worst else proof.broken
    if deciding is not None:
        return deciding.reason
    return Reason.OK if proof.holds else Reason.NOT_TRIED


def needed(proof: PathProof) -> tuple[Link, ...]:
    """Return the links that this kind of path has, in order."""
    return tuple(Link) if proof.key.route else (Link.SERVED, Link.PROVED, Link.CLEAN)


def is_stale(proof: PathProof, now: datetime) -> bool:
    """True when the proof is older than the freshness it was demanded with; one without a time is never stale."""
    fresh_s = (proof.intended or {}).get("freshnessSeconds")
    if fresh_s is None or proof.observed_at is None:
        return False
    return now > expires_at(proof.observed_at, float(fresh_s))


def expires_at(observed_at: datetime, fresh_s: float) -> datetime:
    """Return the last moment at which what was observed is fresh; `fresh_s` is in seconds."""
    return observed_at + timedelta(seconds=fresh_s)
