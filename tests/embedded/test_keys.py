"""API keys: fact sheet section 6."""

from __future__ import annotations

from typing import Any

import pytest

from tests.embedded.world import World


async def made(world: World, token: str, **fields: Any) -> Any:
    response = await world.as_user(token, "POST", "/keys", {"name": "k", **fields})
    assert response.status_code == 200, response.text
    return response.json()["data"]


async def test_a_custom_key_keeps_its_value_and_can_be_made_again_after_deletion(world: World) -> None:
    _, token = await world.user()
    key = await made(world, token, custom_key="canary-gateway-key-1")
    taken = await world.as_user(token, "POST", "/keys", {"name": "k", "custom_key": "canary-gateway-key-1"})
    await world.as_user(token, "DELETE", f"/keys/{key['id']}")
    again = await made(world, token, custom_key="canary-gateway-key-1")

    assert (taken.status_code, taken.json()["reason"]) == (409, "API_KEY_EXISTS")
    assert again["id"] != key["id"]
    assert again["key"] == "canary-gateway-key-1"


async def test_a_generated_key_is_sk_and_64_hex(world: World) -> None:
    _, token = await world.user()

    key = (await made(world, token))["key"]

    assert key.startswith("sk-")
    assert len(key) == 67


@pytest.mark.parametrize(
    ("value", "status", "reason"),
    [
        ("short", 400, "API_KEY_TOO_SHORT"),
        ("bad characters here!", 400, "API_KEY_INVALID_CHARS"),
        ("x" * 129, 500, None),
    ],
)
async def test_a_custom_key_has_rules(world: World, value: str, status: int, reason: str | None) -> None:
    _, token = await world.user()

    refused = await world.as_user(token, "POST", "/keys", {"name": "k", "custom_key": value})

    assert (refused.status_code, refused.json().get("reason")) == (status, reason)


async def test_names_are_not_unique_and_are_html_escaped(world: World) -> None:
    _, token = await world.user()

    one, two = await made(world, token, name="a&b '\"<"), await made(world, token, name="a&b '\"<")

    assert one["id"] != two["id"]
    assert one["name"] == "a&amp;b &#39;&#34;&lt;"


async def test_no_admin_route_makes_a_key(world: World) -> None:
    assert (await world.admin("POST", "/api-keys", {"name": "k"})).status_code == 404


async def test_an_exclusive_group_needs_leave_and_the_admin_update_gives_it(world: World) -> None:
    group = await world.group(is_exclusive=True)
    user, token = await world.user()
    refused = await world.as_user(token, "POST", "/keys", {"name": "k", "group_id": group})
    key = await made(world, token)

    moved = await world.ok("PUT", f"/api-keys/{key['id']}", {"group_id": group})

    assert (refused.status_code, refused.json()["reason"]) == (403, "GROUP_NOT_ALLOWED")
    assert moved["auto_granted_group_access"] is True
    assert moved["granted_group_id"] == group
    assert (await world.ok("GET", f"/users/{user}"))["allowed_groups"] == [group]


async def test_the_admin_update_binds_unbinds_and_keeps(world: World) -> None:
    group = await world.group()
    key, _ = await world.key(group)

    async def after(body: dict[str, Any]) -> Any:
        return (await world.ok("PUT", f"/api-keys/{key}", body))["api_key"]["group_id"]

    assert await after({}) == group
    assert await after({"group_id": 0}) is None
    assert await after({"group_id": group}) == group
    refused = await world.admin("PUT", f"/api-keys/{key}", {"group_id": -1})
    assert refused.json()["reason"] == "INVALID_GROUP_ID"


async def test_an_inactive_group_may_be_bound_by_the_user_and_not_by_the_admin(world: World) -> None:
    group = await world.group()
    await world.ok("PUT", f"/groups/{group}", {"status": "inactive"})
    _, token = await world.user()
    key = await made(world, token, group_id=group, custom_key="canary-gateway-key-1")

    refused = await world.admin("PUT", f"/api-keys/{key['id']}", {"group_id": group})

    assert refused.json()["reason"] == "GROUP_NOT_ACTIVE"
    assert (await world.chat()).json()["code"] == "GROUP_DISABLED"


async def test_a_foreign_key_is_403_to_change_and_404_to_read(world: World) -> None:
    key, _ = await world.key(None)
    _, other = await world.user()

    for method in ("PUT", "DELETE"):
        refused = await world.as_user(other, method, f"/keys/{key}", {})
        assert (refused.status_code, refused.json()["reason"]) == (403, "INSUFFICIENT_PERMISSIONS")
    read = await world.as_user(other, "GET", f"/keys/{key}")
    assert read.json() == {"code": 404, "message": "API key not found"}


async def test_expiry_is_sent_in_days_and_read_as_a_time(world: World) -> None:
    _, token = await world.user()

    key = await made(world, token, expires_in_days=2, custom_key="canary-gateway-key-1")

    assert key["expires_at"] == "2027-01-17T08:00:00Z"
    world.clock.advance(2 * 86_400)
    assert (await world.chat()).json()["code"] == "API_KEY_EXPIRED"


async def test_a_new_expiry_revives_an_expired_key_and_empty_clears_it(world: World) -> None:
    key, token = await world.key(None)
    await world.as_user(token, "PUT", f"/keys/{key}", {"expires_at": "2020-01-01T00:00:00Z"})
    assert (await world.chat()).json()["code"] == "API_KEY_EXPIRED"

    await world.as_user(token, "PUT", f"/keys/{key}", {"expires_at": ""})

    assert (await world.chat()).json()["error"]["type"] == "permission_error"


async def test_lists_are_newest_first_and_hold_the_plain_key(world: World) -> None:
    user, token = await world.user()
    first = await made(world, token)
    world.clock.advance(1)
    second = await made(world, token)

    mine = (await world.as_user(token, "GET", "/keys")).json()["data"]["items"]
    by_admin = (await world.ok("GET", f"/users/{user}/api-keys"))["items"]

    assert [key["id"] for key in mine] == [second["id"], first["id"]]
    assert [key["key"] for key in by_admin] == [second["key"], first["key"]]


async def test_twenty_collisions_an_hour_are_the_limit(world: World) -> None:
    _, token = await world.user()
    await made(world, token, custom_key="canary-gateway-key-1")
    body = {"name": "k", "custom_key": "canary-gateway-key-1"}

    answers = [await world.as_user(token, "POST", "/keys", body) for _ in range(21)]

    assert [a.json()["reason"] for a in answers[-2:]] == ["API_KEY_EXISTS", "API_KEY_RATE_LIMITED"]
