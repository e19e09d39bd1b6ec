"""The host's answer: `model` rewritten back to the public name, token counts read, every other byte kept."""

from __future__ import annotations

import msgspec

from reconciler.gateway.dataplane.half_characters import without_halves
from reconciler.gateway.dataplane.inbound import splice_model, splice_outer

_INNER = {"openai": None, "responses": "response", "anthropic": "message"}
"""Where a protocol's stream events carry an answer inside an event."""
_MOST_HELD = 4 * 1024 * 1024
"""Longest part of a line that is held back for its end to come."""


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


_ABSENT = msgspec.Raw()


class _Answer(msgspec.Struct):
    model: msgspec.Raw = _ABSENT
    usage: msgspec.Raw = _ABSENT
    response: msgspec.Raw = _ABSENT
    message: msgspec.Raw = _ABSENT


_answer = msgspec.json.Decoder(_Answer)
_usage = msgspec.json.Decoder(_Usage)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_Malformed = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Outbound:
    """Rewrites one answer; `input_tokens` and `output_tokens` are what it said it used, None when it did not say."""

    __slots__ = ("_held", "_inner", "_passing", "_public", "input_tokens", "output_tokens")

    def __init__(self, protocol: str, public_model: str) -> None:
        self._public = msgspec.json.encode(public_model)
        self._inner = _INNER[protocol]
        self._held = b""
        self._passing = False
        """The present line is too long to hold: the rest of it goes through as it is."""
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None

    def document(self, body: bytes) -> bytes:
        """Return a JSON answer as the client should see it. What is no JSON object comes back unchanged."""
        try:
            return self._rewritten(body, body)
        except _Malformed:
            pass
        try:
            return self._rewritten(body, without_halves(body))
        except _Malformed:
            return body

    def _rewritten(self, body: bytes, readable: bytes) -> bytes:
        """Return `body` with its model replaced; `readable` is what is read of it, equal but for half characters."""
        answer = _answer.decode(readable)
        self._count(answer.usage)
        if _is_text(answer.model):
            return self._replace(body, readable, answer.model)
        if self._inner is None:
            return body
        inner = getattr(answer, self._inner)
        return body if inner is _ABSENT else self._rewritten_inside(body, readable, self._inner, inner)

    def _rewritten_inside(self, body: bytes, readable: bytes, name: str, inner: msgspec.Raw) -> bytes:
        """Rewrite the model of the answer inside a stream event (`response.created`, `message_start`)."""
        answer = _answer.decode(inner)
        self._count(answer.usage)
        if not _is_text(answer.model):
            return body
        spliced = splice_model(body, bytes(answer.model), self._public)
        if spliced is not None:
            return spliced
        within = bytes(inner)
        rewritten = self._replace(within, within, answer.model)
        if body.count(within) == 1:
            return body.replace(within, rewritten)
        return msgspec.json.encode({**_fields.decode(readable), name: msgspec.Raw(rewritten)})

    def _replace(self, body: bytes, readable: bytes, model: msgspec.Raw) -> bytes:
        old = bytes(model)
        if old == self._public:
            return body
        spliced = splice_model(body, old, self._public)
        if spliced is not None:
            return spliced
        return splice_outer(body, _fields.decode(readable), self._public)

    def _count(self, raw: msgspec.Raw) -> None:
        if raw is _ABSENT:
            return
        try:
            usage = _usage.decode(raw)
        except _Malformed:  # usage in another shape is no reason to fail an answer
            return
        came_in = usage.input_tokens if usage.prompt_tokens is None else usage.prompt_tokens
        went_out = usage.output_tokens if usage.completion_tokens is None else usage.completion_tokens
        self.input_tokens = self.input_tokens if came_in is None else came_in
        self.output_tokens = self.output_tokens if went_out is None else went_out

    def events(self, chunk: bytes) -> bytes:
        """Return what of an event stream may be sent on now; a line without its end is held back."""
        if self._passing:
            return self._pass(chunk)
        end = chunk.rfind(b"\n") + 1
        if not end:
            return self._hold(chunk)
        if end == len(chunk):
            whole, self._held = self._held + chunk if self._held else chunk, b""
        else:
            whole, self._held = self._held + chunk[:end], chunk[end:]
        if whole.startswith(b"data: {") and whole.find(b"\n") == len(whole) - 2:  # one event of one line
            return b"data: %b\n\n" % self.document(whole[6:-2])
        if b'"model"' not in whole and b'"usage"' not in whole:
            return whole
        return b"\n".join([self._line(line) for line in whole.split(b"\n")])

    def _hold(self, chunk: bytes) -> bytes:
        self._held += chunk
        if len(self._held) <= _MOST_HELD:
            return b""
        self._passing = True
        return self.rest()

    def _pass(self, chunk: bytes) -> bytes:
        end = chunk.find(b"\n") + 1
        if not end:
            return chunk
        self._passing = False
        return chunk[:end] + self.events(chunk[end:])

    def rest(self) -> bytes:
        """Return what is still held back, at the proper end of a stream."""
        held, self._held = self._held, b""
        return self._line(held) if held.startswith(b"data:") else held

    def _line(self, line: bytes) -> bytes:
        if not line.startswith(b"data:") or (b'"model"' not in line and b'"usage"' not in line):
            return line
        start = line.find(b"{")
        return line[:start] + self.document(line[start:]) if start >= 0 else line


def _is_text(raw: msgspec.Raw) -> bool:
    return bytes(raw).startswith(b'"')
