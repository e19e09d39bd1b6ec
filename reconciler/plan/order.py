r"""The order of changes: what others stand on first; deletions the other way round.

    on a host:         KeyIssuer   ShadowGroup   Quarantine          0
                            \       /   |   \       |
                          GatewayKey  Channel  ProviderAccount       1
                              |
    control plane:   ShadowHost   LogicalGroup                       2
                          \       /        \
                           Route        ManagedKey                   3
                             |
                        ModelBinding                                 4

A line means: the lower one refers to the upper one. Finer dependencies come from `DesiredObject.depends_on`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from reconciler.plan.model import Action, Change, ChangeClass, DesiredObject, ObjectKey

LEVELS: Mapping[str, int] = {
    "KeyIssuer": 0,
    "ShadowGroup": 0,
    "Quarantine": 0,
    "GatewayKey": 1,
    "Channel": 1,
    "ProviderAccount": 1,
    "ShadowHost": 2,
    "LogicalGroup": 2,
    "Route": 3,
    "ManagedKey": 3,
    "ModelBinding": 4,
}
"""Kind -> level in the graph above."""

PHASES: Mapping[ChangeClass, int] = {
    ChangeClass.EXPAND: 0,
    ChangeClass.REPLACE: 1,
    ChangeClass.WIDEN: 2,
    ChangeClass.REVISION: 3,
    ChangeClass.LIVE: 4,
    ChangeClass.NARROW: 5,
    ChangeClass.CONTRACT: 6,
    ChangeClass.NONE: 7,
}
"""Change class -> its place in the five phases of apply, as far as a list can say it."""


def level(kind: str) -> int:
    """Return how deep a kind stands in the graph. Raises KeyError for a kind that is not in it."""
    return LEVELS[kind]


def sort_key(change: Change) -> tuple[int, bool, int, ObjectKey, str]:
    """Return what changes are sorted by: phase, deletions last in it, level (bottom-up for those), then name."""
    deletes = change.action is Action.DELETE
    depth = level(change.key.kind)
    return (
        PHASES[change.change_class],
        deletes,
        -depth if deletes else depth,
        change.key,
        change.object_id or "",
    )


def waves(changes: Iterable[Change], desired: Sequence[DesiredObject]) -> list[list[Change]]:
    """Return the changes in groups: those of one group may run at the same time, each after all earlier groups.

    Deletions form groups of their own at the end. No-ops are left out. Changes inside a group are sorted.
    """
    pending = sorted((change for change in changes if change.action is not Action.NOOP), key=sort_key)
    made = [change for change in pending if change.action is not Action.DELETE]
    deleted = [change for change in pending if change.action is Action.DELETE]
    depths = _depths(made, desired)
    return [
        *_grouped(made, [depths[change.key] for change in made]),
        *_grouped(deleted, [-level(change.key.kind) for change in deleted]),
    ]


def _grouped(changes: Sequence[Change], depths: Sequence[int]) -> list[list[Change]]:
    groups: dict[int, list[Change]] = {}
    for change, depth in zip(changes, depths, strict=True):
        groups.setdefault(depth, []).append(change)
    return [groups[depth] for depth in sorted(groups)]


def _depths(changes: Sequence[Change], desired: Sequence[DesiredObject]) -> dict[ObjectKey, int]:
    """Return for every change its level, or one more than what it depends on, whichever is greater."""
    wanted = {each.key: each.depends_on for each in desired}
    depths = {change.key: level(change.key.kind) for change in changes}
    # Each round settles at least one more link of a chain; a cycle cannot settle, and checked manifests have none.
    for _ in range(len(depths) + 1):
        settled = True
        for key, depth in depths.items():
            needed = max((depths[other] + 1 for other in wanted.get(key, ()) if other in depths), default=0)
            if needed > depth:
                depths[key], settled = needed, False
        if settled:
            return depths
    raise ValueError("desired objects depend on each other in a circle")
