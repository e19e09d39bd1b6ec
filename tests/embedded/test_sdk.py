"""Unmodified SDKs against a real embedded host and upstream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anthropic
import httpx
import openai
import pytest

from tests.embedded import processes
from tests.embedded.processes import ADMIN_KEY, UPSTREAM_KEY, Server
from tests.support.plain_http import NO_TLS

KEY = "canary-gateway-key-1"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("sdk")
    upstream = processes.upstream(folder / "upstream").start()
    server = processes.host(folder / "host").start()
    _fill(server, upstream.url)
    yield server
    assert (server.stop(), upstream.stop()) == (0, 0)


def _fill(server: Server, upstream_url: str) -> None:
    with httpx.Client(base_url=f"{server.url}/api/v1", verify=NO_TLS, trust_env=False) as client:

        def post(path: str, body: object, **headers: str) -> dict[str, object]:
            response = client.post(path, json=body, headers=headers or {"x-api-key": ADMIN_KEY})
            assert response.status_code == 200, response.text
            data: dict[str, object] = response.json()["data"]
            return data

        group = post(
            "/admin/groups",
            {"name": "g", "platform": "openai", "rate_multiplier": 1, "allow_messages_dispatch": True},
        )
        mapping = {"m": "real", "missing": "gone"}
        credentials = {"api_key": UPSTREAM_KEY, "base_url": upstream_url, "model_mapping": mapping}
        extra = {"openai_responses_mode": "force_chat_completions"}
        account = {
            "name": "a",
            "platform": "openai",
            "type": "apikey",
            "credentials": credentials,
            "extra": extra,
            "concurrency": 9,
            "priority": 1,
            "group_ids": [group["id"]],
        }
        post("/admin/accounts", account)
        post("/admin/users", {"email": "svc@example.com", "password": "canary-password-1", "balance": 9})
        token = post("/auth/login", {"email": "svc@example.com", "password": "canary-password-1"})[
            "access_token"
        ]
        body = {"name": "k", "group_id": group["id"], "custom_key": KEY}
        post("/keys", body, Authorization=f"Bearer {token}")


@pytest.fixture
def client(host: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=KEY, base_url=f"{host.url}/v1", max_retries=0) as made:
        yield made


def test_openai_chat_plain(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])

    assert answer.choices[0].message.content == "hello from alpha"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


def test_openai_chat_streamed(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "hi"}], stream=True
    )

    text = "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)
    assert text == "hello from alpha"


async def test_openai_async(host: Server) -> None:
    async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{host.url}/v1", max_retries=0) as client:
        answer = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])

    assert answer.model == "real"


def test_openai_embeddings_responses_and_models(client: openai.OpenAI) -> None:
    assert len(client.embeddings.create(model="m", input="x", encoding_format="float").data[0].embedding) == 8
    assert client.responses.create(model="m", input="hi").output_text == "hello from alpha"
    assert [model.id for model in client.models.list()] == ["m", "missing"]


def test_openai_streams_a_response(client: openai.OpenAI) -> None:
    with client.responses.stream(model="m", input="hi") as stream:
        final = stream.get_final_response()

    assert final.output_text == "hello from alpha"


def test_openai_errors_are_the_sdks_own(host: Server, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="not supported by any configured account"):
        client.chat.completions.create(model="other", messages=[])
    with (
        openai.OpenAI(api_key="canary-wrong-key", base_url=f"{host.url}/v1", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()


def test_anthropic_messages_plain_and_streamed(host: Server) -> None:
    with anthropic.Anthropic(api_key=KEY, base_url=host.url, max_retries=0) as client:
        plain = client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}])
        with client.messages.stream(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}]
        ) as stream:
            text = "".join(stream.text_stream)

    assert plain.content[0].type == "text"
    assert plain.content[0].text == text == "hello from alpha"
    assert plain.usage.output_tokens == 3
