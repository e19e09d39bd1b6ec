"""Which account serves: fact sheet section 8.3, and the delays of 11.1."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.embedded.faults import HOST_KINDS
from tests.embedded.world import World


async def served_by(world: World, text: str = "hi", **fields: Any) -> int:
    response = await world.chat(text=text, **fields)
    assert response.status_code == 200, response.text
    return int((await world.row(response))["account_id"])


async def test_the_lowest_priority_number_serves(world: World) -> None:
    group, _ = await world.served(priority=50)
    better = await world.account(group, name="better", priority=10)
    world.clock.advance(1)

    assert await served_by(world) == better


async def test_equal_requests_stay_on_their_account_after_a_better_one_appeared(world: World) -> None:
    """The trap of a probe that always asks the same: the host pins its content for an hour."""
    group, first = await world.served(priority=50)
    assert await served_by(world, "probe") == first
    better = await world.account(group, name="better", priority=10)
    world.clock.advance(2)

    assert await served_by(world, "probe") == first
    assert await served_by(world, "another probe") == better
    world.clock.advance(3_601)
    assert await served_by(world, "probe") == better


async def test_a_session_header_steers_before_the_content(world: World) -> None:
    group, first = await world.served(priority=50)
    headers = {"X-Session-Id": "s1"}
    assert await served_by(world, "one", headers=headers) == first
    await world.account(group, name="better", priority=10)
    world.clock.advance(2)

    assert await served_by(world, "two", headers=headers) == first


async def test_stickiness_moves_with_the_account_and_stays_there(world: World) -> None:
    group, first = await world.served(priority=10)
    other = await world.account(group, name="other", priority=50)
    world.clock.advance(2)
    assert await served_by(world) == first

    await world.ok("PUT", f"/accounts/{first}", {"status": "inactive"})
    assert await served_by(world) == other
    await world.ok("PUT", f"/accounts/{first}", {"status": "active"})
    assert await served_by(world) == other


async def test_an_account_added_to_a_group_in_service_is_known_a_second_later(world: World) -> None:
    group, first = await world.served(priority=50)
    better = await world.account(group, name="better", priority=10)

    assert await served_by(world, "at once") == first
    world.clock.advance(1)
    assert await served_by(world, "later") == better


async def test_the_first_account_of_a_group_is_known_at_once_and_an_unbound_one_forgotten_at_once(
    world: World,
) -> None:
    group, account = await world.served()
    assert (await world.chat()).status_code == 200

    await world.ok("PUT", f"/accounts/{account}", {"group_ids": []})
    assert (await world.chat()).status_code == 503
    await world.ok("PUT", f"/accounts/{account}", {"group_ids": [group]})
    assert (await world.chat()).status_code == 200


async def test_the_membership_delay_can_be_ordered(world: World) -> None:
    world.host.faults.replace({"faults": [{"kind": "membership", "seconds": 9}]}, HOST_KINDS)
    await world.served()

    assert (await world.chat()).status_code == 503
    world.clock.advance(9)
    assert (await world.chat()).status_code == 200


@pytest.mark.parametrize(
    ("model", "sent"), [("gpt-4o", "exact"), ("gpt-4x", "long"), ("gpt-5", "short"), ("GPT-4o", None)]
)
async def test_mapping_is_by_exact_name_then_longest_prefix_and_minds_case(
    world: World, model: str, sent: str | None
) -> None:
    await world.served(mapping={"gpt*": "short", "gpt-4*": "long", "gpt-4o": "exact"})

    response = await world.chat(model)

    assert response.status_code == (200 if sent else 404)
    if sent:
        assert world.alpha.requests[-1]["model"] == sent


async def test_a_mapping_is_also_a_whitelist_unless_passthrough(world: World) -> None:
    _, account = await world.served(mapping={"m": "m"})
    assert (await world.chat("other")).status_code == 404

    extra = {"openai_responses_mode": "force_chat_completions", "openai_passthrough": True}
    await world.ok("PUT", f"/accounts/{account}", {"extra": extra})

    assert (await world.chat("other")).status_code == 200


async def test_an_account_of_another_platform_is_never_taken(world: World) -> None:
    group = await world.group()
    await world.account(group, platform="gemini")
    await world.key(group)

    assert (await world.chat()).status_code == 503


async def test_an_expired_account_is_passed_over_unless_told_otherwise(world: World) -> None:
    soon = int(world.clock.now()) + 10
    _, account = await world.served(expires_at=soon)
    world.clock.advance(11)

    assert (await world.chat()).status_code == 503
    await world.ok("PUT", f"/accounts/{account}", {"auto_pause_on_expired": False})
    assert (await world.chat()).status_code == 200


async def test_a_group_for_oauth_only_leaves_apikey_accounts_out(world: World) -> None:
    group, _ = await world.served()

    await world.ok("PUT", f"/groups/{group}", {"require_oauth_only": True})

    assert (await world.chat()).status_code == 503


async def test_an_account_without_the_capability_is_passed_over(world: World) -> None:
    await world.served(credentials={"openai_capabilities": ["embeddings"]})

    assert (await world.chat()).status_code == 503
    headers = {"Authorization": "Bearer canary-gateway-key-1"}
    embedded = await world.client.post("/v1/embeddings", json={"model": "m", "input": "x"}, headers=headers)
    assert embedded.status_code == 200
