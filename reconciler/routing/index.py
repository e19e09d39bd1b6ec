"""Lookup tables over a configuration, so that a decision costs the same with ten routes or ten thousand."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sized
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import msgspec

from reconciler.routing.draw import Node, leaf, plant

if TYPE_CHECKING:
    from reconciler.routing.objects import (
        Configuration,
        LogicalGroup,
        ManagedKey,
        ModelBinding,
        Route,
        ShadowHost,
    )

SLICE = 8
"""Objects handled between two places where a sliced parse may pause: about 0.1 ms of work."""

_FEW = 8
"""Up to this many of something are looked through one by one; for more there is a table."""

T = TypeVar("T")


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A route that may serve a public model, and the model it is asked for there."""

    route: Route
    shadow_model: str


Tiers = tuple[tuple[Candidate, ...], ...]
"""Candidates by priority, best first; inside a tier by weight, heaviest first, then by name."""


class Offer(msgspec.Struct, frozen=True, gc=False):
    """The enabled candidates of one public model of a logical group, ready to be chosen from."""

    tiers: Tiers
    draws: tuple[tuple[Node, ...], ...]
    """Beside each tier what a draw goes through; empty where there is nothing to draw."""
    names: Mapping[str, Candidate] | None
    """Route -> candidate, when there are many."""

    def find(self, route: str) -> Candidate | None:
        """Return a candidate by its route's name, or None."""
        if self.names is not None:
            return self.names.get(route)
        for tier in self.tiers:
            for candidate in tier:
                if candidate.route.name == route:
                    return candidate
        return None


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
    offers: Mapping[tuple[str, str], Offer] = field(default_factory=dict)
    """The same candidates, with what choosing among them needs."""
    reach: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Managed key with many logical groups -> public model -> the first of its groups that binds it."""
    allowed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Managed key with a long list of models -> that list."""
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
    leaves: dict[str, Node] = {}
    offers: dict[tuple[str, str], Offer] = {}
    models: dict[str, list[str]] = {}
    for count, binding in enumerate(configuration.model_bindings):
        offer = _offer(_tiers(binding, routes), leaves)
        offers[binding.logical_group, binding.public_model] = offer
        models.setdefault(binding.logical_group, []).append(binding.public_model)
        if count % SLICE == SLICE - 1:
            yield
    yield
    keys = {key.name: key for key in configuration.managed_keys}
    yield
    reach = yield from _reach_steps(configuration.managed_keys, models)
    allowed = {
        name: frozenset(key.limits.models or ()) for name, key in keys.items() if _many(key.limits.models)
    }
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
        tiers={place: offer.tiers for place, offer in offers.items()},
        offers=offers,
        reach=reach,
        allowed=allowed,
        models={group: tuple(sorted(names)) for group, names in models.items()},
    )


def _tiers(binding: ModelBinding, routes: Mapping[str, Route]) -> Tiers:
    by_priority: dict[int, list[Candidate]] = {}
    for bound in binding.routes:
        route = routes.get(bound.route)
        if route is not None and route.enabled:
            by_priority.setdefault(route.priority, []).append(Candidate(route, bound.shadow_model))
    return tuple(tuple(sorted(by_priority[priority], key=_rank)) for priority in sorted(by_priority))


def _offer(tiers: Tiers, leaves: dict[str, Node]) -> Offer:
    """Return an offer. `leaves` are the routes' nodes made so far: models share them."""
    draws = tuple(plant([_leaf(c.route, leaves) for c in tier]) if len(tier) > 1 else () for tier in tiers)
    many = sum(map(len, tiers)) > _FEW
    return Offer(tiers, draws, {c.route.name: c for tier in tiers for c in tier} if many else None)


def _leaf(route: Route, leaves: dict[str, Node]) -> Node:
    node = leaves.get(route.name)
    if node is None:
        node = leaves[route.name] = leaf(route.name, route.weight)
    return node


def _reach_steps(
    keys: Iterable[ManagedKey], models: Mapping[str, Iterable[str]]
) -> Generator[None, None, dict[str, Mapping[str, str]]]:
    """Keys of equal groups share a table: a list of all groups is common among keys, and long."""
    shared: dict[tuple[str, ...], Mapping[str, str]] = {}
    reach: dict[str, Mapping[str, str]] = {}
    for count, key in enumerate(keys):
        if _many(key.logical_groups):
            if key.logical_groups not in shared:
                groups = reversed(key.logical_groups)  # the first one is to win
                shared[key.logical_groups] = {
                    model: name for name in groups for model in models.get(name, ())
                }
                yield
            reach[key.name] = shared[key.logical_groups]
        if count % SLICE == SLICE - 1:
            yield
    return reach


def _many(items: Sized | None) -> bool:
    return items is not None and len(items) > _FEW


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
