"""Idempotency-Key: fact sheet section 1.5."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.embedded.world import UPSTREAM_KEY, World


async def create(world: World, key: str, name: str = "a", **fields: Any) -> httpx.Response:
    body = {
        "name": name,
        "platform": "openai",
        "type": "apikey",
        "credentials": {"api_key": UPSTREAM_KEY},
        **fields,
    }
    return await world.admin("POST", "/accounts", body, headers={"Idempotency-Key": key})


async def test_the_same_key_and_payload_answer_what_was_answered_and_make_nothing(world: World) -> None:
    first, again = await create(world, "k1"), await create(world, "k1")

    assert again.json()["data"] == first.json()["data"]
    assert again.headers["x-idempotency-replayed"] == "true"
    assert "x-idempotency-replayed" not in first.headers
    assert (await world.ok("GET", "/accounts"))["total"] == 1


async def test_another_payload_is_a_conflict(world: World) -> None:
    await create(world, "k1")

    refused = await create(world, "k1", name="b")

    assert (refused.status_code, refused.json()["reason"]) == (409, "IDEMPOTENCY_KEY_CONFLICT")


async def test_a_failed_attempt_backs_off_for_five_seconds(world: World) -> None:
    first = await create(world, "k1", group_ids=[999])
    again = await create(world, "k1", group_ids=[999])

    assert first.status_code == 500
    assert (again.status_code, again.json()["reason"]) == (409, "IDEMPOTENCY_RETRY_BACKOFF")
    assert again.headers["retry-after"] == again.json()["metadata"]["retry_after"] == "5"
    world.clock.advance(5)
    assert (await create(world, "k1", group_ids=[999])).status_code == 500


@pytest.mark.parametrize("key", ["with space", "x" * 129, "caf\u00e9"])
async def test_a_bad_key_is_refused(world: World, key: str) -> None:
    body = {"name": "a", "platform": "openai", "type": "apikey", "credentials": {"api_key": UPSTREAM_KEY}}
    headers = {"Idempotency-Key": key.encode()}
    refused = await world.admin("POST", "/accounts", body, headers=headers)

    assert (refused.status_code, refused.json()["reason"]) == (400, "IDEMPOTENCY_KEY_INVALID")


async def test_a_record_ends_after_a_day(world: World) -> None:
    await create(world, "k1")

    world.clock.advance(86_401)

    assert "x-idempotency-replayed" not in (await create(world, "k1")).headers


async def test_a_replayed_key_creation_holds_the_key(world: World) -> None:
    _, token = await world.user()
    headers = {"Idempotency-Key": "k1"}

    first = await world.as_user(token, "POST", "/keys", {"name": "k"}, headers=headers)
    again = await world.as_user(token, "POST", "/keys", {"name": "k"}, headers=headers)

    assert again.json()["data"] == first.json()["data"]
    assert list(again.json()["data"]) == sorted(again.json()["data"])


async def test_groups_do_not_know_the_header(world: World) -> None:
    body = {"name": "g", "rate_multiplier": 1}

    await world.admin("POST", "/groups", body, headers={"Idempotency-Key": "k1"})
    again = await world.admin("POST", "/groups", body, headers={"Idempotency-Key": "k1"})

    assert again.status_code == 409
