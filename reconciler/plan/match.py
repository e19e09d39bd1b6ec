"""Which object on a plane is the one that a manifest means.

In this order, and the first that holds decides:

1. the object whose id the inventory has, if its marker agrees or we adopted it;
2. an object with our marker for this kind and name;
3. the object that the manifest's adopt annotation names, by id or by name;
4. an object of that name on the plane: somebody else's, a conflict;
5. none: it is to be created.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import partial

from reconciler.manifest.meta import ADOPT
from reconciler.plan.model import (
    CONTROL,
    DesiredObject,
    InventoryEntry,
    ObjectKey,
    ObservedObject,
    PlaneObservation,
    Skipped,
    SkipReason,
)

SHOWN = 5
"""Objects that a message lists."""

NAMES_NOT_UNIQUE = frozenset({"ProviderAccount"})
"""Kinds of which several may bear one name on their host: one that leaves is no obstacle to its successor."""


@dataclass(frozen=True)
class Match:
    """At most one of `observed` and `conflict` is set; neither: the object is to be created."""

    observed: ObservedObject | None = None
    adopting: bool = False
    conflict: Skipped | None = None
    twins: tuple[ObservedObject, ...] = ()
    """Others that carry the same marker."""
    known: bool = False
    """True when inventory and marker agree on `observed`: then no twin is the one that the inventory means."""


@dataclass
class PlaneIndex:
    """One plane's objects by everything that they are looked up by."""

    plane: str
    installation: str
    by_id: dict[tuple[str, str], ObservedObject] = field(default_factory=dict)
    """(kind, id)"""
    by_mark: dict[tuple[str, str], list[ObservedObject]] = field(default_factory=lambda: defaultdict(list))
    """(kind, manifest name) of this installation's marks; sorted by id."""
    by_name: dict[tuple[str, str], list[ObservedObject]] = field(default_factory=lambda: defaultdict(list))
    """(kind, name on the plane); sorted by id."""

    def owned(self, seen: ObservedObject, kind: str, name: str) -> bool:
        """True when the object carries our marker for exactly this manifest."""
        return seen.marker is not None and seen.marker.names(self.installation, kind, name)

    def ours(self, seen: ObservedObject) -> bool:
        """True when the object carries any marker of this installation."""
        return seen.marker is not None and seen.marker.installation == self.installation


def index(observation: PlaneObservation, installation: str) -> PlaneIndex:
    """Return the lookup tables of one plane."""
    made = PlaneIndex(observation.plane, installation)
    for seen in sorted(observation.objects, key=id_order):
        made.by_id[seen.kind, seen.object_id] = seen
        made.by_name[seen.kind, seen.host_name].append(seen)
        if seen.marker is not None and made.ours(seen) and seen.marker.kind == seen.kind:
            made.by_mark[seen.kind, seen.marker.name].append(seen)
    return made


def id_order(seen: ObservedObject) -> tuple[str, int, str]:
    """Return what objects are sorted by: numeric ids as numbers, so that the oldest comes first."""
    return seen.kind, len(seen.object_id), seen.object_id


def agrees(plane: PlaneIndex, entry: InventoryEntry, seen: ObservedObject) -> bool:
    """True when an object is still the one that the inventory entry stands for."""
    if plane.owned(seen, entry.key.kind, entry.manifest_name):
        return True
    return entry.adopted and not plane.ours(seen)


def match_all(
    desired: Sequence[DesiredObject],
    planes: Mapping[str, PlaneIndex],
    inventory: Mapping[ObjectKey, InventoryEntry],
    retired_ids: frozenset[tuple[str, str, str]],
) -> dict[ObjectKey, Match]:
    """Return the match of every desired object on a known plane.

    No object is matched twice: what an owner has comes before what is adopted, then the smaller key wins.
    `retired_ids` are (plane, kind, id) of replaced objects, which no manifest means any more.
    """
    matches: dict[ObjectKey, Match] = {}
    claims: dict[tuple[str, str, str], ObjectKey] = {}
    ordered = sorted((each for each in desired if each.key.plane in planes), key=lambda each: each.key)
    for find in (_owned_match, partial(_other_match, wanted={each.key for each in desired})):
        for each in ordered:
            if each.key in matches:
                continue
            found = find(each, planes[each.key.plane], inventory.get(each.key), retired_ids)
            if found is not None:
                matches[each.key] = _claimed(each, found, claims)
    return matches


def _claimed(each: DesiredObject, found: Match, claims: dict[tuple[str, str, str], ObjectKey]) -> Match:
    if found.observed is None:
        return found
    claim = (each.key.plane, found.observed.kind, found.observed.object_id)
    holder = claims.setdefault(claim, each.key)
    if holder == each.key:
        return found
    message = (
        f"id {found.observed.object_id} is {holder.kind}/{holder.name} already; one object has one manifest"
    )
    return Match(conflict=_conflict(each, SkipReason.NAME_TAKEN, message))


def _owned_match(
    each: DesiredObject,
    plane: PlaneIndex,
    entry: InventoryEntry | None,
    retired_ids: frozenset[tuple[str, str, str]],
) -> Match | None:
    kind, name = each.key.kind, each.key.name
    marked = [
        seen
        for seen in plane.by_mark.get((kind, name), ())
        if (plane.plane, kind, seen.object_id) not in retired_ids
    ]
    known = plane.by_id.get((kind, entry.object_id)) if entry else None
    if known is not None and entry is not None and agrees(plane, entry, known):
        return Match(observed=known, twins=_twins(known, marked), known=True)
    if marked:
        # Of several, the one with the desired secret is a replacement made just before a crash.
        best = next(
            (seen for seen in marked if seen.marker and seen.marker.fingerprint == each.fingerprint),
            marked[0],
        )
        return Match(observed=best, twins=_twins(best, marked))
    return None


def _twins(chosen: ObservedObject, marked: Iterable[ObservedObject]) -> tuple[ObservedObject, ...]:
    return tuple(seen for seen in marked if seen.object_id != chosen.object_id)


def _other_match(
    each: DesiredObject,
    plane: PlaneIndex,
    entry: InventoryEntry | None,
    retired_ids: frozenset[tuple[str, str, str]],
    wanted: AbstractSet[ObjectKey],
) -> Match:
    if each.adopt is not None:
        adopted = _adoption(each, plane, each.adopt, entry)
        if adopted is not None:
            return adopted
    named = plane.by_name.get((each.key.kind, each.host_name), ()) if each.host_name is not None else ()
    holders = [
        seen
        for seen in named
        if (plane.plane, each.key.kind, seen.object_id) not in retired_ids
        and not _makes_room(seen, plane, wanted)
    ]
    if holders:
        return Match(conflict=_name_conflict(each, plane, entry, holders[0]))
    return Match()


def _makes_room(seen: ObservedObject, plane: PlaneIndex, wanted: AbstractSet[ObjectKey]) -> bool:
    """True for one of ours that no manifest means any more, where its successor may bear the same name."""
    if seen.kind not in NAMES_NOT_UNIQUE or seen.marker is None or not plane.ours(seen):
        return False
    return ObjectKey(plane.plane, seen.kind, seen.marker.name) not in wanted


def _adoption(
    each: DesiredObject, plane: PlaneIndex, adopt: str, entry: InventoryEntry | None
) -> Match | None:
    kind = each.key.kind
    by_id = plane.by_id.get((kind, adopt))
    named = [by_id] if by_id is not None else plane.by_name.get((kind, adopt), [])
    if len(named) == 1:
        return Match(observed=named[0], adopting=True)
    if named:
        ids = ", ".join(seen.object_id for seen in named)
        message = f"{len(named)} objects are named {adopt!r} (ids {ids}); annotate {ADOPT} with one id"
        return Match(conflict=_conflict(each, SkipReason.ADOPT_AMBIGUOUS, message))
    if entry is not None:
        # Adopted before and gone since: it is made again, as anything that went missing.
        return None
    message = (
        f"{ADOPT} names {adopt!r}, and there is no {kind} of that id or name{_to_adopt(kind, adopt, plane)}; "
        "correct or remove the annotation"
    )
    return Match(conflict=_conflict(each, SkipReason.ADOPT_NOT_FOUND, message))


def _to_adopt(kind: str, adopt: str, plane: PlaneIndex) -> str:
    """Return what could be meant: objects of the kind that are not ours, those of the most similar name first."""
    foreign = [seen for (of_kind, _), seen in plane.by_id.items() if of_kind == kind and not plane.ours(seen)]
    if not foreign:
        return f" on {plane.plane}, where everything of that kind is ours already"
    ordered = sorted(
        foreign, key=lambda seen: (-SequenceMatcher(None, adopt, seen.host_name).ratio(), id_order(seen))
    )
    names = [f"{seen.object_id} ({seen.host_name!r})" for seen in ordered[:SHOWN]]
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return f" on {plane.plane}; it has {', '.join(names)}{more}"


def _name_conflict(
    each: DesiredObject, plane: PlaneIndex, entry: InventoryEntry | None, holder: ObservedObject
) -> Skipped:
    name, object_id = each.host_name, holder.object_id
    to_adopt = f'annotate the manifest with {ADOPT}: "{object_id}"'
    if entry is not None and entry.object_id == object_id:
        message = (
            f"id {object_id} is in the inventory, but our marker on it is gone; to take it back, {to_adopt}"
        )
        return _conflict(each, SkipReason.OWNERSHIP_LOST, message)
    if plane.ours(holder) and holder.marker is not None:
        owner = f"{holder.marker.kind}/{holder.marker.name}"
        message = (
            f"the name {name!r} is taken by our own {owner} (id {object_id}); choose another, or {to_adopt}"
        )
        return _conflict(each, SkipReason.NAME_TAKEN, message)
    where = "in the control plane" if plane.plane == CONTROL else f"on {plane.plane}"
    message = f"{name!r} (id {object_id}) exists {where} and is not ours; to take it over, {to_adopt}"
    return _conflict(each, SkipReason.FOREIGN_OBJECT, message)


def _conflict(each: DesiredObject, reason: SkipReason, message: str) -> Skipped:
    return Skipped(each.key, reason, message, each.source)
