"""Reading the host's JSON without trusting it: every surprise becomes `Malformed`, never a stray KeyError."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from reconciler.errors import Malformed

Json = dict[str, Any]


@contextmanager
def shape(what: str, where: str) -> Iterator[None]:
    """Turn what a wrongly shaped answer causes inside the block into Malformed."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        detail = f"missing {error}" if isinstance(error, KeyError) else type(error).__name__
        raise Malformed(f"{what} is not shaped as expected ({detail})", where=where) from error


def text(raw: Mapping[str, Any], name: str) -> str:
    """Return a text field; "" when it is null or absent. Raises TypeError for anything else."""
    value = raw.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(name)
    return value


def identity(raw: Mapping[str, Any], name: str = "id") -> str:
    """Return a numeric id as text. Raises KeyError or TypeError."""
    value = raw[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(name)
    return str(value)


def optional_identity(raw: Mapping[str, Any], name: str) -> str | None:
    """Return a numeric id as text; None when it is null or absent."""
    return None if raw.get(name) is None else identity(raw, name)


def mapping(raw: Mapping[str, Any], name: str) -> Json:
    """Return an object field as a copy; {} when it is null or absent."""
    value = raw.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TypeError(name)
    return dict(value)


def moment(raw: Mapping[str, Any], name: str) -> datetime | None:
    """Return an RFC 3339 field; None when it is null or absent. Raises ValueError, also for a time without zone."""
    value = text(raw, name)
    if not value:
        return None
    at = datetime.fromisoformat(value)
    if at.tzinfo is None:
        raise ValueError(name)
    return at


def objects(value: Any) -> list[Json]:
    """Return a list of objects; [] for null. Raises TypeError."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise TypeError("items")
    return value
