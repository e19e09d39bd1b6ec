"""`/v1/chat/completions`, and how anything in that form is served by an upstream's `/v1/responses`.

Source: sub2api v0.1.179, `internal/service/openai_gateway_chat_completions.go`, `..._raw.go`, `internal/pkg/apicompat`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from reconciler.embedded.dataplane.billing import Tokens
from reconciler.embedded.dataplane.dialects import Dialect, Translator, Wire
from reconciler.embedded.dataplane.events import EventReader, parsed


class Chat(Dialect):
    """Chat completions."""

    def request(self, body: dict[str, Any], model: str, wire: Wire) -> dict[str, Any]:
        return over(wire, with_usage(body | {"model": model}))

    def translator(self, model: str, wire: Wire) -> Translator:
        return back_over(wire, model, Translator())

    def keeps_response_model(self, wire: Wire) -> bool:
        return True


def with_usage(body: dict[str, Any]) -> dict[str, Any]:
    """Return a chat body whose stream, if it is one, ends with the token counts."""
    if body.get("stream") is not True:
        return body
    options = body.get("stream_options")
    return body | {"stream_options": (options if isinstance(options, dict) else {}) | {"include_usage": True}}


def over(wire: Wire, body: dict[str, Any]) -> dict[str, Any]:
    """Return a chat body as it goes over a wire."""
    return _to_responses(body) if wire == "/responses" else body


def back_over(wire: Wire, model: str, inner: Translator) -> Translator:
    """Return what reads the answer to a chat body off a wire, and hands it on to `inner` as chat."""
    return _FromResponses(model, inner) if wire == "/responses" else inner


def _to_responses(body: dict[str, Any]) -> dict[str, Any]:
    """Always streamed, whatever the client asked for."""
    sent: dict[str, Any] = {"model": body["model"], "stream": True, "store": False}
    messages = [m for m in body.get("messages") or [] if isinstance(m, dict)]
    system = [str(m.get("content") or "") for m in messages if m.get("role") == "system"]
    if system:
        sent["instructions"] = "\n\n".join(system)
    sent["input"] = [item for m in messages if m.get("role") != "system" for item in _items(m)]
    renamed = {"max_tokens": "max_output_tokens", "max_completion_tokens": "max_output_tokens"}
    sent |= {new: body[old] for old, new in renamed.items() if body.get(old) is not None}
    sent |= {name: body[name] for name in ("temperature", "top_p", "tool_choice", "user") if name in body}
    if tools := body.get("tools"):
        sent["tools"] = [{"type": "function", **(tool.get("function") or {})} for tool in tools]
    return sent


def _items(message: dict[str, Any]) -> list[dict[str, Any]]:
    role, content = message.get("role", "user"), message.get("content")
    if role == "tool":
        return [
            {"type": "function_call_output", "call_id": message.get("tool_call_id", ""), "output": content}
        ]
    calls = [
        {"type": "function_call", "call_id": call.get("id", ""), **(call.get("function") or {})}
        for call in message.get("tool_calls") or []
    ]
    said = [{"role": role, "content": content}] if content else []
    return said + calls


class _FromResponses(Translator):
    """Response events in, chat out."""

    def __init__(self, model: str, inner: Translator) -> None:
        self._model = model
        self._inner = inner
        self._id = ""
        self._calls = 0
        self._began = False

    def plain(self, raw: bytes) -> bytes:
        final = self._final(raw)
        if final is None:
            raise ValueError("the stream ended without a terminal event")
        return self._inner.plain(json.dumps(self._completion(final), ensure_ascii=False).encode())

    def facts(self, raw: bytes) -> tuple[str | None, Tokens]:
        reader = EventReader()
        reader.feed(raw)
        return reader.model, reader.tokens

    def _final(self, raw: bytes) -> dict[str, Any] | None:
        for data, _ in EventReader().feed(raw):
            document = parsed(data)
            if document.get("type") in ("response.completed", "response.incomplete"):
                return document.get("response") or {}
        return None

    def _completion(self, response: dict[str, Any]) -> dict[str, Any]:
        output = response.get("output") or []
        text = "".join(
            part.get("text", "")
            for item in output
            if item.get("type") == "message"
            for part in item.get("content") or []
        )
        calls = [_chat_call(item) for item in output if item.get("type") == "function_call"]
        message = {"role": "assistant", "content": text or None} | ({"tool_calls": calls} if calls else {})
        return {
            "id": response.get("id", ""), "object": "chat.completion", "created": response.get("created_at") or 0,
            "model": self._model, "usage": _chat_usage(response.get("usage")),
            "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}],
        }  # fmt: skip

    def event(self, data: str, raw: bytes) -> Iterable[bytes]:
        document = parsed(data)
        kind = document.get("type")
        if kind == "response.created":
            self._id = (document.get("response") or {}).get("id", "")
        elif kind == "response.output_text.delta":
            yield from self._chunk({"content": document.get("delta", "")})
        elif (
            kind == "response.output_item.done"
            and (document.get("item") or {}).get("type") == "function_call"
        ):
            call = {"index": self._calls, **_chat_call(document["item"])}
            self._calls += 1
            yield from self._chunk({"tool_calls": [call]})
        elif kind in ("response.completed", "response.incomplete"):
            yield from self._finish(document.get("response") or {})

    def _chunk(self, delta: dict[str, Any], finish: str | None = None, **more: Any) -> Iterable[bytes]:
        if not self._began and delta:
            self._began = True
            delta = {"role": "assistant", **delta}
        choices = more.pop("choices", [{"index": 0, "delta": delta, "finish_reason": finish}])
        chunk = {"id": self._id, "object": "chat.completion.chunk", "created": 0, "model": self._model}
        yield from self._hand_on(json.dumps(chunk | {"choices": choices} | more, ensure_ascii=False))

    def _finish(self, response: dict[str, Any]) -> Iterable[bytes]:
        yield from self._chunk({}, "tool_calls" if self._calls else "stop")
        yield from self._chunk({}, choices=[], usage=_chat_usage(response.get("usage")))
        yield from self._hand_on("[DONE]")

    def _hand_on(self, data: str) -> Iterable[bytes]:
        return self._inner.event(data, f"data: {data}\n\n".encode())

    def end(self) -> Iterable[bytes]:
        return self._inner.end()


def _chat_call(item: dict[str, Any]) -> dict[str, Any]:
    function = {"name": item.get("name", ""), "arguments": item.get("arguments") or "{}"}
    return {"id": item.get("call_id", ""), "type": "function", "function": function}


def _chat_usage(usage: Any) -> dict[str, Any]:
    counts = usage if isinstance(usage, dict) else {}
    prompt, completion = counts.get("input_tokens") or 0, counts.get("output_tokens") or 0
    cached = (counts.get("input_tokens_details") or {}).get("cached_tokens") or 0
    return {
        "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }  # fmt: skip
