"""Other protocols than chat: fact sheet sections 3.2, 4.5 and 8.1."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.embedded.world import RAW_CHAT, World

KEY = {"Authorization": "Bearer canary-gateway-key-1"}
MESSAGE = {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


async def post(world: World, path: str, **body: Any) -> httpx.Response:
    return await world.client.post(path, json=body, headers=KEY)


def events(response: httpx.Response) -> list[dict[str, Any]]:
    lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


async def opened(world: World, *, at: str = "alpha", extra: Any = RAW_CHAT, **group: Any) -> None:
    await world.account(await world.group(**group), at=at, extra=extra)
    await world.key(2)


async def test_embeddings_pass_through(world: World) -> None:
    await opened(world)

    response = await post(world, "/v1/embeddings", model="m", input=["a", "b"])

    assert len(response.json()["data"]) == 2
    row = await world.row(response)
    assert (row["inbound_endpoint"], row["upstream_endpoint"]) == ("/v1/embeddings", "/v1/embeddings")


async def test_paths_without_v1_are_recorded_as_they_came(world: World) -> None:
    await opened(world)

    response = await post(world, "/chat/completions", model="m", messages=[])

    row = await world.row(response)
    assert (row["inbound_endpoint"], row["upstream_endpoint"]) == (
        "/chat/completions",
        "/v1/chat/completions",
    )


async def test_messages_need_a_group_that_allows_them(world: World) -> None:
    await opened(world)

    refused = await post(world, "/v1/messages", model="m", **MESSAGE)

    assert refused.status_code == 403
    assert refused.json() == {
        "type": "error",
        "error": {"type": "permission_error", "message": "This group does not allow /v1/messages dispatch"},
    }


@pytest.mark.parametrize(
    ("model", "sent"),
    [("claude-sonnet-4-5", "gpt-5.3-codex"), ("claude-opus-4", "mine"), ("claude-exact", "one"), ("m", "m")],
)
async def test_claude_models_are_dispatched_by_family(world: World, model: str, sent: str) -> None:
    config = {"opus_mapped_model": "mine", "exact_model_mappings": {"claude-exact": "one"}}
    await opened(world, allow_messages_dispatch=True, messages_dispatch_model_config=config)

    response = await post(world, "/v1/messages", model=model, **MESSAGE)

    assert response.json()["model"] == model
    row = await world.row(response)
    assert (row["model"], row["upstream_model"]) == (model, sent)
    assert (row["inbound_endpoint"], row["upstream_endpoint"]) == ("/v1/messages", "/v1/chat/completions")


async def test_a_message_is_anthropics_in_and_out(world: World) -> None:
    await opened(world, allow_messages_dispatch=True)
    tool = {"name": "look", "input_schema": {"type": "object"}}

    plain = await post(world, "/v1/messages", model="m", **MESSAGE)
    called = await post(
        world, "/v1/messages", model="m", tools=[tool], tool_choice={"type": "any"}, **MESSAGE
    )

    assert plain.json()["content"] == [{"type": "text", "text": "hello from alpha"}]
    assert (plain.json()["stop_reason"], called.json()["stop_reason"]) == ("end_turn", "tool_use")
    assert called.json()["content"][0]["name"] == "look"


@pytest.mark.parametrize("at", ["alpha", "beta"])
async def test_a_streamed_message_has_all_its_events(world: World, at: str) -> None:
    """Over chat (alpha) and over responses (beta): the client cannot tell."""
    extra = RAW_CHAT if at == "alpha" else {"openai_responses_mode": "force_responses"}
    await opened(world, at=at, extra=extra, allow_messages_dispatch=True)

    response = await post(world, "/v1/messages", model="m", stream=True, **MESSAGE)

    kinds = [event["type"] for event in events(response)]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    text = "".join(e["delta"]["text"] for e in events(response) if e["type"] == "content_block_delta")
    assert text == f"hello from {at}"


async def test_counting_tokens_is_not_there_upstream(world: World) -> None:
    await opened(world, allow_messages_dispatch=True)

    response = await post(world, "/v1/messages/count_tokens", model="m", **MESSAGE)

    assert (response.status_code, response.json()["error"]["type"]) == (404, "upstream_error")


async def test_responses_are_converted_where_the_upstream_speaks_chat(world: World) -> None:
    await opened(world)

    response = await post(world, "/v1/responses", model="m", input="hi")

    assert response.json()["output"][0]["content"][0]["text"] == "hello from alpha"
    row = await world.row(response)
    assert (row["inbound_endpoint"], row["upstream_endpoint"]) == ("/v1/responses", "/v1/chat/completions")
    assert "upstream_response_model" not in row


async def test_a_converted_response_streams_named_events(world: World) -> None:
    await opened(world)

    response = await post(world, "/v1/responses", model="m", input="hi", stream=True)

    kinds = [event["type"] for event in events(response)]
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert events(response)[-1]["response"]["usage"]["output_tokens"] == 3
    assert (await world.row(response))["output_tokens"] == 3


async def test_responses_pass_through_where_the_upstream_has_them(world: World) -> None:
    await opened(world, at="beta", extra={"openai_responses_mode": "force_responses"})

    response = await post(world, "/v1/responses", model="m", input="hi")

    assert response.json()["id"].startswith("resp_")
    row = await world.row(response)
    assert (row["upstream_endpoint"], row["upstream_response_model"]) == ("/v1/responses", "m")


@pytest.mark.parametrize("stream", [False, True])
async def test_chat_goes_over_responses_where_the_account_says_so(world: World, stream: bool) -> None:
    """The trap of the auto mode: the usage row then names another upstream endpoint."""
    await opened(world, at="beta", extra={"openai_responses_mode": "force_responses"})

    response = await world.chat(stream=stream)

    row = await world.row(response)
    assert (row["upstream_endpoint"], row["output_tokens"]) == ("/v1/responses", 3)
    if stream:
        deltas = [c["delta"].get("content", "") for e in events(response) for c in e["choices"]]
        assert "".join(deltas) == "hello from beta"
    else:
        assert response.json()["choices"][0]["message"]["content"] == "hello from beta"
    assert world.beta.requests[-1]["path"] == "/v1/responses"


async def test_while_nobody_knows_responses_are_tried_and_then_chat(world: World) -> None:
    await opened(world, extra={})

    response = await world.chat()

    assert response.status_code == 200
    assert [request["path"] for request in world.alpha.requests] == ["/v1/responses", "/v1/chat/completions"]
    assert (await world.row(response))["upstream_endpoint"] == "/v1/chat/completions"


async def test_models_are_the_union_of_the_mappings_kept_for_15_seconds(world: World) -> None:
    group, account = await world.served(mapping={"b": "x", "a": "y"})

    async def ids() -> list[str]:
        listed = (await world.client.get("/v1/models", headers=KEY)).json()
        return [model["id"] for model in listed["data"]]

    assert await ids() == ["a", "b"]
    await world.ok("PUT", f"/accounts/{account}", {"credentials": {"model_mapping": {"c": "x"}}})
    assert await ids() == ["a", "b"]
    world.clock.advance(15.1)
    assert await ids() == ["c"]
    await world.ok("PUT", f"/groups/{group}", {"models_list_config": {"enabled": True, "models": ["only"]}})
    assert await ids() == ["only"]


async def test_models_know_neither_channel_mapping_nor_restriction(world: World) -> None:
    group, _ = await world.served(mapping={"m": "m"})
    body = {
        "name": "c",
        "group_ids": [group],
        "model_mapping": {"openai": {"alias": "m"}},
        "restrict_models": True,
    }
    await world.ok("POST", "/channels", body)

    listed = (await world.client.get("/v1/models", headers=KEY)).json()

    assert [model["id"] for model in listed["data"]] == ["m"]
