"""The order of checks, and what a client gets when an upstream fails: fact sheet section 8.2."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from reconciler.embedded.faults import UPSTREAM_KINDS
from reconciler.embedded.settings import HostSettings
from tests.embedded.world import World


def order(world: World, *faults: dict[str, Any], at: str = "alpha") -> None:
    app = world.alpha if at == "alpha" else world.beta
    app.faults.replace({"faults": list(faults)}, UPSTREAM_KINDS)


@pytest.mark.parametrize(
    ("headers", "query", "status", "code"),
    [
        ({}, {}, 401, "API_KEY_REQUIRED"),
        ({"Authorization": "Basic x"}, {}, 401, "API_KEY_REQUIRED"),
        ({"Authorization": "Bearer nope"}, {}, 401, "INVALID_API_KEY"),
        ({"x-api-key": "nope"}, {}, 401, "INVALID_API_KEY"),
        ({"x-goog-api-key": "nope"}, {}, 401, "INVALID_API_KEY"),
        ({}, {"key": "nope"}, 400, "api_key_in_query_deprecated"),
    ],
)
async def test_a_key_is_looked_for_in_three_headers(
    world: World, headers: dict[str, str], query: dict[str, str], status: int, code: str
) -> None:
    response = await world.client.post("/v1/chat/completions", headers=headers, params=query)

    assert (response.status_code, response.json()["code"]) == (status, code)


async def test_a_key_works_in_each_of_the_headers(world: World) -> None:
    await world.served()

    for headers in ({"x-api-key": "canary-gateway-key-1"}, {"x-goog-api-key": "canary-gateway-key-1"}):
        response = await world.client.get("/v1/models", headers=headers)
        assert response.status_code == 200


async def test_bad_keys_block_the_address_for_valid_keys_too(world: World) -> None:
    await world.served()
    for _ in range(120):
        await world.chat(key="canary-wrong-key")

    blocked = await world.chat()

    assert (blocked.status_code, blocked.json()["code"]) == (429, "INVALID_AUTH_RATE_LIMITED")
    assert blocked.headers["retry-after"] == "60"
    world.clock.advance(61)
    assert (await world.chat()).status_code == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "Request body is empty"),
        ("{bad", "Failed to parse request body"),
        ("[]", "model is required"),
        ('{"model": 5}', "model is required"),
        ('{"model": "m", "stream": "yes"}', "invalid stream field type"),
        ('{"model": "gpt-image-1"}', "This model is not supported on the Chat Completions endpoint"),
    ],
)
async def test_a_bad_body_is_refused_in_the_clients_protocol(world: World, body: str, message: str) -> None:
    await world.served()
    headers = {"Authorization": "Bearer canary-gateway-key-1"}

    response = await world.client.post("/v1/chat/completions", content=body, headers=headers)

    assert response.status_code == 400
    assert response.json() == {"error": {"message": message, "type": "invalid_request_error"}}


async def test_a_key_without_a_group_is_refused(world: World) -> None:
    await world.key(None)

    response = await world.chat()

    assert (response.status_code, response.json()["error"]["type"]) == (403, "permission_error")


async def test_a_group_that_became_exclusive_refuses_its_keys(world: World) -> None:
    group, _ = await world.served()

    await world.ok("PUT", f"/groups/{group}", {"is_exclusive": True})

    assert (await world.chat()).json()["code"] == "GROUP_NOT_ALLOWED"


async def test_no_balance_no_service_and_a_top_up_acts_at_once(world: World) -> None:
    await world.served()
    user = world.host.keys.rows[1]["user_id"]
    world.host.users.rows[user]["balance"] = 0

    refused = await world.chat()
    assert (refused.status_code, refused.json()["code"]) == (403, "INSUFFICIENT_BALANCE")
    await world.ok("POST", f"/users/{user}/balance", {"balance": 1, "operation": "add"})
    assert (await world.chat()).status_code == 200


async def test_a_foreign_address_is_refused(world: World) -> None:
    group = await world.group()
    await world.account(group)
    await world.key(group, ip_whitelist=["10.0.0.0/8"])

    assert (await world.chat()).json() == {
        "code": "ACCESS_DENIED",
        "message": "Access denied. Your IP is 127.0.0.1",
    }


async def test_requests_per_minute_of_a_group_are_limited(world: World) -> None:
    group, _ = await world.served()
    await world.ok("PUT", f"/groups/{group}", {"rpm_limit": 1})

    first, second = await world.chat(), await world.chat()

    assert first.status_code == 200
    assert (second.status_code, second.json()["error"]["type"]) == (429, "rate_limit_exceeded")
    world.clock.advance(int(second.headers["retry-after"]))
    assert (await world.chat()).status_code == 200


async def test_an_empty_pool_is_503_and_an_unserved_model_404(world: World) -> None:
    group = await world.group()
    await world.key(group)
    empty = await world.chat()
    await world.account(group, mapping={"m": "m"})
    unserved = await world.chat("other")

    assert (empty.status_code, empty.json()["error"]) == (
        503, {"message": "Service temporarily unavailable", "type": "api_error"},
    )  # fmt: skip
    assert (unserved.status_code, unserved.json()["error"]) == (
        404,
        {
            "message": 'Model "other" is not supported by any configured account in this group',
            "type": "model_not_found",
        },
    )


@pytest.mark.parametrize(
    ("status", "answer", "kind"),
    [
        (401, 502, "upstream_error"),
        (402, 502, "upstream_error"),
        (403, 502, "upstream_error"),
        (405, 502, "upstream_error"),
        (429, 429, "rate_limit_error"),
        (500, 502, "upstream_error"),
        (503, 502, "upstream_error"),
        (529, 503, "upstream_error"),
        (400, 400, "invalid_request_error"),
        (404, 404, "not_found_error"),
        (413, 413, "invalid_request_error"),
        (418, 418, "api_error"),
        (422, 422, "api_error"),
    ],
)
async def test_what_a_client_gets_for_an_upstream_status(
    world: World, status: int, answer: int, kind: str
) -> None:
    await world.served()
    order(world, {"kind": "status", "status": status})

    response = await world.chat()

    assert (response.status_code, response.json()["error"]["type"]) == (answer, kind)
    assert await world.rows(response) == []


@pytest.mark.parametrize("status", [401, 402, 403, 405, 429, 500, 502, 529])
async def test_these_fail_over_within_the_request(world: World, status: int) -> None:
    group, _ = await world.served(priority=1)
    second = await world.account(group, name="second", at="beta", priority=2)
    world.clock.advance(1)
    order(world, {"kind": "status", "status": status})

    response = await world.chat()

    assert response.status_code == 200
    assert (await world.row(response))["account_id"] == second


@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_these_do_not(world: World, status: int) -> None:
    group, _ = await world.served(priority=1)
    await world.account(group, name="second", at="beta", priority=2)
    world.clock.advance(1)
    order(world, {"kind": "status", "status": status})

    assert (await world.chat()).status_code == status
    assert len(world.beta.requests) == 0


@pytest.mark.parametrize("kind", ["refuse", "drop", "lose-answer"])
async def test_a_broken_connection_fails_over(world: World, kind: str) -> None:
    group, _ = await world.served(priority=1)
    second = await world.account(group, name="second", at="beta", priority=2)
    world.clock.advance(1)
    order(world, {"kind": kind})

    assert (await world.row(await world.chat()))["account_id"] == second


async def test_at_most_ten_further_accounts_are_tried() -> None:
    world = World(HostSettings(probe_responses=False, membership_delay_s=0))
    group, _ = await world.served()
    for number in range(15):
        await world.account(group, name=f"n{number}")
    order(world, {"kind": "status", "status": 500})

    response = await world.chat()
    await world.close()

    assert response.status_code == 502
    assert len(world.alpha.requests) == 11


async def test_an_answer_passes_through_untouched_with_the_upstreams_request_id_beside_ours(
    world: World,
) -> None:
    await world.served(mapping={"m": "real"})

    response = await world.chat()

    assert response.json()["model"] == "real"
    assert [v for k, v in response.headers.multi_items() if k == "x-request-id"][1] == "alpha-1"
    assert response.headers["x-request-id"].endswith(", alpha-1")


async def test_of_the_clients_headers_only_two_go_upstream(world: World) -> None:
    await world.served()

    await world.chat(
        headers={"User-Agent": "probe/1", "Accept-Language": "de", "X-Secret": "x", "Cookie": "c"}
    )

    seen = set(world.alpha.requests[-1]["headers"])
    assert {"user-agent", "accept-language", "authorization", "content-type"} <= seen
    assert not {"x-secret", "cookie", "x-client-request-id"} & seen


async def test_unknown_fields_reach_the_upstream(world: World) -> None:
    await world.served()

    await world.chat(temperature=0.5, unknown_field={"a": 1})

    assert {"temperature", "unknown_field"} <= set(world.alpha.requests[-1]["fields"])


async def test_more_requests_than_the_account_may_have_wait_their_turn(world: World) -> None:
    await world.served(concurrency=1)

    answers = await asyncio.gather(*(world.chat(text=str(number)) for number in range(4)))

    assert [answer.status_code for answer in answers] == [200] * 4
    assert world.host.runtime.account_slots[1] == 0


async def test_simple_mode_ignores_groups_and_balance() -> None:
    world = World(HostSettings(probe_responses=False, run_mode="simple"))
    group = await world.group()
    await world.account(await world.group("other"))
    await world.key(group)
    world.host.users.rows[2]["balance"] = -1

    response = await world.chat()
    await world.close()

    assert response.status_code == 200


@pytest.mark.parametrize(
    "path", ["/ok", "/ok/", "/ok/v1", "/ok/v1/", "/ok/v2", "/ok/v1/chat/completions", "/ok/v4/paas"]
)
async def test_a_base_url_is_completed_as_the_host_does(world: World, path: str) -> None:
    await world.served(credentials={"base_url": f"http://alpha.test{path}"})

    await world.chat()

    expected = {
        "/ok/v2": "/ok/v2/chat/completions",
        "/ok/v4/paas": "/ok/v4/paas/v1/chat/completions",
    }.get(path, "/ok/v1/chat/completions")
    assert world.alpha.requests[-1]["path"] == expected
