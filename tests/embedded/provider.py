"""The provider double that the transcript was recorded with: its behaviour is the first part of the path."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


class Provider:
    """`ok` answers; a number is a status. `seen` lists the paths called, in order."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.bodies: list[dict[str, Any]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = json.loads(await request.body() or b"{}")
        self.seen.append(request.url.path)
        self.bodies.append(body)
        mode = request.url.path.split("/")[1]
        response = self._failed(int(mode)) if mode.isdigit() else self._answered(request.url.path, body)
        response.headers["x-request-id"] = f"up-{len(self.seen)}"
        await response(scope, receive, send)

    def _failed(self, status: int) -> Response:
        message = "The model `x` does not exist" if status == 404 else f"upstream says {status}"
        error = {"error": {"message": message, "type": "upstream_type", "code": "upstream_code"}}
        return _json(error, status, {"Retry-After": "7"} if status == 429 else {})

    def _answered(self, path: str, body: dict[str, Any]) -> Response:
        if path.endswith("/embeddings"):
            data = [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}]
            usage = {"prompt_tokens": 3, "total_tokens": 3}
            return _json({"object": "list", "model": body["model"], "data": data, "usage": usage})
        if not path.endswith("/chat/completions"):
            return _json({"error": {"message": "no such endpoint"}}, 404)
        if body.get("stream"):
            return Response(b"".join(self._events(body)), media_type="text/event-stream")
        message = {"role": "assistant", "content": "hello from ok"}
        return _json({
            "id": "c1", "object": "chat.completion", "created": 1, "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": _USAGE,
        })  # fmt: skip

    def _events(self, body: dict[str, Any]) -> list[bytes]:
        head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
        words: list[dict[str, Any]] = [
            {"delta": {"role": "assistant", "content": word}, "finish_reason": None} for word in ("hel", "lo")
        ]
        choices: list[dict[str, Any]] = [*words, {"delta": {}, "finish_reason": "stop"}]
        documents: list[dict[str, Any]] = [head | {"choices": [{"index": 0, **choice}]} for choice in choices]
        if (body.get("stream_options") or {}).get("include_usage"):
            documents.append(head | {"choices": [], "usage": _USAGE})
        return [f"data: {json.dumps(d)}\n\n".encode() for d in documents] + [b"data: [DONE]\n\n"]


def _json(document: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(document), status, headers or {}, media_type="application/json")
