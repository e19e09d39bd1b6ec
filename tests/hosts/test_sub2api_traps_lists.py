"""sub2api's conventions around lists and how much is asked: pages, moving rows, requests per object."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from reconciler.errors import Malformed
from tests.hosts.faults import Act, edits
from tests.hosts.sub2api_bench import EmbeddedBench, Sub2apiBench


async def test_pages_are_as_long_as_the_host_allows_for_a_longer_one_becomes_twenty(
    bench: Sub2apiBench,
) -> None:
    await bench.driver.observe()

    lists = [sent for sent in bench.faults.sent if "page_size" in sent.query]
    assert lists
    assert {sent.query["page_size"] for sent in lists} == {"1000"}


async def test_lists_are_read_in_the_order_of_their_ids(bench: Sub2apiBench) -> None:
    """By name, an object that is renamed or made while we read could hide between two pages."""
    await bench.driver.observe()

    for sent in bench.faults.sent:
        assert (sent.query["sort_by"], sent.query["sort_order"]) == ("id", "asc")


async def test_a_row_that_slips_between_two_pages_is_found_by_reading_again(embedded: EmbeddedBench) -> None:
    made = [await embedded.make(embedded.group(f"group{number}")) for number in range(6)]
    driver = embedded.open(page_size=2)
    embedded.faults.on("GET", "/groups$", without_its_first_row(page=2))

    found = [item.object_id for item in await driver.observe() if item.kind == "ShadowGroup"]

    assert {item.object_id for item in made} <= set(found)
    assert len(found) == len(set(found))


def without_its_first_row(page: int) -> Act:
    async def act(inner: httpx.AsyncBaseTransport, request: httpx.Request) -> httpx.Response:
        def drop(body: dict[str, Any]) -> None:
            if body["data"]["page"] == page:
                body["data"]["items"].pop(0)

        return await edits(drop)(inner, request)

    return act


@pytest.mark.parametrize("shift", [1, -1])
async def test_a_host_that_pages_inconsistently_hides_and_doubles_nothing(
    embedded: EmbeddedBench, shift: int
) -> None:
    made = [await embedded.make(embedded.group(f"group{number}")) for number in range(7)]
    order = {"kind": "pages", "shift": shift, "path": "*/groups", "times": 2}
    async with httpx.AsyncClient(
        base_url=embedded.url, transport=httpx.ASGITransport(embedded.app)
    ) as client:
        await client.put("/__control/faults", json={"faults": [order]})
    driver = embedded.open(page_size=3)

    found = [item.object_id for item in await driver.observe() if item.kind == "ShadowGroup"]

    assert {item.object_id for item in made} <= set(found)
    assert len(found) == len(set(found))


async def test_a_list_without_end_is_given_up(embedded: EmbeddedBench) -> None:
    def endless(body: dict[str, Any]) -> None:
        body["data"]["pages"] = 10**9
        body["data"]["items"] = [{"id": 1, "name": "again"}]

    embedded.faults.on("GET", "/groups$", edits(endless), times=10**9)

    with pytest.raises(Malformed, match="does not end"):
        await embedded.driver.observe()


async def test_an_object_deleted_while_the_list_is_read_is_left_out(embedded: EmbeddedBench) -> None:
    made = [await embedded.make(embedded.group(f"group{number}")) for number in range(6)]
    driver = embedded.open(page_size=2)
    gone = made[0]

    async def deletes(inner: httpx.AsyncBaseTransport, request: httpx.Request) -> httpx.Response:
        response = await inner.handle_async_request(request)
        await embedded.by_hand("DELETE", f"/groups/{gone.object_id}")
        return response

    embedded.faults.on("GET", "/groups$", deletes)

    found = {item.object_id for item in await driver.observe() if item.kind == "ShadowGroup"}

    assert {item.object_id for item in made[1:]} <= found
    assert gone.object_id not in found


async def test_reading_everything_takes_one_request_per_hundred_objects_at_most(
    embedded: EmbeddedBench,
) -> None:
    await embedded.make(embedded.host)
    group = await embedded.make(embedded.group())
    for number in range(600):
        await embedded.foreign_account(f"account{number}", [group.object_id])
    before = embedded.driver.requests_sent

    objects = await embedded.driver.observe()

    assert len(objects) >= 600
    assert embedded.driver.requests_sent - before <= len(objects) / 100


async def test_making_an_account_takes_three_requests(bench: Sub2apiBench) -> None:
    """Look for it, make it, read it back."""
    await bench.make(bench.group())
    before = bench.driver.requests_sent

    await bench.make(bench.account())

    assert bench.driver.requests_sent - before == 3


async def test_an_account_edited_takes_two_requests(bench: Sub2apiBench) -> None:
    await bench.make(bench.group())
    made = await bench.make(bench.account())
    before = bench.driver.requests_sent

    await bench.change(made.object_id, bench.account(priority=7))

    assert bench.driver.requests_sent - before == 2
