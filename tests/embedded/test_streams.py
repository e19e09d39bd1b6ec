"""Streams, from the first byte to the row: fact sheet sections 8.2, 8.4 and 9.3."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.embedded.dataplane.events import EventReader
from reconciler.embedded.faults import UPSTREAM_KINDS
from tests.embedded.world import World


def order(world: World, **fault: Any) -> None:
    world.alpha.faults.replace({"faults": [fault]}, UPSTREAM_KINDS)


async def test_a_stream_is_handed_through_and_billed_by_its_last_event(world: World) -> None:
    await world.served(mapping={"m": "real"})

    response = await world.chat(stream=True)

    assert response.headers["content-type"].startswith("text/event-stream")
    assert "x-client-request-id" in response.headers
    assert response.text.endswith("data: [DONE]\n\n")
    row = await world.row(response)
    assert (row["request_type"], row["stream"], row["output_tokens"]) == ("stream", True, 3)
    assert row["first_token_ms"] is not None
    assert row["upstream_response_model"] == "real"


async def test_usage_is_always_asked_for_upstream(world: World) -> None:
    await world.served()

    await world.chat(stream=True)

    assert "stream_options" in world.alpha.requests[-1]["fields"]


async def test_a_stream_that_breaks_ends_with_an_error_event_and_has_no_row(world: World) -> None:
    await world.served()
    order(world, kind="close-early", events=1)

    response = await world.chat(stream=True)

    assert response.status_code == 200
    assert "event: error\n" in response.text
    world.clock.advance(1)
    assert await world.rows(response) == []


async def test_a_stream_that_never_starts_is_failed_over(world: World) -> None:
    group, _ = await world.served(priority=1)
    second = await world.account(group, name="second", at="beta", priority=2)
    world.clock.advance(1)
    order(world, kind="close-early", events=0)

    assert (await world.row(await world.chat(stream=True)))["account_id"] == second


async def test_slots_are_free_again_after_a_stream(world: World) -> None:
    _, account = await world.served()

    await world.chat(stream=True)

    assert world.host.runtime.account_slots[account] == 0
    assert set(world.host.runtime.user_slots.values()) == {0}


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_events_are_read_however_the_bytes_are_cut(size: int) -> None:
    raw = b'data: {"model": "m"}\r\n\r\ndata: {"usage": {"completion_tokens": 4}}\n\ndata: [DONE]\n\n'
    reader = EventReader()

    data = [d for at in range(0, len(raw), size) for d, _ in reader.feed(raw[at : at + size])]

    assert len(data) == 3
    assert (reader.model, reader.tokens.output, reader.finished) == ("m", 4, True)
