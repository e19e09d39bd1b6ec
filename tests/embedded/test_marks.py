"""State that the host puts on accounts by itself, and how it is taken off: fact sheet section 4.7."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.embedded.faults import UPSTREAM_KINDS
from tests.embedded.world import World


def fail(world: World, status: int, **fields: Any) -> None:
    world.alpha.faults.replace({"faults": [{"kind": "status", "status": status, **fields}]}, UPSTREAM_KINDS)


def heal(world: World) -> None:
    world.alpha.faults.faults = []


async def marks(world: World, account: int) -> Any:
    return await world.ok("GET", f"/accounts/{account}")


@pytest.mark.parametrize(
    ("status", "words"), [(401, "Authentication failed (401)"), (402, "Payment required (402)")]
)
async def test_a_refused_credential_puts_the_account_in_error(world: World, status: int, words: str) -> None:
    _, account = await world.served()
    fail(world, status)

    assert (await world.chat()).status_code == 502

    shown = await marks(world, account)
    assert (shown["status"], shown["schedulable"]) == ("error", False)
    assert shown["error_message"].startswith(words)
    assert (await world.chat()).status_code == 503


async def test_clear_error_lifts_all_but_the_pause(world: World) -> None:
    _, account = await world.served()
    fail(world, 401)
    await world.chat()
    heal(world)

    cleared = await world.ok("POST", f"/accounts/{account}/clear-error")
    assert (cleared["status"], cleared["error_message"], cleared["schedulable"]) == ("active", "", False)
    assert (await world.chat()).status_code == 503

    await world.ok("POST", f"/accounts/{account}/schedulable", {"schedulable": True})
    world.clock.advance(1)
    assert (await world.chat()).status_code == 200


async def test_without_clear_error_a_block_in_memory_outlives_the_put(world: World) -> None:
    """Readable nowhere: the account looks well and is not served for two minutes."""
    _, account = await world.served()
    fail(world, 401)
    await world.chat()
    heal(world)

    await world.ok("PUT", f"/accounts/{account}", {"status": "active"})
    await world.ok("POST", f"/accounts/{account}/schedulable", {"schedulable": True})
    world.clock.advance(60)

    shown = await marks(world, account)
    assert (shown["status"], shown["schedulable"]) == ("active", True)
    assert shown["error_message"] != ""
    assert (await world.chat()).status_code == 503
    world.clock.advance(61)
    assert (await world.chat()).status_code == 200


async def test_a_403_blocks_for_ten_minutes_and_the_third_is_an_error(world: World) -> None:
    _, account = await world.served()
    fail(world, 403)

    for count in (1, 2):
        assert (await world.chat()).status_code == 502
        shown = await marks(world, account)
        assert shown["status"] == "active"
        assert f"({count}/3)" in shown["temp_unschedulable_reason"]
        assert (await world.ok("GET", f"/accounts/{account}/temp-unschedulable"))["active"] is True
        world.clock.advance(601)
        assert (await world.ok("GET", f"/accounts/{account}/temp-unschedulable")) == {"active": False}
    await world.chat()

    assert (await marks(world, account))["status"] == "error"
    assert (await marks(world, account))["error_message"].endswith("consecutive_403=3/3")


async def test_a_429_limits_for_five_seconds_and_the_mark_stays_when_it_has_passed(world: World) -> None:
    """The upstream's Retry-After goes to the client and does not change the mark."""
    _, account = await world.served()
    fail(world, 429, retry_after=7)

    limited = await world.chat()
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "7")
    heal(world)
    assert (await world.chat()).status_code == 503

    world.clock.advance(5.1)
    assert (await world.chat()).status_code == 200
    assert (await marks(world, account))["rate_limit_reset_at"] is not None


async def test_a_529_is_an_overload_of_ten_minutes(world: World) -> None:
    _, account = await world.served()
    fail(world, 529)

    assert (await world.chat()).status_code == 503

    assert (await marks(world, account))["overload_until"] is not None
    heal(world)
    world.clock.advance(599)
    assert (await world.chat()).status_code == 503
    world.clock.advance(2)
    assert (await world.chat()).status_code == 200


async def test_a_refused_connection_blocks_for_ten_minutes(world: World) -> None:
    _, account = await world.served(at="nowhere")

    assert (await world.chat()).status_code == 502

    shown = await marks(world, account)
    assert shown["temp_unschedulable_reason"].startswith("upstream transport error")
    assert (await world.chat()).status_code == 503


async def test_the_second_5xx_in_a_row_cools_account_and_model_in_memory(world: World) -> None:
    """The first two requests reach the upstream; ten seconds long none does, and nothing shows it."""
    _, account = await world.served()
    fail(world, 500)

    assert [(await world.chat()).status_code for _ in range(3)] == [502, 502, 503]
    assert len(world.alpha.requests) == 2
    assert (await marks(world, account))["status"] == "active"
    heal(world)
    await world.ok("POST", f"/accounts/{account}/clear-error")
    assert (await world.chat()).status_code == 503
    assert (await world.chat("other")).status_code == 200
    world.clock.advance(10.1)
    assert (await world.chat()).status_code == 200


async def test_a_third_5xx_cools_for_longer(world: World) -> None:
    await world.served()
    fail(world, 503)
    await world.chat()
    await world.chat()
    world.clock.advance(10.1)
    await world.chat()
    heal(world)

    world.clock.advance(44)
    assert (await world.chat()).status_code == 503
    world.clock.advance(2)
    assert (await world.chat()).status_code == 200


async def test_a_model_that_the_upstream_does_not_know_is_limited_for_the_account(world: World) -> None:
    _, account = await world.served()
    fail(world, 404, message="Model not found: m")

    await world.chat()

    limits = (await marks(world, account))["extra"]["model_rate_limits"]
    assert limits["m"]["reason"] == "upstream_404_model_not_found"
    refused = await world.chat()
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
    await world.ok("POST", f"/accounts/{account}/clear-rate-limit")
    heal(world)
    assert (await world.chat()).status_code == 200


async def test_another_404_wording_marks_nothing(world: World) -> None:
    _, account = await world.served()
    fail(world, 404, message="The model `x` does not exist")

    refused = await world.chat()

    assert (refused.status_code, refused.json()["error"]["type"]) == (404, "not_found_error")
    assert "model_rate_limits" not in (await marks(world, account))["extra"]


async def test_a_rule_of_the_account_limits_one_model(world: World) -> None:
    rule = {"error_code": 400, "keywords": ["quota"], "duration_minutes": 5}
    credentials = {"temp_unschedulable_enabled": True, "temp_unschedulable_rules": [rule]}
    _, account = await world.served(credentials=credentials)
    fail(world, 400, message="Quota is gone")

    await world.chat()

    heal(world)
    assert "m" in (await marks(world, account))["extra"]["model_rate_limits"]
    assert (await world.chat("other")).status_code == 200
    world.clock.advance(301)
    assert (await world.chat()).status_code == 200


async def test_a_pool_account_is_asked_again_and_not_marked(world: World) -> None:
    _, account = await world.served(credentials={"pool_mode": True})
    fail(world, 401)

    assert (await world.chat()).status_code == 502

    assert len(world.alpha.requests) == 4
    assert (await marks(world, account))["status"] == "active"


async def test_codes_that_do_not_count_mark_nothing(world: World) -> None:
    _, account = await world.served(
        credentials={"custom_error_codes_enabled": True, "custom_error_codes": [418]}
    )
    fail(world, 401)

    refused = await world.chat()

    assert refused.status_code == 502
    assert (await marks(world, account))["status"] == "active"


async def test_recover_state_acts_only_where_a_mark_is_stored(world: World) -> None:
    _, account = await world.served()
    fail(world, 529)
    await world.chat()
    heal(world)

    recovered = await world.ok("POST", f"/accounts/{account}/recover-state")

    assert recovered["overload_until"] is None
    assert (await world.chat()).status_code == 200


async def test_lifting_the_temporary_block_acts_at_once(world: World) -> None:
    _, account = await world.served()
    fail(world, 403)
    await world.chat()
    heal(world)

    await world.ok("DELETE", f"/accounts/{account}/temp-unschedulable")

    assert (await world.chat()).status_code == 200


async def test_a_pause_acts_at_once_and_its_end_after_the_schedulers_poll(world: World) -> None:
    _, account = await world.served()

    await world.ok("POST", f"/accounts/{account}/schedulable", {"schedulable": False})
    assert (await world.chat()).status_code == 503
    await world.ok("POST", f"/accounts/{account}/schedulable", {"schedulable": True})
    assert (await world.chat()).status_code == 503
    world.clock.advance(1)
    assert (await world.chat()).status_code == 200


async def test_a_body_without_schedulable_pauses(world: World) -> None:
    account = await world.account()

    assert (await world.ok("POST", f"/accounts/{account}/schedulable", {}))["schedulable"] is False


async def test_an_account_in_use_changes_by_itself(world: World) -> None:
    _, account = await world.served()
    assert (await marks(world, account))["last_used_at"] is None

    await world.chat()

    assert (await marks(world, account))["last_used_at"] is not None
