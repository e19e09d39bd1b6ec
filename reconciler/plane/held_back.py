"""What a revision leaves out: failed objects and their dependants go back to their form in the active revision."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from reconciler.plan.model import ObjectKey
from reconciler.plane.document import Document, assemble, entries, references


def hold_back(
    active: Document, wanted: Document, failed: Collection[ObjectKey]
) -> tuple[dict[str, Any], frozenset[ObjectKey]]:
    """Return the document to stage, and every object in it that is not as wanted.

    An object in `failed` takes its form in `active`; one that is new is left out. What refers to something left out is
    held back as well; what a held-back object still refers to stays, even if the manifests no longer want it.
    """
    before, after = entries(active), entries(wanted)
    held: set[ObjectKey] = {key for key in failed if before.get(key) != after.get(key)}
    while True:
        chosen = _choose(before, after, held)
        more = _unsatisfied(chosen, before) - held
        if not more:
            return assemble(chosen), frozenset(held)
        held |= more


def _choose(
    before: Mapping[ObjectKey, Mapping[str, Any]],
    after: Mapping[ObjectKey, Mapping[str, Any]],
    held: set[ObjectKey],
) -> dict[ObjectKey, Mapping[str, Any]]:
    chosen = {key: entry for key, entry in after.items() if key not in held}
    chosen.update({key: before[key] for key in held if key in before})
    return chosen


def _unsatisfied(
    chosen: Mapping[ObjectKey, Mapping[str, Any]], before: Mapping[ObjectKey, Mapping[str, Any]]
) -> set[ObjectKey]:
    more: set[ObjectKey] = set()
    for key, entry in chosen.items():
        for needed in references(key, entry):
            if needed not in chosen:
                more.add(needed if needed in before else key)
    return more
