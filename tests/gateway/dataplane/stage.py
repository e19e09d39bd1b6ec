"""A data plane on a stage: scripted hosts, fake time, and everything it wrote down, without sockets."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconciler.gateway.contract import (
    DecisionRow,
    JsonObject,
    LoadedRevision,
    ProbeDenied,
    ProbeGrant,
    RevisionInfo,
    UpstreamFailed,
    UpstreamRequest,
    UpstreamResponse,
)
from reconciler.gateway.dataplane.app import DataPlane, create_data_plane
from reconciler.gateway.dataplane.settings import DataPlaneSettings
from reconciler.gateway.runtime.memory import MemoryBackend
from reconciler.gateway.runtime.plane import Runtime
from reconciler.routing import sessions
from reconciler.routing.config import parse

KEY = "canary-managed-key-1"
OTHER_KEY = "canary-managed-key-2"
GATEWAY_KEY = "canary-gateway-key"
CHAT = "/v1/chat/completions"
START = 1_800_000_000.0
_SECRET = b"canary-session-secret"


class Clock:
    """Time that moves only when told to."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def document(**changes: Any) -> dict[str, Any]:
    """Logical group `chat` with route `best` (priority 10, host east) before `spare` (priority 20, host west)."""
    plain = {
        "logical_groups": [{"name": "chat"}],
        "shadow_hosts": [
            {"name": "east", "driver": "sub2api", "data_endpoint": "http://east.test"},
            {"name": "west", "driver": "sub2api", "data_endpoint": "http://west.test/prefix"},
        ],
        "routes": [route("best", "east", priority=10), route("spare", "west", priority=20)],
        "model_bindings": [binding("fast", best="up-fast-1", spare="up-fast-2")],
        "managed_keys": [
            {"name": "team", "logical_groups": ["chat"], "versions": ["1"]},
            {"name": "other", "logical_groups": ["chat"], "versions": ["1"]},
        ],
    }
    return {**plain, **changes}


def route(name: str, host: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "logical_group": "chat",
        "shadow_host": host,
        "shadow_group": f"{host}-group",
        "shadow_group_id": "7",
        "gateway_key": f"key-{name}",
        "gateway_key_version": "1",
        **fields,
    }


def binding(public_model: str, group: str = "chat", **models: str) -> dict[str, Any]:
    return {
        "name": f"{group}-{public_model}",
        "logical_group": group,
        "public_model": public_model,
        "routes": [{"route": name, "shadow_model": model} for name, model in models.items()],
    }


def loaded(configuration: Mapping[str, Any], number: int = 1, *, state: str = "active") -> LoadedRevision:
    parsed = parse(configuration)
    info = RevisionInfo(number, None, state, "digest", "", "2027-01-01T00:00:00.000Z")
    keys = {
        (item.gateway_key, item.gateway_key_version): f"{GATEWAY_KEY}-{item.gateway_key}"
        for item in parsed.routes
    }
    consumers = {_hash(KEY): ("team", "1"), _hash(OTHER_KEY): ("other", "1")}
    return LoadedRevision(info, parsed, keys, consumers)


def _hash(presented: str) -> bytes:
    return hashlib.sha256(presented.encode()).digest()


class Revisions:
    """Keeps `contract.RevisionSource`."""

    def __init__(self, active: LoadedRevision | None) -> None:
        self.active = active
        self.others: dict[int, LoadedRevision] = {}

    def staged(self, revision: int) -> LoadedRevision | None:
        if self.active is not None and self.active.info.revision == revision:
            return self.active
        return self.others.get(revision)

    def hash_key(self, presented: str) -> bytes:
        return _hash(presented)

    def known_otherwise(self, revision: LoadedRevision, presented: str) -> None:
        return None

    def hash_session(self, managed_key: str, session: str) -> str:
        return sessions.session_digest(_SECRET, managed_key, session)

    def hash_host_session(self, shadow_host: str, digest: str) -> str:
        return sessions.host_session(_SECRET, shadow_host, digest)


class Tokens:
    """Keeps `contract.ProbeTokens`: a token is the name of a grant."""

    def __init__(self) -> None:
        self.grants: dict[str, ProbeGrant] = {}

    async def redeem(self, token: str) -> ProbeGrant:
        if token not in self.grants:
            raise ProbeDenied("forged")
        return self.grants[token]


@dataclass
class Log:
    """Keeps `contract.DecisionLog`."""

    rows: list[DecisionRow] = field(default_factory=list)
    stored_now: list[str] = field(default_factory=list)
    audits: list[tuple[str, JsonObject]] = field(default_factory=list)
    dropped: int = 0
    order: list[str] | None = None

    def put(self, row: DecisionRow) -> None:
        self.rows.append(row)

    async def put_now(self, row: DecisionRow) -> None:
        self.rows.append(row)
        self.stored_now.append(row.request_id)
        if self.order is not None:
            self.order.append("row")

    def audit(self, kind: str, row: JsonObject) -> None:
        self.audits.append((kind, row))

    def sticky(self) -> list[JsonObject]:
        return [row for kind, row in self.audits if kind == "sticky"]

    def failovers(self) -> list[JsonObject]:
        return [row for kind, row in self.audits if kind == "failover"]


Headers = Sequence[tuple[bytes, bytes]]
JSON_HEADERS: Headers = ((b"content-type", b"application/json"),)
SSE_HEADERS: Headers = ((b"content-type", b"text/event-stream"),)


@dataclass
class Answer:
    """What a scripted host answers; `breaks` ends the body with that failure."""

    status: int = 200
    body: bytes | list[bytes] = b'{"id":"a","model":"up-fast-1","choices":[]}'
    headers: Headers = JSON_HEADERS
    breaks: str | None = None
    closed: str | None = None
    """How it was closed: "whole" or "cut"."""

    def chunk_list(self) -> list[bytes]:
        return self.body if isinstance(self.body, list) else [self.body]


Script = Answer | UpstreamFailed | Callable[[UpstreamRequest], Any]


class ScriptedResponse:
    """Keeps `contract.UpstreamResponse`."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._read = False
        self.status = answer.status
        self.headers: Headers = answer.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._answer.chunk_list():
            yield chunk
        if self._answer.breaks is not None:
            raise UpstreamFailed(self._answer.breaks, sent=True)
        self._read = True

    async def read(self, limit: int) -> bytes:
        body = b"".join([chunk async for chunk in self.chunks()])
        if len(body) > limit:
            raise UpstreamFailed("too-large", sent=True)
        return body

    async def aclose(self) -> None:
        self._answer.closed = "whole" if self._read else "cut"


class Upstream:
    """Keeps `contract.UpstreamClient`: per origin a list of what comes next; the last entry repeats."""

    def __init__(self) -> None:
        self.scripts: dict[str, list[Script]] = defaultdict(lambda: [Answer()])
        self.requests: list[UpstreamRequest] = []

    def script(self, origin: str, *answers: Script) -> None:
        self.scripts[origin] = list(answers)

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        self.requests.append(request)
        script = self.scripts[request.origin]
        step = script.pop(0) if len(script) > 1 else script[0]
        if callable(step) and not isinstance(step, Answer):
            step = await step(request)
        if isinstance(step, UpstreamFailed):
            raise step
        assert isinstance(step, Answer)
        return ScriptedResponse(step)

    async def aclose(self) -> None:
        pass


@dataclass
class Reply:
    """What the client got."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)
    ended: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    def json(self) -> Any:
        return json.loads(self.body)


EAST, WEST = "http://east.test", "http://west.test/prefix"


class Stage:
    """The data plane and its surroundings."""

    def __init__(self, configuration: Mapping[str, Any] | None = None, **settings: Any) -> None:
        self.clock = Clock()
        self.revisions = Revisions(loaded(configuration or document()))
        self.backend = MemoryBackend(clock=self.clock, jitter=lambda: 0.0)
        self.runtime = Runtime(self.backend)
        self.upstream = Upstream()
        self.log = Log()
        self.tokens = Tokens()
        self.plane: DataPlane = create_data_plane(
            revisions=self.revisions,
            runtime=self.runtime,
            upstream=self.upstream,
            log=self.log,
            tokens=self.tokens,
            settings=DataPlaneSettings(**settings),
            clock=self.clock,
            monotonic=self.clock,
        )

    def east(self, *answers: Script) -> None:
        self.upstream.script(EAST, *answers)

    def west(self, *answers: Script) -> None:
        self.upstream.script(WEST, *answers)

    def grant(self, token: str = "probe-1", **fields: Any) -> dict[str, str]:
        """Make a probe token good and return the header that carries it."""
        plain: dict[str, Any] = {
            "token_id": token,
            "managed_key": "team",
            "revision": None,
            "routes": frozenset({"best", "spare"}),
            "namespace": "drill-1",
        }
        self.tokens.grants[token] = ProbeGrant(**{**plain, **fields})
        return {"x-reconcile-probe": token}

    async def chat(
        self, *, key: str | None = KEY, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> Reply:
        body = {"model": "fast", "messages": [{"role": "user", "content": "hi"}], **fields}
        return await self.post(CHAT, json.dumps(body).encode(), key=key, headers=headers)

    async def post(
        self, path: str, body: bytes, *, key: str | None = KEY, headers: Mapping[str, str] | None = None
    ) -> Reply:
        return await self.call("POST", path, [body], key=key, headers=headers)

    async def call(
        self,
        method: str,
        path: str,
        parts: Sequence[bytes] = (b"",),
        *,
        key: str | None = KEY,
        headers: Mapping[str, str] | None = None,
        receive: Callable[[], Any] | None = None,
        send: Callable[[Any], Any] | None = None,
    ) -> Reply:
        sent = {"content-type": "application/json", **(headers or {})}
        if key is not None:
            sent["authorization"] = f"Bearer {key}"
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in sent.items()],
        }
        reply = Reply()
        await self.plane(scope, receive or Client(parts).receive, send or collect(reply))
        return reply

    @property
    def row(self) -> DecisionRow:
        return self.log.rows[-1]

    def tried(self) -> list[str]:
        return [attempt["route_id"] for attempt in self.row.attempts]


class Client:
    """The receiving end of ASGI: hands out the body, then stays until `leave`."""

    def __init__(self, parts: Sequence[bytes] = (b"",)) -> None:
        self._messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
            for number, part in enumerate(parts)
        ]
        self._left = asyncio.Event()

    def leave(self) -> None:
        self._left.set()

    async def receive(self) -> dict[str, Any]:
        if self._messages:
            return self._messages.pop(0)
        await self._left.wait()
        return {"type": "http.disconnect"}


def collect(reply: Reply) -> Callable[[Any], Any]:
    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            reply.status = message["status"]
            reply.headers = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
        else:
            reply.parts.append(message.get("body", b""))
            reply.ended = not message.get("more_body", False)

    return send
