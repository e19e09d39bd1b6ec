from __future__ import annotations

from typing import Any

import pytest

from reconciler.plan.classes import (
    Direction,
    amount,
    choices,
    direction,
    limit,
    members,
    permission,
    prohibition,
)
from reconciler.plan.model import Action, Change, ChangeClass, Risk
from tests.plan.cast import HOUSE, account, entry, gateway_key, make, only, running, seen
from tests.plan.cast import group as a_group

SERVING = running(*HOUSE)


def edited(**fields: Any) -> Change:
    """The change of the account in service."""
    new = account(**fields)
    spare = [a_group("spare")] if "spare" in new.fields["groups"] else []
    desired = [new if each.key == new.key else each for each in HOUSE]
    state = {**SERVING, "observed": [*SERVING["observed"], *(seen(each, "77") for each in spare)]}
    return only(make(*desired, *spare, **state))


@pytest.mark.parametrize(
    "fields, expected",
    [
        ({"models": ["gpt-4o", "o3"]}, ChangeClass.WIDEN),
        ({"concurrency": 20}, ChangeClass.WIDEN),
        ({"concurrency": 20, "models": ["gpt-4o", "o3"]}, ChangeClass.WIDEN),
        ({"groups": ["chat", "spare"]}, ChangeClass.WIDEN),
        ({"concurrency": 5}, ChangeClass.NARROW),
        ({"models": ["o3"]}, ChangeClass.LIVE),
        ({"concurrency": 20, "priority": 1}, ChangeClass.LIVE),
        ({"priority": 1}, ChangeClass.LIVE),
        ({"baseUrl": "https://other.example/v1"}, ChangeClass.REPLACE),
        ({"baseUrl": "https://other.example/v1", "concurrency": 20}, ChangeClass.REPLACE),
        ({"fingerprint": "fp2"}, ChangeClass.REPLACE),
    ],
)
def test_an_edit_in_service_is_made_when_its_fields_say(
    fields: dict[str, Any], expected: ChangeClass
) -> None:
    assert edited(**fields).change_class is expected


def test_taking_a_model_away_narrows() -> None:
    wide = account(models=["gpt-4o", "o3"])
    house = [wide if each.key == wide.key else each for each in HOUSE]

    assert only(make(*HOUSE, **running(*house))).change_class is ChangeClass.NARROW


def test_binding_an_account_to_a_group_in_service_is_live() -> None:
    """Users are sent to it at once, so it comes after the account's own proof and is proved again."""
    spare = a_group("spare")
    idle = account(groups=["spare"])
    state = {**SERVING, "observed": [*SERVING["observed"], seen(spare, "77"), seen(idle, "2")]}
    state["observed"] = [each for each in state["observed"] if each.kind != "ProviderAccount"] + [
        seen(idle, "2")
    ]

    change = only(make(*HOUSE, spare, **state))
    assert [each.path for each in change.fields] == ["groups[0]"]
    assert change.change_class is ChangeClass.LIVE


def test_what_no_route_uses_is_edited_first() -> None:
    change = only(
        make(
            account(groups=[], priority=1), observed=[seen(account(groups=[]))], inventory=[entry(account())]
        )
    )

    assert (change.action, change.change_class, change.risk) == (Action.UPDATE, ChangeClass.EXPAND, Risk.LOW)


def test_a_key_of_another_version_is_a_second_key() -> None:
    desired = [gateway_key(version=2) if each.key.kind == "GatewayKey" else each for each in HOUSE]

    assert only(make(*desired, **SERVING)).change_class is ChangeClass.REPLACE


def test_a_group_setting_goes_by_its_own_name() -> None:
    assert direction("ShadowGroup", "settings.rpmLimit", 10, 20) is Direction.WIDENS
    assert direction("ShadowGroup", "settings.rpmLimit", 10, 0) is Direction.WIDENS
    assert direction("ShadowGroup", "settings.rateMultiplier", 1, 2) is Direction.OTHER


@pytest.mark.parametrize(
    "rule, before, after, expected",
    [
        (members, ["a"], ["a", "b"], Direction.WIDENS),
        (members, ["a", "b"], ["b"], Direction.NARROWS),
        (members, ["a"], ["b"], Direction.OTHER),
        (members, None, ["b"], Direction.WIDENS),
        (amount, 1, 2, Direction.WIDENS),
        (amount, 2, 1.5, Direction.NARROWS),
        (amount, None, 1, Direction.OTHER),
        (limit, 5, None, Direction.WIDENS),
        (limit, 0, 5, Direction.NARROWS),
        (limit, 5, 6, Direction.WIDENS),
        (choices, ["a"], [], Direction.WIDENS),
        (choices, [], ["a"], Direction.NARROWS),
        (choices, ["a"], ["a", "b"], Direction.WIDENS),
        (permission, False, True, Direction.WIDENS),
        (permission, None, True, Direction.OTHER),
        (prohibition, False, True, Direction.NARROWS),
    ],
)
def test_rules_say_which_way_a_value_goes(rule: Any, before: Any, after: Any, expected: Direction) -> None:
    assert rule(before, after) is expected
