"""What there is to drill: every public model and every managed key of a revision, as Acceptances demand. Pure."""

from __future__ import annotations

from collections.abc import Callable

from reconciler.proof.drills.model import DRILLS, PER_KEY, Candidate, DrillTarget
from reconciler.proof.judge import Policy
from reconciler.proof.model import PathKey
from reconciler.routing.config import Configuration, LogicalGroup, ManagedKey
from reconciler.routing.resolve import group_for, ordered_routes


def targets(configuration: Configuration, revision: int) -> list[DrillTarget]:
    """Return one target per logical group and public model of a revision, then one per managed key, each sorted."""
    groups = {group.name: group for group in configuration.logical_groups}
    models = {(binding.logical_group, binding.public_model) for binding in configuration.model_bindings}
    return [
        *(_of_model(configuration, groups[group], model, revision) for group, model in sorted(models)),
        *(_of_key(configuration, key, revision) for key in configuration.managed_keys),
    ]


def _of_model(configuration: Configuration, group: LogicalGroup, model: str, revision: int) -> DrillTarget:
    return DrillTarget(
        logical_group=group.name,
        public_model=model,
        managed_key=_key(configuration, group.name, model),
        revision=revision,
        candidates=_candidates(configuration, group.name, model),
        sticky=group.sticky.mode != "off",
        failure_threshold=group.failover.failure_threshold,
    )


def _of_key(configuration: Configuration, key: ManagedKey, revision: int) -> DrillTarget:
    every = frozenset(binding.public_model for binding in configuration.model_bindings)
    seen = {
        model: _candidates(configuration, *where) for model, where in _reached(configuration, key).items()
    }
    visible = {model: candidates for model, candidates in seen.items() if candidates}
    return DrillTarget(
        logical_group="",
        public_model="",
        managed_key=key.name,
        revision=revision,
        candidates=tuple(sorted({each for candidates in visible.values() for each in candidates})),
        sticky=False,
        failure_threshold=0,
        visible={model: candidates[0] for model, candidates in sorted(visible.items())},
        hidden=every - visible.keys(),
    )


def _reached(configuration: Configuration, key: ManagedKey) -> dict[str, tuple[str, str]]:
    """Return public model -> (logical group, public model) of everything that a key may ask for."""
    models = {binding.public_model for binding in configuration.model_bindings}
    allowed = models if key.limits.models is None else models & set(key.limits.models)
    found = ((group_for(configuration.index, key, model), model) for model in allowed)
    return {model: (group, model) for group, model in found if group is not None}


def _candidates(configuration: Configuration, group: str, model: str) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(
            route=each.route,
            priority=each.priority,
            host=each.shadow_host,
            shadow_model=each.shadow_model,
            public_model=model,
            door=f"{each.shadow_group} by key {each.gateway_key}",
        )
        for each in ordered_routes(configuration, group, model)
    )


def _key(configuration: Configuration, group: str, model: str) -> str | None:
    """Return the first key whose requests for the model go to this group."""
    for key in configuration.managed_keys:
        allowed = key.limits.models is None or model in key.limits.models
        if allowed and group_for(configuration.index, key, model) == group:
            return key.name
    return None


def demanded(
    policy_of: Callable[[PathKey], Policy], found: list[DrillTarget]
) -> list[tuple[str, DrillTarget]]:
    """Return the (drill, target) pairs that policies ask for.

    A drill is demanded when the policy of any path of its target names it.
    """
    wanted: list[tuple[str, DrillTarget]] = []
    for target in found:
        policies = [policy_of(PathKey(each.route, each.public_model)) for each in target.candidates]
        drills = frozenset().union(*(policy.drills for policy in policies)) if policies else frozenset()
        own = PER_KEY if target.of_key else frozenset(DRILLS) - PER_KEY
        wanted += [(drill, target) for drill in DRILLS if drill in drills & own]
    return wanted
