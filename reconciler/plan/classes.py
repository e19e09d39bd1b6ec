"""When an edit is made: whether it only adds, only takes away, or does something else. The rules are data.

Order of the questions: a field that cannot be edited in service (or another secret) replaces the object; what no live
path reaches is edited in expand; adding alone widens, taking away alone narrows; everything else is a live edit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from reconciler.plan.diff import fields_named, normal_fields
from reconciler.plan.model import CONTROL, ChangeClass, DesiredObject, FieldChange, Fields
from reconciler.plan.service import Usage


class Direction(StrEnum):
    WIDENS = "widens"
    NARROWS = "narrows"
    OTHER = "other"


Rule = Callable[[Any, Any], Direction]
"""(before, after) -> direction. Never called with equal values."""


def members(before: Any, after: Any) -> Direction:
    """More members widen, fewer narrow."""
    old, new = set(before or ()), set(after or ())
    if old < new:
        return Direction.WIDENS
    return Direction.NARROWS if new < old else Direction.OTHER


def amount(before: Any, after: Any) -> Direction:
    """A greater number widens."""
    if not _is_number(before) or not _is_number(after):
        return Direction.OTHER
    return Direction.WIDENS if after > before else Direction.NARROWS


def limit(before: Any, after: Any) -> Direction:
    """A higher limit widens; None and 0 are no limit at all."""
    return amount(before or float("inf"), after or float("inf"))


def choices(before: Any, after: Any) -> Direction:
    """Allowed choices: more widen, and an empty list allows all."""
    if not before or not after:
        return Direction.WIDENS if before else Direction.NARROWS
    return members(before, after)


def permission(before: Any, after: Any) -> Direction:
    """True lets more through than false."""
    if not isinstance(before, bool) or not isinstance(after, bool):
        return Direction.OTHER
    return Direction.WIDENS if after else Direction.NARROWS


def prohibition(before: Any, after: Any) -> Direction:
    """False lets more through than true."""
    return permission(after, before)


RULES: Mapping[tuple[str, str], Rule] = {
    ("ProviderAccount", "models"): members,
    ("ProviderAccount", "groups"): members,
    ("ProviderAccount", "concurrency"): limit,
    ("ProviderAccount", "capabilities"): choices,
    ("ProviderAccount", "paused"): prohibition,
    ("ProviderAccount", "marked"): prohibition,
    ("ShadowGroup", "dailyLimitUsd"): limit,
    ("ShadowGroup", "weeklyLimitUsd"): limit,
    ("ShadowGroup", "monthlyLimitUsd"): limit,
    ("ShadowGroup", "rpmLimit"): limit,
    ("ShadowGroup", "imageGeneration"): permission,
    ("ShadowGroup", "messagesDispatch"): permission,
    ("ShadowGroup", "exclusive"): prohibition,
    ("KeyIssuer", "balanceOk"): permission,
    ("KeyIssuer", "concurrency"): limit,
}
"""(kind, field) -> rule. A field inside `settings` goes by its own name; one that is not here is a live edit."""

SECRET_REPLACED: frozenset[str] = frozenset({"ProviderAccount", "GatewayKey"})
"""Kinds whose secret is never overwritten in service: a wrong one would be found out by users."""


def class_of_edit(
    desired: DesiredObject, before: Fields, changes: tuple[FieldChange, ...], *, secret: bool, active: Usage
) -> ChangeClass:
    """Return when an edit of an existing object is made. `active` is the use that the active document makes."""
    if desired.key.plane == CONTROL:
        return ChangeClass.REVISION
    serving = active.in_service(desired.key, before)
    if desired.replace_fields & fields_named(changes) or (
        secret and serving and desired.key.kind in SECRET_REPLACED
    ):
        return ChangeClass.REPLACE
    if joins_service(desired, before, active):
        return ChangeClass.LIVE
    if not serving:
        return ChangeClass.EXPAND
    return _class_in_service(desired, before, changes, secret=secret)


def joins_service(desired: DesiredObject, before: Fields, active: Usage) -> bool:
    """True when an edit binds an account to a group in service: users may be sent to it at once."""
    if desired.key.kind != "ProviderAccount":
        return False
    added = set(desired.fields.get("groups") or ()) - set(before.get("groups") or ())
    return active.in_service(desired.key, {"groups": sorted(map(str, added))})


def _class_in_service(
    desired: DesiredObject, before: Fields, changes: tuple[FieldChange, ...], *, secret: bool
) -> ChangeClass:
    found = {
        direction(desired.key.kind, path, had, wanted)
        for path, had, wanted in _edited(desired, before, changes)
    }
    if secret:
        found.add(Direction.OTHER)
    if found == {Direction.WIDENS}:
        return ChangeClass.WIDEN
    return ChangeClass.NARROW if found == {Direction.NARROWS} else ChangeClass.LIVE


def direction(kind: str, path: str, before: Any, after: Any) -> Direction:
    """Return which way one field goes."""
    rule = RULES.get((kind, path.removeprefix("settings.")))
    return rule(before, after) if rule else Direction.OTHER


def _edited(
    desired: DesiredObject, before: Fields, changes: tuple[FieldChange, ...]
) -> list[tuple[str, Any, Any]]:
    """Return each changed field once, with its whole values: of a list all of it, of `settings` the one setting."""
    old, new = normal_fields(desired, before), normal_fields(desired, desired.fields)
    paths = sorted({re.split(r"\[", change.path, maxsplit=1)[0] for change in changes})
    return [(path, _at(old, path), _at(new, path)) for path in paths]


def _at(fields: Mapping[str, Any], path: str) -> Any:
    value: Any = fields
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
