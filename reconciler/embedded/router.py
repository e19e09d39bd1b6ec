"""Path to handler, as gin resolves it: an unknown path and an unknown method are both a plain 404."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

E = TypeVar("E")


@dataclass
class _Node(Generic[E]):
    children: dict[str, _Node[E]] = field(default_factory=dict)
    wildcard: tuple[str, _Node[E]] | None = None
    endpoints: dict[str, E] = field(default_factory=dict)


class Router(Generic[E]):
    """A tree of path segments; `:name` matches one segment. A literal segment wins over a `:name`."""

    def __init__(self) -> None:
        self._root: _Node[E] = _Node()

    def add(self, method: str, path: str, endpoint: E) -> None:
        """Register one path."""
        node = self._root
        for segment in _segments(path):
            if not segment.startswith(":"):
                node = node.children.setdefault(segment, _Node())
                continue
            if node.wildcard is None:
                node.wildcard = (segment[1:], _Node())
            node = node.wildcard[1]
        node.endpoints[method] = endpoint

    def find(self, method: str, path: str) -> tuple[E, dict[str, str]] | None:
        """Return the endpoint and its path parameters, or None."""
        node, parameters = self._root, dict[str, str]()
        for segment in _segments(path):
            if (child := node.children.get(segment)) is not None:
                node = child
            elif node.wildcard is not None:
                name, node = node.wildcard
                parameters[name] = segment
            else:
                return None
        endpoint = node.endpoints.get(method)
        return (endpoint, parameters) if endpoint is not None else None


def _segments(path: str) -> list[str]:
    return path.strip("/").split("/")
