"""A YAML document as a tree that knows where everything stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reconciler.manifest.manifest_set import Location, Path


@dataclass(slots=True)
class Node:
    """One YAML value with its place. `line` and `column` count from 1.

    `content` is a scalar, a list of nodes, or a dict of key to `Entry`. A node under an anchor is shared by its
    aliases. `size` and `height` measure the expanded tree below it, itself included.
    """

    content: Any
    line: int
    column: int
    size: int = 1
    height: int = 1


@dataclass(slots=True)
class Entry:
    """One key of a mapping, with the key's place, and its value."""

    line: int
    column: int
    value: Node


@dataclass(frozen=True)
class Places:
    """Positions in one document by path. A field that came by an alias or a merge key stands where it is written."""

    values: dict[Path, Location]
    """Where a value is: a scalar itself; for a list or mapping its key, or the item's start. () is the document."""
    keys: dict[Path, Location]
    """Where the key of a mapping's entry is."""


def content(node: Node) -> Any:
    """Return the plain Python value of a node. A value under an anchor is built once per alias."""
    inner = node.content
    if isinstance(inner, dict):
        return {key: content(entry.value) for key, entry in inner.items()}
    if isinstance(inner, list):
        return [content(item) for item in inner]
    return inner


def locate(file: str, root: Node) -> Places:
    """Return the place of every key and value below `root`."""
    places = Places({(): Location(file, root.line, root.column)}, {})
    _locate(file, root, (), places)
    return places


def _locate(file: str, node: Node, path: Path, places: Places) -> None:
    if isinstance(node.content, dict):
        for key, entry in node.content.items():
            here = (*path, key)
            at_key = Location(file, entry.line, entry.column)
            places.keys[here] = at_key
            _place(file, entry.value, here, at_key, places)
    elif isinstance(node.content, list):
        for index, item in enumerate(node.content):
            _place(file, item, (*path, index), Location(file, item.line, item.column), places)


def _place(file: str, node: Node, path: Path, around: Location, places: Places) -> None:
    if isinstance(node.content, dict | list):
        places.values[path] = around
        _locate(file, node, path, places)
    elif node.content is None:
        places.values[path] = around
    else:
        places.values[path] = Location(file, node.line, node.column)


def children(root: Node, key: str) -> Iterator[Node]:
    """Yield the items of the list under `key` of a mapping; nothing when there is no such list."""
    entry = root.content.get(key) if isinstance(root.content, dict) else None
    if entry is not None and isinstance(entry.value.content, list):
        yield from entry.value.content
