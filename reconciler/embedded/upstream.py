"""The embedded upstream: answers like OpenAI, counts tokens, and fails as told.

    python -m reconciler.embedded.upstream --listen 127.0.0.1:0 --keys-file FILE --ready-file FILE

The keys file is JSON: `{"keys": ["..."], "models": ["..."], "name": "...", "responses": false}`; only `keys` is
needed. No models means every model is served. `PUT /__control/faults` orders faults (reconciler.embedded.faults),
`GET /__control/requests` shows what arrived lately: models, header names and key fingerprints, never a key.
The fault `refuse` closes the port only in a process with `--control-listen`; otherwise connections are cut.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from reconciler.embedded import process
from reconciler.embedded.clock import Clock, SystemClock
from reconciler.embedded.completions import Completion, embedding_answer, misfit
from reconciler.embedded.connection import answer_fault, close_connection, refuse_connection
from reconciler.embedded.dataplane.events import parsed
from reconciler.embedded.door import run_with_control
from reconciler.embedded.envelope import json_response
from reconciler.embedded.faults import UPSTREAM_KINDS, Fault, FaultBook

_KEPT_REQUESTS = 1000


@dataclass(frozen=True)
class UpstreamSettings:
    """What an embedded upstream serves, and to whom."""

    keys: tuple[str, ...] = field(repr=False)
    models: tuple[str, ...] = ()
    """Empty: every model is served."""
    name: str = "upstream"
    responses: bool = False
    """True serves `/v1/responses` too; a stock OpenAI-compatible provider answers 404 there."""

    @classmethod
    def parse(cls, document: dict[str, Any]) -> UpstreamSettings:
        """Return the settings that a JSON object holds. Raises ValueError."""
        keys = document.get("keys")
        if not isinstance(keys, list) or not keys or not all(isinstance(key, str) and key for key in keys):
            raise ValueError('expected {"keys": ["...", ...]} with at least one key')
        models = tuple(str(model) for model in document.get("models") or [])
        return cls(
            tuple(keys), models, str(document.get("name", "upstream")), bool(document.get("responses", False))
        )


def fingerprint(key: str) -> str:
    """Return a word that names a key without telling it."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]


class UpstreamApp:
    """The app. `requests` holds what arrived lately, newest last."""

    def __init__(self, settings: UpstreamSettings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.faults = FaultBook()
        self.requests: deque[dict[str, Any]] = deque(maxlen=_KEPT_REQUESTS)
        self.changed = asyncio.Event()
        """Set when the faults were replaced."""
        self._count = 0

    @property
    def refuses(self) -> bool:
        """True while an order to refuse every connection is in force."""
        return any(fault.kind == "refuse" and not (fault.model or fault.key) for fault in self.faults.faults)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{message['type']}.complete"})
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "http":
            request = Request(scope, receive)
            if request.url.path.startswith("/__control/"):
                await (await self._control(request))(scope, receive, send)
            else:
                await self._serve(request, scope, receive, send)

    async def _serve(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        self._count += 1
        number = self._count
        raw = await request.body()
        body = parsed(raw)
        key = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        match = {
            "path": request.url.path, "method": request.method, "model": str(body.get("model", "")),
            "key": fingerprint(key),
        }  # fmt: skip
        self._remember(number, request, body, key)
        if (slow := self.faults.take("slow", **match)) is not None:
            await self.clock.sleep(slow.seconds or 0.0)
        if self.faults.take("refuse", **match):
            await refuse_connection(scope)
            return
        if self.faults.take("drop", **match):
            await close_connection(scope)
            return
        if (fault := self.faults.take("status", **match)) is not None:
            await self._failed(fault, number)(scope, receive, send)
            return
        if (refusal := self._refusal(request, body, key)) is not None:
            await refusal(scope, receive, send)
            return
        await self._answer(number, request, body, match, scope, receive, send)

    def _remember(self, number: int, request: Request, body: dict[str, Any], key: str) -> None:
        self.requests.append({
            "number": number, "at": self.clock.now(), "method": request.method, "path": request.url.path,
            "model": body.get("model"), "stream": body.get("stream") is True, "key": fingerprint(key) if key else None,
            "headers": sorted({name.lower() for name in request.headers}), "fields": sorted(body),
        })  # fmt: skip

    def _failed(self, fault: Fault, number: int) -> Response:
        message = fault.message or f"upstream says {fault.status}"
        response = answer_fault(
            fault, {"error": {"message": message, "type": "upstream_error", "code": None}}
        )
        response.headers["x-request-id"] = self._id(number)
        return response

    def _id(self, number: int) -> str:
        return f"{self.settings.name}-{number}"

    def _refusal(self, request: Request, body: dict[str, Any], key: str) -> Response | None:
        if not any(hmac.compare_digest(key.encode(), known.encode()) for known in self.settings.keys):
            return _error(401, "Incorrect API key provided.", "invalid_api_key")
        if request.url.path == "/v1/models" and request.method == "GET":
            data = [
                {"id": model, "object": "model", "owned_by": self.settings.name}
                for model in self.settings.models
            ]
            return json_response({"object": "list", "data": data})
        paths = {"/v1/chat/completions", "/v1/embeddings"} | (
            {"/v1/responses"} if self.settings.responses else set()
        )
        if request.url.path not in paths or request.method != "POST":
            return _error(404, f"Invalid URL ({request.method} {request.url.path})", None)
        model = body.get("model")
        if not isinstance(model, str) or not model:
            return _error(400, "you must provide a model parameter", None)
        if (name := misfit(body)) is not None:
            return _error(400, f"Invalid type for '{name}'.", "invalid_type")
        if self.settings.models and model not in self.settings.models:
            return _error(404, f"The model `{model}` does not exist", "model_not_found")
        return None

    async def _answer(
        self, number: int, request: Request, body: dict[str, Any], match: dict[str, str],
        scope: Scope, receive: Receive, send: Send,
    ) -> None:  # fmt: skip
        named = self.faults.take("answer-model", **match)
        completion = Completion(
            self._id(number), str((named and named.answer_model) or body["model"]), self.settings.name, body,
            with_usage=self.faults.take("no-usage", **match) is None, created=int(self.clock.now()),
        )  # fmt: skip
        if request.url.path == "/v1/embeddings":
            content = embedding_answer(completion)
        elif request.url.path == "/v1/responses":
            content = completion.response()
        else:
            content = completion.plain()
        if self.faults.take("lose-answer", **match):
            await close_connection(scope)
        elif self.faults.take("malformed", **match):
            await Response(b'{"id": "broken', media_type="application/json")(scope, receive, send)
        elif body.get("stream") is True and request.url.path != "/v1/embeddings":
            await self._stream(completion, request.url.path, match, scope, send)
        else:
            await self._plain(
                json_response(content, headers={"x-request-id": completion.id}), match, scope, receive, send
            )

    async def _plain(
        self, response: Response, match: dict[str, str], scope: Scope, receive: Receive, send: Send
    ) -> None:
        stall, cut = self.faults.take("stall", **match), self.faults.take("truncate", **match)
        if stall is None and cut is None:
            await response(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": response.raw_headers})
        if stall is not None:
            await self.clock.sleep(stall.seconds if stall.seconds is not None else 3600.0)
        await send({"type": "http.response.body", "body": bytes(response.body)[:10], "more_body": True})
        await close_connection(scope)

    async def _stream(
        self, completion: Completion, path: str, match: dict[str, str], scope: Scope, send: Send
    ) -> None:
        headers = [(b"content-type", b"text/event-stream"), (b"x-request-id", completion.id.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if (stall := self.faults.take("stall", **match)) is not None:
            await self.clock.sleep(stall.seconds if stall.seconds is not None else 3600.0)
        early = self.faults.take("close-early", **match) or self.faults.take("truncate", **match)
        events = completion.response_events() if path == "/v1/responses" else completion.events()
        for place, event in enumerate(events):
            if early is not None and place >= early.events:
                await close_connection(scope)
                return
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _control(self, request: Request) -> Response:
        if request.url.path == "/__control/requests":
            if request.method == "DELETE":
                self.requests.clear()
            return json_response({"requests": list(self.requests)})
        if request.method == "PUT":
            try:
                self.faults.replace(await request.json(), UPSTREAM_KINDS)
            except ValueError as error:
                return json_response({"error": str(error)}, 400)
        elif request.method == "DELETE":
            self.faults.faults = []
        self.changed.set()
        return json_response(self.faults.shown())


def _error(status: int, message: str, code: str | None) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return json_response({"error": error}, status)


def create_upstream_app(settings: UpstreamSettings, clock: Clock | None = None) -> UpstreamApp:
    """Return an embedded upstream."""
    return UpstreamApp(settings, clock or SystemClock())


def parser() -> argparse.ArgumentParser:
    """Return the command line. Keys come by file, never as arguments."""
    made = argparse.ArgumentParser(
        prog="python -m reconciler.embedded.upstream", description="Run an upstream."
    )
    made.add_argument(
        "--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="loopback only; port 0: a free one"
    )
    made.add_argument("--keys-file", type=Path, required=True, metavar="FILE", help="JSON object, see above")
    made.add_argument("--ready-file", type=Path, metavar="FILE", help="gets the base URL once it serves")
    made.add_argument(
        "--control-listen", metavar="HOST:PORT", help="a second port, which the fault `refuse` leaves open"
    )
    made.add_argument(
        "--control-ready-file", type=Path, metavar="FILE", help="gets the base URL of the second port"
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until stopped; return the exit code."""
    options = parser().parse_args(arguments)
    try:
        app = create_upstream_app(UpstreamSettings.parse(process.read_json(options.keys_file)))
        if options.control_listen is None:
            process.main(app, options.listen, options.ready_file)
        else:
            ports = (options.listen, options.control_listen)
            asyncio.run(run_with_control(app, ports, options.ready_file, options.control_ready_file))
    except (ValueError, OSError) as error:
        print(f"embedded upstream: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
