"""Admin key, log-in and the compliance gate: fact sheet section 2.3."""

from __future__ import annotations

import httpx
import pytest

from reconciler.embedded.settings import HostSettings
from tests.embedded.world import ADMIN_KEY, PASSWORD, World


async def test_the_admin_key_acts_as_the_first_admin_but_opens_no_user_route(world: World) -> None:
    admin = await world.admin("GET", "/groups")
    keys = await world.client.get("/api/v1/keys", headers={"x-api-key": ADMIN_KEY})

    assert admin.status_code == 200
    assert (keys.status_code, keys.json()["code"]) == (401, "UNAUTHORIZED")


async def test_a_wrong_admin_key_is_told_from_a_missing_one(world: World) -> None:
    response = await world.client.get("/api/v1/admin/groups", headers={"x-api-key": "admin-wrong"})

    assert (response.status_code, response.json()["code"]) == (401, "INVALID_ADMIN_KEY")


async def test_regenerating_the_admin_key_kills_the_old_one_at_once(world: World) -> None:
    new = (await world.ok("POST", "/settings/admin-api-key/regenerate"))["key"]

    assert (await world.admin("GET", "/groups")).status_code == 401
    shown = await world.client.get("/api/v1/admin/settings/admin-api-key", headers={"x-api-key": new})
    assert shown.json()["data"] == {"exists": True, "masked_key": f"{new[:10]}...{new[-4:]}"}


async def test_an_admin_jwt_opens_the_admin_api_and_a_users_does_not(world: World) -> None:
    admin = await world.login("admin@example.com", PASSWORD)
    _, user = await world.user()

    assert (await world.as_user(admin, "GET", "/admin/groups")).status_code == 200
    refused = await world.as_user(user, "GET", "/admin/groups")
    assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN")


async def test_a_token_ends_after_a_day(world: World) -> None:
    token = await world.login("admin@example.com", PASSWORD)

    world.clock.advance(86_401)

    refused = await world.as_user(token, "GET", "/keys")
    assert (refused.status_code, refused.json()["code"]) == (401, "TOKEN_EXPIRED")


async def test_a_refresh_token_works_once(world: World) -> None:
    body = {"email": "admin@example.com", "password": PASSWORD}
    session = (await world.client.post("/api/v1/auth/login", json=body)).json()["data"]
    refresh = {"refresh_token": session["refresh_token"]}

    first = await world.client.post("/api/v1/auth/refresh", json=refresh)
    second = await world.client.post("/api/v1/auth/refresh", json=refresh)

    assert (await world.as_user(first.json()["data"]["access_token"], "GET", "/keys")).status_code == 200
    assert (await world.as_user(session["access_token"], "GET", "/keys")).status_code == 200
    assert (second.status_code, second.json()["reason"]) == (401, "REFRESH_TOKEN_INVALID")


async def test_a_new_password_revokes_tokens(world: World) -> None:
    user, token = await world.user()

    await world.ok("PUT", f"/users/{user}", {"password": "canary-password-2"})

    assert (await world.as_user(token, "GET", "/keys")).json()["code"] == "TOKEN_REVOKED"


async def test_logins_are_limited_per_address_good_ones_included(world: World) -> None:
    for _ in range(20):
        await world.login("admin@example.com", PASSWORD)
    body = {"email": "admin@example.com", "password": PASSWORD}
    refused = await world.client.post("/api/v1/auth/login", json=body)

    assert refused.status_code == 429
    assert refused.json() == {
        "error": "rate limit exceeded",
        "message": "Too many requests, please try again later",
    }
    assert refused.headers["retry-after"] == "60"
    world.clock.advance(61)
    assert await world.login("admin@example.com", PASSWORD)


@pytest.fixture
async def gated() -> World:
    return World(HostSettings(compliance_gate=True))


async def test_the_gate_closes_every_admin_call_until_the_text_is_accepted(gated: World) -> None:
    for path in ("/groups", "/settings/admin-api-key", "/usage"):
        closed = await gated.admin("GET", path)
        assert (closed.status_code, closed.json()["code"]) == (423, "ADMIN_COMPLIANCE_ACK_REQUIRED")
        assert closed.json()["metadata"]["version"] == "v2026.06.10"
    text = await gated.ok("GET", "/compliance")
    assert text["required"] is True

    wrong = await gated.admin("POST", "/compliance/accept", {"phrase": "yes", "language": "en"})
    await gated.ok("POST", "/compliance/accept", {"phrase": text["ack_phrase_en"], "language": "en"})

    assert wrong.status_code == 400
    assert (await gated.admin("GET", "/groups")).status_code == 200
    assert (await gated.ok("GET", "/compliance"))["required"] is False
    await gated.close()


async def test_the_gate_does_not_stop_the_data_plane(gated: World) -> None:
    response = await gated.client.get("/v1/models")

    assert response.status_code == 401
    await gated.close()


async def test_secrets_do_not_show_in_repr(world: World) -> None:
    shown = f"{world.host.credentials!r} {world.alpha.settings!r}"

    assert PASSWORD not in shown
    assert ADMIN_KEY not in shown
    assert "canary-upstream-key-1" not in shown


async def test_a_broken_token_is_invalid(world: World) -> None:
    token = await world.login("admin@example.com", PASSWORD)
    head, payload, signature = token.split(".")

    for bad in ("x", f"{head}.{payload}", f"{head}.{payload[:-2]}xx.{signature}"):
        response: httpx.Response = await world.as_user(bad, "GET", "/keys")
        assert (response.status_code, response.json()["code"]) == (401, "INVALID_TOKEN")
