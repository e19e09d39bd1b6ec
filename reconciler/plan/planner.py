"""The plan: a pure function of what is desired, observed and remembered. The same input gives the same plan.

1. Match every desired object with what stands on its plane (`match`).
2. Compare field by field, and say when each edit may be made (`diff`, `classes`).
3. Leave out what stands on something that is left out.
4. See what goes (`deletion`), who serves what before and after (`impact`), and how dangerous all of it is (`risk`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

from reconciler.manifest import Location
from reconciler.plan import classes, diff, impact, order, risk
from reconciler.plan.deletion import Leftovers, Wanted, leftovers
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
    Plan,
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
class _Known:
    """All that the planner was given, looked up easily."""

    desired: Mapping[ObjectKey, DesiredObject]
    inventory: Sequence[InventoryEntry]
    entries: Mapping[ObjectKey, InventoryEntry]
    planes: Mapping[str, PlaneIndex]
    """Known planes only."""
    matches: Mapping[ObjectKey, Match]
    active: Usage


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
    known = _known(desired, observations, inventory, installation=installation, document=document_before)
    documents = [Usage(document_after), *(Usage(document) for document in retained_documents)]
    skipped, changes = _decide(known, observations, paused)
    rest = leftovers(inventory, known.planes, _wanted(known, paused, documents))
    skipped += rest.skipped + _unknown_entries(known, observations, paused)
    before = impact.configuration(document_before, "before")
    after = impact.configuration(document_after, "after")
    rows = impact.impact(before, after)
    assessed = _assessed([*changes, *rest.changes], known, documents[0], risk.routing(rows))
    touched = {change.key: _touched(change.key, known) for change in assessed}
    made = Plan(
        changes=tuple(sorted(assessed, key=order.sort_key)),
        impact=rows,
        skipped=tuple(sorted(skipped, key=lambda each: (each.key, each.reason))),
        warnings=tuple(sorted({*warnings, *_warnings(known, rest)})),
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


def _known(
    desired: Sequence[DesiredObject],
    observations: Mapping[str, PlaneObservation],
    inventory: Sequence[InventoryEntry],
    *,
    installation: str,
    document: Mapping[str, Any],
) -> _Known:
    wanted = {each.key: each for each in desired}
    if len(wanted) != len(desired):
        raise ValueError("two desired objects have the same key")
    planes = {
        name: index(seen, installation) for name, seen in sorted(observations.items()) if seen.unknown is None
    }
    entries = {entry.key: entry for entry in inventory}
    retired = frozenset((e.key.plane, e.key.kind, e.object_id) for e in inventory if RETIRED in e.key.name)
    return _Known(
        desired=dict(sorted(wanted.items())),
        inventory=inventory,
        entries=entries,
        planes=planes,
        matches=match_all(desired, planes, entries, retired),
        active=Usage(document),
    )


def _decide(
    known: _Known,
    observations: Mapping[str, PlaneObservation],
    suspended: Mapping[ObjectKey, Location | None],
) -> tuple[list[Skipped], list[Change]]:
    """Return, for every desired object, either why it is skipped or what is done to it."""
    skipped: dict[ObjectKey, Skipped] = {
        key: Skipped(key, SkipReason.SUSPENDED, "it is suspended; nothing is done to it", place)
        for key, place in suspended.items()
    }
    changes: dict[ObjectKey, Change] = {}
    for key, each in known.desired.items():
        if key in skipped:
            continue
        match = known.matches.get(key)
        if match is None:
            skipped[key] = _unknown(key, observations, each.source)
        elif match.conflict is not None:
            skipped[key] = match.conflict
        else:
            changes[key] = _change(each, match, known)
    _skip_dependants(known, skipped, changes)
    return list(skipped.values()), list(changes.values())


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


def _unknown_entries(
    known: _Known,
    observations: Mapping[str, PlaneObservation],
    suspended: Mapping[ObjectKey, Location | None],
) -> list[Skipped]:
    """Return what would be looked at for deletion if its plane could be read."""
    keys = {entry.key for entry in known.inventory if entry.key.plane not in known.planes}
    return [_unknown(key, observations) for key in sorted(keys - known.desired.keys() - suspended.keys())]


def _change(each: DesiredObject, match: Match, known: _Known) -> Change:
    seen = match.observed
    if seen is None:
        control = each.key.plane == CONTROL
        kind = ChangeClass.REVISION if control else ChangeClass.EXPAND
        return Change(Action.CREATE, each.key, kind, fields=diff.all_fields(each), source=each.source)
    fields = diff.compare(each, seen)
    secret = _secret_differs(each, seen, known.entries.get(each.key), adopting=match.adopting)
    shown = (*fields, diff.secret_change()) if secret else fields
    bare = Change(
        Action.NOOP,
        each.key,
        ChangeClass.NONE,
        source=each.source,
        object_id=seen.object_id,
        serves=tuple(sorted(known.active.through(each.key, seen.fields))),
    )
    if not shown and not match.adopting:
        return bare
    return replace(
        bare,
        action=Action.ADOPT if match.adopting else Action.UPDATE,
        change_class=classes.class_of_edit(each, seen.fields, fields, secret=secret, active=known.active),
        fields=tuple(sorted(shown, key=_by_path)),
    )


def _by_path(change: FieldChange) -> tuple[str, str]:
    return change.path, canonical_json([change.before, change.after])


def _secret_differs(
    each: DesiredObject, seen: ObservedObject, entry: InventoryEntry | None, *, adopting: bool
) -> bool:
    """True when the object is known to hold another secret than the manifest's, or none.

    Without a resolved secret, or without a memory of what was written, nothing is claimed.
    """
    if each.fingerprint is None or each.fingerprint in NO_SECRET:
        return False
    if seen.marker is not None and seen.marker.kind == each.key.kind and seen.marker.name == each.key.name:
        return seen.marker.fingerprint != each.fingerprint
    if adopting:
        return True
    remembered = entry.fingerprint if entry is not None else ""
    return remembered not in NO_SECRET and remembered != each.fingerprint


def _skip_dependants(
    known: _Known, skipped: dict[ObjectKey, Skipped], changes: dict[ObjectKey, Change]
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


def _exists(key: ObjectKey, known: _Known) -> bool:
    match = known.matches.get(key)
    if match is not None and match.observed is not None:
        return True
    # On a plane that could not be read, memory has to do. Elsewhere a conflict means that the thing is not ours.
    return key.plane not in known.planes and key in known.entries


def _needs(key: ObjectKey, known: _Known) -> tuple[ObjectKey, ...]:
    """Return what an object stands on; a route also on the host objects that its fields name."""
    each = known.desired[key]
    if key.plane != CONTROL or key.kind != "Route":
        return each.depends_on
    plane = host_plane(str(each.fields.get("shadow_host")))
    group = ObjectKey(plane, "ShadowGroup", str(each.fields.get("shadow_group")))
    gateway_key = ObjectKey(plane, "GatewayKey", str(each.fields.get("gateway_key")))
    unknown_id = each.fields.get("shadow_group_id") == UNKNOWN_UNTIL_APPLY
    return (*each.depends_on, *((group,) if unknown_id else ()), gateway_key)


def _wanted(
    known: _Known, suspended: Mapping[ObjectKey, Location | None], documents: Sequence[Usage]
) -> Wanted:
    claimed = {
        (key.plane, match.observed.kind, match.observed.object_id)
        for key, match in known.matches.items()
        if match.observed is not None
    }
    return Wanted(
        keys=known.desired.keys() | suspended.keys(), claimed=claimed, active=known.active, kept=documents
    )


def _assessed(changes: Iterable[Change], known: _Known, after: Usage, to: risk.Routing) -> list[Change]:
    found = []
    for change in changes:
        wanted = known.desired.get(change.key)
        models = after.through(change.key, wanted.fields) if wanted else frozenset()
        found.append(risk.assess(change, models | frozenset(change.serves), to))
    return found


def _touched(key: ObjectKey, known: _Known) -> tuple[ObjectKey, ...]:
    """Return the objects whose paths a change of this one can alter."""
    if key.kind != "ProviderAccount":
        return (key._replace(name=key.name.partition(RETIRED)[0]),)
    groups: set[str] = set()
    wanted, match = known.desired.get(key), known.matches.get(key)
    entry = known.entries.get(key)
    plane = known.planes[key.plane]
    seen = match.observed if match else plane.by_id.get((key.kind, entry.object_id)) if entry else None
    for fields in (wanted.fields if wanted else {}, seen.fields if seen else {}):
        groups.update(str(name) for name in fields.get("groups") or ())
    return tuple(ObjectKey(key.plane, "ShadowGroup", name) for name in sorted(groups))


def _warnings(known: _Known, rest: Leftovers) -> list[str]:
    return [*(warning for match in known.matches.values() for warning in match.warnings), *rest.warnings]


def _revision(observations: Mapping[str, PlaneObservation]) -> int | None:
    seen = observations.get(CONTROL)
    return seen.revision if seen is not None else None
