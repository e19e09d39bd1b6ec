"""The client's request: its body within bounds, the few fields the gateway reads, and the rewrite of `model`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Protocol

import msgspec

from reconciler.gateway.dataplane.errors import Problem
from reconciler.routing.sessions import SessionFields

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CLIENT = "reconciler.client"
"""Extension of the scope in which our own server offers a `Client`; other servers do not."""

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_value = msgspec.json.Decoder()
_KEY = b'"model"'
_COLON = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*")
_ESCAPED_LETTER = b"\\u006"
"""How any letter of "model" starts when a key is written with escapes."""
_LONGEST_MODEL = 255


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


class Client(Protocol):
    """What the server knows of a request's client beyond ASGI; saves a task and a timer for each request."""

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
    """A request body whose outer object was read; every inner value stays as its bytes."""

    __slots__ = ("_body", "_fields", "_model", "model", "stream")

    def __init__(self, body: bytes) -> None:
        """Read a body. Raises Problem 400 for anything but a JSON object with a `model` string."""
        try:
            self._fields: Mapping[str, msgspec.Raw] = _fields.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Problem(
                400, "invalid_json", f"The request body is not a JSON object: {_cut(error)}"
            ) from error
        self._body = body
        self._model = self._fields.get("model")
        self.model = _model_name(self._fields, self._model)
        self.stream = bytes(self._fields["stream"]) == b"true" if "stream" in self._fields else False

    @property
    def stateful(self) -> bool:
        """True when the request continues something that an earlier answer made on a host."""
        return self._get("previous_response_id") is not None or self._get("conversation") is not None

    def session_fields(self) -> SessionFields:
        """Return the places in which the body may name a session."""
        return SessionFields(self._get("prompt_cache_key"), self._get("user"), self._get("metadata"))

    def _get(self, name: str) -> Any:
        raw = self._fields.get(name)
        if raw is None:
            return None
        try:
            return _value.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def with_model(self, model: str) -> bytes:
        """Return the body asking for another model; every other byte is kept.

        When the outer object could be read in two ways (the key twice, or written with escapes), it is written anew
        from what was read, so that the host cannot see another model than the one that was checked.
        """
        new = msgspec.json.encode(model)
        if _ESCAPED_LETTER not in self._body and self._model is not None:
            spliced = splice_model(self._body, bytes(self._model), new)
            if spliced is not None:
                return spliced
        return msgspec.json.encode({**self._fields, "model": msgspec.Raw(new)})


def splice_model(text: bytes, old: bytes, new: bytes) -> bytes | None:
    """Return JSON text with the value of its only "model" key replaced; None when there is not exactly one."""
    at = text.find(_KEY)
    if at < 0 or text.find(_KEY, at + len(_KEY)) >= 0:
        return None
    colon = _COLON.match(text, at + len(_KEY))
    if colon is None or not text.startswith(old, colon.end()):
        return None
    return text[: colon.end()] + new + text[colon.end() + len(old) :]


def _model_name(fields: Mapping[str, msgspec.Raw], raw: msgspec.Raw | None) -> str:
    for key in fields:
        # Some JSON libraries match keys without regard to case: such a body means two models.
        if len(key) == 5 and key != "model" and key.lower() == "model":
            raise Problem(400, "invalid_request", "The request names its model in two fields")
    try:
        name = _value.decode(raw) if raw is not None else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        name = None
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_MODEL:
        raise Problem(400, "model_required", "The request needs a `model`, a string")
    return name


def _cut(error: Exception) -> str:
    return str(error)[:120]
