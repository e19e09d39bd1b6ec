"""Readers of single document fields: each returns the value in our form, or raises `Unfit` with what is wrong.

Each also says, as JSON Schema, what it takes: what is published is made of the very rule that is checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from sys import intern
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from reconciler.routing.index import epoch

Schema = Mapping[str, Any]
REQUIRED: Final = object()

# The same words that manifests allow; repeated here because routing imports nothing else of ours. All match wholly.
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
MODEL = re.compile(r"[^\s\x00-\x1f\x7f*]{1,255}")
VERSION = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]*")
_URL_CHARACTERS = r"[^\s\x00-\x1f\x7f?#@\\]"
_URL = re.compile(f"{_URL_CHARACTERS}*")
_URL_LONGEST = 2048
_SHOWN = 60


class Unfit(ValueError):
    """A field's value cannot be used; the message completes the sentence "FIELD ..."."""


class Reader(NamedTuple):
    """How one value is read."""

    read: Callable[[Any], Any]
    schema: Schema
    """JSON Schema of what `read` takes; without what an object's own fields say (`parts`)."""
    parts: Mapping[str, Mapping[str, Field]] = {}
    """Class of an object inside -> its fields."""


class Field(NamedTuple):
    """How a field is read, and its value when the document leaves it out (`REQUIRED`: it must not)."""

    reader: Reader
    default: Any = REQUIRED


def show(value: object) -> str:
    """Return a value for a message, cut to a length that cannot flood a log."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def text(pattern: re.Pattern[str], meaning: str, *, longest: int = 255) -> Reader:
    """Return a reader of strings that match wholly; equal ones share one object, to save memory."""

    def read(value: Any) -> str:
        if type(value) is not str or len(value) > longest or not pattern.fullmatch(value):
            raise Unfit(f"must be {meaning}, not {show(value)}")
        return intern(value)

    return Reader(read, {"type": "string", "pattern": f"^(?:{pattern.pattern})$", "maxLength": longest})


name = text(NAME, "a DNS label (a-z, 0-9, -)", longest=63)
model = text(MODEL, "a model name without spaces or *")
version = text(VERSION, "a word of A-Z a-z 0-9 . _ -", longest=64)
words = text(_PRINTABLE, "text without control characters", longest=300)
host_id = text(
    re.compile(r"[^\x00-\x20\x7f]{1,200}"), "the host's id, 1 to 200 characters without spaces", longest=200
)


def integer(least: int, most: int) -> Reader:
    """Return a reader of whole numbers between two bounds, both included."""

    def read(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise Unfit(f"must be a whole number from {least} to {most}, not {show(value)}")
        return value

    return Reader(read, {"type": "integer", "minimum": least, "maximum": most})


def optional(reader: Reader) -> Reader:
    """Return a reader that lets null through."""
    read = reader.read
    return Reader(
        lambda value: None if value is None else read(value), {"anyOf": [reader.schema, {"type": "null"}]}
    )


def one_of(*choices: str) -> Reader:
    """Return a reader of a closed list of words."""

    def read(value: Any) -> str:
        if type(value) is not str or value not in choices:
            raise Unfit(f"must be one of {', '.join(choices)}, not {show(value)}")
        return intern(value)

    return Reader(read, {"enum": list(choices)})


def _flag(value: Any) -> bool:
    """Read true or false."""
    if type(value) is not bool:
        raise Unfit(f"must be true or false, not {show(value)}")
    return value


def _moment(value: Any) -> str:
    """Read an RFC 3339 time."""
    try:
        epoch(value)
    except (TypeError, ValueError, OverflowError) as wrong:
        raise Unfit(f"must be an RFC 3339 time, not {show(value)}") from wrong
    return str(value)


def _base_url(value: Any) -> str:
    """Read an http(s) URL without credentials, query or fragment; a final slash is dropped."""
    wrong = Unfit(f"must be an http(s) URL without user, query or fragment, not {show(value)}")
    if type(value) is not str or len(value) > _URL_LONGEST or not _URL.fullmatch(value):
        raise wrong
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as unreadable:
        raise wrong from unreadable
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise wrong
    return value.rstrip("/")


flag = Reader(_flag, {"type": "boolean"})
moment = Reader(_moment, {"type": "string", "format": "date-time"})
base_url = Reader(
    _base_url,
    {
        "type": "string",
        "format": "uri",
        "pattern": f"^[Hh][Tt][Tt][Pp][Ss]?://{_URL_CHARACTERS}+$",
        "maxLength": _URL_LONGEST,
    },
)


def each(reader: Reader, *, least: int = 0, most: int = 100_000) -> Reader:
    """Return a reader of a list whose items differ, as a tuple in the document's order."""
    read = reader.read

    def read_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)) or not least <= len(value) <= most:
            raise Unfit(f"must be a list of at least {least} items, not {show(value)}")
        items = tuple([read(item) for item in value])
        if len(set(items)) != len(items):
            raise Unfit(f"names something twice: {show(value)}")
        return items

    bounds = {"type": "array", "minItems": least, "maxItems": most, "uniqueItems": True}
    return Reader(read_all, bounds | ({"items": reader.schema} if reader.schema else {}), reader.parts)


def nested(cls: type[Any], fields: Mapping[str, Field]) -> Reader:
    """Return a reader of an object inside an object."""

    def read(value: Any) -> Any:
        values, problems = read_fields(value, fields)
        if problems:
            raise Unfit("; ".join(problems))
        return cls(**values)

    return Reader(read, {}, {cls.__name__: fields})


def read_fields(value: Any, fields: Mapping[str, Field]) -> tuple[dict[str, Any], list[str]]:
    """Return the values of an object's fields, defaults included, and every problem found in it."""
    if not isinstance(value, Mapping):
        return {}, [f"must be an object, not {show(value)}"]
    values: dict[str, Any] = {}
    problems = [f"{show(key)} is not a known field" for key in value if key not in fields]
    for key, (reader, default) in fields.items():
        given = value.get(key, default)
        if given is default and key not in value:
            if default is REQUIRED:
                problems.append(f"{key} is missing")
            values[key] = default
            continue
        try:
            values[key] = reader.read(given)
        except Unfit as unfit:
            problems.append(f"{key} {unfit}")
    return values, problems
