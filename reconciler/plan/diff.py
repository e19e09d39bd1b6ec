"""Field by field: what differs between an object as desired and as observed.

Only the top-level fields that the desired object has are compared: the others are not ours. Below a top-level field
everything counts, so that a key that a hand added to a mapping is found. Lists are sets, except in `ORDERED_FIELDS`
and in the desired object's own `ordered_fields`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from deepdiff import DeepDiff

from reconciler.plan.model import DesiredObject, FieldChange, Fields, ObservedObject
from reconciler.plan.values import canonical_json, normal, same

CHANGED = "(changed)"
"""Stands for both values of a sensitive field: that it changed is all that is told."""

SECRET = "secret"  # noqa: S105 - the path of a field change, not a secret
"""Path of the change that stands for another secret value."""

ORDERED_FIELDS: frozenset[tuple[str, str]] = frozenset({("ManagedKey", "logical_groups")})
"""(kind, field) whose lists are sequences: of a key's logical groups the first that has the model serves."""

_PLAIN_KEY = re.compile(r"^[A-Za-z_][A-Za-z0-9_-]*$")


def compare(desired: DesiredObject, observed: ObservedObject) -> tuple[FieldChange, ...]:
    """Return every field that differs, sorted by path; empty when there is none. Secrets are compared elsewhere."""
    return _changes(desired, {name: observed.fields.get(name) for name in desired.fields})


def all_fields(desired: DesiredObject) -> tuple[FieldChange, ...]:
    """Return the fields of an object that does not exist yet, one change per top-level field that is set."""
    empty: dict[str, Any] = {}
    return _changes(desired, empty)


def secret_change() -> FieldChange:
    """Return the change that says: the secret is another one."""
    return FieldChange(SECRET, CHANGED, CHANGED, sensitive=True)


def normal_fields(desired: DesiredObject, fields: Fields) -> dict[str, Any]:
    """Return those of `fields` that the desired object has, in the form in which they are compared."""
    return {
        name: normal(fields[name], ordered=_ordered(desired, name))
        for name in sorted(desired.fields)
        if name in fields
    }


def _ordered(desired: DesiredObject, name: str) -> bool:
    return name in desired.ordered_fields or (desired.key.kind, name) in ORDERED_FIELDS


def _changes(desired: DesiredObject, before: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    found: list[FieldChange] = []
    old, new = normal_fields(desired, before), normal_fields(desired, desired.fields)
    for name, wanted in new.items():
        had = old.get(name)
        if same(had, wanted):
            continue
        if name in desired.sensitive:
            found.append(FieldChange(name, CHANGED, CHANGED, sensitive=True))
        else:
            found.extend(_inside(name, had, wanted))
    return tuple(
        sorted(found, key=lambda change: (change.path, canonical_json([change.before, change.after])))
    )


def _inside(name: str, before: Any, after: Any) -> Iterator[FieldChange]:
    if type(before) is not type(after) or not isinstance(before, dict | list):
        yield FieldChange(name, before, after)
        return
    found = [change for change in _located(name, before, after) if not same(change.before, change.after)]
    # Python, and with it deepdiff's look into lists, takes true for 1; then the field as a whole is what differs.
    yield from found or [FieldChange(name, before, after)]


def _located(name: str, before: Any, after: Any) -> Iterator[FieldChange]:
    """Let deepdiff say where inside a field the differences are."""
    for kind, levels in DeepDiff({name: before}, {name: after}, view="tree").items():
        for level in levels:
            yield FieldChange(
                dotted(level.path(output_format="list")),
                None if kind.endswith("_added") else level.t1,
                None if kind.endswith("_removed") else level.t2,
            )


def dotted(path: Iterable[str | int]) -> str:
    """Return a path as people write it: `models[2]`, `settings.rateMultiplier`, `mapping["gpt-4.1"]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.match(part):
            text += f".{part}" if text else part
        else:
            text += f"[{canonical_json(part)}]"
    return text


def fields_named(changes: Iterable[FieldChange]) -> frozenset[str]:
    """Return the top-level fields that changes are in."""
    return frozenset(re.split(r"[.\[]", change.path, maxsplit=1)[0] for change in changes)
