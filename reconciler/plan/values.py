"""JSON values: one canonical form, and equality that does not confuse true with 1."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from typing import Any


def canonical_json(value: Any) -> str:
    """Return the one text of a JSON value: keys sorted, no spaces, ASCII only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def shown_json(value: Any) -> str:
    """Return a JSON value as people read it: as `canonical_json`, other scripts' letters as they are."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def normal(value: Any, *, ordered: bool = False) -> Any:
    """Return a value as plain JSON: mappings as dicts, sets and (unless `ordered`) lists sorted, at every depth.

    `ordered` holds for the list itself and for lists inside it.
    """
    if isinstance(value, Mapping):
        return {str(key): normal(item, ordered=ordered) for key, item in sorted(value.items())}
    if isinstance(value, Set):
        return sorted((normal(item) for item in value), key=canonical_json)
    if isinstance(value, list | tuple):
        items = [normal(item, ordered=ordered) for item in value]
        return items if ordered else sorted(items, key=canonical_json)
    return value


def same(one: Any, other: Any) -> bool:
    """True when two plain JSON values are equal; 1 equals 1.0, but not true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(item, other[key]) for key, item in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
