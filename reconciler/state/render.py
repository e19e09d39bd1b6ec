"""Statuses and events as JSON for other programs: camelCase, times in RFC 3339 with `Z`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from reconciler.state.model import Condition, Event, Status


def status_document(statuses: Iterable[Status]) -> dict[str, Any]:
    """Return `{"items": [...]}`, sorted by kind and name."""
    ordered = sorted(statuses, key=lambda status: (status.kind, status.name))
    return {"items": [status_item(status) for status in ordered]}


def status_json(statuses: Iterable[Status]) -> bytes:
    """Return the status document as JSON: sorted keys, two spaces of indent, one newline at the end."""
    return json.dumps(status_document(statuses), sort_keys=True, indent=2).encode() + b"\n"


def status_item(status: Status) -> dict[str, Any]:
    """Return one manifest's entry of the status document."""
    return {
        "apiVersion": status.api_version,
        "kind": status.kind,
        "metadata": {"name": status.name},
        "status": {
            "observedGeneration": status.observed_generation,
            "revision": status.revision,
            "conditions": [_condition(each) for each in status.conditions],
            "proofs": [dict(proof) for proof in status.proofs],
        },
    }


def _condition(condition: Condition) -> dict[str, Any]:
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": condition.observed_generation,
        "lastTransitionTime": timestamp(condition.last_transition_time),
    }


def event_item(event: Event) -> dict[str, Any]:
    """Return one event as plain JSON."""
    return {
        "kind": event.kind,
        "name": event.name,
        "type": event.type,
        "reason": event.reason,
        "message": event.message,
        "count": event.count,
        "firstAt": timestamp(event.first_at),
        "lastAt": timestamp(event.last_at),
    }


def timestamp(moment: datetime | None) -> str | None:
    """Return a time as RFC 3339 in UTC, to the second where it is one; None for None."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment is not None else None
