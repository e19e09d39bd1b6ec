"""Names and marks: which host text carries the marker, and which manifest a host-side group id stands for."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.errors import Conflict, InvalidInput
from reconciler.hosts.contract import Refs
from reconciler.plan.model import Marker

NAME_BYTES = 100
"""The host's limit for names of groups, accounts and keys. It counts bytes of UTF-8, and answers 500 beyond.

Source: backend/ent/schema/{group,account,api_key}.go, `MaxLen(100)`.
"""
QUARANTINE = "Quarantine"
_GROUP_KINDS = ("ShadowGroup", QUARANTINE)


def check_name(name: str, what: str) -> str:
    """Return `name`. Raises InvalidInput when the host would not store it."""
    size = len(name.encode())
    if size > NAME_BYTES:
        raise InvalidInput(
            f"{what}: the host-side name {name[:40]!r}… is {size} bytes long, sub2api stores {NAME_BYTES}",
            hint="Set spec.hostName to something shorter.",
        )
    return name


def check_group_name(name: str, what: str) -> str:
    """Return `name`. Raises InvalidInput for a name that the host gives a meaning: `<platform>-default`."""
    if name.endswith("-default"):
        raise InvalidInput(
            f"{what}: sub2api binds accounts without groups to a group named {name!r}",
            hint="Give the group another spec.hostName.",
        )
    return check_name(name, what)


def key_name(marker: Marker, version: int) -> str:
    """Return the name of a host key: its marker, and its version from 2 on; names are the only free text a key has.

    Raises: InvalidInput when that is longer than the host stores.
    """
    name = str(marker) if version == 1 else f"{marker} v{version}"
    if len(name) > NAME_BYTES:
        longest = len(marker.name) - (len(name) - NAME_BYTES)
        raise InvalidInput(
            f"GatewayKey/{marker.name}: on sub2api a key's name holds the ownership marker, in {NAME_BYTES} characters",
            hint=f"Give it a metadata.name of at most {longest} characters.",
        )
    return name


def key_version(name: str) -> int:
    """Return the version in the name of a host key of ours."""
    words = name.split()
    return int(words[1][1:]) if len(words) == 2 and words[1][:1] == "v" and words[1][1:].isdecimal() else 1


def stamped(existing: str, marker: Marker) -> str:
    """Return a description or notes text with the marker in front, keeping what a person wrote there."""
    if Marker.parse(existing) is not None:
        return existing.replace(existing.split(maxsplit=1)[0], str(marker), 1)
    return f"{marker}\n{existing}" if existing.strip() else str(marker)


def foreign(what: str, object_id: str, where: str) -> Conflict:
    """Return the error for a name that somebody else's object has."""
    return Conflict(
        f"{what} exists already and is not ours (id {object_id})",
        where=where,
        reason="ForeignObject",
        hint=f'To take it over, annotate the manifest with reconcile.dev/adopt: "{object_id}".',
    )


class GroupNames:
    """Host-side group ids <-> names in manifests, as last read.

    A group of ours is known by its manifest's name, one of our temporary groups as `quarantine/<name>`, any other
    group as `#<id>`: no manifest name has a `/` or `#`.
    """

    def __init__(self, installation: str) -> None:
        self._installation = installation
        self._names: dict[str, str] = {}

    def is_ours(self, marker: Marker | None) -> bool:
        """True for a marker of this installation."""
        return marker is not None and marker.installation == self._installation

    def learn(self, group_id: str, marker: Marker | None) -> None:
        self._names[group_id] = f"#{group_id}"
        if marker is not None and self.is_ours(marker) and marker.kind in _GROUP_KINDS:
            prefix = "quarantine/" if marker.kind == QUARANTINE else ""
            self._names[group_id] = prefix + marker.name

    def clear(self) -> None:
        self._names.clear()

    def forget(self, group_id: str) -> None:
        self._names.pop(group_id, None)

    def knows(self, group_id: str) -> bool:
        return group_id in self._names

    def name(self, group_id: str) -> str:
        return self._names.get(group_id, f"#{group_id}")

    def sorted(self, group_ids: Iterable[str]) -> list[str]:
        return sorted(self.name(group_id) for group_id in group_ids)


def group_id(name: str, refs: Refs) -> str:
    """Return the id of a group by its name in canonical fields. Raises KeyError when it has not been made yet."""
    if name.startswith("#"):
        return name[1:]
    prefix = "quarantine/"
    # Never one for the other: an account may be called like a group in service, and must not get into it unproved.
    kind = QUARANTINE if name.startswith(prefix) else "ShadowGroup"
    return refs.ids[(kind, name.removeprefix(prefix))]
