"""The cast of the proof tests: one intended path, one usage row that proves it, and one chain that holds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from reconciler.hosts.contract import UsageRow
from reconciler.proof import judge
from reconciler.proof.judge import Intended, Policy
from reconciler.proof.model import Grade, Link, LinkResult, PathKey, PathProof, Reason, Status

NOW = datetime(2027, 1, 15, 12, tzinfo=UTC)


def intended(**changes: Any) -> Intended:
    plain: dict[str, Any] = {
        "key": PathKey("near", "smart"), "revision": 7, "logical_group": "chat", "public_model": "smart",
        "managed_key": "app", "host": "east", "group": "east-chat", "group_id": "1", "shadow_model": "gpt-large",
        "gateway_key": "east-chat", "key_id": "5", "accounts": {"11": "alpha"}, "better": frozenset(),
        "in_service": True, "configured": judge.HOLDS, "policy": Policy(),
    }  # fmt: skip
    return Intended(**{**plain, **changes})


def row(**changes: Any) -> UsageRow:
    plain: dict[str, Any] = {
        "row_id": "1", "correlation_id": "c-1", "group_id": "1", "account_id": "11", "account_name": "alpha",
        "key_id": "5", "model": "gpt-large", "upstream_model": None, "upstream_response_model": None,
        "recorded_at": NOW,
    }  # fmt: skip
    return UsageRow(**{**plain, **changes})


def link(name: Link, status: Status = Status.HOLDS, reason: Reason = Reason.OK) -> LinkResult:
    return LinkResult(name, status, reason, "what was seen", NOW)


def proof(key: PathKey, *spoiled: LinkResult, **changes: Any) -> PathProof:
    """Return a chain that holds, with some links replaced."""
    links = [link(each) for each in (Link if key.route else (Link.SERVED, Link.PROVED, Link.CLEAN))]
    whole = PathProof(
        key, tuple(links), **{"grade": Grade.EXACT, "observed_at": NOW, "host": "east", **changes}
    )
    for each in spoiled:
        whole = whole.with_link(each)
    return whole
