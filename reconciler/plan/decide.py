"""What is done about each object that a manifest asks for: create, update, adopt, nothing, or skip it and say why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

from reconciler.manifest import Location
from reconciler.plan import classes, diff
from reconciler.plan.match import Match, PlaneIndex, index, match_all
from reconciler.plan.model import (
    CONTROL,
    RETIRED,
    UNKNOWN_UNTIL_APPLY,
    Action,
    Change,
    ChangeClass,
    DesiredObject,
    FieldChange,
    InventoryEntry,
    ObjectKey,
    ObservedObject,
    PlaneObservation,
    Skipped,
    SkipReason,
    host_plane,
)
from reconciler.plan.service import Usage
from reconciler.plan.values import canonical_json

NO_SECRET = ("", "-")
"""Fingerprints that stand for no known secret."""


@dataclass(frozen=True)
class Known:
    """All that the planner was given, looked up easily."""

    desired: Mapping[ObjectKey, DesiredObject]
    inventory: Sequence[InventoryEntry]
    entries: Mapping[ObjectKey, InventoryEntry]
    planes: Mapping[str, PlaneIndex]
    """Known planes only."""
    matches: Mapping[ObjectKey, Match]
    active: Usage


def known_from(
    desired: Sequence[DesiredObject],
    observations: Mapping[str, PlaneObservation],
    inventory: Sequence[InventoryEntry],
    *,
    installation: str,
    document: Mapping[str, Any],
) -> Known:
    """Return the planner's input, looked up easily. Raises ValueError when two desired objects have the same key."""
    wanted = {each.key: each for each in desired}
    if len(wanted) != len(desired):
        raise ValueError("two desired objects have the same key")
    planes = {
        name: index(seen, installation) for name, seen in sorted(observations.items()) if seen.unknown is None
    }
    entries = {entry.key: entry for entry in inventory}
    retired = frozenset((e.key.plane, e.key.kind, e.object_id) for e in inventory if RETIRED in e.key.name)
    return Known(
        desired=dict(sorted(wanted.items())),
        inventory=inventory,
        entries=entries,
        planes=planes,
        matches=match_all(desired, planes, entries, retired),
        active=Usage(document),
    )


def decide(
    known: Known,
    observations: Mapping[str, PlaneObservation],
    suspended: Mapping[ObjectKey, Location | None],
) -> tuple[list[Skipped], list[Change]]:
    """Return, for every desired object, either why it is skipped or what is done to it."""
    skipped: dict[ObjectKey, Skipped] = {
        key: Skipped(key, SkipReason.SUSPENDED, "it is suspended; nothing is done to it", place)
        for key, place in suspended.items()
    }
    changes: dict[ObjectKey, Change] = {}
    remade: set[ObjectKey] = set()
    # Hosts first: whether a route's fields change depends on what becomes of the group behind it.
    for key, each in sorted(known.desired.items(), key=lambda item: (item[0].plane == CONTROL, item[0])):
        if key in skipped:
            continue
        match = known.matches.get(key)
        if match is None:
            skipped[key] = _unknown(key, observations, each.source)
        elif match.conflict is not None:
            skipped[key] = match.conflict
        else:
            decided = _change(each, match, known, remade)
            if isinstance(decided, Skipped):
                skipped[key] = decided
            else:
                changes[key] = decided
            if isinstance(decided, Change) and _makes_anew(decided):
                remade.add(key)
    _skip_dependants(known, skipped, changes)
    return list(skipped.values()), list(changes.values())


def _makes_anew(change: Change) -> bool:
    return change.action is Action.CREATE or change.change_class is ChangeClass.REPLACE


def _unknown(
    key: ObjectKey, observations: Mapping[str, PlaneObservation], source: Location | None = None
) -> Skipped:
    seen = observations.get(key.plane)
    why = seen.unknown if seen is not None else "it was not looked at"
    if key.plane == CONTROL:
        message = f"the control plane could not be read ({why})"
        return Skipped(key, SkipReason.CONTROL_PLANE_UNKNOWN, message, source)
    message = f"{key.plane} could not be read ({why}); nothing on it is changed"
    return Skipped(key, SkipReason.HOST_UNKNOWN, message, source)


def unknown_entries(
    known: Known,
    observations: Mapping[str, PlaneObservation],
    suspended: Mapping[ObjectKey, Location | None],
) -> list[Skipped]:
    """Return what would be looked at for deletion if its plane could be read."""
    keys = {entry.key for entry in known.inventory if entry.key.plane not in known.planes}
    return [_unknown(key, observations) for key in sorted(keys - known.desired.keys() - suspended.keys())]


def _change(
    each: DesiredObject, match: Match, known: Known, remade: AbstractSet[ObjectKey]
) -> Change | Skipped:
    seen = match.observed
    if seen is None:
        control = each.key.plane == CONTROL
        kind = ChangeClass.REVISION if control else ChangeClass.EXPAND
        return Change(Action.CREATE, each.key, kind, fields=diff.all_fields(each), source=each.source)
    each = _claimable(each, seen, remade)
    fields = diff.compare(each, seen)
    unchanged = Change(
        Action.NOOP,
        each.key,
        ChangeClass.NONE,
        source=each.source,
        object_id=seen.object_id,
        serves=tuple(sorted(known.active.through(each.key, seen.fields))),
    )
    if match.adopting:
        return _adoption(each, seen, fields, unchanged, known)
    secret = _secret_differs(each, seen, known.entries.get(each.key))
    if not fields and not secret:
        return unchanged
    return replace(
        unchanged,
        action=Action.UPDATE,
        change_class=classes.class_of_edit(each, seen.fields, fields, secret=secret, active=known.active),
        fields=_with_secret(fields) if secret else fields,
    )


def _adoption(
    each: DesiredObject,
    seen: ObservedObject,
    fields: tuple[FieldChange, ...],
    unchanged: Change,
    known: Known,
) -> Change | Skipped:
    """Return the adoption of an object that stands already: it is edited in place, whatever uses it."""
    when = classes.class_of_edit(each, seen.fields, fields, secret=False, active=known.active)
    if when is ChangeClass.REPLACE:
        unfit = ", ".join(sorted(each.replace_fields & diff.fields_named(fields)))
        message = f"id {seen.object_id} differs in {unfit}, which cannot be edited; bring the manifest in line with it"
        return Skipped(each.key, SkipReason.ADOPT_UNFIT, message, each.source)
    has_secret = each.fingerprint is not None and each.fingerprint not in NO_SECRET
    shown = _with_secret(fields) if has_secret else fields
    return replace(unchanged, action=Action.ADOPT, change_class=when, fields=shown)


def _with_secret(fields: tuple[FieldChange, ...]) -> tuple[FieldChange, ...]:
    return tuple(
        sorted(
            (*fields, diff.secret_change()),
            key=lambda each: (each.path, canonical_json([each.before, each.after])),
        )
    )


def _claimable(each: DesiredObject, seen: ObservedObject, remade: AbstractSet[ObjectKey]) -> DesiredObject:
    """Return the object without the fields of which nothing is known before apply: from that no change follows.

    Such a field is a value made from a secret, which planning does not read, or the id of something on a host that
    could not be read. Only when the thing that the id is of is made anew will it surely be another one.
    """
    open_fields = {
        name for name, value in each.fields.items() if value in (UNKNOWN_UNTIL_APPLY, [UNKNOWN_UNTIL_APPLY])
    }
    if each.key.kind == "Route" and _group_of(each) in remade:
        open_fields.discard("shadow_group_id")
    kept = {
        name: value
        for name, value in each.fields.items()
        if name not in open_fields or name not in seen.fields
    }
    return replace(each, fields=kept) if len(kept) < len(each.fields) else each


def _secret_differs(each: DesiredObject, seen: ObservedObject, entry: InventoryEntry | None) -> bool:
    """True when the object is known to hold another secret than the manifest's, or none.

    Without a resolved secret, or without a memory of what was written, nothing is claimed.
    """
    if each.fingerprint is None or each.fingerprint in NO_SECRET:
        return False
    if seen.marker is not None and seen.marker.kind == each.key.kind and seen.marker.name == each.key.name:
        return seen.marker.fingerprint != each.fingerprint
    remembered = entry.fingerprint if entry is not None else ""
    return remembered not in NO_SECRET and remembered != each.fingerprint


def _skip_dependants(
    known: Known, skipped: dict[ObjectKey, Skipped], changes: dict[ObjectKey, Change]
) -> None:
    """Move to `skipped` every change that needs an object which does not exist and will not be made."""
    missing = {key for key in skipped if not _exists(key, known)}
    while True:
        blocked = {key: sorted(missing.intersection(_needs(key, known))) for key in changes}
        blocked = {
            key: needed
            for key, needed in blocked.items()
            if needed and changes[key].action is not Action.NOOP
        }
        if not blocked:
            return
        for key, needed in blocked.items():
            names = ", ".join(f"{each.kind}/{each.name}" for each in needed)
            message = f"it needs {names}, which does not exist and is skipped"
            skipped[key] = Skipped(key, SkipReason.DEPENDENCY_SKIPPED, message, known.desired[key].source)
            if changes.pop(key).action is Action.CREATE:
                missing.add(key)


def _exists(key: ObjectKey, known: Known) -> bool:
    match = known.matches.get(key)
    if match is not None:
        return match.observed is not None
    plane = known.planes.get(key.plane)
    if plane is None:
        # On a plane that could not be read, memory has to do.
        return key in known.entries
    return bool(plane.by_mark.get((key.kind, key.name)))


def _needs(key: ObjectKey, known: Known) -> tuple[ObjectKey, ...]:
    """Return what an object stands on; a route also on the host objects that its fields name."""
    each = known.desired[key]
    if key.plane != CONTROL or key.kind != "Route":
        return each.depends_on
    gateway_key = ObjectKey(_group_of(each).plane, "GatewayKey", str(each.fields.get("gateway_key")))
    return (*each.depends_on, _group_of(each), gateway_key)


def _group_of(route: DesiredObject) -> ObjectKey:
    plane = host_plane(str(route.fields.get("shadow_host")))
    return ObjectKey(plane, "ShadowGroup", str(route.fields.get("shadow_group")))
