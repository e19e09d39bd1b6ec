"""`/v1/responses`: handed through where the account's upstream has it, else served through chat completions.

Source: sub2api v0.1.179, `internal/service/openai_gateway_responses_chat_fallback.go`, `internal/pkg/apicompat`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from typing import Any

from reconciler.embedded.dataplane.dialects import Dialect, Translator, Wire, sse


class Responses(Dialect):
    """OpenAI responses."""

    def request(self, body: dict[str, Any], model: str, wire: Wire) -> dict[str, Any]:
        return body | {"model": model} if wire == "/responses" else _to_chat(body, model)

    def translator(self, model: str, wire: Wire) -> Translator:
        return Translator() if wire == "/responses" else _ToResponses(model)


def _to_chat(body: dict[str, Any], model: str) -> dict[str, Any]:
    messages: list[dict[str, Any]] = []
    if body.get("instructions"):
        messages.append({"role": "system", "content": body["instructions"]})
    given = body.get("input")
    if isinstance(given, str):
        messages.append({"role": "user", "content": given})
    else:
        messages.extend(_chat_item(item) for item in given or [] if isinstance(item, dict))
    sent: dict[str, Any] = {"model": model, "messages": messages}
    renamed = {"max_output_tokens": "max_tokens", "temperature": "temperature", "top_p": "top_p"}
    sent |= {new: body[old] for old, new in renamed.items() if body.get(old) is not None}
    tools = [tool for tool in body.get("tools") or [] if tool.get("type") == "function"]
    if tools:
        names = ("name", "description", "parameters", "strict")
        sent["tools"] = [{"type": "function", "function": {n: t[n] for n in names if n in t}} for t in tools]
    if body.get("stream") is True:
        sent |= {"stream": True, "stream_options": {"include_usage": True}}
    return sent


def _chat_item(item: dict[str, Any]) -> dict[str, Any]:
    if item.get("type") == "function_call_output":
        return {
            "role": "tool",
            "tool_call_id": item.get("call_id", ""),
            "content": str(item.get("output", "")),
        }
    if item.get("type") == "function_call":
        function = {"name": item.get("name"), "arguments": item.get("arguments", "{}")}
        call = {"id": item.get("call_id", ""), "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    content = item.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return {
        "role": "system" if item.get("role") == "developer" else item.get("role", "user"),
        "content": content,
    }


class _ToResponses(Translator):
    """Chat completion in, response out; names the model that the client asked for."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._item = f"item_{secrets.token_hex(12)}"
        self._text: list[str] = []
        self._number = 0
        self._id = ""
        self._usage: Any = None

    def plain(self, raw: bytes) -> bytes:
        answer = json.loads(raw)
        message = (answer.get("choices") or [{}])[0].get("message") or {}
        self._id, self._usage = answer.get("id", ""), answer.get("usage")
        output = [self._message(message["content"])] if message.get("content") else []
        for call in message.get("tool_calls") or []:
            function = call.get("function") or {}
            output.append({"type": "function_call", "id": f"fc_{call.get('id', '')}", "call_id": call.get("id", ""),
                           "name": function.get("name", ""), "arguments": function.get("arguments", "{}"),
                           "status": "completed"})  # fmt: skip
        return json.dumps(self._response("completed", output), ensure_ascii=False).encode()

    def _message(self, text: str) -> dict[str, Any]:
        return {
            "type": "message", "id": self._item, "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": text}],
        }  # fmt: skip

    def _response(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "id": self._id, "object": "response", "model": self._model, "status": status, "output": output,
        }  # fmt: skip
        if isinstance(self._usage, dict):
            prompt, completion = (
                self._usage.get("prompt_tokens") or 0,
                self._usage.get("completion_tokens") or 0,
            )
            shown["usage"] = {
                "input_tokens": prompt, "output_tokens": completion, "total_tokens": prompt + completion,
            }  # fmt: skip
        return shown

    def _sse(self, kind: str, **document: Any) -> bytes:
        shown = {"type": kind, "sequence_number": self._number, **document}
        self._number += 1
        return sse(kind, shown)

    def event(self, data: str, raw: bytes) -> Iterable[bytes]:
        if data == "[DONE]":
            return
        chunk = json.loads(data)
        if not self._number:
            self._id = chunk.get("id", "")
            yield from self._begin()
        if isinstance(chunk.get("usage"), dict):
            self._usage = chunk["usage"]
        for choice in chunk.get("choices") or []:
            if text := (choice.get("delta") or {}).get("content"):
                self._text.append(text)
                yield self._sse("response.output_text.delta", item_id=self._item, output_index=0, content_index=0,
                                delta=text, logprobs=[])  # fmt: skip

    def _begin(self) -> Iterable[bytes]:
        item = {
            "type": "message",
            "id": self._item,
            "role": "assistant",
            "status": "in_progress",
            "content": [],
        }
        yield self._sse("response.created", response=self._response("in_progress", []))
        yield self._sse("response.output_item.added", output_index=0, item=item)
        yield self._sse("response.content_part.added", item_id=self._item, output_index=0, content_index=0,
                        part={"type": "output_text", "text": "", "annotations": []})  # fmt: skip

    def end(self) -> Iterable[bytes]:
        text = "".join(self._text)
        message = self._message(text)
        where = {"item_id": self._item, "output_index": 0, "content_index": 0}
        yield self._sse("response.output_text.done", **where, text=text, logprobs=[])
        yield self._sse("response.content_part.done", **where, part=message["content"][0])
        yield self._sse("response.output_item.done", output_index=0, item=message)
        yield self._sse("response.completed", response=self._response("completed", [message]))
