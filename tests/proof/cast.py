"""A named cast: proofs of the example manifests as the chain records them, made by the judges themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from reconciler.cli.options import read_manifests
from reconciler.hosts.contract import UsageRow
from reconciler.manifest import ManifestSet
from reconciler.proof import judge
from reconciler.proof.judge import Intended, Policy, Standing, Verdict
from reconciler.proof.model import Grade, Link, LinkResult, PathKey, PathProof, Reason, Status
from reconciler.proof.record import describe_row, intended_json

ROOT = Path(__file__).parents[2]
NOW = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
REQUEST = "18f3416455044b40a9130b5f88b240ec"
CORRELATION = "8ac94fa4-5f14-4e03-84d2-6e7fb834796d"
PROBE = "probe-62cf785b993e3e443c456e11"


@cache
def manifests() -> ManifestSet:
    return read_manifests([str(ROOT / "manifests")])


def overflow(**changes: Any) -> Intended:
    """Route chat-overflow for the public model smart: two better routes, account east-alpha-overflow."""
    intended = Intended(
        key=PathKey("chat-overflow", "smart"),
        revision=2,
        logical_group="chat",
        public_model="smart",
        managed_key="chat-app",
        host="east",
        group="east-overflow",
        group_id="2",
        shadow_model="gpt-4.1",
        gateway_key="east-overflow",
        key_id="1",
        accounts={"1": "east-alpha-overflow"},
        better=frozenset({"chat-east", "chat-west"}),
        in_service=False,
        configured=judge.HOLDS,
        policy=Policy(),
    )
    return configured(replace(intended, **changes))


def configured(wanted: Intended, **stands: Any) -> Intended:
    """Return an intent for which all stands that it needs, but for what is given, and judged so."""
    accounts = sorted(wanted.accounts.values())
    asked = {
        "revision": wanted.revision,
        "route": wanted.key.route,
        "model": wanted.key.model,
        "host": wanted.host,
        "group": wanted.group,
        "groupId": wanted.group_id,
        "shadowModel": wanted.shadow_model,
        "gatewayKey": wanted.gateway_key,
        "gatewayKeyVersion": "v1",
    }
    answered = {
        "inRevision": True,
        "groupId": wanted.group_id,
        "accounts": accounts,
        "leaving": [],
        "foreign": [],
        "serving": accounts,
        "keyHeld": True,
    }
    standing = Standing(asked, {**answered, **stands})
    return replace(wanted, configured=judge.judge_configured(standing), standing=standing)


def alpha(**changes: Any) -> Intended:
    """Account east-alpha for the shadow model o4-mini, through its temporary group."""
    intended = overflow(
        key=PathKey("", "o4-mini", "east-alpha"),
        revision=0,
        logical_group="",
        public_model="o4-mini",
        managed_key=None,
        group="quarantine-east-alpha-5cc52145",
        group_id="4",
        shadow_model="o4-mini",
        gateway_key="quarantine-east-alpha-5cc52145",
        key_id="3",
        accounts={"2": "east-alpha"},
        better=frozenset(),
    )
    return replace(intended, **changes)


def usage_row(intended: Intended, **changes: Any) -> UsageRow:
    """The row that proves it."""
    account_id, account = next(iter(intended.accounts.items()))
    row = UsageRow(
        row_id="15",
        correlation_id=CORRELATION,
        group_id=intended.group_id,
        account_id=account_id,
        account_name=account,
        key_id=intended.key_id or "1",
        model=intended.shadow_model,
        upstream_model=intended.shadow_model,
        upstream_response_model=intended.shadow_model,
        recorded_at=NOW + timedelta(seconds=1),
        input_tokens=19,
        output_tokens=3,
        cost_usd=0.000125,
        session_id="canary-session",
        user_agent="canary-agent",
    )
    return replace(row, **changes)


def decision(intended: Intended, **changes: Any) -> dict[str, Any]:
    """The gateway's row of the probe."""
    return {
        "request_id": REQUEST,
        "at": "2030-01-02T03:04:05.800Z",
        "revision": intended.revision,
        "managed_key": intended.managed_key,
        "logical_group": intended.logical_group,
        "public_model": intended.public_model,
        "endpoint": "/v1/chat/completions",
        "session": None,
        "route_id": intended.key.route,
        "shadow_host_id": intended.host,
        "shadow_group_id": intended.group_id,
        "shadow_model": intended.shadow_model,
        "gateway_key_source": intended.gateway_key,
        "status": 200,
        "upstream_status": 200,
        "correlation_id": CORRELATION,
        "attempts": [
            {
                "route_id": intended.key.route,
                "shadow_host_id": intended.host,
                "upstream_status": 200,
                "correlation_id": CORRELATION,
                "failure_class": None,
                "fault": None,
                "duration_ms": 54.701,
            }
        ],
        "cause": "failover",
        "duration_ms": 57.893,
        "stream": False,
        "probe": PROBE,
        "namespace": "probe-f7bdb1616577411f-0",
        "input_tokens": 19,
        "output_tokens": 3,
        **changes,
    }


def resolution(intended: Intended, **changes: Any) -> dict[str, Any]:
    """The resolver's answer."""
    return {
        "revision": intended.revision,
        "logical_group": intended.logical_group,
        "public_model": intended.public_model,
        "route_id": intended.key.route,
        "shadow_host_id": intended.host,
        "shadow_group": intended.group,
        "shadow_group_id": intended.group_id,
        "shadow_model": intended.shadow_model,
        "gateway_key_source": intended.gateway_key,
        "cause": "failover",
        "error": None,
        **changes,
    }


def route_proof(
    intended: Intended | None = None,
    *,
    state: Mapping[str, Any] | None = None,
    resolved: Mapping[str, Any] | None = None,
    status: int = 200,
    row: Mapping[str, Any] | None = None,
    rows: Sequence[UsageRow] | None = None,
    waited_s: float = 0.4,
    clean: Verdict = judge.HOLDS,
    observed_at: datetime = NOW,
) -> PathProof:
    """Record a chain as `proof.chain` does: by default all six links hold; what is given is judged."""
    wanted = intended or overflow()
    answered = dict(resolved or resolution(wanted))
    decided = dict(row or decision(wanted, status=status))
    found = list(rows) if rows is not None else [usage_row(wanted)]
    served = {"status": status, "requestId": REQUEST, "correlationId": CORRELATION, "decision": decided}
    steps: list[tuple[Link, Verdict, Mapping[str, Any], Mapping[str, Any]]] = [
        (Link.CONFIGURED, wanted.configured, wanted.standing.asked, wanted.standing.answered),
        (Link.RUNTIME, judge.judge_runtime(wanted, state), {"route": wanted.key.route}, state or {}),
        (
            Link.RESOLVED,
            judge.judge_resolution(wanted, answered),
            {
                "managed_key": wanted.managed_key,
                "public_model": wanted.public_model,
                "revision": wanted.revision,
                "unavailable": sorted(wanted.better),
            },
            answered,
        ),
        (
            Link.SERVED,
            judge.judge_decision(wanted, status, decided),
            {"endpoint": "/v1/chat/completions", "model": wanted.public_model, "probe": PROBE},
            served,
        ),
        (
            Link.PROVED,
            judge.judge_rows(wanted, found, Grade.EXACT, late=judge.lateness(waited_s, 30)),
            {"correlationId": CORRELATION, "deadlineSeconds": 30},
            {"rows": [describe_row(each) for each in found], "waitedSeconds": waited_s},
        ),
    ]
    return _chain(wanted, steps, found, clean, observed_at, through_gateway=True)


def account_proof(
    intended: Intended | None = None,
    *,
    status: int = 200,
    rows: Sequence[UsageRow] | None = None,
    observed_at: datetime = NOW,
) -> PathProof:
    """Record an account's chain as `proof.accounts` does."""
    wanted = intended or alpha()
    found = list(rows) if rows is not None else [usage_row(wanted)]
    served = (
        judge.HOLDS
        if status == 200
        else judge.broken(
            Reason.UPSTREAM_REFUSED, f"account {wanted.key.account} did not serve: status {status}"
        )
    )
    steps: list[tuple[Link, Verdict, Mapping[str, Any], Mapping[str, Any]]] = [
        (
            Link.SERVED,
            served,
            {"endpoint": "/v1/chat/completions", "model": wanted.shadow_model, "through": wanted.group},
            {"status": status, "correlationId": CORRELATION if status == 200 else None},
        ),
        (
            Link.PROVED,
            judge.judge_usage(wanted, found),
            {"correlationId": CORRELATION},
            {"rows": [describe_row(each) for each in found]},
        ),
    ]
    return _chain(wanted, steps, found, judge.HOLDS, observed_at, through_gateway=False)


def _chain(
    wanted: Intended,
    steps: Sequence[tuple[Link, Verdict, Mapping[str, Any], Mapping[str, Any]]],
    found: Sequence[UsageRow],
    clean: Verdict,
    observed_at: datetime,
    *,
    through_gateway: bool,
) -> PathProof:
    links: list[LinkResult] = []
    for number, (link, verdict, asked, answered) in enumerate(steps):
        at = observed_at + timedelta(milliseconds=20 * number)
        links.append(
            LinkResult(link, verdict.status, verdict.reason, verdict.message, at, 19.6, asked, answered)
        )
        if verdict.status is not Status.HOLDS:
            break
    at = observed_at + timedelta(seconds=2)
    links.append(LinkResult(Link.CLEAN, clean.status, clean.reason, clean.message, at, 9.3))
    reached = {result.link: result for result in links}
    served, proved = reached.get(Link.SERVED), reached.get(Link.PROVED)
    row = found[0] if proved and found else None
    return PathProof(
        key=wanted.key,
        links=tuple(links),
        grade=Grade.EXACT if proved and proved.status is Status.HOLDS else Grade.NONE,
        revision=wanted.revision if through_gateway else None,
        request_id=served.answered.get("requestId") if served else None,
        correlation_id=served.answered.get("correlationId") if served else None,
        host=wanted.host,
        group=wanted.group,
        account=wanted.accounts.get(row.account_id) if row else None,
        model=(row.upstream_model or row.model) if row else None,
        usage_log_id=row.row_id if row else None,
        observed_at=observed_at,
        intended=intended_json(wanted),
    )


def every_kind_of_proof() -> dict[str, PathProof]:
    """One proof of each way a chain can end."""
    wanted = overflow()
    in_service = overflow(in_service=True)
    return {
        "proved": route_proof(),
        "account proved": account_proof(),
        "account refused": account_proof(status=502),
        "account billed elsewhere": account_proof(rows=[usage_row(alpha(), account_id="9")]),
        "not configured": route_proof(configured(wanted, groupId=None)),
        "host unknown": route_proof(configured(wanted, unknown="no answer")),
        "stranger in the group": route_proof(configured(wanted, foreign=["o'brien"])),
        "key not held": route_proof(configured(wanted, keyHeld=False)),
        "cooling": route_proof(
            in_service,
            state={"route_id": "chat-overflow", "state": "open", "open_until": "2030-01-02T03:05:00Z"},
        ),
        "resolved elsewhere": route_proof(resolved=resolution(wanted, route_id="chat-west")),
        "sticky elsewhere": route_proof(resolved=resolution(wanted, route_id="chat-west", cause="sticky")),
        "refused": route_proof(status=502),
        "failed over": route_proof(row=decision(wanted, route_id="chat-west")),
        "wrong revision": route_proof(row=decision(wanted, revision=1)),
        "row missing": route_proof(rows=[]),
        "row late": route_proof(waited_s=31.6),
        "late row of another group": route_proof(rows=[usage_row(wanted, group_id="3")], waited_s=31.6),
        "two rows": route_proof(rows=[usage_row(wanted), usage_row(wanted, row_id="16")]),
        "wrong group": route_proof(rows=[usage_row(wanted, group_id="3")]),
        "wrong account": route_proof(rows=[usage_row(wanted, account_id="9", account_name="somebody")]),
        "wrong model": route_proof(rows=[usage_row(wanted, upstream_model="gpt-3.5")]),
        "wrong key": route_proof(rows=[usage_row(wanted, key_id="7")]),
        "left behind": route_proof(clean=judge.broken(Reason.LEFT_BEHIND, "namespace")),
        "not tried": not_tried(),
    }


def not_tried() -> PathProof:
    """What is recorded of an account whose host could not be read."""
    served = LinkResult(Link.SERVED, Status.INCONCLUSIVE, Reason.HOST_UNKNOWN, "no answer", NOW)
    left = LinkResult(Link.CLEAN, Status.INCONCLUSIVE, Reason.LEFT_BEHIND, "no answer", NOW)
    return PathProof(PathKey("", "o4-mini", "east-alpha"), (served, left), host="east", observed_at=NOW)
