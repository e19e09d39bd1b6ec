"""Groups: fact sheet section 3."""

from __future__ import annotations

from typing import Any

import pytest

from tests.embedded.world import World


async def test_a_fresh_host_has_one_foreign_group(world: World) -> None:
    items = (await world.ok("GET", "/groups"))["items"]

    assert [(item["name"], item["platform"]) for item in items] == [("default", "anthropic")]


async def test_numbers_left_out_on_create_are_zero_and_a_zero_multiplier_is_refused(world: World) -> None:
    assert (await world.admin("POST", "/groups", {"name": "g"})).status_code == 500
    assert (await world.ok("GET", "/groups"))["total"] == 1


async def test_status_and_routing_switch_are_ignored_on_create(world: World) -> None:
    group = await world.group(status="inactive", model_routing_enabled=True)

    read = await world.ok("GET", f"/groups/{group}")
    assert (read["status"], read["model_routing_enabled"]) == ("active", False)


async def test_a_write_answers_what_was_sent_and_a_read_what_is_stored(world: World) -> None:
    made = await world.ok(
        "POST", "/groups", {"name": "g", "rate_multiplier": 1.23456, "daily_limit_usd": 0.123456789}
    )
    read = await world.ok("GET", f"/groups/{made['id']}")

    assert (made["rate_multiplier"], made["daily_limit_usd"], made["model_routing"]) == (
        1.23456,
        0.123456789,
        None,
    )
    assert (read["rate_multiplier"], read["daily_limit_usd"], read["model_routing"]) == (
        1.2346,
        0.12345679,
        {},
    )


@pytest.mark.parametrize(
    ("sent", "stored"), [(5, 5), ("12.5", 12.5), (-1, None), (0, 0), (None, 0), ("", 0), ("  ", 0)]
)
async def test_a_limit_that_is_null_or_blank_is_zero_and_a_negative_one_is_none(
    world: World, sent: Any, stored: Any
) -> None:
    group = await world.group(daily_limit_usd=sent)

    assert (await world.ok("GET", f"/groups/{group}"))["daily_limit_usd"] == stored


async def test_a_put_clears_limits_that_it_does_not_name(world: World) -> None:
    group = await world.group(daily_limit_usd=5, weekly_limit_usd=6, monthly_limit_usd=7)

    await world.ok("PUT", f"/groups/{group}", {"description": "x", "weekly_limit_usd": 6})

    read = await world.ok("GET", f"/groups/{group}")
    assert (read["daily_limit_usd"], read["weekly_limit_usd"], read["monthly_limit_usd"]) == (None, 6, None)


async def test_a_put_keeps_everything_else_that_is_absent_or_null(world: World) -> None:
    group = await world.group(description="kept", rpm_limit=3, is_exclusive=True)

    await world.ok(
        "PUT", f"/groups/{group}", {"rpm_limit": None, "is_exclusive": None, "name": "", "status": ""}
    )

    read = await world.ok("GET", f"/groups/{group}")
    assert (read["description"], read["rpm_limit"], read["is_exclusive"], read["name"], read["status"]) == (
        "kept", 3, True, "chat", "active",
    )  # fmt: skip


async def test_an_empty_description_clears(world: World) -> None:
    group = await world.group(description="gone soon")

    await world.ok("PUT", f"/groups/{group}", {"description": ""})

    assert (await world.ok("GET", f"/groups/{group}"))["description"] == ""


async def test_leaving_openai_clears_what_only_openai_has(world: World) -> None:
    group = await world.group(
        allow_messages_dispatch=True, messages_dispatch_model_config={"opus_mapped_model": " m "}
    )
    assert (await world.ok("GET", f"/groups/{group}"))["messages_dispatch_model_config"] == {
        "opus_mapped_model": "m"
    }

    await world.ok("PUT", f"/groups/{group}", {"platform": "anthropic"})

    read = await world.ok("GET", f"/groups/{group}")
    assert (read["allow_messages_dispatch"], read["messages_dispatch_model_config"]) == (False, {})


async def test_names_are_unique_among_live_groups_and_matter_to_the_letter(world: World) -> None:
    first = await world.group("g")
    taken = await world.admin("POST", "/groups", {"name": "g", "rate_multiplier": 1})
    other_case = await world.group("G")
    await world.ok("DELETE", f"/groups/{first}")
    again = await world.group("g")

    assert (taken.status_code, taken.json()["reason"]) == (409, "GROUP_EXISTS")
    assert again not in (first, other_case)


async def test_a_refused_duplicate_uses_an_id_up(world: World) -> None:
    first = await world.group("g")
    await world.admin("POST", "/groups", {"name": "g", "rate_multiplier": 1})

    assert await world.group("h") == first + 2


async def test_a_deleted_group_is_gone_for_every_call(world: World) -> None:
    group = await world.group()

    await world.ok("DELETE", f"/groups/{group}")

    for method in ("GET", "DELETE"):
        assert (await world.admin(method, f"/groups/{group}")).json()["reason"] == "GROUP_NOT_FOUND"
    assert (await world.admin("PUT", f"/groups/{group}", {"name": "x"})).status_code == 404


async def test_deleting_a_group_unbinds_accounts_and_leaves_keys_and_channel_with_the_dead_id(
    world: World,
) -> None:
    group, account = await world.served()
    channel = await world.ok("POST", "/channels", {"name": "c", "group_ids": [group]})

    await world.ok("DELETE", f"/groups/{group}")

    assert "group_ids" not in await world.ok("GET", f"/accounts/{account}")
    assert (await world.ok("GET", f"/channels/{channel['id']}"))["group_ids"] == [group]
    refused = await world.chat()
    assert (refused.status_code, refused.json()["code"]) == (403, "GROUP_DELETED")
    listed = await world.ok("GET", f"/groups/{group}/api-keys")
    assert [key["group_id"] for key in listed["items"]] == [group]


async def test_counts_of_zero_are_absent(world: World) -> None:
    group = await world.group()
    assert "account_count" not in await world.ok("GET", f"/groups/{group}")

    account = await world.account(group)
    await world.ok("POST", f"/accounts/{account}/schedulable", {"schedulable": False})

    read = await world.ok("GET", f"/groups/{group}")
    assert read["account_count"] == 1
    assert "active_account_count" not in read


async def test_copying_accounts_replaces_the_bindings_of_the_group(world: World) -> None:
    source, target = await world.group("a"), await world.group("b")
    copied, dropped = await world.account(source, name="copied"), await world.account(target, name="dropped")

    await world.ok("PUT", f"/groups/{target}", {"copy_accounts_from_group_ids": [source]})

    assert (await world.ok("GET", f"/accounts/{copied}"))["group_ids"] == [source, target]
    assert "group_ids" not in await world.ok("GET", f"/accounts/{dropped}")


async def test_group_statistics_are_a_stub(world: World) -> None:
    group, _ = await world.served()
    await world.chat()

    stats = await world.ok("GET", f"/groups/{group}/stats")
    assert stats == {"active_api_keys": 0, "total_api_keys": 0, "total_cost": 0, "total_requests": 0}


async def test_all_groups_come_as_a_bare_array_of_active_ones(world: World) -> None:
    group = await world.group()
    await world.ok("PUT", f"/groups/{group}", {"status": "inactive"})

    assert [g["name"] for g in await world.ok("GET", "/groups/all")] == ["default"]
    shown = await world.ok("GET", "/groups/all", params={"include_inactive": "true"})
    assert {g["name"] for g in shown} == {"default", "chat"}


async def test_a_fallback_may_not_be_itself_missing_or_a_ring(world: World) -> None:
    one, two = await world.group("one"), await world.group("two")
    await world.ok("PUT", f"/groups/{one}", {"fallback_group_id": two})

    for fallback, status in ((two, 500), (999, 404), (one, 500)):
        response = await world.admin("PUT", f"/groups/{two}", {"fallback_group_id": fallback})
        assert response.status_code == status
    cleared = await world.ok("PUT", f"/groups/{one}", {"fallback_group_id": 0})
    assert cleared["fallback_group_id"] is None
