"""`/v1/messages` on an openai group: Anthropic's protocol, served through chat completions or responses.

Source: sub2api v0.1.179, `internal/service/openai_gateway_messages.go`, `internal/pkg/apicompat`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from reconciler.embedded.database import Row
from reconciler.embedded.dataplane.chat import back_over, over, with_usage
from reconciler.embedded.dataplane.dialects import Dialect, Translator, Wire, sse
from reconciler.embedded.dataplane.keyauth import authenticate
from reconciler.embedded.envelope import json_response
from reconciler.embedded.state import Host

_FAMILIES = {"opus": "gpt-5.4", "sonnet": "gpt-5.3-codex", "haiku": "gpt-5.4-mini"}
_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


class Messages(Dialect):
    """Anthropic messages, converted both ways."""

    needs_dispatch = True

    def request(self, body: dict[str, Any], model: str, wire: Wire) -> dict[str, Any]:
        sent: dict[str, Any] = {"model": model, "messages": _chat_messages(body)}
        renamed = {
            "max_tokens": "max_tokens",
            "temperature": "temperature",
            "top_p": "top_p",
            "stop_sequences": "stop",
        }
        sent |= {new: body[old] for old, new in renamed.items() if old in body}
        if tools := body.get("tools"):
            sent["tools"] = [_chat_tool(tool) for tool in tools]
        if choice := body.get("tool_choice"):
            sent["tool_choice"] = _chat_choice(choice)
        if body.get("stream") is True:
            sent["stream"] = True
        return over(wire, with_usage(sent))

    def translator(self, model: str, wire: Wire) -> Translator:
        return back_over(wire, model, _ToMessages(model))

    def error(self, kind: str, message: str) -> dict[str, Any]:
        return {"type": "error", "error": {"type": kind, "message": message}}

    def dispatch(self, group: Row, model: str) -> str:
        config = group["messages_dispatch_model_config"]
        exact = config.get("exact_model_mappings") or {}
        if model in exact:
            return str(exact[model])
        if not model.startswith("claude"):
            return model
        family = next((name for name in _FAMILIES if name in model), None)
        return str(config.get(f"{family}_mapped_model") or _FAMILIES[family]) if family else model


async def count_tokens(host: Host, request: Request) -> Response:
    """`POST /v1/messages/count_tokens`: passed on to upstreams that do not have it."""
    group = authenticate(host, request).group
    if group is None or not group["allow_messages_dispatch"]:
        return json_response(
            Messages().error("permission_error", "This group does not allow /v1/messages dispatch"), 403
        )
    return json_response(Messages().error("upstream_error", "Upstream request failed"), 404)


def _chat_messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if system := body.get("system"):
        messages.append({"role": "system", "content": _text(system)})
    for message in body.get("messages") or []:
        messages.extend(_chat_turn(message))
    return messages


def _chat_turn(message: dict[str, Any]) -> list[dict[str, Any]]:
    content, role = message.get("content"), message.get("role", "user")
    if not isinstance(content, list):
        return [{"role": role, "content": content}]
    results = [
        {"role": "tool", "tool_call_id": block.get("tool_use_id", ""), "content": _text(block.get("content"))}
        for block in content
        if block.get("type") == "tool_result"
    ]
    calls = [
        {
            "id": b["id"],
            "type": "function",
            "function": {"name": b["name"], "arguments": json.dumps(b.get("input") or {})},
        }
        for b in content
        if b.get("type") == "tool_use"
    ]
    text = _text(content)
    turn: list[dict[str, Any]] = []
    if text or calls:
        turn.append({"role": role, "content": text} | ({"tool_calls": calls} if calls else {}))
    return results + turn


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "".join(str(b.get("text", "")) for b in blocks if isinstance(b, dict) and b.get("type") == "text")


def _chat_tool(tool: dict[str, Any]) -> dict[str, Any]:
    function = {"name": tool.get("name"), "parameters": tool.get("input_schema") or {}}
    return {"type": "function", "function": function | {"description": tool.get("description", "")}}


def _chat_choice(choice: dict[str, Any]) -> Any:
    kind = choice.get("type")
    if kind == "tool":
        return {"type": "function", "function": {"name": choice.get("name")}}
    return {"any": "required", "none": "none"}.get(str(kind), "auto")


def _usage(usage: Any) -> dict[str, int]:
    counts = usage if isinstance(usage, dict) else {}
    cached = (counts.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return {
        "input_tokens": max((counts.get("prompt_tokens") or 0) - cached, 0),
        "output_tokens": counts.get("completion_tokens") or 0, "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
    }  # fmt: skip


class _ToMessages(Translator):
    """Chat completion in, Anthropic message out; names the model that the client asked for."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._open: str | None = None
        self._index = -1
        self._started = False
        self._stop = "end_turn"
        self._usage: dict[str, int] = _usage(None)

    def plain(self, raw: bytes) -> bytes:
        answer = json.loads(raw)
        choice = (answer.get("choices") or [{}])[0]
        message = choice.get("message") or {}
        content: list[dict[str, Any]] = []
        if message.get("content"):
            content.append({"type": "text", "text": message["content"]})
        for call in message.get("tool_calls") or []:
            function = call.get("function") or {}
            content.append({"type": "tool_use", "id": call.get("id", ""), "name": function.get("name", ""),
                            "input": json.loads(function.get("arguments") or "{}")})  # fmt: skip
        shown = {
            "id": answer.get("id", ""), "type": "message", "role": "assistant", "content": content,
            "model": self._model, "stop_reason": _STOPS.get(choice.get("finish_reason"), "end_turn"),
            "usage": _usage(answer.get("usage")),
        }  # fmt: skip
        return json.dumps(shown, ensure_ascii=False).encode()

    def event(self, data: str, raw: bytes) -> Iterable[bytes]:
        if data == "[DONE]":
            return
        chunk = json.loads(data)
        if not self._started:
            self._started = True
            message = {
                "id": chunk.get("id", ""), "type": "message", "role": "assistant", "content": [],
                "model": self._model, "stop_reason": None, "stop_sequence": None, "usage": _usage(None),
            }  # fmt: skip
            yield sse("message_start", {"type": "message_start", "message": message})
        if isinstance(chunk.get("usage"), dict):
            self._usage = _usage(chunk["usage"])
        for choice in chunk.get("choices") or []:
            yield from self._delta(choice.get("delta") or {})
            if choice.get("finish_reason"):
                self._stop = _STOPS.get(choice["finish_reason"], "end_turn")

    def _delta(self, delta: dict[str, Any]) -> Iterable[bytes]:
        if delta.get("content"):
            if self._open != "text":
                yield from self._begin("text", {"type": "text", "text": ""})
            yield self._part({"type": "text_delta", "text": delta["content"]})
        for call in delta.get("tool_calls") or []:
            function = call.get("function") or {}
            if call.get("id"):
                block = {"type": "tool_use", "id": call["id"], "name": function.get("name", ""), "input": {}}
                yield from self._begin("tool_use", block)
            if function.get("arguments"):
                yield self._part({"type": "input_json_delta", "partial_json": function["arguments"]})

    def _begin(self, kind: str, block: dict[str, Any]) -> Iterable[bytes]:
        yield from self._close()
        self._open, self._index = kind, self._index + 1
        document = {"type": "content_block_start", "index": self._index, "content_block": block}
        yield sse("content_block_start", document)

    def _part(self, delta: dict[str, Any]) -> bytes:
        return sse(
            "content_block_delta", {"type": "content_block_delta", "index": self._index, "delta": delta}
        )

    def _close(self) -> Iterable[bytes]:
        if self._open is not None:
            yield sse("content_block_stop", {"type": "content_block_stop", "index": self._index})
            self._open = None

    def end(self) -> Iterable[bytes]:
        yield from self._close()
        delta = {"stop_reason": self._stop, "stop_sequence": None}
        yield sse("message_delta", {"type": "message_delta", "delta": delta, "usage": self._usage})
        yield sse("message_stop", {"type": "message_stop"})
