"""The verdicts, as pure functions: what was intended against what an answer, a decision row or a usage row says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconciler.hosts.contract import UsageRow
from reconciler.manifest import seconds
from reconciler.manifest.acceptance import AcceptanceSpec
from reconciler.proof.model import Grade, PathKey, Reason, Status, at_least

TEMPORARY = "quarantine/"
"""How a temporary group of ours is called in canonical fields."""


@dataclass(frozen=True)
class Policy:
    """What proof is demanded; times in seconds."""

    minimum_grade: Grade = Grade.EXACT
    freshness_s: float = 86_400
    deadline_s: float = 30
    probes: int = 1
    max_tokens: int = 16
    drills: frozenset[str] = frozenset()

    @classmethod
    def of(cls, spec: AcceptanceSpec, best: Grade) -> Policy:
        """Return the policy that an Acceptance states; `best` is what the hosts in question can give."""
        return cls(
            minimum_grade=best if spec.minimum_grade is None else Grade(spec.minimum_grade),
            freshness_s=seconds(spec.freshness),
            deadline_s=seconds(spec.deadline),
            probes=spec.probes,
            max_tokens=spec.max_tokens,
            drills=frozenset(spec.drills),
        )


@dataclass(frozen=True)
class Standing:
    """What a path needs in the revision and on its host, and what stands there; an account by itself needs nothing.

    Scalars and lists of them, for the record.
    """

    asked: Mapping[str, Any] = field(default_factory=dict)
    answered: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Intended:
    """One path, and everything that a proof of it must name."""

    key: PathKey
    revision: int
    logical_group: str
    public_model: str
    managed_key: str | None
    """Whose entitlements the probe borrows; None when no ManagedKey reaches the path."""
    host: str
    group: str
    group_id: str
    shadow_model: str
    gateway_key: str
    key_id: str | None
    """The host's id of the gateway key; None when the key was not made by us."""
    accounts: Mapping[str, str]
    """Host account id -> ProviderAccount name, for the accounts that the manifests bind to the group."""
    better: frozenset[str]
    """Routes that would be chosen instead; marked unavailable in the probe's namespace."""
    in_service: bool
    """True when the active revision has the route for this model."""
    configured: Verdict
    policy: Policy
    standing: Standing = Standing()
    """What `configured` was judged from."""


@dataclass(frozen=True)
class Verdict:
    """What one link comes to."""

    status: Status
    reason: Reason
    message: str


HOLDS = Verdict(Status.HOLDS, Reason.OK, "")


def broken(reason: Reason, message: str) -> Verdict:
    """Return a verdict that says the link is broken."""
    return Verdict(Status.BROKEN, reason, message)


def inconclusive(reason: Reason, message: str) -> Verdict:
    """Return a verdict that says the link could not be judged."""
    return Verdict(Status.INCONCLUSIVE, reason, message)


def judge_configured(standing: Standing) -> Verdict:
    """Judge whether all that a path needs stands in the revision under test and on its host, and nothing beside it."""
    asked, stands = standing.asked, standing.answered
    group = asked.get("group")
    if stands.get("inRevision") is not True:
        return broken(
            Reason.NOT_IN_REVISION,
            f"revision {asked.get('revision')} has no enabled route {asked.get('route')} "
            f"for model {asked.get('model')}",
        )
    if stands.get("unknown") is not None:
        return inconclusive(Reason.HOST_UNKNOWN, str(stands["unknown"]))
    if stands.get("groupId") is None or stands["groupId"] != asked.get("groupId"):
        message = f"host {asked.get('host')} has no group {group} with id {asked.get('groupId')}"
        return broken(Reason.GROUP_MISSING, message)
    if stands.get("foreign"):
        names = _listed(stands["foreign"], repr)
        return broken(Reason.FOREIGN_ACCOUNT, f"accounts that no manifest binds to {group} serve it: {names}")
    if stands.get("leaving"):
        names = _listed(stands["leaving"])
        message = f"accounts of ours that no manifest binds to {group} still serve it: {names}"
        return broken(Reason.ACCOUNT_LEAVING, message)
    if not stands.get("accounts"):
        return broken(Reason.NO_ACCOUNT_BOUND, f"no account is bound to {group}")
    if not stands.get("serving"):
        message = f"no account of {group} serves {asked.get('shadowModel')!r} on the host"
        return broken(Reason.MODEL_NOT_SERVED, message)
    if stands.get("keyHeld") is not True:
        message = (
            f"the gateway does not hold {asked.get('gatewayKey')} version {asked.get('gatewayKeyVersion')}"
        )
        return broken(Reason.GATEWAY_KEY_UNKNOWN, message)
    return HOLDS


def _listed(names: Any, said: Callable[[Any], str] = str) -> str:
    return ", ".join(said(each) for each in (names if isinstance(names, list) else [names]))


def judge_runtime(intended: Intended, state: Mapping[str, Any] | None) -> Verdict:
    """Judge the live state of a route: one in service must not be cooling."""
    if state is None:
        if intended.in_service:
            return inconclusive(
                Reason.RUNTIME_UNREADABLE, f"the gateway knows no state of route {intended.key.route}"
            )
        return Verdict(Status.HOLDS, Reason.OK, "new: not in service yet")
    if intended.in_service and state.get("state") == "open":
        until = state.get("open_until") or "unknown"
        return broken(Reason.ROUTE_COOLING, f"route {intended.key.route} is cooling until {until}")
    return Verdict(Status.HOLDS, Reason.OK, str(state.get("state", "")) if intended.in_service else "new")


def judge_resolution(intended: Intended, answer: Mapping[str, Any]) -> Verdict:
    """Judge what the resolver said, unpinned."""
    if answer.get("revision") != intended.revision:
        return broken(
            Reason.WRONG_REVISION,
            f"resolved by revision {answer.get('revision')}, not by {intended.revision}",
        )
    route = answer.get("route_id")
    if route is None:
        return broken(Reason.UNRESOLVED, f"no route was taken: {answer.get('error')}")
    if route != intended.key.route:
        reason = Reason.STICKY_ELSEWHERE if answer.get("cause") == "sticky" else Reason.RESOLVED_ELSEWHERE
        return broken(
            reason, f"resolved to route {route} ({answer.get('cause')}), not to {intended.key.route}"
        )
    return _judge_target(intended, answer, "resolved")


def _judge_target(intended: Intended, said: Mapping[str, Any], how: str) -> Verdict:
    """Judge where the intended route leads, as the resolver or the decision log says."""
    wanted = {
        "shadow_host_id": intended.host,
        "shadow_group_id": intended.group_id,
        "shadow_model": intended.shadow_model,
        "gateway_key_source": intended.gateway_key,
    }
    for name, value in wanted.items():
        if said.get(name) != value:
            return broken(Reason.TARGET_DIFFERS, f"{how} {name} is {said.get(name)!r}, not {value!r}")
    return HOLDS


def judge_decision(intended: Intended, status: int, row: Mapping[str, Any] | None) -> Verdict:
    """Judge the answer's status and the decision row of a probe."""
    if row is None:
        return inconclusive(
            Reason.NO_DECISION_ROW,
            f"the probe was answered {status}, and the control plane has no decision row of that request",
        )
    if row.get("revision") != intended.revision:
        return broken(
            Reason.WRONG_REVISION, f"served by revision {row.get('revision')}, not by {intended.revision}"
        )
    attempts = row.get("attempts") or []
    if not 200 <= status < 300:
        last = attempts[-1] if attempts else {}
        detail = f"upstream status {last.get('upstream_status')}" if last else str(row.get("cause"))
        if last.get("failure_class"):
            detail += f", class {last['failure_class']}"
        return broken(Reason.UPSTREAM_REFUSED, f"the probe was answered {status} ({detail})")
    if row.get("route_id") != intended.key.route:
        failed_over = any(attempt.get("route_id") == intended.key.route for attempt in attempts)
        reason = Reason.FAILED_OVER if failed_over else Reason.SERVED_ELSEWHERE
        return broken(reason, f"route {row.get('route_id')} served, not {intended.key.route}")
    return _judge_target(intended, row, "serving")


def judge_rows(intended: Intended, rows: Sequence[UsageRow], grade: Grade, *, late: str = "") -> Verdict:
    """Judge rows that are tied to a request with a certain grade, against what the policy demands.

    Rows that may be somebody else's (circumstantial) prove nothing by what they do not name: never a disproof.
    `late` says how late they came: what they would prove is inconclusive then, and what they disprove is disproved.
    """
    if grade is Grade.CIRCUMSTANTIAL and rows:
        verdicts = [judge_usage(intended, [row]) for row in rows]
        verdict = next(
            (each for each in verdicts if each.status is Status.HOLDS),
            inconclusive(
                Reason.ROW_MISSING,
                f"none of {len(rows)} usage rows of the key names this path, and others used the key",
            ),
        )
    else:
        verdict = judge_usage(intended, rows)
    minimum = intended.policy.minimum_grade
    if verdict.status is Status.HOLDS and not at_least(grade, minimum):
        return broken(
            Reason.GRADE_TOO_LOW, f"the proof is {grade.value}, the Acceptance demands {minimum.value}"
        )
    if verdict.status is Status.HOLDS and late:
        return inconclusive(Reason.ROW_LATE, late)
    return verdict


def lateness(waited_s: float, deadline_s: float) -> str:
    """Return how late a row came that was found `waited_s` after the answer; empty when it came in time."""
    if waited_s <= deadline_s:
        return ""
    return f"the usage row came {waited_s:.1f} s after the answer; the Acceptance waits {deadline_s:g} s"


def telling_row(intended: Intended, rows: Sequence[UsageRow]) -> UsageRow:
    """Return the row that names the path, else the first."""
    return next((row for row in rows if judge_usage(intended, [row]).status is Status.HOLDS), rows[0])


def judge_usage(intended: Intended, rows: Sequence[UsageRow]) -> Verdict:
    """Judge the usage rows of one request. No row is inconclusive; a row of something else is a disproof."""
    if not rows:
        return inconclusive(Reason.ROW_MISSING, "no usage row names this request")
    if len(rows) > 1:
        return inconclusive(Reason.SEVERAL_ROWS, f"{len(rows)} usage rows name this request")
    row = rows[0]
    if row.group_id != intended.group_id:
        return broken(
            Reason.WRONG_GROUP,
            f"billed to group id {row.group_id}, not to {intended.group} (id {intended.group_id})",
        )
    if intended.key_id is not None and row.key_id != intended.key_id:
        return broken(Reason.WRONG_KEY, f"billed to key id {row.key_id}, not to {intended.gateway_key}")
    if row.account_id not in intended.accounts:
        return broken(
            Reason.WRONG_ACCOUNT,
            f"billed to account id {row.account_id} ({row.account_name[:100]!r}), "
            f"which no manifest binds to {intended.group}",
        )
    if row.model != intended.shadow_model:
        return broken(Reason.WRONG_MODEL, f"billed as model {row.model!r}, not {intended.shadow_model!r}")
    if row.upstream_model not in (None, "", intended.shadow_model):
        return broken(
            Reason.WRONG_MODEL,
            f"model {row.upstream_model!r} was sent upstream, not {intended.shadow_model!r}",
        )
    return Verdict(Status.HOLDS, Reason.OK, _note(row, intended))


def judge_bindings(before: Sequence[str], after: Sequence[str]) -> Verdict:
    """Judge which groups an account serves before its proof and after: the same, ours for the proof gone."""
    left = [name for name in after if name.startswith(TEMPORARY)]
    if left:
        return broken(Reason.LEFT_BEHIND, f"the account still serves {', '.join(left)}"[:300])
    if sorted(name for name in before if not name.startswith(TEMPORARY)) != sorted(after):
        said = f"it served {', '.join(before) or 'none'} before, and {', '.join(after) or 'none'} after"
        return inconclusive(Reason.BINDINGS_CHANGED, said[:300])
    return HOLDS


def _note(row: UsageRow, intended: Intended) -> str:
    answered = row.upstream_response_model
    if answered and answered != intended.shadow_model:
        return f"the upstream's answer named {answered[:100]!r}"
    return ""
