"""Accounts: fact sheet sections 4.1 to 4.6."""

from __future__ import annotations

from typing import Any

import pytest

from tests.embedded.world import RAW_CHAT, UPSTREAM_KEY, World


def create_body(**fields: Any) -> dict[str, Any]:
    return {
        "name": "a",
        "platform": "openai",
        "type": "apikey",
        "credentials": {"api_key": UPSTREAM_KEY},
        **fields,
    }


async def read(world: World, account: int) -> Any:
    return await world.ok("GET", f"/accounts/{account}")


async def test_numbers_left_out_on_create_are_zero_unlimited_and_first(world: World) -> None:
    made = await world.ok("POST", "/accounts", create_body())

    assert (made["concurrency"], made["priority"], made["rate_multiplier"]) == (0, 0, 1)
    assert (made["status"], made["schedulable"]) == ("active", True)


async def test_names_are_not_unique(world: World) -> None:
    assert await world.account(name="twin") != await world.account(name="twin")


async def test_any_platform_is_accepted(world: World) -> None:
    assert (await world.ok("POST", "/accounts", create_body(platform="weird")))["platform"] == "weird"


async def test_the_create_answer_shows_no_groups(world: World) -> None:
    group = await world.group()
    made = await world.ok("POST", "/accounts", create_body(group_ids=[group]))

    assert not {"group_ids", "groups", "account_groups"} & set(made)
    assert (await read(world, made["id"]))["group_ids"] == [group]


@pytest.mark.parametrize("body", [{}, {"group_ids": []}])
async def test_without_groups_an_account_lands_in_the_platforms_default_group(
    world: World, body: Any
) -> None:
    default = await world.group("openai-default")

    made = await world.ok("POST", "/accounts", create_body(**body))

    assert (await read(world, made["id"]))["group_ids"] == [default]


async def test_without_such_a_group_it_stays_unbound_and_has_no_group_ids(world: World) -> None:
    account = await world.account()

    assert "group_ids" not in await read(world, account)


async def test_a_bad_group_id_fails_and_leaves_an_orphan(world: World) -> None:
    refused = await world.admin("POST", "/accounts", create_body(name="orphan", group_ids=[999]))

    assert refused.status_code == 500
    items = (await world.ok("GET", "/accounts", params={"search": "orphan"}))["items"]
    assert len(items) == 1
    assert "group_ids" not in items[0]


async def test_a_deleted_group_passes_on_create_and_is_listed_by_id_only(world: World) -> None:
    group = await world.group()
    await world.ok("DELETE", f"/groups/{group}")

    account = await world.account(group)

    shown = await read(world, account)
    assert shown["group_ids"] == [group]
    assert "groups" not in shown
    assert (await world.admin("PUT", f"/accounts/{account}", {"group_ids": [group]})).status_code == 404


async def test_group_order_is_the_only_group_priority(world: World) -> None:
    one, two = await world.group("one"), await world.group("two")

    shown = await read(world, await world.account(two, one))

    assert shown["group_ids"] == [two, one]
    assert [(g["group_id"], g["priority"]) for g in shown["account_groups"]] == [(two, 1), (one, 2)]


async def test_secrets_are_never_read_back(world: World) -> None:
    account = await world.account(credentials={"access_token": "canary-token", "user_agent": "ua"})

    response = await world.admin("GET", f"/accounts/{account}")

    assert response.json()["data"]["credentials_status"] == {"has_access_token": True, "has_api_key": True}
    assert "canary" not in response.text
    assert response.json()["data"]["credentials"]["user_agent"] == "ua"


async def test_one_time_secrets_are_not_even_stored(world: World) -> None:
    account = await world.account(credentials={"password": "canary-pw", "cookie": "canary-cookie"})

    assert (await read(world, account))["credentials_status"] == {"has_api_key": True}
    assert not {"password", "cookie"} & set(world.host.accounts.rows[account]["credentials"])


async def test_credentials_are_replaced_as_a_whole_but_secrets_left_out_are_kept(world: World) -> None:
    account = await world.account(mapping={"a": "b"}, credentials={"user_agent": "ua"})

    await world.ok("PUT", f"/accounts/{account}", {"credentials": {"base_url": "http://beta.test"}})

    shown = await read(world, account)
    assert shown["credentials"] == {"base_url": "http://beta.test"}
    assert shown["credentials_status"] == {"has_api_key": True}


@pytest.mark.parametrize("credentials", [None, {}])
async def test_null_or_empty_credentials_keep_everything(world: World, credentials: Any) -> None:
    account = await world.account(mapping={"a": "b"})

    await world.ok("PUT", f"/accounts/{account}", {"credentials": credentials})

    assert (await read(world, account))["credentials"]["model_mapping"] == {"a": "b"}


async def test_an_empty_secret_wipes_it(world: World) -> None:
    account = await world.account()

    await world.ok("PUT", f"/accounts/{account}", {"credentials": {"api_key": "", "base_url": "http://x"}})

    assert "credentials_status" not in await read(world, account)


async def test_extra_is_replaced_as_a_whole_even_by_an_empty_object(world: World) -> None:
    account = await world.account(extra={"mine": 1, "openai_long_context_billing_enabled": True})

    kept = await world.ok("PUT", f"/accounts/{account}", {"extra": None})
    wiped = await world.ok("PUT", f"/accounts/{account}", {"extra": {}})

    assert kept["extra"] == {"mine": 1, "openai_long_context_billing_enabled": True}
    assert wiped["extra"] == {"openai_long_context_billing_enabled": True}


async def test_a_put_of_extra_loses_run_time_keys_but_not_the_servers_counters(world: World) -> None:
    account = await world.account()
    world.host.accounts.rows[account]["extra"] |= {"quota_used": 3, "openai_responses_supported": True}

    await world.ok("PUT", f"/accounts/{account}", {"extra": RAW_CHAT})

    assert (await read(world, account))["extra"] == RAW_CHAT | {
        "quota_used": 3, "openai_long_context_billing_enabled": False,
    }  # fmt: skip


async def test_a_bulk_update_merges_credentials_and_extra_by_key(world: World) -> None:
    account = await world.account(mapping={"a": "b"}, extra={"mine": 1})
    body = {
        "account_ids": [account],
        "credentials": {"user_agent": "ua"},
        "extra": {"more": 2},
        "schedulable": False,
    }

    done = await world.ok("POST", "/accounts/bulk-update", body)

    shown = await read(world, account)
    assert (done["success"], done["success_ids"], done["failed"]) == (1, [account], 0)
    assert shown["credentials"]["model_mapping"] == {"a": "b"}
    assert shown["credentials"]["user_agent"] == "ua"
    assert (shown["extra"]["mine"], shown["extra"]["more"], shown["schedulable"]) == (1, 2, False)


async def test_a_bulk_update_without_updates_is_refused(world: World) -> None:
    account = await world.account()

    refused = await world.admin("POST", "/accounts/bulk-update", {"account_ids": [account]})

    assert (refused.status_code, refused.json()["message"]) == (400, "No updates provided")


async def test_header_override_names_are_stored_lower_case_and_some_are_refused(world: World) -> None:
    account = await world.account(credentials={"header_overrides": {"X-Team": "a"}})
    assert (await read(world, account))["credentials"]["header_overrides"] == {"x-team": "a"}

    refused = await world.admin(
        "POST", "/accounts", create_body(credentials={"header_overrides": {"Authorization": "x"}})
    )
    assert (refused.status_code, refused.json()["reason"]) == (400, "INVALID_HEADER_OVERRIDE")


@pytest.mark.parametrize("field", ["concurrency", "priority", "rate_multiplier"])
async def test_a_put_of_zero_sets_zero_and_null_keeps(world: World, field: str) -> None:
    account = await world.account(rate_multiplier=2)
    before = (await read(world, account))[field]

    kept = await world.ok("PUT", f"/accounts/{account}", {field: None})
    zero = await world.ok("PUT", f"/accounts/{account}", {field: 0})

    assert (kept[field], zero[field]) == (before, 0)


async def test_notes_are_trimmed_and_empty_notes_are_null(world: World) -> None:
    account = await world.account(notes="  mark  ")
    assert (await read(world, account))["notes"] == "mark"

    assert (await world.ok("PUT", f"/accounts/{account}", {"notes": " "}))["notes"] is None


async def test_group_ids_null_keep_empty_unbind_and_a_list_replaces(world: World) -> None:
    one, two = await world.group("one"), await world.group("two")
    account = await world.account(one)

    kept = await world.ok("PUT", f"/accounts/{account}", {"group_ids": None})
    replaced = await world.ok("PUT", f"/accounts/{account}", {"group_ids": [two]})
    unbound = await world.ok("PUT", f"/accounts/{account}", {"group_ids": []})

    assert (kept["group_ids"], replaced["group_ids"]) == ([one], [two])
    assert "group_ids" not in unbound


async def test_an_unknown_group_in_a_put_is_404_before_anything_is_written(world: World) -> None:
    account = await world.account(name="before")

    refused = await world.admin("PUT", f"/accounts/{account}", {"name": "after", "group_ids": [999]})

    assert (refused.status_code, refused.json()["reason"]) == (404, "GROUP_NOT_FOUND")
    assert (await read(world, account))["name"] == "before"


async def test_a_group_named_twice_fails_with_the_rest_of_the_put_written(world: World) -> None:
    group = await world.group()
    account = await world.account(name="before")

    refused = await world.admin("PUT", f"/accounts/{account}", {"name": "after", "group_ids": [group, group]})

    shown = await read(world, account)
    assert refused.status_code == 500
    assert shown["name"] == "after"
    assert "group_ids" not in shown


async def test_platform_and_schedulable_are_no_put_fields(world: World) -> None:
    account = await world.account()

    await world.ok("PUT", f"/accounts/{account}", {"platform": "gemini", "schedulable": False})

    shown = await read(world, account)
    assert (shown["platform"], shown["schedulable"]) == ("openai", True)


async def test_deleting_a_missing_account_succeeds(world: World) -> None:
    assert await world.ok("DELETE", "/accounts/999") == {"message": "Account deleted successfully"}


async def test_a_load_factor_out_of_range_is_a_client_error_as_500(world: World) -> None:
    assert (await world.admin("POST", "/accounts", create_body(load_factor=10_001))).status_code == 500


async def test_the_active_filter_leaves_out_limited_and_paused_accounts(world: World) -> None:
    fine, paused, limited = [await world.account(name=n) for n in ("fine", "paused", "limited")]
    await world.ok("POST", f"/accounts/{paused}/schedulable", {"schedulable": False})
    world.host.accounts.rows[limited]["rate_limit_reset_at"] = world.clock.now() + 60

    async def ids(status: str) -> list[int]:
        return [row["id"] for row in (await world.ok("GET", "/accounts", params={"status": status}))["items"]]

    assert await ids("active") == [fine]
    assert await ids("unschedulable") == [paused]
    assert await ids("rate_limited") == [limited]


async def test_anthropic_and_antigravity_do_not_share_a_group(world: World) -> None:
    group = await world.group("mixed", platform="anthropic")
    await world.ok("POST", "/accounts", create_body(platform="anthropic", group_ids=[group]))

    refused = await world.admin("POST", "/accounts", create_body(platform="antigravity", group_ids=[group]))
    confirmed = create_body(platform="antigravity", group_ids=[group], confirm_mixed_channel_risk=True)

    assert refused.status_code == 409
    assert set(refused.json()) == {"error", "message"}
    assert refused.json()["error"] == "mixed_channel_warning"
    assert (await world.admin("POST", "/accounts", confirmed)).status_code == 200
