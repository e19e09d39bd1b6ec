"""The planner's words: desired and observed objects, inventory, changes and the plan.

Both sides of a diff are plain JSON values in the *canonical form* of the backend that holds the object; the host
driver's `normalize` and the control plane's configuration mapping produce it. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from reconciler.manifest import Location

Fields = Mapping[str, Any]

UNKNOWN_UNTIL_APPLY = "(known after apply)"
"""Stands for a value that only apply can learn, such as the host's id of a group that does not exist yet."""

CONTROL = "control"
"""The plane of objects in the control plane; host objects have the plane `host/<ShadowHost name>`."""


def host_plane(host: str) -> str:
    """Return the plane word of a shadow host."""
    return f"host/{host}"


class ObjectKey(NamedTuple):
    """Identity of one object in our vocabulary. Kinds are manifest kinds, plus those in `INTERNAL_KINDS`."""

    plane: str
    kind: str
    name: str


INTERNAL_KINDS = ("KeyIssuer", "Channel", "Quarantine")
"""Host objects without a manifest of their own: a host's service user, a ShadowGroup's channel, temporary groups."""


class Action(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    ADOPT = "adopt"
    NOOP = "noop"


class SkipReason(StrEnum):
    """Why nothing is planned for an object: a closed list, stable for scripts."""

    HOST_UNKNOWN = "HostUnknown"
    CONTROL_PLANE_UNKNOWN = "ControlPlaneUnknown"
    SUSPENDED = "Suspended"
    FOREIGN_OBJECT = "ForeignObject"
    OWNERSHIP_LOST = "OwnershipLost"
    """The inventory says we made it, but our marker on it is gone."""
    NAME_TAKEN = "NameTaken"
    """Another object of this installation has the name or was adopted already."""
    ADOPT_NOT_FOUND = "AdoptNotFound"
    ADOPT_AMBIGUOUS = "AdoptAmbiguous"
    ADOPT_UNFIT = "AdoptUnfit"
    """What is to be adopted differs in a field that cannot be edited."""
    DEPENDENCY_SKIPPED = "DependencySkipped"
    STILL_REFERENCED = "StillReferenced"
    """No manifest wants it, but a configuration that is or may become active uses it."""
    NOT_PRUNED = "NotPruned"


ADOPTION_FAILED = frozenset({SkipReason.ADOPT_NOT_FOUND, SkipReason.ADOPT_AMBIGUOUS, SkipReason.ADOPT_UNFIT})
"""Reasons that only the author of a manifest can mend: what it adopts is not there, not one, or not like it."""


class ChangeClass(StrEnum):
    """When, in the five phases, a change is made (design: the journey of a manifest)."""

    EXPAND = "expand"
    """Made first: no live path can reach it."""
    WIDEN = "widen"
    """A live edit that only adds; at the end of expand."""
    LIVE = "live"
    """Any other live edit; just before promote, proved again at once, reversed if that proof breaks."""
    REVISION = "revision"
    """Part of the staged revision; takes effect at promote."""
    NARROW = "narrow"
    """A live edit that only takes away; in contract."""
    REPLACE = "replace"
    """Never an edit: a second object is made, proved and bound, and the old one retired in contract."""
    CONTRACT = "contract"
    """A deletion."""
    NONE = "none"


class Risk(StrEnum):
    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True)
class DesiredObject:
    """What a manifest asks of one plane, in that plane's canonical form."""

    key: ObjectKey
    fields: Fields
    source: Location
    fingerprint: str | None = None
    """Keyed fingerprint of the object's secret; None when there is none or it was not resolved (plan never does)."""
    depends_on: tuple[ObjectKey, ...] = ()
    adopt: str | None = None
    """Host-side id or name that the manifest adopts."""
    replace_fields: frozenset[str] = frozenset()
    """Top-level fields that cannot be edited in service: a change there is a replacement."""
    sensitive: frozenset[str] = frozenset()
    """Top-level fields whose values are never shown."""
    ordered_fields: frozenset[str] = frozenset()
    """Top-level fields whose lists are sequences; all other lists are compared as sets (`plan.diff`)."""

    @property
    def host_name(self) -> str | None:
        """Return the name that the object has on its plane; None when nothing but our marker names it there."""
        name = self.fields.get("name")
        return None if name is None else str(name)


@dataclass(frozen=True)
class ObservedObject:
    """What stands on a plane, in canonical form, free of secrets."""

    kind: str
    object_id: str
    """The plane's own id, as text."""
    host_name: str
    """Its name there."""
    fields: Fields
    marker: Marker | None = None
    runtime: Fields = field(default_factory=dict)
    """State that the host changes by itself (errors, pauses); reported, never diffed."""


@dataclass(frozen=True)
class Marker:
    """The ownership mark on a host object: `reconcile:<installation>:<kind>:<name>:<fp>`."""

    installation: str
    kind: str
    name: str
    fingerprint: str

    PREFIX = "reconcile"

    def __str__(self) -> str:
        return ":".join((self.PREFIX, self.installation, self.kind, self.name, self.fingerprint))

    def names(self, installation: str, kind: str, name: str) -> bool:
        """True when this is the mark of exactly that object; the fingerprint does not matter."""
        return (self.installation, self.kind, self.name) == (installation, kind, name)

    @classmethod
    def parse(cls, text: str) -> Marker | None:
        """Return the marker that `text` is or starts with (the first word), or None."""
        words = text.split()
        parts = words[0].split(":") if words else []
        if len(parts) != 5 or parts[0] != cls.PREFIX:
            return None
        return cls(*parts[1:])


@dataclass(frozen=True)
class PlaneObservation:
    """One plane as it was read. `unknown` holds the reason when it could not be: nothing follows from its silence."""

    plane: str
    objects: tuple[ObservedObject, ...] = ()
    unknown: str | None = None
    revision: int | None = None
    """Active revision, for the control plane."""
    version: str = ""
    """What the host or plane says of its own version."""


@dataclass(frozen=True)
class InventoryEntry:
    """What we made or adopted: the memory that deletion and retries rely on."""

    key: ObjectKey
    object_id: str
    fingerprint: str = ""
    adopted: bool = False
    prunable: bool = True

    @property
    def manifest_name(self) -> str:
        """Return the name on the object's marker; that of a retired entry is the name it had in service."""
        return self.key.name.partition(RETIRED)[0]


RETIRED = "#"
"""Joins a manifest's name and an object id in the key of an object that was replaced; DNS labels cannot hold it."""


def retired(key: ObjectKey, object_id: str) -> ObjectKey:
    """Return the inventory key of the old object of a replacement: nobody desires it, so contract deletes it."""
    return key._replace(name=f"{key.name}{RETIRED}{object_id}")


@dataclass(frozen=True)
class FieldChange:
    """One field before and after; sensitive values are never in it."""

    path: str
    before: Any
    after: Any
    sensitive: bool = False


@dataclass(frozen=True)
class Change:
    """What is to be done to one object, why, and how dangerous it is."""

    action: Action
    key: ObjectKey
    change_class: ChangeClass
    risk: Risk = Risk.NONE
    fields: tuple[FieldChange, ...] = ()
    source: Location | None = None
    """The manifest; None for deletions of what no manifest names any more."""
    object_id: str | None = None
    """The plane's id of the object, where it exists."""
    reason: str = ""
    """One sentence for people, where the action does not speak for itself."""
    serves: tuple[str, ...] = ()
    """What the active configuration sends through it now, as "logical group/public model"; sorted."""


@dataclass(frozen=True)
class Candidate:
    """One route that can serve a public model, in the order the data plane would try it."""

    route: str
    shadow_host: str
    shadow_group: str
    shadow_model: str
    priority: int
    weight: int


@dataclass(frozen=True)
class ImpactRow:
    """Who serves a public model before and after, by the resolver that the data plane runs."""

    logical_group: str
    public_model: str
    before: tuple[Candidate, ...]
    after: tuple[Candidate, ...]


@dataclass(frozen=True)
class Skipped:
    """An object nothing is planned for, and why: its host is unknown, it is suspended, or it is in conflict."""

    key: ObjectKey
    reason: SkipReason
    message: str
    source: Location | None = None


@dataclass(frozen=True)
class Plan:
    """Everything apply would do. The same input gives the same bytes (`reconciler.plan.render.to_json`)."""

    changes: tuple[Change, ...] = ()
    impact: tuple[ImpactRow, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()
    digest: str = ""
    base_revision: int | None = None
    affected: tuple[tuple[str, str], ...] = ()
    """(route, public model) of every enabled path that the plan can change; sorted (`plan.impact.affected`)."""
    forget: tuple[InventoryEntry, ...] = ()
    """Inventory entries that stand for nothing any more: the object is gone, or is another manifest's by now."""

    def pending(self) -> tuple[Change, ...]:
        """Return the changes that would do something."""
        return tuple(change for change in self.changes if change.action is not Action.NOOP)
