"""What there is to drill: every public model of a revision, and which drills its Acceptances demand. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from reconciler.proof.drills.model import DRILLS, Candidate, DrillTarget
from reconciler.proof.judge import Policy
from reconciler.proof.model import PathKey
from reconciler.routing.config import Configuration, LogicalGroup, ManagedKey, parse
from reconciler.routing.resolve import ordered_routes


def targets(document: Mapping[str, Any], revision: int) -> list[DrillTarget]:
    """Return one target per logical group and public model of a revision, sorted."""
    configuration = parse(document)
    groups = {group.name: group for group in configuration.logical_groups}
    models = {(binding.logical_group, binding.public_model) for binding in configuration.model_bindings}
    return [_target(configuration, groups[group], model, revision) for group, model in sorted(models)]


def _target(configuration: Configuration, group: LogicalGroup, model: str, revision: int) -> DrillTarget:
    key = _key(configuration, group.name, model)
    every = frozenset(binding.public_model for binding in configuration.model_bindings)
    visible = _visible(configuration, key) if key else frozenset()
    return DrillTarget(
        logical_group=group.name,
        public_model=model,
        managed_key=key.name if key else None,
        revision=revision,
        candidates=tuple(
            Candidate(each.route, each.priority) for each in ordered_routes(configuration, group.name, model)
        ),
        sticky=group.sticky.mode != "off",
        failure_threshold=group.failover.failure_threshold,
        visible=visible,
        hidden=every - visible,
    )


def _key(configuration: Configuration, group: str, model: str) -> ManagedKey | None:
    """Return the first key whose requests for the model go to this group."""
    bound = {(binding.logical_group, binding.public_model) for binding in configuration.model_bindings}
    for key in configuration.managed_keys:
        if key.limits.models is not None and model not in key.limits.models:
            continue
        if next((name for name in key.logical_groups if (name, model) in bound), None) == group:
            return key
    return None


def _visible(configuration: Configuration, key: ManagedKey) -> frozenset[str]:
    served = {
        (binding.logical_group, binding.public_model)
        for binding in configuration.model_bindings
        if ordered_routes(configuration, binding.logical_group, binding.public_model)
    }
    models = frozenset(model for group, model in served if group in key.logical_groups)
    return models if key.limits.models is None else models & frozenset(key.limits.models)


def demanded(
    policy_of: Callable[[PathKey], Policy], found: list[DrillTarget]
) -> list[tuple[str, DrillTarget]]:
    """Return the (drill, target) pairs that policies ask for.

    A drill of a public model is demanded when the policy of any of its paths names the drill.
    """
    wanted: list[tuple[str, DrillTarget]] = []
    for target in found:
        policies = [
            policy_of(PathKey(candidate.route, target.public_model)) for candidate in target.candidates
        ]
        drills = frozenset().union(*(policy.drills for policy in policies)) if policies else frozenset()
        wanted += [(drill, target) for drill in DRILLS if drill in drills]
    return wanted
