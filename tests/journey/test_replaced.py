"""What cannot be edited in service is replaced: a second one is made, proved and bound, and the old one goes.

Whenever the run is killed meanwhile, the next one ends with one of each, and knows which.
"""

from __future__ import annotations

import pytest

from tests.journey.test_killed import assert_nothing_twice, kill_at
from tests.journey.world import World, items, not_ready

BOUNDARIES = ("created GatewayKey/west-chat", "proved west-gamma", "stage ", "promote ", "contract ")


def change_address_and_key(world: World) -> None:
    """Give west-gamma another base URL (of the same upstream), and west-chat another key."""
    world.edit("west.yaml", "baseUrl: embedded://upstream-gamma/v1", "baseUrl: embedded://upstream-gamma")
    world.edit("west.yaml", "spec:\n  group: west-chat", "spec:\n  group: west-chat\n  version: 2")


def account_and_key(world: World) -> tuple[int, int]:
    """The ids of west-gamma, and of the key of west-chat, on their host."""
    (account,) = [each for each in world.host("west").rows("/accounts") if each["name"] == "west-gamma"]
    (key,) = [each for each in world.host("west").issued_keys() if ":west-chat:" in each["name"]]
    return account["id"], key["id"]


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_replacement_that_was_killed_ends_with_one_of_each(empty: World, boundary: str) -> None:
    empty.apply()
    before = account_and_key(empty)
    change_address_and_key(empty)
    kill_at(empty, boundary)
    empty.later()

    report = empty.apply()

    assert not_ready(items(report)) == {}
    assert_nothing_twice(empty)
    after = account_and_key(empty)
    assert before[0] != after[0]
    assert before[1] != after[1]
    again = empty.apply()
    assert again["changed"] is False
    assert again["plan"]["warnings"] == []


def test_a_replacement_that_is_not_proved_leaves_the_old_one_in_service(empty: World) -> None:
    empty.apply()
    before = account_and_key(empty)
    empty.environ["RECONCILE_SECRET_UPSTREAM_GAMMA"] = "canary-not-a-key-of-gamma"

    report = empty.apply(code=3)

    assert account_and_key(empty) == before
    assert [each["name"] for each in report["heldBack"]] == ["west-gamma"]


SPARE = """\
apiVersion: routing.reconcile.dev/v1
kind: ShadowGroup
metadata:
  name: spare
spec:
  host: west
---
apiVersion: routing.reconcile.dev/v1
kind: LogicalGroup
metadata:
  name: spare
spec:
  controlPlane: gateway
"""
STAYS = SPARE.replace("  name: spare\n", '  name: spare\n  annotations:\n    reconcile.dev/prune: "false"\n')


def test_what_was_marked_to_stay_after_it_was_made_outlives_its_manifest(empty: World) -> None:
    file = empty.manifests / "spare.yaml"
    for text in (SPARE, STAYS):
        file.write_text(text)
        empty.apply()
    file.unlink()

    report = empty.apply()

    assert report["changed"] is False
    assert [(each["kind"], each["name"], each["reason"]) for each in report["plan"]["skipped"]] == [
        ("LogicalGroup", "spare", "NotPruned"),
        ("ShadowGroup", "spare", "NotPruned"),
    ]
    assert "spare" in {each["name"] for each in empty.snapshot()["configuration"]["logical_groups"]}
    assert empty.host("west").group("spare")
