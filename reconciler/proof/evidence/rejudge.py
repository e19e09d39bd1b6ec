"""Judging a recorded proof again: does each link's verdict follow from what was asked and what came back?

A link that is said to hold must hold again. A link that is said not to hold must not; where the record has what the
judgement was made from, the reason must be the same too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from reconciler.proof import judge
from reconciler.proof.evidence.findings import Finding
from reconciler.proof.judge import Intended, Standing, Verdict
from reconciler.proof.model import Grade, Link, LinkResult, PathProof, Reason, Status
from reconciler.proof.outcome import needed
from reconciler.proof.record import intended_from, row_from

LINKS = "payload.predicate.links"

OUTSIDE_THE_RECORD = frozenset(
    {
        Reason.NO_MANAGED_KEY,
        Reason.RUNTIME_UNREADABLE,
        Reason.GATEWAY_UNREACHABLE,
        Reason.OVER_BUDGET,
        Reason.NO_CORRELATION,
        Reason.USAGE_UNREADABLE,
        Reason.HOST_UNKNOWN,
        Reason.LEFT_BEHIND,
        Reason.ACCOUNT_MARKED,
    }
)
"""Reasons that rest on something that is not recorded, such as a call that failed. None of them lets a link hold."""


def rejudge(proof: PathProof) -> list[Finding]:
    """Return every link whose verdict does not follow from the record."""
    if proof.intended is None:
        return [
            Finding(f"{LINKS}[{number}].status", "is holds, though the path was not tried")
            for number, result in enumerate(proof.links)
            if result.status is Status.HOLDS and result.link is not Link.CLEAN
        ]
    intended = intended_from(proof.key, proof.intended)
    return [
        *_order(proof),
        *(found for number in range(len(proof.links)) for found in _link(number, proof, intended)),
    ]


def _order(proof: PathProof) -> list[Finding]:
    names = [result.link for result in proof.links]
    if names == [link for link in needed(proof) if link in names]:
        return []
    return [Finding(LINKS, f"are not links of such a path in their order: {', '.join(names)}")]


def _link(number: int, proof: PathProof, intended: Intended) -> list[Finding]:
    result = proof.links[number]
    where = f"{LINKS}[{number}]"
    if result.status is not Status.HOLDS and result.reason in OUTSIDE_THE_RECORD:
        return []
    again = _JUDGES[result.link](proof, result, intended)
    if again is None:
        return [
            Finding(f"{where}.answered", f"is not enough for {result.link.value} to be {result.status.value}")
        ]
    if again.status is not result.status:
        found = (
            f"{again.status.value} ({again.reason.value}: {again.message})"
            if again.message
            else again.status.value
        )
        return [Finding(f"{where}.status", f"is {result.status.value}, but by the record it is {found}")]
    if again.reason is not result.reason:
        return [
            Finding(
                f"{where}.reason", f"is {result.reason.value}, but by the record it is {again.reason.value}"
            )
        ]
    return []


def _configured(proof: PathProof, result: LinkResult, intended: Intended) -> Verdict | None:
    if not result.answered:
        # A record from before this was kept: only a link that does not hold can say so.
        return None if result.status is Status.HOLDS else intended.configured
    return judge.judge_configured(Standing(result.asked, result.answered))


def _runtime(proof: PathProof, result: LinkResult, intended: Intended) -> Verdict | None:
    return judge.judge_runtime(intended, result.answered or None)


def _resolved(proof: PathProof, result: LinkResult, intended: Intended) -> Verdict | None:
    if not result.answered:
        # The resolver did not answer; only a link that does not hold can say so.
        return None if result.status is Status.HOLDS else Verdict(result.status, result.reason, "")
    return judge.judge_resolution(intended, result.answered)


def _served(proof: PathProof, result: LinkResult, intended: Intended) -> Verdict | None:
    status = result.answered.get("status")
    if not isinstance(status, int):
        return None
    if proof.key.route:
        return judge.judge_decision(intended, status, result.answered.get("decision"))
    if not 200 <= status < 300:
        return judge.broken(Reason.UPSTREAM_REFUSED, f"status {status}")
    return judge.HOLDS if proof.correlation_id or _grade(proof) is not Grade.EXACT else None


def _proved(proof: PathProof, result: LinkResult, intended: Intended) -> Verdict | None:
    grade = _grade(proof)
    if proof.correlation_id is None and grade is Grade.EXACT:
        return None
    rows = [row_from(row) for row in result.answered.get("rows", ())]
    return judge.judge_rows(intended, rows, grade, late=_late(result))


def _late(result: LinkResult) -> str:
    """Return how late the rows came, by the record; one without these times is from before they were kept."""
    waited_s, deadline_s = result.answered.get("waitedSeconds"), result.asked.get("deadlineSeconds")
    if not isinstance(waited_s, int | float) or not isinstance(deadline_s, int | float):
        return ""
    return judge.lateness(waited_s, deadline_s)


def _grade(proof: PathProof) -> Grade:
    """Return how surely the rows on record are the request's; a record that does not say is by correlation id."""
    proved = proof.link(Link.PROVED)
    return Grade(proved.answered.get("grade", Grade.EXACT)) if proved else Grade.EXACT


def _clean(proof: PathProof, result: LinkResult, intended: Intended) -> Verdict | None:
    return Verdict(result.status, result.reason, "")


_JUDGES: Mapping[Link, Callable[[PathProof, LinkResult, Intended], Verdict | None]] = {
    Link.CONFIGURED: _configured,
    Link.RUNTIME: _runtime,
    Link.RESOLVED: _resolved,
    Link.SERVED: _served,
    Link.PROVED: _proved,
    Link.CLEAN: _clean,
}
