"""Whether the parts of one statement agree with each other, as they do in every one that was recorded honestly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from reconciler.proof.evidence.findings import Finding
from reconciler.proof.evidence.rejudge import rejudge
from reconciler.proof.evidence.shape import (
    CommitDigest,
    Commitment,
    Decision,
    Intent,
    Predicate,
    Request,
    Statement,
    Subject,
)
from reconciler.proof.evidence.statement import proof_of
from reconciler.proof.evidence.subjects import COMMIT, WHOLE_SET
from reconciler.proof.model import Grade, Link, PathProof, Status, at_least
from reconciler.proof.outcome import Outcome, outcome_of, reason_of

ROOT = "payload.predicate"


def disagreements(statement: Statement) -> list[Finding]:
    """Return every field that does not fit the others."""
    predicate = statement.predicate
    proof = proof_of(predicate)
    try:
        judged = rejudge(proof)
    except ValueError as error:
        judged = [Finding(f"{ROOT}.usage", f"cannot be judged: {str(error)[:200]}")]
    return [
        *_subjects(statement),
        *_path(predicate),
        *_intent(predicate),
        *_request(predicate, proof),
        *judged,
        *_named(predicate),
        *_verdict(predicate, proof),
    ]


def _differs(field: str, value: Any, wanted: Any) -> Iterator[Finding]:
    if value != wanted:
        yield Finding(f"{ROOT}.{field}", f"is {value!r}, not {wanted!r}")


def _subjects(statement: Statement) -> Iterator[Finding]:
    path = statement.predicate.path
    own = f"Route/{path.route}" if path.route else f"ProviderAccount/{path.account}"
    yield from about_subjects(statement.subject, statement.predicate.source, own)


def about_subjects(
    subjects: Sequence[Subject], source: Commitment | None, own: str | None
) -> Iterator[Finding]:
    """Yield what is wrong with a statement's subjects; `own` is the one that it is about."""
    names = [subject.name for subject in subjects]
    if names[:1] != [WHOLE_SET]:
        yield Finding("payload.subject[0].name", f"is not {WHOLE_SET!r}")
    if len(set(names)) != len(names):
        yield Finding("payload.subject", "names one thing twice")
    if own is not None and own not in names:
        yield Finding("payload.subject", f"lacks {own}, which the evidence is about")
    commits = [
        (each.name, each.digest.git_commit) for each in subjects if isinstance(each.digest, CommitDigest)
    ]
    if commits != ([(COMMIT, source.commit)] if source and not source.dirty else []):
        yield Finding("payload.subject", f"and {ROOT}.source do not name the same clean commit")


def _path(predicate: Predicate) -> Iterator[Finding]:
    if (predicate.path.route is None) == (predicate.path.account is None):
        yield Finding(f"{ROOT}.path", "names not exactly one of route and account")


def _intent(predicate: Predicate) -> Iterator[Finding]:
    intended, path = predicate.intended, predicate.path
    if intended is None:
        return
    yield from _differs("intended.publicModel", intended.public_model, path.model)
    if path.key is not None and intended.managed_key is not None:
        yield from _differs("intended.managedKey", intended.managed_key, path.key)
    if path.route is not None:
        yield from _differs("controlPlane.revision", predicate.control_plane.revision, intended.revision)
    else:
        yield from _differs("intended.accounts", list(intended.accounts.values()), [path.account])
        yield from _differs("intended.shadowModel", intended.shadow_model, path.model)
    yield from _differs("named.host", predicate.named.host, intended.host)
    yield from _differs("named.group", predicate.named.group, intended.group)


def _request(predicate: Predicate, proof: PathProof) -> Iterator[Finding]:
    request, intended = predicate.request, predicate.intended
    if intended is None:
        return
    yield from _asked(predicate, intended)
    if request is None:
        return
    yield from _differs("request.model", request.model, intended.public_model)
    if outcome_of(proof) is not Outcome.PROVED:
        return
    if predicate.decision is not None:
        yield from _decision(predicate.decision, request, intended)
    if predicate.grade is Grade.EXACT:
        for number, row in enumerate(predicate.usage):
            yield from _differs(f"usage[{number}].correlationId", row.correlation_id, request.correlation_id)


def _asked(predicate: Predicate, intended: Intent) -> Iterator[Finding]:
    """What the links asked follows from what was intended."""
    wanted = {
        "route": predicate.path.route,
        "managed_key": intended.managed_key,
        "public_model": intended.public_model,
        "revision": intended.revision,
        "unavailable": sorted(intended.better),
        "model": intended.public_model,
        "host": intended.host,
        "group": intended.group,
        "groupId": intended.group_id,
        "shadowModel": intended.shadow_model,
        "gatewayKey": intended.gateway_key,
        "correlationId": predicate.request.correlation_id if predicate.request else None,
    }
    for number, link in enumerate(predicate.links):
        for name in sorted(link.asked.keys() & wanted.keys()):
            yield from _differs(f"links[{number}].asked.{name}", link.asked[name], wanted[name])
        if link.link is Link.CONFIGURED:
            yield from _differs("intended.configured.status", intended.configured.status, link.status)
            yield from _differs("intended.configured.reason", intended.configured.reason, link.reason)
            if "accounts" in link.answered:
                where, names = f"links[{number}].answered", sorted(intended.accounts.values())
                yield from _differs(f"{where}.accounts", link.answered["accounts"], names)
                serving = link.answered.get("serving")
                for each in serving if isinstance(serving, list) else ():
                    if each not in names:
                        yield Finding(
                            f"{ROOT}.{where}.serving", f"names {each!r}, which is not among {names}"
                        )


def _decision(decision: Decision, request: Request, intended: Intent) -> Iterator[Finding]:
    """The decision row of a proved path is that of the probe, and names what was intended."""
    wanted = {
        "request_id": request.request_id,
        "probe": request.probe,
        "status": request.status,
        "endpoint": request.endpoint,
        "public_model": request.model,
        "managed_key": intended.managed_key,
        "logical_group": intended.logical_group,
        "shadow_host_id": intended.host,
        "shadow_group_id": intended.group_id,
        "shadow_model": intended.shadow_model,
        "gateway_key_source": intended.gateway_key,
    }
    for name, value in wanted.items():
        yield from _differs(f"decision.{name}", getattr(decision, name), value)
    # The last attempt is the one that served.
    for number, attempt in enumerate(decision.attempts[-1:], start=len(decision.attempts) - 1):
        where = f"decision.attempts[{number}]"
        yield from _differs(f"{where}.route_id", attempt.route_id, decision.route_id)
        yield from _differs(f"{where}.shadow_host_id", attempt.shadow_host_id, decision.shadow_host_id)


def _named(predicate: Predicate) -> Iterator[Finding]:
    named, intended = predicate.named, predicate.intended
    if not predicate.usage or intended is None:
        for field, value in (
            ("account", named.account),
            ("model", named.model),
            ("usageLogId", named.usage_log_id),
        ):
            yield from _differs(f"named.{field}", value, None)
        return
    row = predicate.usage[0]
    yield from _differs("named.account", named.account, intended.accounts.get(row.account_id))
    yield from _differs("named.model", named.model, row.upstream_model or row.model)
    yield from _differs("named.usageLogId", named.usage_log_id, row.id)


def _verdict(predicate: Predicate, proof: PathProof) -> Iterator[Finding]:
    yield from _differs("verdict", predicate.verdict.value, outcome_of(proof).value)
    yield from _differs("reason", predicate.reason.value, reason_of(proof).value)
    proved = proof.link(Link.PROVED)
    holds = proved is not None and proved.status is Status.HOLDS
    if holds == (predicate.grade is Grade.NONE):
        yield Finding(
            f"{ROOT}.grade", f"is {predicate.grade.value!r}, though the link `proved` says otherwise"
        )
    minimum = predicate.intended.minimum_grade if predicate.intended else Grade.NONE
    if holds and not at_least(predicate.grade, minimum):
        yield Finding(f"{ROOT}.grade", f"is {predicate.grade.value!r}, below {minimum.value!r}")
