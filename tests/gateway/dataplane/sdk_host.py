"""A host that answers like OpenAI and Anthropic, in a thread of the test process; its manners can be set."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn

CORRELATION = "x-client-request-id"
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
TOOL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}


@dataclass
class Host:
    """`manners`: "well", an HTTP status, "stall" (no answer), "break" (ends mid-stream)."""

    url: str = ""
    manners: str = "well"
    requests: list[dict[str, Any]] = field(default_factory=list)
    """Path, headers and body of each request."""
    cut_off: threading.Event = field(default_factory=threading.Event)
    """Set when a client went away during an answer."""
    retry_after: str | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        asked = json.loads(body)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.requests.append({"path": scope["path"], "headers": headers, "body": asked})
        number = len(self.requests)
        if self.manners == "stall":
            await self._until_gone(receive)
        elif self.manners.isdigit():
            error = {"error": {"message": "as told", "type": "told", "code": "told"}}
            await _answer(send, int(self.manners), error, number, retry_after=self.retry_after)
        elif asked.get("stream"):
            await self._stream(scope["path"], asked, receive, send, number)
        else:
            await _answer(send, 200, _document(scope["path"], asked), number)

    async def _until_gone(self, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.cut_off.set()

    async def _stream(self, path: str, asked: dict[str, Any], receive: Any, send: Any, number: int) -> None:
        headers = [(b"content-type", b"text/event-stream"), (CORRELATION.encode(), f"corr-{number}".encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for position, event in enumerate(_events(path, asked)):
            if self.manners == "break" and position == 2:
                await send({"type": "http.response.body", "body": event[:9], "more_body": True})
                raise ConnectionAbortedError
            if self.manners == "hang" and position == 2:
                await self._until_gone(receive)
                return
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _answer(
    send: Any, status: int, document: Any, number: int, *, retry_after: str | None = None
) -> None:
    body = json.dumps(document).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"set-cookie", b"canary-cookie=1"),
        (CORRELATION.encode(), f"corr-{number}".encode()),
    ]
    if retry_after is not None:
        headers.append((b"retry-after", retry_after.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _document(path: str, asked: dict[str, Any]) -> dict[str, Any]:
    model = asked["model"] + "-2026-01-01"
    if path.endswith("/chat/completions"):
        message: dict[str, Any] = {"role": "assistant", "content": "hello"}
        if asked.get("tools"):
            message = {"role": "assistant", "content": None, "tool_calls": [TOOL]}
        choice: dict[str, Any] = {
            "index": 0,
            "finish_reason": "tool_calls" if asked.get("tools") else "stop",
            "message": message,
        }
        return {
            "id": "c1",
            "object": "chat.completion",
            "created": 1,
            "model": model,
            "choices": [choice],
            "usage": USAGE,
        }
    if path.endswith("/completions"):
        choice = {"index": 0, "finish_reason": "stop", "text": "hello", "logprobs": None}
        return {
            "id": "t1",
            "object": "text_completion",
            "created": 1,
            "model": model,
            "choices": [choice],
            "usage": USAGE,
        }
    if path.endswith("/embeddings"):
        data = [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}]
        return {
            "object": "list",
            "model": model,
            "data": data,
            "usage": {"prompt_tokens": 3, "total_tokens": 3},
        }
    if path.endswith("/responses"):
        return _response(model)
    if path.endswith("/count_tokens"):
        return {"input_tokens": 11}
    content: list[dict[str, Any]] = [{"type": "text", "text": "hello"}]
    if asked.get("tools"):
        content = [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}]
    usage = {"input_tokens": 5, "output_tokens": 2}
    answer: dict[str, Any] = {
        "id": "m1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": "tool_use" if asked.get("tools") else "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }
    return answer


def _response(model: str, status: str = "completed") -> dict[str, Any]:
    text = {"type": "output_text", "text": "hello", "annotations": []}
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [text],
    }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": model,
        "output": [message] if status == "completed" else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 5,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 2,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 7,
        },
    }


def _events(path: str, asked: dict[str, Any]) -> Iterator[bytes]:
    model = asked["model"] + "-2026-01-01"
    if path.endswith("/messages"):
        start = {**_document(path, {**asked, "tools": None}), "content": [], "stop_reason": None}
        yield _named({"type": "message_start", "message": start})
        yield _named(
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        )
        for word in ("hel", "lo"):
            delta = {"type": "text_delta", "text": word}
            yield _named({"type": "content_block_delta", "index": 0, "delta": delta})
        yield _named({"type": "content_block_stop", "index": 0})
        ended = {"stop_reason": "end_turn", "stop_sequence": None}
        yield _named({"type": "message_delta", "delta": ended, "usage": {"output_tokens": 2}})
        yield _named({"type": "message_stop"})
    elif path.endswith("/responses"):
        yield _named(
            {"type": "response.created", "sequence_number": 0, "response": _response(model, "in_progress")}
        )
        item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        yield _named(
            {"type": "response.output_item.added", "output_index": 0, "sequence_number": 0, "item": item}
        )
        part = {"type": "output_text", "text": "", "annotations": []}
        place = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "sequence_number": 0}
        yield _named({"type": "response.content_part.added", "part": part, **place})
        for number, word in enumerate(("hel", "lo"), 1):
            where = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "sequence_number": number}
            yield _named({"type": "response.output_text.delta", "delta": word, "logprobs": [], **where})
        yield _named({"type": "response.completed", "sequence_number": 3, "response": _response(model)})
    else:
        for delta in ({"role": "assistant", "content": ""}, {"content": "hel"}, {"content": "lo"}):
            yield _chunk(model, [{"index": 0, "delta": delta, "finish_reason": None}])
        yield _chunk(model, [{"index": 0, "delta": {}, "finish_reason": "stop"}])
        yield _chunk(model, [], usage=USAGE)
        yield b"data: [DONE]\n\n"


def _chunk(model: str, choices: list[Any], **more: Any) -> bytes:
    chunk = {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
        "choices": choices,
        **more,
    }
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _named(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


@contextlib.contextmanager
def running_host() -> Iterator[Host]:
    """Run a host on a free port of loopback."""
    host = Host()
    config = uvicorn.Config(
        host, host="127.0.0.1", port=0, lifespan="off", log_level="critical", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            threading.Event().wait(0.01)
        host.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        yield host
    finally:
        server.should_exit = True
        thread.join(10)
