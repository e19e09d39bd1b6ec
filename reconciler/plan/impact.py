"""Routing impact: who serves each public model before and after, by the resolver that the data plane runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reconciler.errors import InvalidInput
from reconciler.plan.model import (
    CONTROL,
    UNKNOWN_UNTIL_APPLY,
    Action,
    Candidate,
    Change,
    ImpactRow,
    ObjectKey,
    Plan,
    host_plane,
)
from reconciler.routing.config import (
    Configuration,
    InvalidConfiguration,
    ManagedKey,
    ModelBinding,
    Route,
    parse,
)
from reconciler.routing.resolve import ordered_routes

Path = tuple[str, str]
"""(route, public model)"""

_PENDING = "known-after-apply"
"""What takes the place of a value that only apply can learn: a document needs a word there, whichever."""

_SHOWN_PROBLEMS = 5


def configuration(document: Mapping[str, Any], which: str) -> Configuration:
    """Return a document as the data plane would read it. Raises InvalidInput naming `which` document is wrong."""
    try:
        return parse(_filled(document) or {})
    except InvalidConfiguration as error:
        shown = "; ".join(error.problems[:_SHOWN_PROBLEMS])
        raise InvalidInput(
            f"the configuration {which} the plan is invalid ({len(error.problems)} problems): {shown}",
            hint="Correct the objects that it names; those we do not own are changed in the control plane itself.",
        ) from error


def _filled(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(item) for item in value]
    return _PENDING if value == UNKNOWN_UNTIL_APPLY else value


def impact(before: Configuration, after: Configuration) -> tuple[ImpactRow, ...]:
    """Return a row per logical group and public model whose ordered candidates differ; sorted."""
    models = {(b.logical_group, b.public_model) for b in (*before.model_bindings, *after.model_bindings)}
    rows = (
        ImpactRow(group, model, candidates(before, group, model), candidates(after, group, model))
        for group, model in sorted(models)
    )
    return tuple(row for row in rows if row.before != row.after)


def candidates(of: Configuration, logical_group: str, public_model: str) -> tuple[Candidate, ...]:
    """Return the enabled candidates of a public model in the order in which they would be tried."""
    return tuple(
        Candidate(
            route=choice.route,
            shadow_host=choice.shadow_host,
            shadow_group=choice.shadow_group,
            shadow_model=choice.shadow_model,
            priority=choice.priority,
            weight=choice.weight,
        )
        for choice in ordered_routes(of, logical_group, public_model)
    )


def affected(plan: Plan) -> frozenset[Path]:
    """Return every enabled (route, public model) of the new configuration that the plan can change.

    Those are the paths that must be proved before the plan may be promoted.
    """
    return frozenset(plan.affected)


def affected_paths(
    before: Configuration,
    after: Configuration,
    rows: Iterable[ImpactRow],
    changes: Iterable[Change],
    touched: Touched,
) -> tuple[Path, ...]:
    """Return the enabled paths of `after` whose candidates, binding, route, key or host objects change; sorted."""
    models_changed = {(row.logical_group, row.public_model) for row in rows} | _newly_reachable(before, after)
    keys_changed = {
        key
        for change in changes
        if change.action is not Action.NOOP
        for key in touched.get(change.key, (change.key,))
    }
    found = {
        (route.name, binding.public_model)
        for binding, route in _paths(after)
        if (binding.logical_group, binding.public_model) in models_changed
        or not keys_changed.isdisjoint(_stands_on(binding, route))
    }
    return tuple(sorted(found))


Touched = Mapping[ObjectKey, tuple[ObjectKey, ...]]
"""Changed object -> the objects whose paths it changes, where that is not just itself: an account's groups."""


def _paths(of: Configuration) -> Iterator[tuple[ModelBinding, Route]]:
    routes = {route.name: route for route in of.routes if route.enabled}
    for binding in of.model_bindings:
        for bound in binding.routes:
            if bound.route in routes:
                yield binding, routes[bound.route]


def _stands_on(binding: ModelBinding, route: Route) -> frozenset[ObjectKey]:
    """Return every object that a path runs through, accounts apart: those are known by their groups."""
    plane = host_plane(route.shadow_host)
    return frozenset(
        {
            ObjectKey(CONTROL, "LogicalGroup", route.logical_group),
            ObjectKey(CONTROL, "ShadowHost", route.shadow_host),
            ObjectKey(CONTROL, "Route", route.name),
            ObjectKey(CONTROL, "ModelBinding", binding.name),
            ObjectKey(plane, "ShadowGroup", route.shadow_group),
            ObjectKey(plane, "Channel", route.shadow_group),
            ObjectKey(plane, "GatewayKey", route.gateway_key),
            ObjectKey(plane, "KeyIssuer", route.shadow_host),
        }
    )


def _newly_reachable(before: Configuration, after: Configuration) -> set[tuple[str, str]]:
    """Return the (logical group, public model) that some consumer can reach after and none could before.

    Such a path may stand in the configuration already, never proved, because nobody had a key for it.
    """
    return _reachable(after) - _reachable(before)


def _reachable(of: Configuration) -> set[tuple[str, str]]:
    return {(group, model) for key in of.managed_keys for group, model in _opened(of, key)}


def _opened(of: Configuration, key: ManagedKey) -> Iterator[tuple[str, str]]:
    for group in key.logical_groups:
        for model in of.index.models.get(group, ()):
            if key.limits.models is None or model in key.limits.models:
                yield group, model
