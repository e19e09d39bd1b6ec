"""Reading server-sent events out of a stream of bytes."""

from __future__ import annotations

import json
from typing import Any

from reconciler.embedded.dataplane.billing import Tokens


class EventReader:
    """Cuts a byte stream into events and remembers what they say of model and usage."""

    def __init__(self) -> None:
        self._buffer = b""
        self.model: str | None = None
        self.tokens = Tokens()
        self.finished = False
        """True once the upstream said that it is done."""

    def feed(self, chunk: bytes) -> list[tuple[str, bytes]]:
        """Return the events that `chunk` completes, as (data, whole event)."""
        self._buffer = (self._buffer + chunk).replace(b"\r\n", b"\n")
        events: list[tuple[str, bytes]] = []
        while (cut := self._buffer.find(b"\n\n")) >= 0:
            raw, self._buffer = self._buffer[: cut + 2], self._buffer[cut + 2 :]
            lines = raw.decode(errors="replace").split("\n")
            data = "\n".join(line[5:].strip() for line in lines if line.startswith("data:"))
            self._note(data)
            events.append((data, raw))
        return events

    def _note(self, data: str) -> None:
        if data == "[DONE]":
            self.finished = True
            return
        document = parsed(data)
        inner = document.get("response")
        document = inner if isinstance(inner, dict) else document
        if self.model is None and isinstance(document.get("model"), str):
            self.model = document["model"]
        if isinstance(document.get("usage"), dict):
            self.tokens = Tokens.of(document["usage"])
        self.finished = self.finished or document.get("status") == "completed"


def parsed(text: str | bytes) -> dict[str, Any]:
    """Return a JSON object; an empty one when the text is something else."""
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
