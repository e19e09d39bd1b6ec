"""The hidden request after an account was written: fact sheet section 4.5."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from reconciler.embedded.settings import HostSettings
from tests.embedded.world import UPSTREAM_KEY, World


@pytest.fixture
async def curious() -> AsyncIterator[World]:
    made = World(HostSettings())
    yield made
    await made.close()


async def supported(world: World, account: int) -> object:
    await world.settle()
    return (await world.ok("GET", f"/accounts/{account}"))["extra"].get("openai_responses_supported")


async def test_a_create_asks_the_upstream_for_responses(curious: World) -> None:
    account = await curious.account(mapping={"b": "real-b", "a": "real-c"})

    assert await supported(curious, account) is False
    probe = curious.alpha.requests[-1]
    assert (probe["path"], probe["model"]) == ("/v1/responses", "real-b")
    assert probe["fields"] == ["input", "max_output_tokens", "model", "stream", "tool_choice", "tools"]


async def test_an_upstream_that_calls_the_tool_is_supported(curious: World) -> None:
    assert await supported(curious, await curious.account(at="beta")) is True


async def test_any_other_refusal_counts_as_supported(curious: World) -> None:
    account = await curious.account(credentials={"api_key": "canary-wrong-key"})

    assert await supported(curious, account) is True


async def test_no_answer_leaves_it_unknown(curious: World) -> None:
    assert await supported(curious, await curious.account(at="nowhere")) is None


async def test_only_a_put_with_credentials_asks_again(curious: World) -> None:
    account = await curious.account()
    await curious.settle()
    curious.alpha.requests.clear()

    await curious.ok("PUT", f"/accounts/{account}", {"name": "x"})
    body = {"account_ids": [account], "credentials": {"user_agent": "ua"}}
    await curious.ok("POST", "/accounts/bulk-update", body)
    await curious.settle()
    assert len(curious.alpha.requests) == 0

    credentials = {"api_key": UPSTREAM_KEY, "base_url": "http://alpha.test/v1"}
    await curious.ok("PUT", f"/accounts/{account}", {"credentials": credentials})
    await curious.settle()
    assert [request["path"] for request in curious.alpha.requests] == ["/v1/responses"]


async def test_the_probe_moves_updated_at(curious: World) -> None:
    account = await curious.account()
    before = curious.host.accounts.rows[account]["updated_at"]

    curious.clock.advance(1)
    await curious.settle()

    assert curious.host.accounts.rows[account]["updated_at"] > before
