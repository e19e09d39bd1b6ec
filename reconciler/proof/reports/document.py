"""A report as JSON."""

from __future__ import annotations

from typing import Any

from reconciler.proof.reports.model import Chain, ProofReport, State
from reconciler.state.render import timestamp


def document(report: ProofReport) -> dict[str, Any]:
    """Return the report as plain JSON, camelCase; proofs are as in the status document."""
    return {
        "madeAt": timestamp(report.made_at),
        "revision": report.revision,
        "verdict": report.worst.value if report.worst else None,
        "summary": {
            **{state.value.lower(): report.count(state) for state in State},
            "manifestsReady": report.ready,
            "manifestsAsked": report.asked,
        },
        "troubles": [
            {
                "verdict": trouble.state.value,
                "subject": trouble.subject,
                "reason": trouble.reason,
                "message": trouble.message,
                "advice": trouble.advice,
            }
            for trouble in report.troubles
        ],
        "choices": [
            {
                "logicalGroup": choice.logical_group,
                "publicModel": choice.public_model,
                "candidates": [_chain(chain) for chain in choice.chains],
            }
            for choice in report.choices
        ],
        "hosts": [
            {"host": host.host, "accounts": [_chain(chain) for chain in host.chains]} for host in report.hosts
        ],
        "drills": [drill.to_json() for drill in report.drills],
    }


def _chain(chain: Chain) -> dict[str, Any]:
    return {"verdict": chain.state.value, "evidence": chain.evidence, "proof": chain.proof.to_json()}
