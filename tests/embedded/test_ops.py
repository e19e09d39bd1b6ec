"""Ops error rows: fact sheet section 10."""

from __future__ import annotations

from typing import Any

import httpx

from reconciler.embedded.faults import HOST_KINDS, UPSTREAM_KINDS
from tests.embedded.world import World


async def listed(world: World, path: str, response: httpx.Response, **params: Any) -> list[dict[str, Any]]:
    world.clock.advance(1)
    query = {"q": response.headers["x-client-request-id"], **params}
    rows: list[dict[str, Any]] = (await world.ok("GET", f"/ops/{path}", params=query))["items"]
    return rows


def failing(world: World, status: int) -> None:
    world.alpha.faults.replace({"faults": [{"kind": "status", "status": status}]}, UPSTREAM_KINDS)


async def test_a_failure_is_found_by_the_bare_client_request_id(world: World) -> None:
    _, account = await world.served()
    failing(world, 401)

    response = await world.chat()

    (row,) = await listed(world, "errors", response)
    assert (row["phase"], row["type"], row["status_code"], row["severity"]) == (
        "upstream",
        "upstream_error",
        401,
        "P1",
    )
    assert (row["account_id"], row["account_name"], row["model"]) == (account, "one", "m")
    assert row["client_request_id"] == response.headers["x-client-request-id"]


async def test_its_upstream_endpoint_is_not_to_be_trusted(world: World) -> None:
    """A stock host writes /v1/responses although the call went to /v1/chat/completions."""
    await world.served()
    failing(world, 500)

    (row,) = await listed(world, "errors", await world.chat())

    assert row["upstream_endpoint"] == "/v1/responses"
    assert world.alpha.requests[-1]["path"] == "/v1/chat/completions"


async def test_a_recovered_failure_stands_in_upstream_errors_only(world: World) -> None:
    group, first = await world.served(priority=1)
    await world.account(group, name="second", at="beta", priority=2)
    world.clock.advance(1)
    failing(world, 500)

    response = await world.chat()

    assert await listed(world, "errors", response, view="all") == []
    (row,) = await listed(world, "upstream-errors", response)
    assert row["account_id"] == first
    assert row["message"] == "Recovered upstream error 500: upstream says 500"


async def test_what_is_the_callers_own_fault_shows_only_under_view_all(world: World) -> None:
    await world.served(mapping={"m": "m"})

    response = await world.chat("other")

    assert await listed(world, "errors", response) == []
    (row,) = await listed(world, "errors", response, view="all")
    assert (row["type"], row["phase"], row["account_id"]) == ("model_not_found", "routing", None)
    assert len(await listed(world, "errors", response, view="excluded")) == 1


async def test_a_bad_key_makes_no_row(world: World) -> None:
    response = await world.chat(key="canary-wrong-key")

    assert await listed(world, "errors", response, view="all") == []


async def test_rows_are_late_can_be_lost_and_end_with_their_window(world: World) -> None:
    await world.served()
    failing(world, 400)
    response = await world.chat()
    query = {"q": response.headers["x-client-request-id"]}
    assert (await world.ok("GET", "/ops/errors", params=query))["total"] == 0
    assert len(await listed(world, "errors", response)) == 1

    world.clock.advance(3_600)
    assert await listed(world, "errors", response) == []
    assert len(await listed(world, "errors", response, time_range="24h")) == 1

    world.host.faults.replace({"faults": [{"kind": "ops-drop"}]}, HOST_KINDS)
    assert await listed(world, "errors", await world.chat()) == []


async def test_one_row_can_be_read_by_id(world: World) -> None:
    await world.served()
    failing(world, 400)
    (row,) = await listed(world, "errors", await world.chat())

    shown = await world.ok("GET", f"/ops/errors/{row['id']}")

    assert (shown["id"], shown["is_business_limited"]) == (row["id"], False)


async def test_availability_says_what_the_scheduler_thinks(world: World) -> None:
    group, account = await world.served()
    failing(world, 429)
    await world.chat()

    data = await world.ok("GET", "/ops/account-availability", params={"group_id": group})

    assert data["account"][str(account)]["is_rate_limited"] is True
    assert data["account"][str(account)]["is_available"] is False
