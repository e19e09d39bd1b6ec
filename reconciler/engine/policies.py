"""What proof is demanded of each path and manifest of one run, and which paths there are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from reconciler.engine.surroundings import Surroundings
from reconciler.proof.judge import Policy
from reconciler.proof.model import Grade, PathKey
from reconciler.proof.scope import Scope


@dataclass(frozen=True)
class Policies:
    """The policies of one manifest set, with the drills that the run itself asks for."""

    workspace: Surroundings

    @cached_property
    def scope(self) -> Scope:
        """Which paths there are."""
        drivers = self.workspace.drivers
        best = {name: Grade(driver.CAPABILITIES.best_grade) for name, driver in drivers.items()}
        return Scope(self.workspace.manifests, best)

    def of_manifests(self) -> dict[tuple[str, str], Policy]:
        """Return the strictest policy of each manifest."""
        found = self.scope.policies(self._default())
        return {key: self._drilled(policy) for key, policy in found.items()}

    def of_path(self, path: PathKey) -> Policy:
        """Return the strictest policy that one path falls under."""
        return self._drilled(self.scope.path_policy(path, self._default()))

    def _default(self) -> Policy:
        """Return the policy of what no Acceptance covers: one probe, 24 hours, its host's best grade."""
        return self._drilled(Policy())

    def _drilled(self, policy: Policy) -> Policy:
        return replace(policy, drills=policy.drills | self.workspace.options.drills)
