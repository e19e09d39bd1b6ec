"""The latest proof of each path, and where the evidence files are."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, select

from reconciler.state import tables
from reconciler.state.database import upsert
from reconciler.state.leases import Leased
from reconciler.state.model import EvidenceRecord, Lease, ProofRecord
from reconciler.state.texts import storable_json


class Proofs(Leased):
    """One row per (route, public model, account)."""

    def put_proof(self, record: ProofRecord, lease: Lease | None = None) -> bool:
        """Keep a proof unless a newer one of the same path is known; return whether it was kept. Raises LeaseLost."""
        with self._write_maybe_leased(lease) as connection:
            return self._put(connection, record)

    def put_proofs(self, records: Iterable[ProofRecord], lease: Lease | None = None) -> None:
        """Keep several proofs as `put_proof` does, all of them or none. Raises LeaseLost."""
        with self._write_maybe_leased(lease) as connection:
            for record in records:
                self._put(connection, record)

    def _put(self, connection: Connection, record: ProofRecord) -> bool:
        columns = tables.proofs.c
        values = {
            "route": record.route or "",
            "public_model": record.public_model,
            "account": record.account or "",
            "observed_at": record.observed_at,
            "body": storable_json(record.body),
        }
        same = (
            (columns.route == values["route"])
            & (columns.public_model == record.public_model)
            & (columns.account == values["account"])
        )
        known = connection.execute(select(columns.observed_at).where(same).with_for_update()).scalar()
        if known is not None and known > record.observed_at:
            return False
        upsert(connection, tables.proofs, values)
        return True

    def latest_proofs(self) -> tuple[ProofRecord, ...]:
        """Return the newest proof of every path, sorted by route, public model and account."""
        with self._database.read() as connection:
            rows = connection.execute(select(tables.proofs)).all()
        records = (
            ProofRecord(row.route or None, row.public_model, row.account or None, row.observed_at, row.body)
            for row in rows
        )
        return tuple(
            sorted(records, key=lambda each: (each.route or "", each.public_model, each.account or ""))
        )

    def drop_proof(self, route: str | None, public_model: str, account: str | None, lease: Lease) -> None:
        """Forget the proof of a path that is gone. Raises LeaseLost."""
        columns = tables.proofs.c
        same = (columns.route == (route or "")) & (columns.account == (account or ""))
        with self._write(lease) as connection:
            connection.execute(delete(tables.proofs).where(same, columns.public_model == public_model))


class EvidenceIndex(Leased):
    """Which evidence files there are. The files themselves are the proof room's."""

    def add_evidence(self, record: EvidenceRecord, lease: Lease | None = None) -> None:
        """Enter a file; the same id again replaces the entry. Raises LeaseLost."""
        values = {
            "id": record.id,
            "recorded_at": record.recorded_at,
            "verdict": record.verdict,
            "grade": record.grade,
            "location": record.location,
            "route": record.route,
            "public_model": record.public_model,
            "account": record.account,
            "revision": record.revision,
            "body": storable_json(record.body),
        }
        with self._write_maybe_leased(lease) as connection:
            upsert(connection, tables.evidence, values)

    def evidence(
        self,
        *,
        evidence_id: str | None = None,
        route: str | None = None,
        public_model: str | None = None,
        account: str | None = None,
        verdict: str | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        limit: int = 100,
    ) -> tuple[EvidenceRecord, ...]:
        """Return the newest entries that fit every filter given, newest first; `since` is included, `before` is not."""
        columns = tables.evidence.c
        statement = select(tables.evidence).order_by(columns.recorded_at.desc(), columns.id).limit(limit)
        filters = {
            "id": evidence_id,
            "route": route,
            "public_model": public_model,
            "account": account,
            "verdict": verdict,
        }
        for name, wanted in filters.items():
            if wanted is not None:
                statement = statement.where(columns[name] == wanted)
        if since is not None:
            statement = statement.where(columns.recorded_at >= since)
        if before is not None:
            statement = statement.where(columns.recorded_at < before)
        with self._database.read() as connection:
            return tuple(map(_record, connection.execute(statement).all()))

    def forget_evidence(self, evidence_id: str, lease: Lease | None = None) -> None:
        """Drop the entry of a file that is gone; nothing happens when there is none. Raises LeaseLost."""
        with self._write_maybe_leased(lease) as connection:
            connection.execute(delete(tables.evidence).where(tables.evidence.c.id == evidence_id))


def _record(row: Row[Any]) -> EvidenceRecord:
    return EvidenceRecord(
        id=row.id,
        recorded_at=row.recorded_at,
        verdict=row.verdict,
        grade=row.grade,
        location=row.location,
        route=row.route,
        public_model=row.public_model,
        account=row.account,
        revision=row.revision,
        body=row.body,
    )
