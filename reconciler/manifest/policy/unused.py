"""Rules about manifests that have no effect."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.manifest.acceptance import Acceptance, Target
from reconciler.manifest.gateway_key import GatewayKey
from reconciler.manifest.logical_group import LogicalGroup
from reconciler.manifest.managed_key import ManagedKey
from reconciler.manifest.manifest_set import Problem
from reconciler.manifest.meta import Resource
from reconciler.manifest.model_binding import ModelBinding
from reconciler.manifest.route import Route
from reconciler.manifest.shadow_group import ShadowGroup
from reconciler.manifest.survey import Survey

# What nothing uses without the other: the kind, who would use it, and what to do.
_USERS: tuple[tuple[type[Resource], type[Resource], str], ...] = (
    (LogicalGroup, Route, "it has no Route, so nothing can serve it"),
    (LogicalGroup, ManagedKey, "no ManagedKey opens it, so nobody can use it"),
    (Route, ModelBinding, "no ModelBinding names it, so it serves no model"),
    (GatewayKey, Route, "no Route uses it"),
    (ShadowGroup, Route, "no Route goes to it"),
)


def everything_is_used(survey: Survey) -> Iterator[Problem]:
    """Groups, routes and gateway keys are used by something."""
    for kind, user, says in _USERS:
        if not survey.whole(user.KIND):
            continue
        used = {ref.name for other in survey.of(user) for ref in other.references() if ref.kind == kind.KIND}
        for resource in survey.of(kind):
            if resource.name not in used:
                fix = f"add a {user.KIND} that names it, or remove it"
                yield from survey.warnings(resource, ("metadata", "name"), "unused", says, fix)


def targets_match_something(survey: Survey) -> Iterator[Problem]:
    """An acceptance's targets by labels match at least one manifest."""
    for acceptance in survey.of(Acceptance):
        for index, target in enumerate(acceptance.spec.targets):
            if target.name is None and survey.whole(target.kind) and not _matches(survey, target):
                says = f"no {target.kind} carries the labels of target {index}"
                if not target.labels:
                    says = f"there is no {target.kind}, which target {index} is about"
                fix = "mend the labels, or remove the target"
                yield survey.error(acceptance, ("spec", "targets", index), "no-such-target", says, fix)


def _matches(survey: Survey, target: Target) -> bool:
    candidates = (
        loaded.resource for loaded in survey.loaded.manifests if target.kind == loaded.resource.KIND
    )
    return any(target.labels.items() <= candidate.metadata.labels.items() for candidate in candidates)


RULES = (everything_is_used, targets_match_something)
