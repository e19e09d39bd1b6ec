"""What the embedded upstream says: short, repeatable texts with token counts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reconciler.embedded.dataplane.dialects import sse


@dataclass(frozen=True)
class Completion:
    """One answer, in the shapes of chat completions and of responses."""

    id: str
    model: str
    upstream: str
    asked: dict[str, Any]
    with_usage: bool
    created: int

    @property
    def text(self) -> str:
        """The whole answer; names the upstream, so that a reader sees who spoke."""
        return f"hello from {self.upstream}"

    def usage(self) -> dict[str, int]:
        """Token counts: about four characters of what was asked make a token."""
        told = self.asked.get("messages") or self.asked.get("input") or ""
        prompt = max(1, len(json.dumps(told, ensure_ascii=False)) // 4)
        completion = len(self.text.split())
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def plain(self) -> dict[str, Any]:
        """A chat completion."""
        message, finish = self._message()
        shown = {
            "id": f"chatcmpl-{self.id}", "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        }  # fmt: skip
        return shown | ({"usage": self.usage()} if self.with_usage else {})

    def _message(self) -> tuple[dict[str, Any], str]:
        if (call := self._tool_call()) is not None:
            return {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"
        return {"role": "assistant", "content": self.text}, "stop"

    def _tool_call(self) -> dict[str, Any] | None:
        """A call of the first tool, when the request insists on one."""
        tools, choice = self.asked.get("tools") or [], self.asked.get("tool_choice")
        if not tools or choice in (None, "auto", "none"):
            return None
        tool = tools[0]
        name = (tool.get("function") or tool).get("name", "")
        return {"id": f"call_{self.id}", "type": "function", "function": {"name": name, "arguments": "{}"}}

    def events(self) -> Iterator[bytes]:
        """A streamed chat completion; usage only when it was asked for, as OpenAI does."""
        message, finish = self._message()
        if "tool_calls" in message:
            calls = [{"index": 0, **message["tool_calls"][0]}]
            yield self._chunk({"role": "assistant", "content": None, "tool_calls": calls}, None)
        else:
            for place, word in enumerate(self.text.split()):
                first = {"role": "assistant"} if place == 0 else {}
                yield self._chunk({**first, "content": word if place == 0 else f" {word}"}, None)
        yield self._chunk({}, finish)
        if self.with_usage and (self.asked.get("stream_options") or {}).get("include_usage"):
            yield _data({**self._head(), "choices": [], "usage": self.usage()})
        yield b"data: [DONE]\n\n"

    def _head(self) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.id}", "object": "chat.completion.chunk", "created": self.created,
            "model": self.model,
        }  # fmt: skip

    def _chunk(self, delta: dict[str, Any], finish: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _data({**self._head(), "choices": [choice]})

    def response(self, status: str = "completed") -> dict[str, Any]:
        """A response."""
        usage = self.usage()
        output: dict[str, Any] = {
            "type": "message", "id": f"msg_{self.id}", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": self.text, "annotations": []}],
        }  # fmt: skip
        if (call := self._tool_call()) is not None:
            function = call["function"]
            output = {
                "type": "function_call", "id": f"fc_{self.id}", "call_id": call["id"], "name": function["name"],
                "arguments": function["arguments"], "status": "completed",
            }  # fmt: skip
        shown = {
            "id": f"resp_{self.id}", "object": "response", "created_at": self.created, "status": status,
            "model": self.model, "output": [output] if status == "completed" else [], "parallel_tool_calls": True,
            "tool_choice": "auto", "tools": [],
        }  # fmt: skip
        if status == "completed" and self.with_usage:
            shown["usage"] = {
                "input_tokens": usage["prompt_tokens"], "output_tokens": usage["completion_tokens"],
                "total_tokens": usage["total_tokens"], "input_tokens_details": {"cached_tokens": 0},
                "output_tokens_details": {"reasoning_tokens": 0},
            }  # fmt: skip
        return shown

    def response_events(self) -> Iterator[bytes]:
        """A streamed response."""
        item = {
            "type": "message",
            "id": f"msg_{self.id}",
            "role": "assistant",
            "status": "in_progress",
            "content": [],
        }
        where = {"item_id": item["id"], "output_index": 0, "content_index": 0}
        steps: list[dict[str, Any]] = [
            {"type": "response.created", "response": self.response("in_progress")},
            {"type": "response.output_item.added", "output_index": 0, "item": item},
        ]
        steps += [
            {
                "type": "response.output_text.delta",
                **where,
                "delta": word if place == 0 else f" {word}",
                "logprobs": [],
            }
            for place, word in enumerate(self.text.split())
        ]
        steps.append({"type": "response.completed", "response": self.response()})
        for number, step in enumerate(steps):
            yield sse(step["type"], step | {"sequence_number": number})


def misfit(body: dict[str, Any]) -> str | None:
    """Return the name of a field that has not the shape it must have, or None."""
    tools = body.get("tools")
    fits = {
        "tools": tools is None or (isinstance(tools, list) and all(_is_tool(tool) for tool in tools)),
        "stream_options": isinstance(body.get("stream_options"), dict | None),
    }
    return next((name for name, good in fits.items() if not good), None)


def _is_tool(tool: object) -> bool:
    return isinstance(tool, dict) and isinstance(tool.get("function"), dict | None)


def _data(document: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(document, ensure_ascii=False)}\n\n".encode()


def embedding_answer(completion: Completion) -> dict[str, Any]:
    """An embeddings answer: for every input eight numbers that depend on it alone."""
    given = completion.asked.get("input")
    inputs = given if isinstance(given, list) else [given]
    data = [
        {"object": "embedding", "index": place, "embedding": _vector(item)}
        for place, item in enumerate(inputs)
    ]
    shown: dict[str, Any] = {"object": "list", "model": completion.model, "data": data}
    if completion.with_usage:
        prompt = completion.usage()["prompt_tokens"]
        shown["usage"] = {"prompt_tokens": prompt, "total_tokens": prompt}
    return shown


def _vector(item: object) -> list[float]:
    digest = hashlib.sha256(json.dumps(item, sort_keys=True).encode()).digest()
    return [round(byte / 255 - 0.5, 6) for byte in digest[:8]]
