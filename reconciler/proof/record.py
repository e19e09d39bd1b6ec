"""What a path was intended to be, and the usage rows found for it, as plain JSON and back.

A proof keeps the intent it was judged against, so that anyone can judge it again later from the record alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from reconciler.hosts.contract import UsageRow
from reconciler.proof.judge import Intended, Policy, Verdict
from reconciler.proof.model import Grade, PathKey, Reason, Status


def intended_json(intended: Intended) -> dict[str, Any]:
    """Return what a path was intended to be. Its key is not in it: that stands with the proof."""
    return {
        "revision": intended.revision,
        "logicalGroup": intended.logical_group,
        "publicModel": intended.public_model,
        "managedKey": intended.managed_key,
        "host": intended.host,
        "group": intended.group,
        "groupId": intended.group_id,
        "shadowModel": intended.shadow_model,
        "gatewayKey": intended.gateway_key,
        "keyId": intended.key_id,
        "accounts": dict(intended.accounts),
        "better": sorted(intended.better),
        "inService": intended.in_service,
        "configured": {
            "status": intended.configured.status.value,
            "reason": intended.configured.reason.value,
        },
        "minimumGrade": intended.policy.minimum_grade.value,
        "freshnessSeconds": intended.policy.freshness_s,
    }


def intended_from(key: PathKey, body: Mapping[str, Any]) -> Intended:
    """Return the intent that `intended_json` wrote. Raises KeyError and ValueError for a body of another shape."""
    configured = body["configured"]
    return Intended(
        key=key,
        revision=body["revision"],
        logical_group=body["logicalGroup"],
        public_model=body["publicModel"],
        managed_key=body["managedKey"],
        host=body["host"],
        group=body["group"],
        group_id=body["groupId"],
        shadow_model=body["shadowModel"],
        gateway_key=body["gatewayKey"],
        key_id=body["keyId"],
        accounts=body["accounts"],
        better=frozenset(body["better"]),
        in_service=body["inService"],
        configured=Verdict(Status(configured["status"]), Reason(configured["reason"]), ""),
        policy=Policy(minimum_grade=Grade(body["minimumGrade"]), freshness_s=body["freshnessSeconds"]),
    )


def describe_row(row: UsageRow) -> dict[str, Any]:
    """Return the parts of a usage row that evidence keeps."""
    return {
        "id": row.row_id,
        "correlationId": row.correlation_id,
        "groupId": row.group_id,
        "accountId": row.account_id,
        "accountName": row.account_name[:100],
        "keyId": row.key_id,
        "model": row.model,
        "upstreamModel": row.upstream_model,
        "upstreamResponseModel": row.upstream_response_model,
        "inputTokens": row.input_tokens,
        "outputTokens": row.output_tokens,
        "costUsd": row.cost_usd,
        "recordedAt": row.recorded_at.isoformat(),
    }


def row_from(body: Mapping[str, Any]) -> UsageRow:
    """Return the usage row that `describe_row` wrote. Raises KeyError and ValueError for a body of another shape."""
    return UsageRow(
        row_id=body["id"],
        correlation_id=body["correlationId"],
        group_id=body["groupId"],
        account_id=body["accountId"],
        account_name=body["accountName"],
        key_id=body["keyId"],
        model=body["model"],
        upstream_model=body["upstreamModel"],
        upstream_response_model=body["upstreamResponseModel"],
        recorded_at=datetime.fromisoformat(body["recordedAt"]),
        input_tokens=body["inputTokens"],
        output_tokens=body["outputTokens"],
        cost_usd=body["costUsd"],
    )
