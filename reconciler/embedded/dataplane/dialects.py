"""The protocols that clients may speak, each as: what goes upstream, and what comes back.

An upstream is spoken to over a *wire*: chat completions, responses or embeddings. A dialect that is its wire's own
is handed through untouched but for the model; the others are converted.

Source: sub2api v0.1.179, `internal/service/openai_gateway_chat_completions.go`, `internal/pkg/openai_compat`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

from reconciler.embedded.database import Row
from reconciler.embedded.dataplane.billing import Tokens
from reconciler.embedded.dataplane.events import parsed

UNREADABLE = (ValueError, TypeError, AttributeError, KeyError)
"""What reading a foreign document of the wrong shape raises: conversions do not check every level first."""

Wire = Literal["/chat/completions", "/responses", "/embeddings"]


class Translator:
    """Turns one upstream answer into what the client speaks. This one hands it through."""

    def plain(self, raw: bytes) -> bytes:
        """Return the body of an answer that is not streamed. Raises ValueError for an unreadable one."""
        return raw

    def facts(self, raw: bytes) -> tuple[str | None, Tokens]:
        """Return the model and the token counts that a body names."""
        document = parsed(raw)
        model = document.get("model")
        return model if isinstance(model, str) else None, Tokens.of(document.get("usage"))

    def event(self, data: str, raw: bytes) -> Iterable[bytes]:
        """Return what goes to the client for one upstream event; `data` may be `[DONE]`, `raw` is all of the event."""
        yield raw

    def end(self) -> Iterable[bytes]:
        """Return what goes to the client once the upstream has ended."""
        return ()


class Dialect:
    """Base: an endpoint that is served over chat completions, or over responses where the upstream has them."""

    capability: ClassVar[str] = "chat_completions"
    needs_dispatch: ClassVar[bool] = False
    """True when an openai group serves it only with `allow_messages_dispatch`."""

    def wires(self, account: Row) -> tuple[Wire, ...]:
        """Return what to try, in order; the next only when the upstream does not have the one before."""
        known = speaks_responses(account)
        if known is None:
            return ("/responses", "/chat/completions")
        return ("/responses",) if known else ("/chat/completions",)

    def request(self, body: dict[str, Any], model: str, wire: Wire) -> dict[str, Any]:
        """Return the body that goes upstream."""
        raise NotImplementedError

    def translator(self, model: str, wire: Wire) -> Translator:
        """Return what reads one answer; `model` is the one that the client asked for."""
        raise NotImplementedError

    def keeps_response_model(self, wire: Wire) -> bool:
        """True when the usage row names the model that the upstream answered with."""
        return wire == "/responses"

    def error(self, kind: str, message: str) -> dict[str, Any]:
        """Return an error body in the client's protocol."""
        return {"error": {"message": message, "type": kind}}

    def dispatch(self, group: Row, model: str) -> str:
        """Return the name under which accounts are chosen."""
        return model


class Embeddings(Dialect):
    """`/v1/embeddings`."""

    capability = "embeddings"

    def wires(self, account: Row) -> tuple[Wire, ...]:
        return ("/embeddings",)

    def request(self, body: dict[str, Any], model: str, wire: Wire) -> dict[str, Any]:
        return body | {"model": model}

    def translator(self, model: str, wire: Wire) -> Translator:
        return Translator()

    def keeps_response_model(self, wire: Wire) -> bool:
        return True


def speaks_responses(account: Row) -> bool | None:
    """Return whether an account's upstream is spoken to over responses; None while nobody knows."""
    mode = account["extra"].get("openai_responses_mode")
    if mode in ("force_responses", "force_chat_completions"):
        return bool(mode == "force_responses")
    known = account["extra"].get("openai_responses_supported")
    return known if isinstance(known, bool) else None


def sse(event: str, document: dict[str, Any]) -> bytes:
    """Return one named server-sent event."""
    return f"event: {event}\ndata: {json.dumps(document, ensure_ascii=False)}\n\n".encode()
