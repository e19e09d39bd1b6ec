"""Lookup tables over a configuration, so that a decision costs the same with ten routes or ten thousand."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from reconciler.routing.objects import (
        Configuration,
        LogicalGroup,
        ManagedKey,
        ModelBinding,
        Route,
        ShadowHost,
    )

SLICE = 64
"""Objects handled between two pauses of a sliced parse: well under 5 ms of work."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A route that may serve a public model, and the model it is asked for there."""

    route: Route
    shadow_model: str


Tiers = tuple[tuple[Candidate, ...], ...]
"""Candidates by priority, best first; inside a tier by weight, heaviest first, then by name."""


@dataclass(frozen=True, slots=True)
class Index:
    groups: Mapping[str, LogicalGroup] = field(default_factory=dict)
    hosts: Mapping[str, ShadowHost] = field(default_factory=dict)
    routes: Mapping[str, Route] = field(default_factory=dict)
    keys: Mapping[str, ManagedKey] = field(default_factory=dict)
    expiry: Mapping[str, float] = field(default_factory=dict)
    """Managed key -> when it expires, seconds since the epoch; keys that never expire are absent."""
    bindings: Mapping[tuple[str, str], ModelBinding] = field(default_factory=dict)
    """(logical group, public model) -> its binding."""
    tiers: Mapping[tuple[str, str], Tiers] = field(default_factory=dict)
    """(logical group, public model) -> the enabled candidates."""
    models: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Logical group -> its public models, sorted."""


def epoch(moment: str) -> float:
    """Return an RFC 3339 time as seconds since the epoch. A time without a zone is UTC. Raises ValueError."""
    parsed = datetime.fromisoformat(moment)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def build_index(configuration: Configuration) -> Index:
    """Make the tables in one go."""
    return run_to_end(index_steps(configuration))


def index_steps(configuration: Configuration) -> Generator[None, None, Index]:
    """Make the tables in slices: yields between them, so that an event loop can serve requests meanwhile."""
    routes = {route.name: route for route in configuration.routes}
    yield
    tiers: dict[tuple[str, str], Tiers] = {}
    models: dict[str, list[str]] = {}
    for count, binding in enumerate(configuration.model_bindings):
        tiers[binding.logical_group, binding.public_model] = _tiers(binding, routes)
        models.setdefault(binding.logical_group, []).append(binding.public_model)
        if count % SLICE == SLICE - 1:
            yield
    yield
    keys = {key.name: key for key in configuration.managed_keys}
    yield
    expiry = {key.name: epoch(key.expires_at) for key in keys.values() if key.expires_at is not None}
    yield
    bindings = {(item.logical_group, item.public_model): item for item in configuration.model_bindings}
    yield
    return Index(
        groups={group.name: group for group in configuration.logical_groups},
        hosts={host.name: host for host in configuration.shadow_hosts},
        routes=routes,
        keys=keys,
        expiry=expiry,
        bindings=bindings,
        tiers=tiers,
        models={group: tuple(sorted(names)) for group, names in models.items()},
    )


def _tiers(binding: ModelBinding, routes: Mapping[str, Route]) -> Tiers:
    by_priority: dict[int, list[Candidate]] = {}
    for bound in binding.routes:
        route = routes.get(bound.route)
        if route is not None and route.enabled:
            by_priority.setdefault(route.priority, []).append(Candidate(route, bound.shadow_model))
    return tuple(tuple(sorted(by_priority[priority], key=_rank)) for priority in sorted(by_priority))


def _rank(candidate: Candidate) -> tuple[int, str]:
    return -candidate.route.weight, candidate.route.name


def run_to_end(steps: Generator[None, None, T]) -> T:
    """Run a sliced computation without pausing and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result
