"""What a revision leaves out: failed objects and their dependants go back to their form in the active revision."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from reconciler.plan.model import ObjectKey
from reconciler.plane.document import Document, assemble, control_key, entries, references


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
        more = (_unsatisfied(chosen, before) | _at_odds(chosen)) - held
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


def _at_odds(chosen: Mapping[ObjectKey, Mapping[str, Any]]) -> set[ObjectKey]:
    """Return the objects that cannot stand together: one as wanted, the other as active.

    A binding and a route of another logical group; two bindings of one public model. Each of the two documents is
    free of that, so holding back both sides ends it.
    """
    found: set[ObjectKey] = set()
    offered: dict[tuple[str, str], ObjectKey] = {}
    for key, entry in chosen.items():
        if key.kind != "ModelBinding":
            continue
        group = entry["logical_group"]
        first = offered.setdefault((group, entry["public_model"]), key)
        if first != key:
            found |= {first, key}
        for bound in entry["routes"]:
            route = control_key("Route", bound["route"])
            if route in chosen and chosen[route]["logical_group"] != group:
                found |= {route, key}
    return found
