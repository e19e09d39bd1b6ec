"""Text and JSON on their way into the database: what no database can hold is replaced, and length has a limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_TEXT = 2000
"""Characters of one message. Longer ones end in an ellipsis."""


def storable(text: str, limit: int = MAX_TEXT) -> str:
    """Return text that every database stores: no NUL (PostgreSQL), no lone surrogates (UTF-8); cut to `limit`."""
    clean = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= limit else f"{clean[: limit - 1]}…"


def storable_json(value: Any) -> Any:
    """Return a JSON value with every text in it made storable; texts in it are not cut."""
    if isinstance(value, str):
        return storable(value, limit=len(value) + 1)
    if isinstance(value, Mapping):
        return {storable_json(str(key)): storable_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable_json(item) for item in value]
    return value
