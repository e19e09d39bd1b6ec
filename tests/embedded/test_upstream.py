"""The embedded upstream by itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from reconciler.embedded.clock import ManualClock
from reconciler.embedded.loopback import AppTransport
from reconciler.embedded.upstream import UpstreamApp, UpstreamSettings, create_upstream_app, fingerprint

KEY, OTHER = "canary-upstream-key-1", "canary-upstream-key-2"


@pytest.fixture
def app() -> UpstreamApp:
    return create_upstream_app(UpstreamSettings((KEY, OTHER), ("m", "n"), "alpha"), ManualClock())


@pytest.fixture
async def client(app: UpstreamApp) -> AsyncIterator[httpx.AsyncClient]:
    transport = AppTransport({"up.test": app})
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://up.test", headers=headers) as made:
        yield made


async def chat(client: httpx.AsyncClient, model: str = "m", key: str = KEY, **fields: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}
    return await client.post("/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"})


async def order(client: httpx.AsyncClient, **fault: Any) -> None:
    response = await client.put("/__control/faults", json={"faults": [fault]})
    assert response.status_code == 200, response.text


async def test_it_answers_like_openai_and_counts(client: httpx.AsyncClient) -> None:
    answer = (await chat(client)).json()

    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "hello from alpha"}
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_a_stream_ends_with_usage_only_when_asked(client: httpx.AsyncClient) -> None:
    bare = await chat(client, stream=True)
    counted = await chat(client, stream=True, stream_options={"include_usage": True})

    assert "usage" not in bare.text
    assert json.loads(counted.text.split("\n\n")[-3].removeprefix("data: "))["choices"] == []


async def test_an_unknown_key_model_or_path_is_refused(client: httpx.AsyncClient) -> None:
    assert (await chat(client, key="nope")).status_code == 401
    unknown = await chat(client, "other")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    assert (await client.post("/v1/responses", json={"model": "m"})).status_code == 404
    assert (await client.post("/v1/chat/completions", content=b"")).status_code == 400


async def test_models_are_listed(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/v1/models")).json()

    assert [model["id"] for model in listed["data"]] == ["m", "n"]


async def test_a_fault_can_be_for_one_model_or_one_key(client: httpx.AsyncClient) -> None:
    await order(client, kind="status", status=503, model="n")
    assert [(await chat(client, model)).status_code for model in ("m", "n")] == [200, 503]

    await order(client, kind="status", status=401, key=fingerprint(OTHER), times=1)
    assert [(await chat(client, key=key)).status_code for key in (KEY, OTHER, OTHER)] == [200, 401, 200]


@pytest.mark.parametrize(
    ("kind", "error"),
    [("refuse", httpx.ConnectError), ("drop", httpx.ReadError), ("lose-answer", httpx.ReadError)],
)
async def test_connections_break_as_ordered(
    client: httpx.AsyncClient, kind: str, error: type[Exception]
) -> None:
    await order(client, kind=kind)

    with pytest.raises(error):
        await chat(client)


async def test_a_stalled_body_takes_its_time_and_then_breaks(
    client: httpx.AsyncClient, app: UpstreamApp
) -> None:
    await order(client, kind="stall", seconds=30)
    before = app.clock.now()

    with pytest.raises(httpx.ReadError):
        await chat(client)

    assert app.clock.now() == before + 30


async def test_a_stream_closes_early_after_so_many_events(client: httpx.AsyncClient) -> None:
    await order(client, kind="close-early", events=2)
    received: list[str] = []

    with pytest.raises(httpx.ReadError):
        async with client.stream(
            "POST", "/v1/chat/completions", json={"model": "m", "stream": True}
        ) as response:
            received.extend([line async for line in response.aiter_lines() if line])

    assert len(received) in (0, 2)


async def test_malformed_and_slow(client: httpx.AsyncClient, app: UpstreamApp) -> None:
    await order(client, kind="malformed")
    with pytest.raises(ValueError, match="Unterminated"):
        (await chat(client)).json()
    before = app.clock.now()

    await order(client, kind="slow", seconds=2)
    await chat(client)

    assert app.clock.now() == before + 2


async def test_what_arrived_is_remembered_without_keys_or_content(client: httpx.AsyncClient) -> None:
    await chat(client, text_of_the_prompt="secret")
    response = await client.get("/__control/requests")

    (seen,) = response.json()["requests"]
    assert (seen["model"], seen["key"], seen["path"]) == ("m", fingerprint(KEY), "/v1/chat/completions")
    assert "authorization" in seen["headers"]
    assert KEY not in response.text
    assert "hi" not in seen.values()
    await client.delete("/__control/requests")
    assert (await client.get("/__control/requests")).json() == {"requests": []}


async def test_a_required_tool_is_called(client: httpx.AsyncClient) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {}}}

    plain = await chat(client, tools=[tool], tool_choice="required")
    streamed = await chat(client, tools=[tool], tool_choice="required", stream=True)

    assert plain.json()["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "look"
    assert '"finish_reason": "tool_calls"' in streamed.text


@pytest.mark.parametrize("document", [{}, {"keys": []}, {"keys": [""]}, {"keys": "x"}])
def test_settings_need_a_key(document: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least one key"):
        UpstreamSettings.parse(document)


@pytest.mark.parametrize(
    "fields", [{"tools": [None]}, {"tools": 5}, {"tools": [{"function": 1}]}, {"stream_options": []}]
)
async def test_a_field_of_the_wrong_shape_is_refused(
    client: httpx.AsyncClient, fields: dict[str, Any]
) -> None:
    refused = await chat(client, tool_choice="required", **fields)

    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_type")
