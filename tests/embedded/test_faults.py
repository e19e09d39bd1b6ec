"""Faults on order, at the host."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from reconciler.embedded.faults import HOST_KINDS, FaultBook, parse_fault
from reconciler.embedded.settings import HostSettings
from tests.embedded.world import World


async def order(world: World, *faults: dict[str, Any]) -> None:
    response = await world.client.put("/__control/faults", json={"faults": list(faults)})
    assert response.status_code == 200, response.text


async def test_a_slow_host_answers_later(world: World) -> None:
    await order(world, {"kind": "slow", "seconds": 3, "path": "/api/v1/admin/groups*"})
    before = world.clock.now()

    await world.ok("GET", "/groups")

    assert world.clock.now() == before + 3


async def test_every_answer_can_have_a_delay() -> None:
    world = World(HostSettings(answer_delay_s=0.02))
    before = world.clock.now()

    await world.ok("GET", "/groups")
    await world.close()

    assert world.clock.now() == pytest.approx(before + 0.02)


async def test_a_lost_answer_has_done_the_work(world: World) -> None:
    await order(world, {"kind": "lose-answer", "methods": ["POST"], "times": 1})

    with pytest.raises(httpx.ReadError):
        await world.group("made all the same")

    assert (await world.ok("GET", "/groups", params={"search": "made all"}))["total"] == 1


async def test_a_dropped_request_has_not(world: World) -> None:
    await order(world, {"kind": "drop", "methods": ["POST"], "times": 1})

    with pytest.raises(httpx.ReadError):
        await world.group("never made")

    assert (await world.ok("GET", "/groups", params={"search": "never"}))["total"] == 0


async def test_a_stated_status_comes_with_retry_after_and_does_no_work(world: World) -> None:
    await order(world, {"kind": "status", "status": 429, "retry_after": 2, "times": 1})

    refused = await world.admin("POST", "/groups", {"name": "g", "rate_multiplier": 1})

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
    assert (await world.ok("GET", "/groups"))["total"] == 1


async def test_malformed_and_truncated_answers(world: World) -> None:
    await order(world, {"kind": "malformed", "times": 1}, {"kind": "truncate", "times": 1})

    with pytest.raises(ValueError, match="Unterminated"):
        (await world.admin("GET", "/groups")).json()
    with pytest.raises(httpx.ReadError):
        await world.admin("GET", "/groups")


@pytest.mark.parametrize(("shift", "seen"), [(1, [2, 3, 5]), (-1, [2, 3, 3])])
async def test_pages_can_be_inconsistent(world: World, shift: int, seen: list[int]) -> None:
    """A row lost between two pages, or one seen twice."""
    for number in range(4):
        await world.group(f"g{number}")
    await order(world, {"kind": "pages", "shift": shift})

    ids: list[int] = []
    for page in (1, 2):
        query = {"platform": "openai", "page_size": 2, "page": page}
        ids += [item["id"] for item in (await world.ok("GET", "/groups", params=query))["items"]]

    assert ids[:3] == seen


async def test_orders_are_shown_with_their_hits_and_taken_back(world: World) -> None:
    await order(world, {"kind": "slow", "seconds": 0})
    await world.ok("GET", "/groups")

    shown = (await world.client.get("/__control/faults")).json()
    cleared = (await world.client.delete("/__control/faults")).json()

    assert shown == {"faults": [{"kind": "slow", "seconds": 0, "hits": 1}]}
    assert cleared == {"faults": []}


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("slow", "not a fault"),
        ({"kind": "slwo"}, "unknown fault kind 'slwo'"),
        ({"kind": "slow"}, "needs 'seconds'"),
        ({"kind": "slow", "secs": 1}, r"unknown fault fields \['secs'\]"),
        ({"kind": "refuse"}, "unknown fault kind 'refuse'"),
    ],
)
def test_an_order_that_is_not_understood_changes_nothing(item: Any, words: str) -> None:
    book = FaultBook()
    book.replace({"faults": [{"kind": "drop"}]}, HOST_KINDS)

    with pytest.raises(ValueError, match=words):
        book.replace({"faults": [item]}, HOST_KINDS)

    assert [fault.kind for fault in book.faults] == ["drop"]


def test_skip_times_and_chance_decide_when() -> None:
    bounded = parse_fault({"kind": "drop", "skip": 1, "times": 2}, HOST_KINDS)
    assert [bounded.applies("drop", {"path": "/x"}) for _ in range(5)] == [False, True, True, False, False]

    def drawn() -> list[bool]:
        half = parse_fault({"kind": "drop", "chance": 0.5, "seed": 7}, HOST_KINDS)
        return [half.applies("drop", {"path": "/x"}) for _ in range(100)]

    assert drawn() == drawn()
    assert 30 < sum(drawn()) < 70


async def test_the_control_path_knows_nothing_else(world: World) -> None:
    assert (await world.client.get("/__control/other")).status_code == 404
    assert (await world.client.put("/__control/faults", content=b"nonsense")).status_code == 400
