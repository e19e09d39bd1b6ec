"""Twins: more than one object on a host that carries the marker of one manifest.

A replacement makes a second object on purpose. If the answer to that was lost, and the manifest was brought back
before the next run, nobody desires the second one and the inventory never heard of it. It goes when inventory and
marker prove that it is ours and not the one in service, and nothing leads to it; else it is told of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from reconciler.plan.match import Match
from reconciler.plan.model import (
    Action,
    Change,
    ChangeClass,
    InventoryEntry,
    ObjectKey,
    ObservedObject,
    retired,
)
from reconciler.plan.service import Usage

REPLACED_KINDS = frozenset({"ProviderAccount", "GatewayKey"})
"""Kinds of which a replacement makes a second one."""


@dataclass
class Twins:
    """What becomes of them."""

    changes: list[Change] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def twins(
    matches: Mapping[ObjectKey, Match],
    planned: Iterable[Change],
    inventory: Sequence[InventoryEntry],
    usages: Sequence[Usage],
) -> Twins:
    """Return deletions of the twins that are surely left over, and a warning of every other one.

    One whose manifest asks for a replacement stays: the replacement may be that very twin, and finds it.
    """
    remembered = {(entry.key.plane, entry.key.kind, entry.object_id) for entry in inventory}
    settled = {change.key for change in planned if change.change_class is not ChangeClass.REPLACE}
    found = Twins()
    for key, match in sorted(matches.items()):
        staying = []
        for twin in match.twins:
            left_over = match.known and key.kind in REPLACED_KINDS and key in settled
            place = (key.plane, key.kind, twin.object_id)
            if left_over and place not in remembered and not _leads_to(key, twin, usages):
                found.changes.append(_deletion(key, twin))
            else:
                staying.append(twin.object_id)
        if staying:
            found.warnings.append(_warning(key, match, staying))
    return found


def _leads_to(key: ObjectKey, twin: ObservedObject, usages: Sequence[Usage]) -> bool:
    """True when a document sends traffic to an account. A key's twin has a value that no gateway was ever given."""
    return key.kind == "ProviderAccount" and any(usage.in_service(key, twin.fields) for usage in usages)


def _deletion(key: ObjectKey, twin: ObservedObject) -> Change:
    return Change(
        Action.DELETE,
        retired(key, twin.object_id),
        ChangeClass.CONTRACT,
        object_id=twin.object_id,
        reason=f"a replacement of {key.kind}/{key.name} that was broken off left it behind",
    )


def _warning(key: ObjectKey, match: Match, staying: Sequence[str]) -> str:
    chosen = match.observed.object_id if match.observed is not None else "unknown"
    return (
        f"{key.plane}: {key.kind}/{key.name} is id {chosen}, but its marker also stands on id "
        f"{', '.join(staying)}; that one is left alone: delete it by hand if nobody needs it"
    )
