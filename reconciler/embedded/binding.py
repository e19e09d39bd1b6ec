"""Reading a request body as gin does: unknown fields ignored, `null` as absent, Go's own words for what does not fit.

Source: sub2api v0.1.179, `c.ShouldBindJSON` with encoding/json and validator/v10.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.embedded.envelope import application_error, bad_request

_MISSING = object()


@dataclass(frozen=True)
class Field:
    """What one field may hold. `go` is its name in Go, needed only where the validator may name it."""

    kind: str
    """string, int, number, bool, object, array, limit (see `_limit`); list, map and struct have parts."""
    go: str = ""
    required: bool = False
    one_of: tuple[str, ...] = ()
    least_length: int | None = None
    most_length: int | None = None
    inner: Field | None = None
    """Of a list or map: what its values are."""
    fields: Mapping[str, Field] | None = None
    """Of a struct: its fields; others are dropped."""


STRING, INT, NUMBER, BOOL = Field("string"), Field("int"), Field("number"), Field("bool")
OBJECT, ARRAY, LIMIT = Field("object"), Field("array"), Field("limit")


def list_of(inner: Field, go: str = "", *, required: bool = False) -> Field:
    """A list whose items are all of one kind; null items are dropped."""
    return Field("list", go, required, inner=inner)


def map_of(inner: Field) -> Field:
    """An object whose values are all of one kind; null stays null."""
    return Field("map", inner=inner)


def struct(**fields: Field) -> Field:
    """An object with known fields."""
    return Field("struct", fields=fields)


INTS, STRINGS = list_of(INT), list_of(STRING)

_GO_TYPES = {
    "string": "string", "int": "int64", "number": "float64", "bool": "bool", "object": "map[string]interface {}",
    "array": "[]interface {}", "list": "[]interface {}", "map": "map[string]interface {}", "struct": "struct",
}  # fmt: skip
_PYTHON_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str, "int": int, "number": (int, float), "bool": bool, "object": dict, "array": list, "list": list,
    "map": dict, "struct": dict,
}  # fmt: skip


def bind(
    body: bytes,
    fields: Mapping[str, Field],
    struct: str,
    *,
    prefix: str = "Invalid request: ",
    reason: str = "",
) -> dict[str, Any]:
    """Return the fields of `body` that are known and not null. Raises Refusal (400) for what does not fit."""
    try:
        values = _known(_object(parse(body), struct), fields, struct)
        _validate(values, fields, struct)
    except ValueError as error:
        message = f"{prefix}{error}"
        raise (application_error(400, message, reason) if reason else bad_request(message)) from error
    return values


def parse(body: bytes) -> Any:
    """Return the first JSON value of a body; what follows it is ignored. Raises ValueError in Go's words."""
    try:
        text = body.decode()
        return _DECODER.raw_decode(text.lstrip())[0] if text.strip() else _raise("EOF")
    except json.JSONDecodeError as error:
        raise ValueError(_syntax_error(error)) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise ValueError("invalid character in string literal") from error


def _raise(message: str) -> Any:
    raise ValueError(message)


_DECODER = json.JSONDecoder(parse_constant=lambda word: _raise(f"invalid character '{word[0]}' {_VALUE}"))
_VALUE = "looking for beginning of value"
_EXPECTED = {
    "Expecting property name": "looking for beginning of object key string",
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "after object key:value pair",
}


def _syntax_error(error: json.JSONDecodeError) -> str:
    if error.pos >= len(error.doc):
        return "unexpected EOF"
    where = next((go for python, go in _EXPECTED.items() if error.msg.startswith(python)), _VALUE)
    return f"invalid character '{error.doc[error.pos]}' {where}"


def _object(document: Any, struct: str) -> Mapping[str, Any]:
    if isinstance(document, dict):
        return document
    raise ValueError(f"json: cannot unmarshal {_go_kind(document)} into Go value of type admin.{struct}")


def _known(document: Mapping[str, Any], fields: Mapping[str, Field], struct: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    folded: dict[str, Any] | None = None
    for name, field in fields.items():
        raw = document.get(name, _MISSING)
        if raw is _MISSING:
            # encoding/json accepts any case when the exact name is absent.
            folded = folded if folded is not None else {key.lower(): value for key, value in document.items()}
            raw = folded.get(name, _MISSING)
        if raw is _MISSING:
            continue
        if field.kind == "limit":
            values[name] = _limit(raw)
        elif raw is not None:
            values[name] = _convert(raw, field, f"{struct}.{name}")
    return values


def _limit(raw: Any) -> float:
    """A spending limit: `null` and blank text mean 0, text is read as a number."""
    if raw is None:
        return 0.0
    if isinstance(raw, str):
        if not raw.strip():
            return 0.0
        try:
            return float(raw)
        except ValueError as error:
            shown = f'"{raw.strip()}"'
            text = f"invalid numeric limit value {shown}: strconv.ParseFloat: parsing {shown}: invalid syntax"
            raise ValueError(text) from error
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        return float(raw)
    raise ValueError(f"invalid limit value: {json.dumps(raw)}")


def _convert(raw: Any, field: Field, where: str) -> Any:
    kind = field.kind
    if not _fits(raw, kind):
        shown = f"number {raw}" if isinstance(raw, float) and kind == "int" else _go_kind(raw)
        raise ValueError(
            f"json: cannot unmarshal {shown} into Go struct field {where} of type {_GO_TYPES[kind]}"
        )
    if kind == "list" and field.inner is not None:
        return [_convert(item, field.inner, where) for item in raw if item is not None]
    if kind == "map" and field.inner is not None:
        return {
            name: None if item is None else _convert(item, field.inner, where) for name, item in raw.items()
        }
    if kind == "struct" and field.fields is not None:
        known = {name: inner for name, inner in field.fields.items() if raw.get(name) is not None}
        return {name: _convert(raw[name], inner, f"{where}.{name}") for name, inner in known.items()}
    return float(raw) if kind == "number" else raw


def _fits(raw: Any, kind: str) -> bool:
    return isinstance(raw, _PYTHON_TYPES[kind]) and (kind == "bool" or not isinstance(raw, bool))


def _go_kind(raw: Any) -> str:
    if isinstance(raw, bool):
        return "bool"
    if isinstance(raw, dict):
        return "object"
    if isinstance(raw, list):
        return "array"
    return "string" if isinstance(raw, str) else "number"


def _validate(values: Mapping[str, Any], fields: Mapping[str, Field], struct: str) -> None:
    problems = [
        f"Key: '{struct}.{field.go}' Error:Field validation for '{field.go}' failed on the '{tag}' tag"
        for name, field in fields.items()
        if (tag := _failed_tag(values.get(name), field))
    ]
    if problems:
        raise ValueError("\n".join(problems))


def _failed_tag(value: Any, field: Field) -> str:
    if field.required and (value is None or (value in ("", 0) and not isinstance(value, bool))):
        return "required"
    if field.one_of and value and value not in field.one_of:
        return "oneof"
    if field.least_length is not None and value and len(value) < field.least_length:
        return "min"
    if field.most_length is not None and value and len(value) > field.most_length:
        return "max"
    return ""


def path_id(text: str, message: str) -> int:
    """Return a numeric path part. Raises Refusal 400 with `message`."""
    try:
        return int(text)
    except ValueError:
        raise bad_request(message) from None
