"""One operation of the API as data, and how a request becomes a call of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from reconciler.gateway.control.context import Context
from reconciler.gateway.control.models import PATH_TYPES, Nothing
from reconciler.gateway.control.problems import Unfit
from reconciler.gateway.storage import Fence
from reconciler.gateway.threads import Threads

SMALL_BODY = 1 << 20
LARGE_BODY = 32 << 20
"""Room for a configuration of some hundred thousand objects."""
BODY_WITHIN_S = 60
_DECODED_AT_ONCE = 64 << 10
FENCE_HEADER = "X-Reconcile-Fence"
_LONGEST_INSTALLATION = 128
_LARGEST_FENCE = 2**63 - 1

S = TypeVar("S")


@dataclass(frozen=True)
class Answer:
    """What an operation gives back; `body` is encoded as JSON unless it is None, or Raw: encoded already."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """A request as an operation sees it: checked, typed, and without its HTTP."""

    path: Mapping[str, Any]
    query: Any
    body: Any
    fence: Fence | None
    if_match: str | None
    if_none_match: str | None

    @property
    def name(self) -> str:
        name: str = self.path["name"]
        return name

    @property
    def revision(self) -> int:
        revision: int = self.path["revision"]
        return revision


@dataclass(frozen=True)
class Operation:
    """A row of the table that routes and OpenAPI are made from."""

    id: str
    method: str
    path: str
    summary: str
    do: Callable[[Context, Call], Awaitable[Answer]]
    answers: Mapping[int, Any]
    """Status -> type of the body, or None; problems stand apart."""
    body: Any = Nothing
    body_schema: Mapping[str, Any] | None = None
    """The body's JSON Schema, where its type says too little."""
    query: type[msgspec.Struct] = Nothing
    problems: tuple[int, ...] = ()
    """Statuses beyond those that every operation may answer."""
    longest_body: int = SMALL_BODY
    conditional: bool = False
    """Takes If-Match and If-None-Match."""
    description: str = ""

    def __post_init__(self) -> None:
        # Made here so that a type that cannot be decoded fails at start, not at the first request.
        object.__setattr__(self, "decoder", msgspec.json.Decoder(self.body))

    decoder: msgspec.json.Decoder[Any] = field(init=False, repr=False, compare=False)

    @property
    def writes(self) -> bool:
        return self.method != "GET"


async def read_call(operation: Operation, request: Request, threads: Threads) -> Call:
    """Check a request against its operation. Raises Unfit."""
    path = {name: _part(name, text) for name, text in request.path_params.items()}
    query = _query(operation.query, request.query_params)
    return Call(
        path=path,
        query=query,
        body=await _sent(operation, request, threads) if operation.writes else None,
        fence=_fence(request.headers.get(FENCE_HEADER)) if operation.writes else None,
        if_match=request.headers.get("If-Match"),
        if_none_match=request.headers.get("If-None-Match"),
    )


async def _sent(operation: Operation, request: Request, threads: Threads) -> Any:
    """Return the decoded body. A large one is put together and decoded where nobody waits for it."""
    content = await _read(request, operation.longest_body)
    if len(content) <= _DECODED_AT_ONCE:
        return _body(operation, request, content)
    return await threads.run(_body, operation, request, content)


def respond(answer: Answer) -> Response:
    """Turn an answer into a response."""
    if answer.body is None:
        return Response(None, answer.status, dict(answer.headers))
    body = answer.body
    content = bytes(body) if isinstance(body, msgspec.Raw) else msgspec.json.encode(body)
    return Response(content, answer.status, dict(answer.headers), media_type="application/json")


def _part(name: str, text: str) -> Any:
    try:
        return msgspec.convert(text, PATH_TYPES[name], strict=False)
    except msgspec.ValidationError as error:
        if name == "revision":
            raise Unfit(404, "unknown-revision", "there is no such revision") from error
        raise Unfit(422, "invalid-path", f"{name} in the path: {error}") from error


def _query(type_: type[S], params: QueryParams) -> S:
    given = params.multi_items()
    if len({name for name, _ in given}) != len(given):
        raise Unfit(422, "invalid-query", "a query parameter stands twice")
    try:
        return msgspec.convert(dict(given), type_, strict=False)
    except msgspec.ValidationError as error:
        raise Unfit(422, "invalid-query", str(error)) from error


async def _read(request: Request, longest: int) -> bytearray:
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            return await _read_whole(request, longest)
    except TimeoutError as error:
        raise Unfit(408, "request-timeout", "the body did not arrive in time") from error


async def _read_whole(request: Request, longest: int) -> bytearray:
    length = request.headers.get("Content-Length", "")
    if length.isdigit() and int(length) > longest:
        raise _too_large(longest)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > longest:
            raise _too_large(longest)
    return body


def _too_large(longest: int) -> Unfit:
    return Unfit(413, "too-large", f"the body may have at most {longest} bytes")


def _body(operation: Operation, request: Request, content: bytearray) -> Any:
    if operation.body is Nothing and not content.strip():
        return Nothing()
    media_type = request.headers.get("Content-Type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Unfit(415, "unsupported-media-type", "send application/json")
    try:
        return operation.decoder.decode(content)
    except msgspec.ValidationError as error:
        raise Unfit(422, "invalid-request", str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unfit(400, "malformed-json", "the body is not JSON") from error


def _fence(header: str | None) -> Fence | None:
    if header is None:
        return None
    installation, separator, number = header.rpartition("/")
    fits = 0 < len(installation) <= _LONGEST_INSTALLATION and installation.isprintable()
    if not (separator and fits and number.isascii() and number.isdigit() and len(number) <= 19):
        raise Unfit(400, "malformed-fence", f"{FENCE_HEADER} is INSTALLATION/NUMBER")
    if int(number) > _LARGEST_FENCE:
        raise Unfit(400, "malformed-fence", f"{FENCE_HEADER}: the number is too large")
    return Fence(installation, int(number))
