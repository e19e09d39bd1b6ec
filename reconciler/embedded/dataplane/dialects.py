"""The protocols that clients may speak, each as: what goes upstream, and what comes back.

A dialect that the upstream speaks too is handed through untouched but for the model; the others are converted to and
from chat completions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, ClassVar

from reconciler.embedded.database import Row


class Translator:
    """Turns one upstream answer into what the client speaks. This one hands it through."""

    converts: ClassVar[bool] = False
    """True when the answer changes its protocol; the host then forgets which model the upstream named."""

    def plain(self, raw: bytes) -> bytes:
        """Return the body of an answer that is not streamed."""
        return raw

    def event(self, data: str, raw: bytes) -> Iterable[bytes]:
        """Return what goes to the client for one upstream event; `data` may be `[DONE]`, `raw` is all of the event."""
        yield raw

    def end(self) -> Iterable[bytes]:
        """Return what goes to the client once the upstream has ended."""
        return ()


class Dialect:
    """Base: an endpoint that the upstream has as well."""

    capability: ClassVar[str] = "chat_completions"
    upstream_path: ClassVar[str] = "/chat/completions"
    needs_dispatch: ClassVar[bool] = False
    """True when an openai group serves it only with `allow_messages_dispatch`."""

    def upstream_endpoint(self, account: Row) -> str:
        """Return the path called upstream, as usage rows show it."""
        return f"/v1{self.upstream_path}"

    def request(self, account: Row, body: dict[str, Any], model: str) -> dict[str, Any]:
        """Return the body that goes upstream."""
        return body | {"model": model}

    def translator(self, account: Row, model: str) -> Translator:
        """Return what reads this one answer."""
        return Translator()

    def error(self, kind: str, message: str) -> dict[str, Any]:
        """Return an error body in the client's protocol."""
        return {"error": {"message": message, "type": kind}}

    def dispatch(self, group: Row, model: str) -> str:
        """Return the name under which accounts are chosen."""
        return model


class Chat(Dialect):
    """`/v1/chat/completions`."""

    def request(self, account: Row, body: dict[str, Any], model: str) -> dict[str, Any]:
        sent = body | {"model": model}
        if sent.get("stream") is True:
            options = sent.get("stream_options")
            sent["stream_options"] = (options if isinstance(options, dict) else {}) | {"include_usage": True}
        return sent


class Embeddings(Dialect):
    """`/v1/embeddings`."""

    capability = "embeddings"
    upstream_path = "/embeddings"


def uses_responses(account: Row) -> bool:
    """True when an account's upstream is spoken to through `/v1/responses`."""
    mode = account["extra"].get("openai_responses_mode")
    if mode in ("force_responses", "force_chat_completions"):
        return bool(mode == "force_responses")
    return account["extra"].get("openai_responses_supported") is True


def sse(event: str, document: dict[str, Any]) -> bytes:
    """Return one named server-sent event."""
    return f"event: {event}\ndata: {json.dumps(document, ensure_ascii=False)}\n\n".encode()
