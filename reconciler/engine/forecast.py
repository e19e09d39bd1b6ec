"""What a run will prove and drill when everything holds at once, before it sends anything.

It follows the phases of `apply` with the rules of `reach`, so that the cost that a plan states is the cost of the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.engine.drilling import demanded_drills, due_drills
from reconciler.engine.policies import Policies
from reconciler.engine.proof_records import latest, leads_of, led_as_proved, stale
from reconciler.engine.prospect import Prospect
from reconciler.engine.reach import (
    edited_paths,
    groups_in_service,
    joins,
    staged_paths,
    whole_accounts,
)
from reconciler.engine.surroundings import Surroundings
from reconciler.manifest import ProviderAccount
from reconciler.plan.impact import configuration
from reconciler.plan.model import Action, Change, ChangeClass, ObjectKey, ObservedObject
from reconciler.plane.document import entries
from reconciler.proof.drills import DrillTarget
from reconciler.proof.model import PathKey, PathProof
from reconciler.proof.scope import Scope

_MADE = frozenset({ChangeClass.EXPAND, ChangeClass.REPLACE})


@dataclass(frozen=True)
class Forecast:
    """What a run will ask for."""

    paths: Sequence[PathKey] = ()
    """In the order of the phases; a path stands here as often as it is proved."""
    drills: Sequence[tuple[str, DrillTarget]] = ()


def forecast(around: Surroundings, seen: Prospect, prove: str) -> Forecast:
    """Return what an apply of a plan will ask for; `prove` is all, affected or none."""
    run = _Run(around, seen, Policies(around), latest(around), prove)
    paths = [*run.before_the_end()]
    return Forecast([*paths, *run.at_the_end(frozenset(paths))], run.drills())


def coming_drills(around: Surroundings, seen: Prospect, prove: str) -> Sequence[tuple[str, DrillTarget]]:
    """Return only the drills of a forecast."""
    return _Run(around, seen, Policies(around), {}, prove).drills()


@dataclass(frozen=True)
class _Run:
    around: Surroundings
    seen: Prospect
    policies: Policies
    proofs: Mapping[PathKey, PathProof]
    prove: str

    @property
    def scope(self) -> Scope:
        return self.policies.scope

    @property
    def stages(self) -> bool:
        """True when a revision will be staged."""
        return entries(self.seen.document_before) != entries(self.seen.document_after)

    def before_the_end(self) -> Iterator[PathKey]:
        """Yield what expand, the live edits, the staged revision and the bindings prove."""
        pending = self.seen.plan.pending()
        made = [change for change in pending if _is_made(change)]
        for change in made:
            yield from self.scope.of_account(change.key.name)
        yield from self._edits(joining=False)
        if self.stages:
            yield from staged_paths(self.seen.plan, self.scope, self.seen.document_after, self.prove)
        for change in pending:
            yield from self._bound(change)
        yield from self._edits(joining=True)

    def _edits(self, *, joining: bool) -> Iterator[PathKey]:
        for change in self.seen.plan.pending():
            before = self._observed(change)
            if change.change_class is not ChangeClass.LIVE or before is None:
                continue
            desired = self.seen.desired[change.key]
            if joins(change.key, before, desired) == joining:
                if joining:
                    yield from self._unproved(change.key.name)
                groups = before.fields.get("groups", ()), desired.fields.get("groups", ())
                yield from edited_paths(self.scope, change.key, *groups)

    def _bound(self, change: Change) -> Iterator[PathKey]:
        """Yield what binding an account to groups in service proves, after the promotion."""
        if change.key.kind != ProviderAccount.KIND:
            return
        desired = self.seen.desired.get(change.key)
        if desired is None:
            return
        before = self._observed(change)
        widens = change.change_class is ChangeClass.WIDEN and before is not None
        if widens and before is not None and joins(change.key, before, desired):
            yield from self._unproved(change.key.name)
            yield from edited_paths(self.scope, change.key, before.fields["groups"], desired.fields["groups"])
        elif _is_made(change) and self._meets_traffic(change.key, desired.fields["groups"]):
            yield from edited_paths(self.scope, change.key, (), desired.fields["groups"])

    def _meets_traffic(self, key: ObjectKey, groups: Sequence[str]) -> bool:
        """True when a new account is to serve a group in service: to all others it is bound in expand."""
        busy = groups_in_service(self.seen.document_before)
        ids = {
            mark.name: each.object_id
            for each in self.seen.observed.planes[key.plane].objects
            if each.kind == "ShadowGroup" and (mark := each.marker) is not None
        }
        return any(ids.get(group) in busy for group in groups)

    def _unproved(self, account: str) -> Iterator[PathKey]:
        """Yield all models of an account that is not proved by itself: it is, before it is bound."""
        own = self.scope.of_account(account)
        if not all(path in self.proofs and self.proofs[path].holds for path in own):
            yield from own

    def _observed(self, change: Change) -> ObservedObject | None:
        seen = (
            self.seen.observed.planes[change.key.plane].objects
            if change.key.plane.startswith("host/")
            else ()
        )
        return next(
            (each for each in seen if (each.kind, each.object_id) == (change.key.kind, change.object_id)),
            None,
        )

    def at_the_end(self, proved: frozenset[PathKey]) -> list[PathKey]:
        """Return what is renewed when all is done: what was stale, or leads elsewhere now, and was not proved yet."""
        due = set(stale(self.around, self.scope, self.policies.of_path))
        leads = leads_of(self.seen.document_after)
        due |= {
            path
            for path in self.scope.everything()
            if (lead := leads.get(path._replace(key=""))) is not None
            and path in self.proofs
            and not led_as_proved(self.proofs[path], lead)
        }
        held = (path for path in due - proved if not path.route or path._replace(key="") in leads)
        return whole_accounts(self.scope, held)

    def drills(self) -> list[tuple[str, DrillTarget]]:
        """Return the drills that follow."""
        after: Any = configuration(self.seen.document_after, "after")
        revision = self.seen.observed.snapshot.revision
        if self.prove == "all" and self.stages:
            return demanded_drills(self.policies.of_path, after, revision)
        return due_drills(self.around, self.policies.of_path, after, revision, self.seen.plan)


def _is_made(change: Change) -> bool:
    """True for an account that is created, and proved through its quarantine."""
    is_account = change.key.kind == ProviderAccount.KIND and change.action is not Action.ADOPT
    return is_account and change.change_class in _MADE
