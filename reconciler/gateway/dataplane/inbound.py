"""The client's request: its body within bounds, the few fields the gateway reads, and the rewrite of `model`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from reconciler.gateway.dataplane.errors import Problem
from reconciler.gateway.dataplane.half_characters import without_halves
from reconciler.routing.sessions import SESSION_FIELDS

if TYPE_CHECKING:
    from reconciler.gateway.dataplane.begun import Begun

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CLIENT = "reconciler.client"
"""Extension of the scope in which our own server offers a `Client`; other servers do not."""

_ABSENT = msgspec.Raw()
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_value = msgspec.json.Decoder()
_Malformed = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_KEY = b'"model"'
_COLON = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*")
_ESCAPED_LETTER = b"\\u006"
"""How any letter of "model" starts when a key is written with escapes."""
_OTHER_SPELLINGS = frozenset(map("".join, product(*zip("model", "MODEL", strict=True)))) - {"model"}
_LONGEST_MODEL = 255


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


class Client(Protocol):
    """What the server knows of a request's client beyond ASGI; saves a task and a timer for each request."""

    begun: Begun | None
    """What was done of the request before it came to the application."""

    def whole_body(self) -> bytes | None:
        """Return the request's body when all of it is here and none was received yet, else None."""

    def when_gone(self, told: Callable[[], None] | None) -> None:
        """Call `told` once, when the client closes the connection or when it has already; None: not any more."""

    def answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """Send a whole answer in one piece, its length among the headers. False: nothing was sent, do it by `send`."""


async def read_body(receive: Receive, *, limit: int) -> bytes:
    """Return the whole body. Raises Problem 413 beyond `limit` bytes, ClientGone when the client leaves."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body"):
        if len(body) > limit:
            raise too_large(limit)
        return body
    parts, size = [body], len(body)
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGone
        if size > limit:
            raise too_large(limit)
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)


def too_large(limit: int) -> Problem:
    """Return the answer for a body beyond the limit."""
    return Problem(413, "request_too_large", f"The request body is larger than {limit} bytes")


class Inbound:
    """A request body whose outer object was read; every inner value stays as its bytes. Keeps `NamesSession`."""

    __slots__ = ("_fields", "_model", "body", "model", "stream")

    def __init__(self, body: bytes) -> None:
        """Read a body. Raises Problem 400 for anything but a JSON object with a `model` string."""
        try:
            fields = _fields.decode(body)
        except _Malformed:
            fields = _fields_beside_halves(body)
        # Some JSON libraries match keys without regard to case: such a body means two models.
        if not _OTHER_SPELLINGS.isdisjoint(fields):
            raise Problem(400, "invalid_request", "The request names its model in two fields")
        self.body = body
        self._fields = fields
        raw = fields.get("model", _ABSENT)
        self.model = _model_name(raw)
        self._model = bytes(raw)
        self.stream = "stream" in fields and bytes(fields["stream"]) == b"true"

    @property
    def stateful(self) -> bool:
        """True when the request continues something that an earlier answer made on a host."""
        return self._get("previous_response_id") is not None or self._get("conversation") is not None

    @property
    def may_name_session(self) -> bool:
        """False for a body without any of the fields that could: most of them, and then none is looked at."""
        return not SESSION_FIELDS.isdisjoint(self._fields)

    @property
    def prompt_cache_key(self) -> Any:
        return self._get("prompt_cache_key")

    @property
    def user(self) -> Any:
        return self._get("user")

    @property
    def metadata(self) -> Any:
        return self._get("metadata")

    def _get(self, name: str) -> Any:
        raw = self._fields.get(name)
        if raw is None:
            return None
        try:
            return _value.decode(raw)
        except _Malformed:
            return None

    def with_model(self, model: str) -> bytes:
        """Return the body asking for another model; every other byte is kept.

        When the outer object could be read in two ways (the key twice, or written with escapes), it is written anew
        from what was read, so that the host cannot see another model than the one that was checked.
        """
        body, new = self.body, encoded_name(model)
        if b"\\" not in body or _ESCAPED_LETTER not in body:
            spliced = splice_model(body, self._model, new)
            if spliced is not None:
                return spliced
            return splice_outer(body, self._fields, new)
        return msgspec.json.encode({**self._fields, "model": msgspec.Raw(new)})


@lru_cache(maxsize=4096)
def encoded_name(model: str) -> bytes:
    """Return a model's name as JSON."""
    return msgspec.json.encode(model)


def splice_model(text: bytes, old: bytes, new: bytes) -> bytes | None:
    """Return JSON text with the value of its only "model" key replaced; None when there is not exactly one.

    `old` is that value. Looking for the key once, in C, costs half of finding its place and then another one.
    """
    parts = text.split(_KEY, 2)
    return _spliced(parts[0], parts[1], old, new) if len(parts) == 2 else None


def splice_outer(text: bytes, fields: Mapping[str, msgspec.Raw], new: bytes) -> bytes:
    """Return a JSON object with its own `model` replaced, where others stand inside it: in a tool's schema, say.

    `fields` is what was read of it. What could be read in two ways, as it has the key twice, is written anew from that.
    """
    before = inside = 0
    for name, raw in fields.items():
        if name == "model":
            before = inside
        inside += bytes(raw).count(_KEY)
    wanted = {**fields, "model": msgspec.Raw(new)}
    if text.count(_KEY) == inside + 1:
        parts = text.split(_KEY, before + 1)
        spliced = _spliced(_KEY.join(parts[:-1]), parts[-1], bytes(fields["model"]), new)
        if spliced is not None and _reads_as(spliced, wanted):
            return spliced
    return msgspec.json.encode(wanted)


def _reads_as(text: bytes, wanted: Mapping[str, msgspec.Raw]) -> bool:
    try:
        return dict(_fields.decode(without_halves(text))) == wanted
    except _Malformed:
        return False


def _spliced(before: bytes, after: bytes, old: bytes, new: bytes) -> bytes | None:
    """Return the text around a key, with its value replaced; None when another one stands there."""
    if after.startswith(b":") and after.startswith(old, 1):
        at = 1
    elif after.startswith(b": ") and after.startswith(old, 2):
        at = 2
    else:
        colon = _COLON.match(after)
        if colon is None or not after.startswith(old, colon.end()):
            return None
        at = colon.end()
    return b"".join((before, _KEY, after[:at], new, after[at + len(old) :]))


def _fields_beside_halves(body: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _fields.decode(without_halves(body))
    except _Malformed as error:
        raise Problem(400, "invalid_json", f"The request body is not a JSON object: {_cut(error)}") from error


def _model_name(raw: msgspec.Raw) -> str:
    try:
        name = _value.decode(raw) if raw is not _ABSENT else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        name = None
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_MODEL:
        raise Problem(400, "model_required", "The request needs a `model`, a string")
    return name


def _cut(error: Exception) -> str:
    return str(error)[:120]
