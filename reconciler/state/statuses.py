"""Conditions and events of manifests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, select, update

from reconciler.state import tables
from reconciler.state.database import insert_if_absent, upsert
from reconciler.state.leases import Leased
from reconciler.state.model import Condition, Event, Expiry, Lease, Status
from reconciler.state.texts import storable, storable_json

EVENTS_PER_MANIFEST = 100
"""Different events kept of one manifest; the ones longest unseen go first."""


class Statuses(Leased):
    """The status of every manifest, one row each."""

    def put_status(self, status: Status, lease: Lease) -> Status:
        """Store a status and return it as stored.

        A condition whose `status` is what the one stored before says as of now keeps its `last_transition_time`; any
        other gets the time of now. Raises LeaseLost.
        """
        return self.put_statuses((status,), lease)[0]

    def put_statuses(self, statuses: Iterable[Status], lease: Lease) -> tuple[Status, ...]:
        """Store several statuses, all of them or none, and return them as stored. Raises LeaseLost."""
        stored = []
        with self._write(lease) as connection:
            # All rows in one question: there may be thousands of statuses, and nobody else writes meanwhile.
            rows = connection.execute(select(tables.statuses)).all()
            known = {(row.kind, row.name): row for row in rows}
            for status in statuses:
                row = known.get((status.kind, status.name))
                before = _from_row(row) if row is not None else None
                settled = _settled(status, before, self._now())
                if settled != before:
                    upsert(connection, tables.statuses, _to_row(settled))
                stored.append(settled)
        return tuple(stored)

    def drop_statuses(self, manifests: Iterable[tuple[str, str]], lease: Lease) -> None:
        """Forget the statuses of manifests that are gone, given as (kind, name). Raises LeaseLost."""
        columns = tables.statuses.c
        with self._write(lease) as connection:
            for kind, name in manifests:
                same = (columns.kind == kind) & (columns.name == name)
                connection.execute(delete(tables.statuses).where(same))

    def status(self, kind: str, name: str) -> Status | None:
        """Return a manifest's status as of now, or None."""
        with self._database.read() as connection:
            found = _load(connection, kind, name)
        return found.as_of(self._now()) if found is not None else None

    def statuses(self) -> tuple[Status, ...]:
        """Return every status as of now, sorted by kind and name."""
        now = self._now()
        return tuple(status.as_of(now) for status in self.written_statuses())

    def written_statuses(self) -> tuple[Status, ...]:
        """Return every status as it was written, whatever has become too old since; sorted by kind and name."""
        with self._database.read() as connection:
            rows = connection.execute(select(tables.statuses)).all()
        return tuple(sorted(map(_from_row, rows), key=lambda status: (status.kind, status.name)))


def _settled(status: Status, before: Status | None, now: datetime) -> Status:
    conditions = []
    shown = before.as_of(now) if before else None
    for condition in status.conditions:
        old = shown.condition(condition.type) if shown else None
        since = old.last_transition_time if old and old.status == condition.status else None
        text, end = storable(condition.message), condition.until
        until = replace(end, message=storable(end.message)) if end else None
        conditions.append(replace(condition, message=text, last_transition_time=since or now, until=until))
    return replace(
        status, conditions=tuple(conditions), proofs=tuple(storable_json(proof) for proof in status.proofs)
    )


def _load(connection: Connection, kind: str, name: str) -> Status | None:
    same = (tables.statuses.c.kind == kind) & (tables.statuses.c.name == name)
    row = connection.execute(select(tables.statuses).where(same)).one_or_none()
    return _from_row(row) if row is not None else None


def _to_row(status: Status) -> dict[str, Any]:
    return {
        "kind": status.kind,
        "name": status.name,
        "api_version": status.api_version,
        "observed_generation": status.observed_generation,
        "revision": status.revision,
        "conditions": [_condition_json(condition) for condition in status.conditions],
        "proofs": list(status.proofs),
    }


def _condition_json(condition: Condition) -> dict[str, Any]:
    since, end = condition.last_transition_time, condition.until
    until = {"at": end.at.isoformat(), "reason": end.reason, "message": end.message} if end else None
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "observed_generation": condition.observed_generation,
        "last_transition_time": since.isoformat() if since else None,
        "until": until,
    }


def _from_row(row: Row[Any]) -> Status:
    return Status(
        api_version=row.api_version,
        kind=row.kind,
        name=row.name,
        observed_generation=row.observed_generation,
        revision=row.revision,
        conditions=tuple(_condition(each) for each in row.conditions),
        proofs=tuple(row.proofs),
    )


def _condition(body: Mapping[str, Any]) -> Condition:
    since, end = body["last_transition_time"], body.get("until")
    times = {
        "last_transition_time": datetime.fromisoformat(since) if since else None,
        "until": Expiry(**{**end, "at": datetime.fromisoformat(end["at"])}) if end else None,
    }
    return Condition(**{**body, **times})


_EVENT = tables.events.c
_SAME = (_EVENT.kind == bindparam("of_kind")) & (_EVENT.name == bindparam("of_name"))
# Made once: that takes longer than to carry them out, and there may be thousands of events.
_SEEN_AGAIN = (
    update(tables.events)
    .where(_SAME, _EVENT.digest == bindparam("this"))
    .values(seen=_EVENT.seen + 1, last_at=bindparam("at"))
)
_KEPT = (
    select(_EVENT.digest)
    .where(_SAME)
    .order_by(_EVENT.last_at.desc(), _EVENT.digest)
    .limit(EVENTS_PER_MANIFEST)
)
_FORGET_OLDEST = delete(tables.events).where(_SAME, _EVENT.digest.not_in(_KEPT))


class Events(Leased):
    """What happened, newest first; the same thing again is counted."""

    def add_event(
        self, kind: str, name: str, event_type: str, reason: str, message: str, lease: Lease | None = None
    ) -> None:
        """Record an event of a manifest; `event_type` is "Normal" or "Warning". Raises LeaseLost."""
        self.add_events(((kind, name, event_type, reason, message),), lease)

    def add_events(
        self, happened: Iterable[tuple[str, str, str, str, str]], lease: Lease | None = None
    ) -> None:
        """Record several events, as the arguments of `add_event`, all of them or none. Raises LeaseLost."""
        with self._write_maybe_leased(lease) as connection:
            for event in happened:
                self._add(connection, *event)

    def _add(
        self, connection: Connection, kind: str, name: str, event_type: str, reason: str, message: str
    ) -> None:
        told = storable(message)
        digest = hashlib.sha256("\0".join((event_type, reason, told)).encode()).hexdigest()
        now = self._now()
        values = {
            "kind": kind,
            "name": name,
            "digest": digest,
            "type": event_type,
            "reason": reason,
            "message": told,
        }
        insert_if_absent(connection, tables.events, {**values, "seen": 0, "first_at": now, "last_at": now})
        this = {"of_kind": kind, "of_name": name, "this": digest}
        connection.execute(_SEEN_AGAIN, {**this, "at": now})
        connection.execute(_FORGET_OLDEST, this)

    def events(self, kind: str | None = None, name: str | None = None, limit: int = 100) -> tuple[Event, ...]:
        """Return the newest events, newest first; of one kind or manifest when asked."""
        columns = tables.events.c
        statement = select(tables.events).order_by(columns.last_at.desc(), columns.digest).limit(limit)
        if kind is not None:
            statement = statement.where(columns.kind == kind)
        if name is not None:
            statement = statement.where(columns.name == name)
        with self._database.read() as connection:
            rows = connection.execute(statement).all()
        return tuple(
            Event(
                kind=row.kind,
                name=row.name,
                type=row.type,
                reason=row.reason,
                message=row.message,
                count=row.seen,
                first_at=row.first_at,
                last_at=row.last_at,
            )
            for row in rows
        )
