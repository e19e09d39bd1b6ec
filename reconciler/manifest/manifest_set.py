"""The result of loading: typed resources that remember where they came from, and the problems found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeVar

from reconciler.manifest.meta import Resource

Path = tuple[str | int, ...]
R = TypeVar("R", bound=Resource)


@dataclass(frozen=True, order=True)
class Location:
    """Where something stands. `line` and `column` count from 1; standard input is the file "-"."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong with the input: where, which rule, what, and how to mend it."""

    location: Location
    rule: str
    """Kebab-case word that names the rule, stable for scripts: "unknown-field", "dangling-reference"."""
    message: str
    fix: str = ""
    severity: Literal["error", "warning"] = "error"


@dataclass(frozen=True)
class Loaded:
    """One resource with the place of each of its fields."""

    resource: Resource
    locations: Mapping[Path, Location]
    """Field path from the document's root, in YAML spelling, to its place; () is the document itself."""
    keys: Mapping[Path, Location] = field(default_factory=dict)
    """Path of each entry of a mapping to the place of its key."""
    stand_ins: frozenset[Path] = frozenset()
    """Fields that could not be read, in a resource that is only looked through for what else is wrong with it."""

    def at(self, path: Path = ()) -> Location:
        """Return the place of `path`, or of the nearest parent that has one."""
        while path not in self.locations:
            path = path[:-1]
        return self.locations[path]

    def at_key(self, path: Path) -> Location:
        """Return the place of a mapping's key, or of the nearest parent that has a place."""
        return self.keys.get(path) or self.at(path)


@dataclass(frozen=True)
class ManifestSet:
    """All resources of one input, by (kind, name). Iteration is sorted, so that results do not depend on files."""

    items: Mapping[tuple[str, str], Loaded] = field(default_factory=dict)
    digest: str = ""
    """sha256 of the canonical JSON of all resources, sorted; the same content gives the same digest."""

    def __iter__(self) -> Iterator[Loaded]:
        return iter(self._sorted)

    def __len__(self) -> int:
        return len(self.items)

    def of(self, kind: type[R]) -> list[R]:
        """Return all resources of a kind, sorted by name."""
        return [resource for resource in self._by_kind.get(kind.KIND, ()) if isinstance(resource, kind)]

    @cached_property
    def _sorted(self) -> tuple[Loaded, ...]:
        return tuple(self.items[key] for key in sorted(self.items))

    @cached_property
    def _by_kind(self) -> Mapping[str, Sequence[Resource]]:
        # Asked for once per path of a run: sorting a thousand manifests each time is what made runs slow.
        found: dict[str, list[Resource]] = {}
        for loaded in self._sorted:
            found.setdefault(loaded.resource.KIND, []).append(loaded.resource)
        return found

    def get(self, kind: type[R], name: str) -> R:
        """Return one resource. Raises KeyError when there is none."""
        resource = self.items[(kind.KIND, name)].resource
        if not isinstance(resource, kind):
            raise KeyError((kind.KIND, name))
        return resource

    def find(self, kind: str, name: str) -> Loaded | None:
        """Return one loaded resource by kind word and name, or None."""
        return self.items.get((kind, name))
