"""Usage rows: fact sheet section 9."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from reconciler.embedded.faults import HOST_KINDS, UPSTREAM_KINDS
from reconciler.embedded.settings import HostSettings
from tests.embedded.world import World


async def test_a_row_is_readable_a_little_after_the_answer(world: World) -> None:
    await world.served()

    response = await world.chat()

    assert await world.rows(response) == []
    world.clock.advance(0.16)
    assert len(await world.rows(response)) == 1


async def test_the_row_names_group_account_key_and_both_models(world: World) -> None:
    group, account = await world.served(mapping={"m-public": "m-real"})

    response = await world.chat("m-public", headers={"X-Session-Id": "s1", "User-Agent": "probe/1"})

    row = await world.row(response)
    assert row["request_id"] == f"client:{uuid.UUID(response.headers['x-client-request-id'])}"
    assert (row["group_id"], row["account_id"], row["api_key_id"], row["user_id"]) == (group, account, 1, 2)
    assert (row["model"], row["upstream_model"], row["upstream_response_model"]) == (
        "m-public",
        "m-real",
        "m-real",
    )
    assert (row["model_mapping_chain"], row["upstream_model_mismatch"]) == ("m-public→m-real", False)
    assert (row["session_id"], row["user_agent"]) == ("s1", "probe/1")
    assert row["account"] == {"id": account, "name": "one"}
    assert "requested_model" not in row


async def test_the_row_holds_the_plain_key(world: World) -> None:
    await world.served()

    row = await world.row(await world.chat())

    assert row["api_key"]["key"] == "canary-gateway-key-1"


async def test_an_unmapped_model_has_no_chain(world: World) -> None:
    await world.served()

    row = await world.row(await world.chat())

    assert "model_mapping_chain" not in row
    assert row["upstream_model"] == "m"


async def test_a_model_without_a_price_costs_nothing_and_proves_nothing(world: World) -> None:
    await world.served()

    row = await world.row(await world.chat())

    assert (row["total_cost"], row["actual_cost"]) == (0, 0)
    assert (await world.ok("GET", "/users/2"))["balance"] == 10


async def test_cost_is_price_times_multiplier_and_leaves_the_balance() -> None:
    world = World(HostSettings(probe_responses=False, prices={"m": (0.5, 1.0)}))
    group, _ = await world.served()
    await world.ok("PUT", f"/groups/{group}", {"rate_multiplier": 2})

    row = await world.row(await world.chat())
    after = await world.ok("GET", "/users/2")
    await world.close()

    total = row["input_tokens"] * 0.5 + row["output_tokens"]
    assert (row["total_cost"], row["actual_cost"]) == (total, 2 * total)
    assert after["balance"] == 10 - 2 * total
    assert after["last_used_at"] is not None


async def test_a_balance_may_fall_below_zero_by_one_request() -> None:
    world = World(HostSettings(probe_responses=False, prices={"m": (100.0, 100.0)}))
    await world.served()

    first, second = await world.chat(), await world.chat()
    await world.close()

    assert first.status_code == 200
    assert second.json()["code"] == "INSUFFICIENT_BALANCE"
    assert world.host.users.rows[2]["balance"] < 0


async def test_quota_and_windows_are_counted_only_where_there_is_a_limit() -> None:
    world = World(HostSettings(probe_responses=False, prices={"m": (0.01, 0.01)}))
    await world.served()
    await world.chat()
    free = world.host.keys.rows[1]
    assert (free["quota_used"], free["usage_5h"]) == (0, 0)

    free |= {"quota": 0.05, "rate_limit_5h": 1}
    await world.chat()
    used_up = await world.chat()
    await world.close()

    assert free["quota_used"] == free["usage_5h"] > 0.05
    assert free["status"] == "quota_exhausted"
    assert (used_up.status_code, used_up.json()["code"]) == (429, "API_KEY_QUOTA_EXHAUSTED")


async def test_an_answer_without_usage_makes_a_row_of_zero_tokens(world: World) -> None:
    await world.served()
    world.alpha.faults.replace({"faults": [{"kind": "no-usage"}]}, UPSTREAM_KINDS)

    row = await world.row(await world.chat())

    assert (row["input_tokens"], row["output_tokens"]) == (0, 0)


async def test_another_model_in_the_answer_is_a_mismatch(world: World) -> None:
    await world.served()
    order = {"faults": [{"kind": "answer-model", "answer_model": "m-2026-01-01"}]}
    world.alpha.faults.replace(order, UPSTREAM_KINDS)

    row = await world.row(await world.chat())

    assert (row["upstream_response_model"], row["upstream_model_mismatch"]) == ("m-2026-01-01", True)


async def test_a_changed_mapping_bills_another_model(world: World) -> None:
    """What a disproved proof looks like when somebody edits the account by hand."""
    _, account = await world.served(mapping={"m": "m"})
    mapping = {"model_mapping": {"m": "cheaper"}, "base_url": "http://alpha.test/v1"}
    await world.ok("PUT", f"/accounts/{account}", {"credentials": mapping})

    row = await world.row(await world.chat())

    assert (row["model"], row["upstream_model"]) == ("m", "cheaper")


async def test_rows_are_found_by_exact_filters(world: World) -> None:
    group, account = await world.served()
    response = await world.chat()
    await world.chat("other", stream=True)
    world.clock.advance(1)
    correlation = response.headers["x-client-request-id"]

    async def total(**params: Any) -> int:
        return int((await world.ok("GET", "/usage", params=params | {"exact_total": "true"}))["total"])

    assert await total(request_id=f"client:{correlation}") == 1
    assert await total(request_id=correlation) == 0
    assert await total(request_id=f"client:{correlation}", api_key_id=99) == 0
    assert await total(group_id=group) == await total(account_id=account) == await total(api_key_id=1) == 2
    assert (await total(model="m"), await total(model="M")) == (1, 0)
    assert (await total(stream="true"), await total(request_type="sync")) == (1, 1)
    assert await total(start_date="2027-01-15", end_date="2027-01-15") == 2
    assert await total(end_date="2027-01-14") == 0
    assert await total(start_date="2027-01-15", timezone="Nope/Nowhere") == 2


@pytest.mark.parametrize(
    "params",
    [
        {"user_id": "x"}, {"start_date": "2027/01/01"}, {"start_date": "2027-01-01T00:00:00Z"}, {"stream": "maybe"},
        {"request_type": "bogus"}, {"exact_total": "maybe"},
    ],
)  # fmt: skip
async def test_a_bad_filter_is_400(world: World, params: dict[str, str]) -> None:
    assert (await world.admin("GET", "/usage", params=params)).status_code == 400


async def test_without_exact_total_the_total_says_only_that_there_is_more(world: World) -> None:
    await world.served()
    for number in range(5):
        await world.chat(text=str(number))
    world.clock.advance(1)

    loose = await world.ok("GET", "/usage", params={"page_size": 2})
    exact = await world.ok("GET", "/usage", params={"page_size": 2, "exact_total": "true"})
    by_key = await world.ok("GET", "/usage", params={"page_size": 2, "api_key_id": 1})

    assert (loose["total"], exact["total"], by_key["total"]) == (3, 5, 5)


async def test_evidence_outlives_what_it_names(world: World) -> None:
    group, account = await world.served()
    response = await world.chat()
    for path in (f"/accounts/{account}", f"/groups/{group}", "/users/2"):
        await world.ok("DELETE", path)

    row = await world.row(response)

    assert (row["group_id"], row["account_id"]) == (group, account)
    assert row["account"]["name"] == "one"
    assert not {"api_key", "group"} & set(row)
    assert "deleted_at" in row["user"]


async def test_one_row_per_request_and_key_for_the_account_that_succeeded(world: World) -> None:
    group, _ = await world.served(priority=1)
    second = await world.account(group, name="second", at="beta", priority=2)
    world.clock.advance(1)
    world.alpha.faults.replace({"faults": [{"kind": "status", "status": 500}]}, UPSTREAM_KINDS)

    row = await world.row(await world.chat())

    assert row["account_id"] == second


async def test_rows_can_be_delayed_dropped_and_made_to_lie(world: World) -> None:
    await world.served()
    orders = [
        {"kind": "usage-delay", "seconds": 5, "times": 1},
        {"kind": "usage-drop", "skip": 1, "times": 1},
        {"kind": "bill-as", "set": {"account_id": 77}, "skip": 1, "times": 1},
    ]
    world.host.faults.replace({"faults": orders}, HOST_KINDS)

    late, lost, lying = [await world.chat(text=str(number)) for number in range(3)]

    world.clock.advance(1)
    assert await world.rows(late) == []
    world.clock.advance(5)
    assert len(await world.rows(late)) == 1
    assert await world.rows(lost) == []
    assert (await world.rows(lying))[0]["account_id"] == 77


async def test_users_see_their_own_rows_without_upstream(world: World) -> None:
    group = await world.group()
    await world.account(group)
    _, token = await world.key(group)
    await world.chat()
    world.clock.advance(1)

    rows = (await world.as_user(token, "GET", "/usage")).json()["data"]["items"]

    assert len(rows) == 1
    assert not {"upstream_model", "account", "upstream_endpoint"} & set(rows[0])


async def test_sums_and_key_search(world: World) -> None:
    await world.served()
    await world.chat()
    world.clock.advance(1)

    assert (await world.ok("GET", "/usage/stats"))["total_requests"] == 1
    found = await world.ok("GET", "/usage/search-api-keys", params={"q": "gate"})
    assert found == [{"id": 1, "name": "gateway", "user_id": 2}]
