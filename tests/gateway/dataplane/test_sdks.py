"""Unmodified OpenAI and Anthropic SDKs against a real gateway process and two hosts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.gateway.dataplane.sdk_host import Host, running_host
from tests.gateway.process import GatewayProcess, gateway_process
from tests.gateway.world import CONSUMER_KEY, UPSTREAM_KEY

HELLO: list[Any] = [{"role": "user", "content": "hi"}]
OPENAI_TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
]
ANTHROPIC_TOOLS: list[Any] = [{"name": "weather", "input_schema": {"type": "object"}}]


@dataclass
class World:
    process: GatewayProcess
    east: Host
    west: Host

    def row(self, request_id: str | None) -> dict[str, Any]:
        """Return the decision row of a request; rows are written within a moment."""
        for _ in range(200):
            items = self.process.ok("GET", f"/decisions?request_id={request_id}")["items"]
            if items:
                row: dict[str, Any] = items[0]
                return row
            time.sleep(0.02)
        raise AssertionError(f"no decision row for {request_id}")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    with running_host() as east, running_host() as west, gateway_process(folder / "g") as process:
        configure(process, east.url, west.url)
        yield World(process, east, west)


@pytest.fixture
def world(served: World) -> World:
    for host in (served.east, served.west):
        host.manners, host.retry_after = "well", None
        host.requests.clear()
        host.cut_off.clear()
    for route in ("best", "spare"):
        served.process.ok("POST", f"/runtime/routes/{route}/reset")
    return served


def configure(process: GatewayProcess, east: str, west: str) -> None:
    """Serve model `fast`, first from east, then from west."""
    for name in ("key-best", "key-spare"):
        process.ok("POST", f"/gateway-keys/{name}/versions", {"version": "1", "value": UPSTREAM_KEY})
    process.ok("POST", "/managed-keys/team/versions", {"version": "1", "value": CONSUMER_KEY})
    routes = [
        {
            "name": name,
            "logical_group": "chat",
            "shadow_host": host,
            "shadow_group": f"{host}-group",
            "shadow_group_id": "7",
            "gateway_key": f"key-{name}",
            "gateway_key_version": "1",
            "priority": priority,
            "timeout_seconds": 5,
        }
        for name, host, priority in (("best", "east", 10), ("spare", "west", 20))
    ]
    bound = [{"route": name, "shadow_model": f"up-{name}"} for name in ("best", "spare")]
    document = {
        "logical_groups": [{"name": "chat"}],
        "shadow_hosts": [
            {"name": name, "driver": "sub2api", "data_endpoint": url}
            for name, url in (("east", east), ("west", west))
        ],
        "routes": routes,
        "model_bindings": [
            {"name": "fast", "logical_group": "chat", "public_model": "fast", "routes": bound}
        ],
        "managed_keys": [{"name": "team", "logical_groups": ["chat"], "versions": ["1"]}],
    }
    staged = process.ok("POST", "/revisions", {"base": 1, "configuration": document})
    process.ok("POST", f"/revisions/{staged['revision']}/promote")


@pytest.fixture
def oai(world: World) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{world.process.url}/v1", api_key=CONSUMER_KEY, max_retries=0) as client:
        yield client


@pytest.fixture
def claude(world: World) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=world.process.url, api_key=CONSUMER_KEY, max_retries=0) as client:
        yield client


def test_openai_chat(world: World, oai: openai.OpenAI) -> None:
    answer = oai.chat.completions.create(model="fast", messages=HELLO)

    assert (answer.choices[0].message.content, answer.model) == ("hello", "fast")
    row = world.row(answer._request_id)
    assert (row["route_id"], row["status"], row["correlation_id"]) == ("best", 200, "corr-1")
    assert (row["input_tokens"], row["output_tokens"], row["shadow_model"]) == (5, 2, "up-best")
    asked = world.east.requests[0]
    assert asked["headers"]["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert asked["body"] == {"model": "up-best", "messages": HELLO}
    assert CONSUMER_KEY not in str(asked)


def test_openai_chat_streamed(world: World, oai: openai.OpenAI) -> None:
    stream = oai.chat.completions.create(model="fast", messages=HELLO, stream=True)
    chunks = list(stream)

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "hello"
    assert {chunk.model for chunk in chunks} == {"fast"}
    row = world.row(stream.response.headers["x-request-id"])
    assert (row["stream"], row["input_tokens"], row["output_tokens"]) == (True, 5, 2)


def test_openai_tools(oai: openai.OpenAI) -> None:
    answer = oai.chat.completions.create(model="fast", messages=HELLO, tools=OPENAI_TOOLS)

    call = (answer.choices[0].message.tool_calls or [])[0]
    assert (call.type, call.id) == ("function", "call_1")


def test_openai_completions_embeddings_and_models(oai: openai.OpenAI) -> None:
    assert oai.completions.create(model="fast", prompt="x").model == "fast"
    embedded = oai.embeddings.create(model="fast", input="x", encoding_format="float")
    assert (embedded.model, embedded.data[0].embedding) == ("fast", [0.25, -0.5])
    assert [model.id for model in oai.models.list()] == ["fast"]
    assert oai.models.retrieve("fast").id == "fast"


def test_openai_responses(oai: openai.OpenAI) -> None:
    answer = oai.responses.create(model="fast", input="hi")

    assert (answer.output_text, answer.model) == ("hello", "fast")


def test_openai_responses_streamed(oai: openai.OpenAI) -> None:
    with oai.responses.stream(model="fast", input="hi") as stream:
        for event in stream:
            if event.type == "response.created":
                assert event.response.model == "fast"
        final = stream.get_final_response()

    assert (final.output_text, final.model) == ("hello", "fast")


async def test_openai_async(world: World) -> None:
    async with openai.AsyncOpenAI(
        base_url=f"{world.process.url}/v1", api_key=CONSUMER_KEY, max_retries=0
    ) as client:
        answers = await asyncio.gather(
            *[client.chat.completions.create(model="fast", messages=HELLO) for _ in range(20)]
        )
        stream = await client.chat.completions.create(model="fast", messages=HELLO, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    assert {answer.model for answer in answers} == {"fast"}
    assert len({answer._request_id for answer in answers}) == 20
    assert text == "hello"


def test_anthropic_messages(world: World, claude: anthropic.Anthropic) -> None:
    answer = claude.messages.create(model="fast", max_tokens=16, messages=HELLO)

    assert (answer.content[0].type, answer.model) == ("text", "fast")
    row = world.row(answer._request_id)
    assert (row["endpoint"], row["route_id"], row["output_tokens"]) == ("/v1/messages", "best", 2)
    assert "x-api-key" not in world.east.requests[0]["headers"]


def test_anthropic_messages_streamed(claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(model="fast", max_tokens=16, messages=HELLO) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()

    assert (text, final.model, final.usage.output_tokens) == ("hello", "fast", 2)


def test_anthropic_tools_counting_and_models(claude: anthropic.Anthropic) -> None:
    answer = claude.messages.create(model="fast", max_tokens=16, messages=HELLO, tools=ANTHROPIC_TOOLS)

    assert (answer.content[0].type, answer.stop_reason) == ("tool_use", "tool_use")
    assert claude.messages.count_tokens(model="fast", messages=HELLO).input_tokens == 11
    assert [model.id for model in claude.models.list()] == ["fast"]


async def test_anthropic_async(world: World) -> None:
    async with anthropic.AsyncAnthropic(
        base_url=world.process.url, api_key=CONSUMER_KEY, max_retries=0
    ) as client:
        answer = await client.messages.create(model="fast", max_tokens=16, messages=HELLO)
        async with client.messages.stream(model="fast", max_tokens=16, messages=HELLO) as stream:
            text = "".join([word async for word in stream.text_stream])

    assert (answer.model, text) == ("fast", "hello")


def ask_openai(url: str, **fields: Any) -> None:
    with openai.OpenAI(
        **{"base_url": f"{url}/v1", "api_key": CONSUMER_KEY, "max_retries": 0, **fields}
    ) as client:
        client.chat.completions.create(model=fields.pop("model", "fast"), messages=HELLO)


def ask_anthropic(url: str, **fields: Any) -> None:
    with anthropic.Anthropic(
        **{"base_url": url, "api_key": CONSUMER_KEY, "max_retries": 0, **fields}
    ) as client:
        client.messages.create(model="fast", max_tokens=16, messages=HELLO)


ASKING = pytest.mark.parametrize(
    ("ask", "sdk"), [(ask_openai, openai), (ask_anthropic, anthropic)], ids=["openai", "anthropic"]
)


@ASKING
def test_a_wrong_key_is_an_authentication_error(world: World, ask: Callable[..., None], sdk: Any) -> None:
    with pytest.raises(sdk.AuthenticationError):
        ask(world.process.url, api_key="canary-wrong-key")


@ASKING
def test_the_hosts_400_is_a_bad_request(world: World, ask: Callable[..., None], sdk: Any) -> None:
    world.east.manners = "400"

    with pytest.raises(sdk.BadRequestError) as failed:
        ask(world.process.url)

    assert "as told" in str(failed.value)
    assert len(world.west.requests) == 0


@ASKING
def test_a_failing_host_is_not_noticed(world: World, ask: Callable[..., None], sdk: Any) -> None:
    world.east.manners = "500"

    ask(world.process.url)

    assert (len(world.east.requests), len(world.west.requests)) == (1, 1)


@ASKING
def test_with_no_route_left_it_is_an_internal_server_error_with_retry_after(
    world: World, ask: Callable[..., None], sdk: Any
) -> None:
    world.east.manners = world.west.manners = "429"
    world.east.retry_after = world.west.retry_after = "7"

    with pytest.raises(sdk.InternalServerError) as failed:
        ask(world.process.url)

    assert failed.value.status_code == 503
    assert "'chat'" in failed.value.message
    assert 1 <= int(failed.value.response.headers["retry-after"]) <= 7


@ASKING
def test_a_client_that_times_out_aborts_the_host(world: World, ask: Callable[..., None], sdk: Any) -> None:
    world.east.manners = "stall"

    with pytest.raises(sdk.APITimeoutError):
        ask(world.process.url, timeout=0.3)

    assert world.east.cut_off.wait(5)


def test_an_unknown_model_is_not_found(oai: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as failed:
        oai.chat.completions.create(model="nothing", messages=HELLO)

    assert failed.value.code == "model_not_found"


def test_a_stream_that_breaks_off_is_an_error_in_the_openai_sdk(world: World, oai: openai.OpenAI) -> None:
    world.east.manners = "break"
    stream = oai.chat.completions.create(model="fast", messages=HELLO, stream=True)

    with pytest.raises(openai.APIError, match="broke off"):
        list(stream)

    row = world.row(stream.response.headers["x-request-id"])
    assert row["attempts"][0]["failure_class"] == "truncated"


def test_a_stream_that_breaks_off_is_an_error_in_the_responses_api(world: World, oai: openai.OpenAI) -> None:
    world.east.manners = "break"

    with pytest.raises(openai.APIError, match="broke off"):
        list(oai.responses.create(model="fast", input="hi", stream=True))


def test_a_stream_that_breaks_off_is_an_error_in_the_anthropic_sdk(
    world: World, claude: anthropic.Anthropic
) -> None:
    world.east.manners = "break"

    with (
        claude.messages.stream(model="fast", max_tokens=16, messages=HELLO) as stream,
        pytest.raises(anthropic.APIStatusError, match="broke off"),
    ):
        stream.until_done()


def test_a_client_that_leaves_mid_stream_aborts_the_host_and_leaves_a_row(
    world: World, oai: openai.OpenAI
) -> None:
    world.east.manners = "hang"
    stream = oai.chat.completions.create(model="fast", messages=HELLO, stream=True)
    next(iter(stream))
    stream.close()

    assert world.east.cut_off.wait(5)
    row = world.row(stream.response.headers["x-request-id"])
    assert (row["status"], row["attempts"][0]["failure_class"]) == (200, "client-gone")


def test_a_20_mb_image_goes_through(world: World, oai: openai.OpenAI) -> None:
    image = "data:image/png;base64," + "A" * 27_000_000
    content: Any = [{"type": "image_url", "image_url": {"url": image}}]

    oai.chat.completions.create(model="fast", messages=[{"role": "user", "content": content}])

    assert world.east.requests[0]["body"]["messages"][0]["content"][0]["image_url"]["url"] == image


def test_the_sdks_own_retry_succeeds_once_a_route_is_back(world: World) -> None:
    world.east.manners = world.west.manners = "500"
    with openai.OpenAI(base_url=f"{world.process.url}/v1", api_key=CONSUMER_KEY, max_retries=2) as client:

        def heal(_: httpx.Response) -> None:
            world.east.manners = "well"

        client._client.event_hooks["response"].append(heal)
        answer = client.chat.completions.create(model="fast", messages=HELLO)

    assert answer.model == "fast"
