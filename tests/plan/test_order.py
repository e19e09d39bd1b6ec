from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.manifest import KINDS
from reconciler.plan.model import INTERNAL_KINDS, Action, ObjectKey
from reconciler.plan.order import LEVELS, waves
from tests.plan.cast import EAST, HOUSE, account, gateway_key, group, key, make, running, seen

NEEDS_NO_ORDER = {"ControlPlane", "Acceptance"}
"""Kinds of which no plane has an object."""


def names(found: list[list[object]]) -> list[list[str]]:
    return [[f"{change.key.kind}/{change.key.name}" for change in wave] for wave in found]  # type: ignore[attr-defined]


def test_every_kind_of_object_has_a_place() -> None:
    assert set(LEVELS) == (set(KINDS) | set(INTERNAL_KINDS)) - NEEDS_NO_ORDER


def test_creations_go_from_the_top_down() -> None:
    assert names(list(waves(make(*HOUSE).changes, HOUSE))) == [  # type: ignore[arg-type]
        ["ShadowGroup/chat"],
        ["GatewayKey/chat-key", "ProviderAccount/alpha"],
        ["LogicalGroup/products", "ShadowHost/east"],
        ["ManagedKey/team", "Route/east-chat"],
        ["ModelBinding/fast"],
    ]


def test_deletions_go_from_the_bottom_up_and_last() -> None:
    old = [group("old"), account("old-one", groups=["old"])]
    plan = make(group(), **{**running(*old), "before": {}})

    assert names(list(waves(plan.changes, [group()]))) == [  # type: ignore[arg-type]
        ["ShadowGroup/chat"],
        ["ProviderAccount/old-one"],
        ["ShadowGroup/old"],
    ]


def test_no_ops_are_in_no_wave() -> None:
    assert waves(make(*HOUSE, **running(*HOUSE)).changes, HOUSE) == []


def test_what_an_object_says_it_depends_on_comes_before_it() -> None:
    first, second = group("a-second"), group("z-first")
    first = replace(first, depends_on=(second.key,))
    desired = [first, second]

    assert names(list(waves(make(*desired).changes, desired))) == [  # type: ignore[arg-type]
        ["ShadowGroup/z-first"],
        ["ShadowGroup/a-second"],
    ]


def test_a_dependency_that_has_no_change_holds_nothing_up() -> None:
    desired = [group(), gateway_key()]
    plan = make(*desired, observed=[seen(group())])

    assert names(list(waves(plan.changes, desired))) == [["GatewayKey/chat-key"]]  # type: ignore[arg-type]


def test_a_circle_is_an_error() -> None:
    one, two = group("one"), group("two")
    desired = [replace(one, depends_on=(two.key,)), replace(two, depends_on=(one.key,))]

    with pytest.raises(ValueError, match="circle"):
        waves(make(*desired).changes, desired)


def test_hosts_go_side_by_side_in_one_wave() -> None:
    changes = [
        replace(change, key=key(change.key.kind, change.key.name, plane))
        for plane in (EAST, "host/west")
        for change in make(group()).changes
    ]

    (wave,) = waves(changes, [])
    assert [change.key for change in wave] == [
        ObjectKey(EAST, "ShadowGroup", "chat"),
        ObjectKey("host/west", "ShadowGroup", "chat"),
    ]
    assert {change.action for change in wave} == {Action.CREATE}
