"""Users: fact sheet section 7."""

from __future__ import annotations

import pytest

from tests.embedded.world import World


async def test_balance_and_concurrency_left_out_are_zero(world: World) -> None:
    made = await world.ok("POST", "/users", {"email": "a@example.com", "password": "canary-password-1"})

    assert (made["balance"], made["concurrency"], made["role"]) == (0, 0, "user")


async def test_an_e_mail_is_unique_whatever_its_case(world: World) -> None:
    await world.ok("POST", "/users", {"email": "A@example.com", "password": "canary-password-1"})

    taken = await world.admin("POST", "/users", {"email": "a@EXAMPLE.com", "password": "canary-password-1"})

    assert (taken.status_code, taken.json()["reason"]) == (409, "EMAIL_EXISTS")
    assert await world.login("a@example.com")


async def test_a_put_ignores_the_balance(world: World) -> None:
    user, _ = await world.user(balance=10)

    await world.ok("PUT", f"/users/{user}", {"balance": 99, "notes": "n"})

    shown = await world.ok("GET", f"/users/{user}")
    assert (shown["balance"], shown["notes"]) == (10, "n")


@pytest.mark.parametrize(("operation", "after"), [("set", 4), ("add", 14), ("subtract", 6)])
async def test_a_balance_is_changed_by_operations(world: World, operation: str, after: float) -> None:
    user, _ = await world.user(balance=10)

    changed = await world.ok("POST", f"/users/{user}/balance", {"balance": 4, "operation": operation})

    assert changed["balance"] == after


async def test_a_balance_cannot_be_set_to_zero_nor_below(world: World) -> None:
    user, _ = await world.user(balance=10)

    zero = await world.admin("POST", f"/users/{user}/balance", {"balance": 0, "operation": "set"})
    below = await world.admin("POST", f"/users/{user}/balance", {"balance": 11, "operation": "subtract"})

    assert (zero.status_code, below.status_code) == (400, 500)


async def test_allowed_groups_null_keeps_empty_clears_and_unknown_is_500(world: World) -> None:
    group = await world.group()
    user, _ = await world.user(allowed_groups=[group])

    kept = await world.ok("PUT", f"/users/{user}", {"allowed_groups": None})
    unknown = await world.admin("PUT", f"/users/{user}", {"allowed_groups": [999]})
    cleared = await world.ok("PUT", f"/users/{user}", {"allowed_groups": []})

    assert kept["allowed_groups"] == [group]
    assert unknown.status_code == 500
    assert cleared["allowed_groups"] == []
    assert (await world.ok("GET", f"/users/{user}"))["allowed_groups"] is None


async def test_a_deleted_user_takes_its_keys_and_sessions_along(world: World) -> None:
    user, token = await world.user()
    body = {"name": "k", "custom_key": "canary-gateway-key-1"}
    await world.as_user(token, "POST", "/keys", body)

    await world.ok("DELETE", f"/users/{user}")

    assert (await world.chat()).json()["code"] == "INVALID_API_KEY"
    assert (await world.as_user(token, "GET", "/keys")).json()["code"] == "USER_NOT_FOUND"
    assert (await world.admin("GET", f"/users/{user}")).json()["reason"] == "USER_NOT_FOUND"


async def test_an_admin_can_be_neither_deleted_nor_disabled(world: World) -> None:
    admin = world.host.admin()["id"]

    assert (await world.admin("DELETE", f"/users/{admin}")).status_code == 500
    assert (await world.admin("PUT", f"/users/{admin}", {"status": "disabled"})).status_code == 500


async def test_a_disabled_user_neither_logs_in_nor_is_served(world: World) -> None:
    user, token = await world.user()
    await world.as_user(token, "POST", "/keys", {"name": "k", "custom_key": "canary-gateway-key-1"})

    await world.ok("PUT", f"/users/{user}", {"status": "disabled"})

    login = await world.client.post(
        "/api/v1/auth/login", json={"email": "svc1@example.com", "password": "canary-password-1"}
    )
    assert (login.status_code, login.json()["reason"]) == (403, "USER_NOT_ACTIVE")
    assert (await world.chat()).json()["code"] == "USER_INACTIVE"


async def test_the_usage_of_a_user_is_a_stub(world: World) -> None:
    user, _ = await world.user()

    assert (await world.ok("GET", f"/users/{user}/usage"))["total_requests"] == 0
