"""Give the statuses that an earlier version stored an end: it did not say until when what it found may be relied on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

DEFAULT_FRESHNESS_S = 86_400.0
"""What is demanded where no Acceptance says otherwise; proofs of the earliest versions do not say."""
RESTS_ON_PROOF = frozenset({"Proved", "Ready"})
STATUSES = sa.table(
    "statuses",
    sa.column("kind", sa.String),
    sa.column("name", sa.String),
    sa.column("conditions", sa.JSON),
    sa.column("proofs", sa.JSON),
)


def upgrade() -> None:
    """Let each True condition that rests on proofs end with the first of them; without one, with the first of all."""
    connection = op.get_bind()
    rows = connection.execute(sa.select(STATUSES)).all()
    first_of_all = _first_end(proof for row in rows for proof in row.proofs)
    for row in rows:
        end = _first_end(row.proofs) or first_of_all or datetime.fromtimestamp(0, UTC)
        conditions = [_ending(each, end) for each in row.conditions]
        if conditions != row.conditions:
            same = (STATUSES.c.kind == row.kind) & (STATUSES.c.name == row.name)
            connection.execute(sa.update(STATUSES).where(same).values(conditions=conditions))


def downgrade() -> None:
    """Leave them: an earlier version does not look at the end."""


def _ending(condition: Mapping[str, Any], end: datetime) -> dict[str, Any]:
    known = dict(condition)
    if "until" in known or known["status"] != "True" or known["type"] not in RESTS_ON_PROOF:
        return known
    message = "stored by an earlier version, and the proof is too old; run reconcile verify"
    return {**known, "until": {"at": end.isoformat(), "reason": "Stale", "message": message}}


def _first_end(proofs: Iterable[Mapping[str, Any]]) -> datetime | None:
    return min((end for proof in proofs if (end := _end(proof)) is not None), default=None)


def _end(proof: Mapping[str, Any]) -> datetime | None:
    if not proof.get("observedAt"):
        return None
    fresh_s = (proof.get("intended") or {}).get("freshnessSeconds", DEFAULT_FRESHNESS_S)
    return datetime.fromisoformat(proof["observedAt"]) + timedelta(seconds=float(fresh_s))
