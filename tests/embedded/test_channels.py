"""Channels: fact sheet section 5."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.embedded.settings import HostSettings
from tests.embedded.world import World


def price(*models: str, **fields: Any) -> dict[str, Any]:
    return {
        "platform": "openai",
        "models": list(models),
        "input_price": 0.001,
        "output_price": 0.002,
        **fields,
    }


async def channel(world: World, *group_ids: int, name: str = "c", **fields: Any) -> Any:
    return await world.ok("POST", "/channels", {"name": name, "group_ids": list(group_ids), **fields})


async def test_a_group_belongs_to_one_channel_only(world: World) -> None:
    group = await world.group()
    await channel(world, group)

    refused = await world.admin("POST", "/channels", {"name": "d", "group_ids": [group]})

    assert (refused.status_code, refused.json()["reason"]) == (409, "GROUP_ALREADY_IN_CHANNEL")


async def test_names_are_unique_and_deletion_is_for_good(world: World) -> None:
    made = await channel(world)
    taken = await world.admin("POST", "/channels", {"name": "c"})
    await world.ok("DELETE", f"/channels/{made['id']}")

    assert (taken.status_code, taken.json()["reason"]) == (409, "CHANNEL_EXISTS")
    assert (await world.admin("DELETE", f"/channels/{made['id']}")).json()["reason"] == "CHANNEL_NOT_FOUND"
    assert (await channel(world))["id"] > made["id"]


async def test_a_validation_error_has_a_reason_and_no_prefix(world: World) -> None:
    refused = await world.admin("POST", "/channels", {})

    assert refused.json() == {
        "code": 400,
        "message": "Key: 'createChannelRequest.Name' Error:Field validation for 'Name' failed on the 'required' tag",
        "reason": "VALIDATION_ERROR",
    }


async def test_null_keeps_and_empty_clears(world: World) -> None:
    group = await world.group()
    fields: dict[str, Any] = {
        "model_mapping": {"openai": {"a": "b"}},
        "model_pricing": [price("m")],
        "description": "d",
    }
    made = await channel(world, group, **fields)
    names = ("group_ids", "model_mapping", "model_pricing", "description")

    kept = await world.ok("PUT", f"/channels/{made['id']}", dict.fromkeys(names))
    cleared = await world.ok(
        "PUT",
        f"/channels/{made['id']}",
        {"group_ids": [], "model_mapping": {}, "model_pricing": [], "description": ""},
    )

    assert (kept["group_ids"], kept["model_mapping"], kept["description"]) == (
        [group],
        {"openai": {"a": "b"}},
        "d",
    )
    assert [cleared[name] for name in names] == [[], {}, [], ""]


async def test_every_put_gives_pricing_entries_new_ids(world: World) -> None:
    made = await channel(world, model_pricing=[price("m")])

    again = await world.ok("PUT", f"/channels/{made['id']}", {"description": "x"})

    assert again["model_pricing"][0]["id"] != made["model_pricing"][0]["id"]
    assert again["model_pricing"][0]["billing_mode"] == "token"


async def test_a_price_without_platform_is_anthropics(world: World) -> None:
    made = await channel(world, model_pricing=[{"models": ["m"], "input_price": 1}])

    assert made["model_pricing"][0]["platform"] == "anthropic"


async def test_groups_read_sorted_and_may_be_dead_but_not_unknown(world: World) -> None:
    one, two = await world.group("one"), await world.group("two")
    made = await channel(world, two, one)
    await world.ok("DELETE", f"/groups/{one}")

    assert (await world.ok("GET", f"/channels/{made['id']}"))["group_ids"] == [one, two]
    assert (await world.admin("PUT", f"/channels/{made['id']}", {"group_ids": [one, two]})).status_code == 200
    assert (await world.admin("PUT", f"/channels/{made['id']}", {"group_ids": [999]})).status_code == 500


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"model_mapping": {"openai": {"a*": "x", "AB*": "y"}}}, "MAPPING_PATTERN_CONFLICT"),
        ({"model_pricing": [price("m*", "ma*")]}, "MODEL_PATTERN_CONFLICT"),
        ({"model_pricing": [price("m", input_price=-1)]}, "NEGATIVE_PRICE"),
        ({"model_pricing": [price("m", fast_multiplier=0)]}, "INVALID_MULTIPLIER"),
        ({"model_pricing": [price("m", billing_mode="per_request")]}, "BILLING_MODE_MISSING_PRICE"),
        ({"account_stats_pricing_rules": [{"name": "r"}]}, "PRICING_RULE_EMPTY_SCOPE"),
    ],
)
async def test_bad_content_is_refused_by_reason_and_stores_nothing(
    world: World, fields: dict[str, Any], reason: str
) -> None:
    refused = await world.admin("POST", "/channels", {"name": "c", **fields})

    assert (refused.status_code, refused.json()["reason"]) == (400, reason)
    assert (await world.ok("GET", "/channels"))["total"] == 0


async def test_times_say_z_and_mean_the_servers_own_zone() -> None:
    world = World(HostSettings(probe_responses=False, utc_offset_minutes=480))
    made = await channel(world)
    group = await world.ok("GET", f"/groups/{await world.group()}")
    await world.close()

    assert made["created_at"] == "2027-01-15T16:00:00Z"
    assert group["created_at"] == "2027-01-15T16:00:00+08:00"


async def test_an_alias_must_pass_the_accounts_whitelist_before_it_is_mapped(world: World) -> None:
    """The trap of a model that looks available: selection tests the name that the client sent."""
    group, account = await world.served(mapping={"real": "real"})
    await channel(world, group, model_mapping={"openai": {"alias": "real"}})

    refused = await world.chat("alias")
    assert (refused.status_code, refused.json()["error"]["type"]) == (404, "model_not_found")

    mapping = {"real": "up", "alias": "anything"}
    credentials = {"base_url": "http://alpha.test/v1", "model_mapping": mapping}
    await world.ok("PUT", f"/accounts/{account}", {"credentials": credentials})
    row = await world.row(await world.chat("alias"))
    assert (row["model"], row["upstream_model"], row["model_mapping_chain"]) == (
        "alias",
        "up",
        "alias→real→up",
    )


async def test_restricting_models_looks_like_an_empty_pool(world: World) -> None:
    group, _ = await world.served()
    await channel(world, group, model_pricing=[price("m")], restrict_models=True)

    assert (await world.chat("m")).status_code == 200
    refused = await world.chat("other")
    assert refused.status_code == 503
    assert refused.json() == {"error": {"message": "Service temporarily unavailable", "type": "api_error"}}


async def test_a_disabled_channel_has_no_effect(world: World) -> None:
    group, _ = await world.served()
    made = await channel(world, group, model_pricing=[price("m")], restrict_models=True)

    await world.ok("PUT", f"/channels/{made['id']}", {"status": "disabled"})

    row = await world.row(await world.chat("other"))
    assert "channel_id" not in row


async def test_matching_ignores_case_prefers_exact_then_the_longest_prefix(world: World) -> None:
    group, _ = await world.served()
    entries = [price("gpt*", input_price=1), price("GPT-4", input_price=3)]
    # A prefix that covers an exact name is a conflict, so the exact one stands in a channel of its own platform only.
    refused = await world.admin(
        "POST", "/channels", {"name": "c", "group_ids": [group], "model_pricing": entries}
    )
    assert refused.json()["reason"] == "MODEL_PATTERN_CONFLICT"

    await channel(world, group, model_pricing=[price("GPT-4*", input_price=0.5, output_price=0)])
    row = await world.row(await world.chat("gpt-4o"))
    assert row["total_cost"] == pytest.approx(0.5 * row["input_tokens"])


async def test_channel_id_stands_on_the_row_whether_or_not_it_mapped(world: World) -> None:
    group, _ = await world.served()
    made = await channel(world, group)

    row = await world.row(await world.chat())

    assert row["channel_id"] == made["id"]
    assert "model_mapping_chain" not in row
