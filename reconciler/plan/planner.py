"""The plan: a pure function of what is desired, observed and remembered. The same input gives the same plan.

1. Match every desired object with what stands on its plane (`match`).
2. Compare field by field, and say when each edit may be made (`diff`, `classes`).
3. Leave out what stands on something that is left out.
4. See what goes (`deletion`, `twins`), who serves what before and after (`impact`), and how dangerous it is (`risk`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, replace
from typing import Any

from reconciler.manifest import Location
from reconciler.plan import impact, order, risk
from reconciler.plan.decide import Known, decide, known_from, unknown_entries
from reconciler.plan.deletion import Wanted, leftovers
from reconciler.plan.model import (
    CONTROL,
    RETIRED,
    Change,
    DesiredObject,
    InventoryEntry,
    ObjectKey,
    ObservedObject,
    Plan,
    PlaneObservation,
)
from reconciler.plan.service import Usage
from reconciler.plan.twins import twins
from reconciler.plan.values import canonical_json


def plan(
    desired: Sequence[DesiredObject],
    observations: Mapping[str, PlaneObservation],
    inventory: Sequence[InventoryEntry],
    *,
    installation: str,
    document_before: Mapping[str, Any],
    document_after: Mapping[str, Any],
    suspended: Mapping[ObjectKey, Location | None] | None = None,
    retained_documents: Sequence[Mapping[str, Any]] = (),
    warnings: Sequence[str] = (),
) -> Plan:
    """Return everything that apply would do, and what it would not, with the reasons.

    `document_before` is the active configuration, `document_after` the one to be staged; `retained_documents` are
    others that may become active, whose host objects stay. `suspended` names objects that nothing is done to, with
    the place of their manifest. Planes that are missing from `observations` are as unknown as those that say so.

    Raises: InvalidInput when a configuration document is one that the data plane would refuse, ValueError when desired
    objects depend on each other in a circle or two have the same key.
    """
    paused = dict(suspended or {})
    known = known_from(desired, observations, inventory, installation=installation, document=document_before)
    documents = [Usage(document_after), *(Usage(document) for document in retained_documents)]
    skipped, changes = decide(known, observations, paused)
    unmoved = {each.key for each in skipped}
    rest = leftovers(inventory, known.planes, _wanted(known, paused, documents, _carrying(unmoved, known)))
    skipped += rest.skipped + unknown_entries(known, observations, paused)
    seconds = twins(known.matches, changes, inventory, [known.active, *documents])
    before = impact.configuration(document_before, "before")
    after = impact.configuration(document_after, "after")
    rows = impact.impact(before, after)
    assessed = _assessed([*changes, *rest.changes, *seconds.changes], known, documents[0], risk.routing(rows))
    touched = {change.key: _touched(change.key, known) for change in assessed}
    made = Plan(
        changes=tuple(sorted(assessed, key=order.sort_key)),
        impact=rows,
        skipped=tuple(sorted(skipped, key=lambda each: (each.key, each.reason))),
        warnings=tuple(sorted({*warnings, *rest.warnings, *seconds.warnings})),
        base_revision=_revision(observations),
        affected=impact.affected_paths(before, after, rows, assessed, touched),
        forget=tuple(rest.forget),
    )
    return replace(made, digest=digest(made))


def digest(made: Plan) -> str:
    """Return the SHA-256, in hex, of everything that a plan says, its own digest and source places left out.

    Two plans with the same digest do the same, even if a manifest moved to another line or file in between.
    """
    said = [
        [_bare(change) for change in made.changes],
        [astuple(row) for row in made.impact],
        [[each.key, each.reason, each.message] for each in made.skipped],
        made.warnings,
        made.base_revision,
    ]
    return hashlib.sha256(canonical_json(said).encode()).hexdigest()


def _bare(change: Change) -> list[Any]:
    fields = [[each.path, each.before, each.after, each.sensitive] for each in change.fields]
    return [change.action, change.key, change.change_class, change.object_id, fields]


def _carrying(unmoved: Iterable[ObjectKey], known: Known) -> frozenset[ObjectKey]:
    """Return the groups on which accounts and keys stand that nothing is planned for."""
    return frozenset(
        ObjectKey(key.plane, "ShadowGroup", str(name))
        for key in unmoved
        if (seen := _seen(key, known)) is not None
        for name in (*(seen.fields.get("groups") or ()), seen.fields.get("group"))
        if name
    )


def _wanted(
    known: Known,
    suspended: Mapping[ObjectKey, Location | None],
    documents: Sequence[Usage],
    carrying: frozenset[ObjectKey],
) -> Wanted:
    claimed = {
        (key.plane, match.observed.kind, match.observed.object_id)
        for key, match in known.matches.items()
        if match.observed is not None
    }
    return Wanted(
        keys=known.desired.keys() | suspended.keys(),
        claimed=claimed,
        active=known.active,
        kept=documents,
        carrying=carrying,
    )


def _assessed(changes: Iterable[Change], known: Known, after: Usage, to: risk.Routing) -> list[Change]:
    found = []
    for change in changes:
        wanted = known.desired.get(change.key)
        models = after.through(change.key, wanted.fields) if wanted else frozenset()
        found.append(risk.assess(change, models | frozenset(change.serves), to))
    return found


def _touched(key: ObjectKey, known: Known) -> tuple[ObjectKey, ...]:
    """Return the objects whose paths a change of this one can alter."""
    if key.kind != "ProviderAccount":
        return (key._replace(name=key.name.partition(RETIRED)[0]),)
    groups: set[str] = set()
    wanted, seen = known.desired.get(key), _seen(key, known)
    for fields in (wanted.fields if wanted else {}, seen.fields if seen else {}):
        groups.update(str(name) for name in fields.get("groups") or ())
    return tuple(ObjectKey(key.plane, "ShadowGroup", name) for name in sorted(groups))


def _seen(key: ObjectKey, known: Known) -> ObservedObject | None:
    """Return what stands on its plane for a key, if anything does and the plane can be read."""
    match, entry, plane = known.matches.get(key), known.entries.get(key), known.planes.get(key.plane)
    if match is not None:
        return match.observed
    return plane.by_id.get((key.kind, entry.object_id)) if entry and plane else None


def _revision(observations: Mapping[str, PlaneObservation]) -> int | None:
    seen = observations.get(CONTROL)
    return seen.revision if seen is not None else None
